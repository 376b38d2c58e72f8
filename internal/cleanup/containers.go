package cleanup

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/collect"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// Doomed are ended containers that have to go, by pod and ID. It is never changed.
type Doomed map[types.UID]map[string]bool

// ContainersConfig is what a Containers is built from.
type ContainersConfig struct {
	Keep collect.Keep
	// Ready tells whether it is known what is wanted and what runs; before, nothing is doomed. The channel is closed when that
	// may have changed.
	Ready func() (bool, <-chan struct{})
	// Dead are the ended containers of all pods. The channel is closed when there may be others.
	Dead func() ([]collect.Dead, <-chan struct{})
	// Failed says which ended containers or sandboxes could not be removed since a time; nil if all could.
	Failed func(since time.Time) error
	// Every is the time between two looks; zero means a minute.
	Every time.Duration
	// Trace, if set, is told of each look that begins, and what it returns of its end.
	Trace func(context.Context) (context.Context, func(error))
	Notes note.Sink
	Log   *slog.Logger
}

// Containers says which ended containers have to go though their pods would keep them (behaviour 260). Their pods remove them.
type Containers struct {
	cfg    ContainersConfig
	doomed latest.Cell[Doomed]
	// changing is held by who changes doomed.
	changing sync.Mutex
}

// NewContainers builds a Containers.
func NewContainers(cfg ContainersConfig) *Containers {
	if cfg.Every <= 0 {
		cfg.Every = time.Minute
	}
	return &Containers{cfg: cfg}
}

// Doomed is what has to go, and a channel that is closed when that changes.
func (l *Containers) Doomed() (Doomed, <-chan struct{}) { return l.doomed.Get() }

// Run looks again and again until the context ends.
func (l *Containers) Run(ctx context.Context) error {
	tick := time.NewTicker(l.cfg.Every)
	defer tick.Stop()
	for looked := time.Now(); ; looked = time.Now() {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		l.look(ctx)
		if err := l.cfg.Failed(looked); err != nil {
			l.cfg.Notes(note.Note{
				At: time.Now(), Level: note.Warning, Reason: reason.ContainerGCFailed, Message: err.Error(), About: note.About{Kind: "Node"},
			})
		}
	}
}

func (l *Containers) look(ctx context.Context) {
	if l.cfg.Trace != nil {
		_, end := l.cfg.Trace(ctx)
		defer end(nil)
	}
	l.doom(l.cfg.Keep.Spare)
}

// collectWait bounds how long Collect waits for what has to go: who needs room has other means.
const collectWait = 30 * time.Second

// Collect makes every ended container go that no pod needs, and returns when they have gone, the context ends, or 30 s are over. It
// returns how many have gone.
func (l *Containers) Collect(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, collectWait)
	defer cancel()
	told := l.doom(l.cfg.Keep.All)
	for {
		dead, newer := l.cfg.Dead()
		left := 0
		for _, d := range dead {
			if told[d.Pod][d.ID] {
				left++
			}
		}
		if left == 0 {
			return told.count(), nil
		}
		select {
		case <-ctx.Done():
			return told.count() - left, ctx.Err()
		case <-newer:
		}
	}
}

// doom tells what has to go: what had to before and has not gone, and what spare adds. It returns all of it.
func (l *Containers) doom(spare func([]collect.Dead, time.Time) []collect.Dead) Doomed {
	if ready, _ := l.cfg.Ready(); !ready {
		return nil
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	dead, _ := l.cfg.Dead()
	before := l.doomed.Value()
	now := Doomed{}
	add := func(d collect.Dead) {
		if now[d.Pod] == nil {
			now[d.Pod] = map[string]bool{}
		}
		now[d.Pod][d.ID] = true
	}
	for _, d := range dead {
		if before[d.Pod][d.ID] {
			add(d)
		}
	}
	added := 0
	for _, d := range spare(dead, time.Now()) {
		if !before[d.Pod][d.ID] {
			added++
		}
		add(d)
	}
	if added > 0 {
		l.cfg.Log.Info("ended containers are removed", "containers", added)
	}
	if added > 0 || now.count() != before.count() {
		l.doomed.Set(now)
	}
	return now
}

func (d Doomed) count() int {
	n := 0
	for _, ids := range d {
		n += len(ids)
	}
	return n
}
