package stats

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/usage"
)

// meter measures directories, asks drivers of volumes, and remembers what came of it. Measuring goes on in Run only.
type meter struct {
	// every is how old a measurement may be; negative: nothing is measured.
	every time.Duration
	log   *slog.Logger
	now   func() time.Time
	// told hears how long each measurement took, and who gave it; nil is fine.
	told func(source string, took time.Duration)

	mu    sync.Mutex
	known map[place]*measured
	queue []errand
	// idle is closed when the queue is empty; nil while it is.
	idle chan struct{}
	wake chan struct{}
}

// place is a directory below a root whose owner is not a tenant.
type place struct{ root, name string }

// errand is what is to be measured, and how.
type errand struct {
	place
	source string
	how    func(context.Context) (usage.Filesystem, error)
}

type measured struct {
	found usage.Filesystem
	at    time.Time // zero until it was measured once
	took  time.Duration
	// asked is when somebody wanted it last.
	asked  time.Time
	queued bool
}

// lazier is how much longer than a measurement the pause after it is, so that big volumes cost no more than a twentieth of a
// processor.
const lazier = 20

// forgetAfter is how long after somebody wanted it a measurement is kept.
const forgetAfter = 10 * time.Minute

func newMeter(every time.Duration, log *slog.Logger, now func() time.Time) *meter {
	return &meter{every: every, log: log, now: now, known: map[place]*measured{}, wake: make(chan struct{}, 1)}
}

// Who tells how full a volume is, as metrics have it.
const (
	byFiles  = "du"
	byDriver = "csi"
)

// ask gives the newest measurement, and sees to it that there will be a newer one if it is too old. ok is false if there is
// none yet.
func (m *meter) ask(p place, source string, how func(context.Context) (usage.Filesystem, error)) (found usage.Filesystem, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	k := m.known[p]
	if k == nil {
		k = &measured{}
		m.known[p] = k
	}
	k.asked = now
	if due := k.at.IsZero() || now.Sub(k.at) >= max(m.every, lazier*k.took); due && !k.queued {
		k.queued = true
		m.queue = append(m.queue, errand{p, source, how})
		if m.idle == nil {
			m.idle = make(chan struct{})
		}
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	return k.found, !k.at.IsZero()
}

// wait returns when everything that is due was measured, or the asker has left, but no later than after a while.
func (m *meter) wait(left <-chan struct{}, most time.Duration) {
	m.mu.Lock()
	idle := m.idle
	m.mu.Unlock()
	if idle == nil {
		return
	}
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-idle:
	case <-late.C:
	case <-left:
	}
}

// Run measures what askers found too old, until ctx ends.
func (m *meter) Run(ctx context.Context) error {
	for {
		e, ok := m.next()
		if !ok {
			select {
			case <-ctx.Done():
				return nil
			case <-m.wake:
			}
			continue
		}
		began := m.now()
		found, err := e.how(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if m.told != nil {
			m.told(e.source, m.now().Sub(began))
		}
		m.done(e.place, found, began, err)
	}
}

// next takes what is to be measured now.
func (m *meter) next() (e errand, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		if m.idle != nil {
			close(m.idle)
			m.idle = nil
		}
		return errand{}, false
	}
	e, m.queue = m.queue[0], m.queue[1:]
	return e, true
}

func (m *meter) done(p place, found usage.Filesystem, began time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	k := m.known[p]
	if errors.Is(err, fs.ErrNotExist) { // it was torn down meanwhile
		delete(m.known, p)
	} else {
		if err != nil { // what was found until then is better than nothing
			m.log.Debug("a volume could not be measured to its end", "volume", p.name, "err", err)
		}
		found.At = began
		*k = measured{found: found, at: began, took: now.Sub(began), asked: k.asked}
	}
	for p, k := range m.known {
		if !k.queued && now.Sub(k.asked) > forgetAfter {
			delete(m.known, p)
		}
	}
}

// measure is how what a directory takes is found out.
func (p place) measure(ctx context.Context) (usage.Filesystem, error) {
	u, err := measurePlace(ctx, p)
	return usage.Filesystem{Used: usage.Of(u.bytes), InodesUsed: usage.Of(u.inodes)}, err
}

// measurePlace opens a directory on a way that no tenant can bend, and measures it.
func measurePlace(ctx context.Context, p place) (use, error) {
	root, err := safepath.Open(p.root)
	if err != nil {
		return use{}, err
	}
	defer root.Close()
	dir, err := root.Handle(p.name)
	if err != nil {
		return use{}, err
	}
	defer dir.Close()
	return measure(ctx, dir)
}
