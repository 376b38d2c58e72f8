package staging

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/backoff"
)

// Volume is a volume that is staged on the node. Device is empty for one with a file system.
type Volume struct{ Driver, Handle, Device string }

// Config is what a Loop is built from.
type Config struct {
	// Orphans are the volumes that are staged and that no pod uses.
	Orphans func() ([]Volume, error)
	// Unstage lets one go, unless a pod has begun to use it.
	Unstage func(context.Context, Volume) error
	// Left and Drivers return channels that are closed when a pod has left a volume, and when the drivers that can be called change.
	Left, Drivers func() <-chan struct{}
	Log           *slog.Logger
}

// Loop lets volumes go.
type Loop struct {
	cfg Config

	// kick has Run look again; it holds one.
	kick chan struct{}

	mu    sync.Mutex
	going map[Volume]bool
}

// New builds a Loop.
func New(cfg Config) *Loop {
	return &Loop{cfg: cfg, kick: make(chan struct{}, 1), going: map[Volume]bool{}}
}

// pauses are those between attempts to let one volume go.
var pauses = backoff.Series{Initial: 500 * time.Millisecond, Max: 2 * time.Minute}

// Run lets volumes go until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	for told := ""; ; {
		left := l.cfg.Left()
		orphans, err := l.cfg.Orphans()
		var again <-chan time.Time
		switch {
		case err == nil:
			told = ""
		default:
			if told != err.Error() {
				told = err.Error()
				l.cfg.Log.Warn("it cannot be seen which volumes are staged", "err", err)
			}
			again = time.After(pauses.Max)
		}
		for _, v := range orphans {
			if l.begin(v) {
				work.Go(func() { l.unstage(ctx, v) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-left:
		case <-l.kick:
		case <-again:
		}
	}
}

// begin is false if the volume is being let go already.
func (l *Loop) begin(v Volume) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.going[v]
	l.going[v] = true
	return !was
}

// unstage lets one volume go, however often that must be tried.
func (l *Loop) unstage(ctx context.Context, v Volume) {
	defer func() {
		l.mu.Lock()
		delete(l.going, v)
		l.mu.Unlock()
		select {
		case l.kick <- struct{}{}: // a pod may have come and left since
		default:
		}
	}()
	var pause time.Duration
	for told := ""; ; {
		drivers := l.cfg.Drivers()
		err := l.cfg.Unstage(ctx, v)
		if err == nil || ctx.Err() != nil {
			return
		}
		if told != err.Error() {
			told = err.Error()
			l.cfg.Log.Warn("a volume that no pod uses any more is still staged", "err", err)
		}
		pause = pauses.Next(pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-drivers:
			pause = 0
		}
		timer.Stop()
	}
}
