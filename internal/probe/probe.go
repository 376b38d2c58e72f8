package probe

import (
	"context"
	"runtime"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
)

// Config is what a Loop is built from.
type Config struct {
	// Targets returns the newest targets, and a channel that is closed when there are newer ones.
	Targets func() ([]Target, <-chan struct{})
	Asker   Asker
	// Notes receives what people may want to hear of; nil is fine.
	Notes note.Sink
	// Meter counts; nil is fine.
	Meter Meter
	// Began is when the agent began; zero means when Run does.
	Began time.Time
	// Execs is how many commands may be starting at a time; zero means two for each CPU, at least four.
	Execs int
	// Now is the time that passes evenly, and Wall the clock on the wall; nil means the real ones. Tests make them lie.
	Now, Wall func() time.Time
}

// Health is the health of all probed containers that run, by pod and container ID. A container with probes and no entry
// is not known to run.
type Health map[types.UID]map[string]plan.Health

// Loop asks containers how they are.
type Loop struct {
	cfg    Config
	health latest.Cell[Health]
}

// New builds a Loop. Nothing runs before Run.
func New(cfg Config) *Loop {
	if cfg.Notes == nil {
		cfg.Notes = func(note.Note) {}
	}
	if cfg.Meter == nil {
		cfg.Meter = unmetered{}
	}
	if cfg.Execs <= 0 {
		cfg.Execs = max(4, 2*runtime.GOMAXPROCS(0))
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Wall == nil {
		cfg.Wall = func() time.Time { return time.Now().Round(0) } // without the reading of the clock that is never set
	}
	return &Loop{cfg: cfg}
}

// Health is what is known, and a channel that is closed when more is.
func (l *Loop) Health() (Health, <-chan struct{}) { return l.health.Get() }

// Run asks until ctx ends, and returns nil when the last question is given up.
func (l *Loop) Run(ctx context.Context) error {
	r := newRounds(l)
	defer r.end()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	targets, newer := l.cfg.Targets()
	r.take(targets)
	for {
		r.launch(ctx)
		r.publish()
		var alarm <-chan time.Time
		if at := r.wakeAt(); !at.IsZero() {
			timer.Reset(at.Sub(r.now))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
			r.look()
			targets, newer = l.cfg.Targets()
			r.take(targets)
		case landed := <-r.landed:
			r.look()
			r.land(landed)
			r.landMore()
		case <-alarm:
			r.look()
		}
	}
}
