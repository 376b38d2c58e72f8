package resourceslices

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/bosun-project/bosun/internal/backoff"
)

// Config is what a Loop is built from.
type Config struct {
	// Drivers are those that are registered, by name, with whether they can be reached, and a channel that is closed when that changes.
	Drivers func() (map[string]bool, <-chan struct{})
	// Listed are the drivers of which the cluster has slices of this node.
	Listed func(ctx context.Context) ([]string, error)
	// Delete deletes the slices of this node that are of a driver.
	Delete func(ctx context.Context, driver string) error
	// Back returns a channel that is closed when the API server answers again after it did not.
	Back func() <-chan struct{}
	// Patience is how long a driver may be gone. Default 30 s.
	Patience time.Duration
	Log      *slog.Logger
}

// Loop deletes the slices of drivers that are gone.
type Loop struct {
	cfg Config
	// due is when the slices of drivers that are gone are to go. listAt is when the cluster is asked whose slices there are; zero once
	// it has said so.
	due    map[string]time.Time
	listAt time.Time
	pause  time.Duration
}

// pauses are those after the API server did not do what it was asked.
var pauses = backoff.Series{Initial: time.Second, Max: time.Minute}

// New builds a Loop. Nothing is done before Run.
func New(cfg Config) *Loop {
	cfg.Patience = cmp.Or(cfg.Patience, 30*time.Second)
	return &Loop{cfg: cfg, due: map[string]time.Time{}}
}

// Run deletes slices until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	l.listAt = time.Now().Add(l.cfg.Patience)
	timer := time.NewTimer(0)
	defer timer.Stop()
	before := map[string]bool{}
	for {
		drivers, newer := l.cfg.Drivers()
		l.see(before, drivers, time.Now())
		before = drivers
		back := l.cfg.Back()
		failed := l.act(ctx, time.Now())
		if ctx.Err() != nil {
			return nil
		}
		if failed {
			l.pause = pauses.Next(l.pause)
		} else {
			l.pause, back = 0, nil
		}
		var alarm <-chan time.Time
		if at := l.next(); !at.IsZero() {
			timer.Reset(max(time.Until(at), l.pause))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		case <-back:
		case <-alarm:
		}
	}
}

// see notes who has gone and who is back.
func (l *Loop) see(before, drivers map[string]bool, now time.Time) {
	for name, reached := range before {
		if _, known := l.due[name]; reached && !drivers[name] && !known {
			l.due[name] = now.Add(l.cfg.Patience)
		}
	}
	for name, reached := range drivers {
		if reached {
			delete(l.due, name)
		} else if _, known := l.due[name]; !known { // it has come and can never be reached
			l.due[name] = now.Add(l.cfg.Patience)
		}
	}
}

// next is when there is something to do; zero for never.
func (l *Loop) next() time.Time {
	at := l.listAt
	for _, due := range l.due {
		if at.IsZero() || due.Before(at) {
			at = due
		}
	}
	return at
}

// act does what is due, and tells whether any of it failed.
func (l *Loop) act(ctx context.Context, now time.Time) (failed bool) {
	if !l.listAt.IsZero() && !now.Before(l.listAt) {
		listed, err := l.cfg.Listed(ctx)
		if err != nil {
			l.cfg.Log.Warn("whose resource slices the cluster has of this node is not known", "err", err)
			return true
		}
		l.listAt = time.Time{}
		drivers, _ := l.cfg.Drivers()
		for _, name := range listed {
			if _, known := l.due[name]; !drivers[name] && !known { // nobody has seen it since the start
				l.due[name] = now
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.due)) {
		if now.Before(l.due[name]) || ctx.Err() != nil {
			continue
		}
		switch err := l.remove(ctx, name); {
		case err == nil:
			delete(l.due, name)
		case ctx.Err() == nil:
			failed = true
			l.cfg.Log.Warn("the resource slices of a driver that is gone cannot be deleted", "driver", name, "err", err)
		}
	}
	return failed
}

// remove deletes the slices of a driver, unless it is back, or comes back meanwhile.
func (l *Loop) remove(ctx context.Context, name string) error {
	drivers, newer := l.cfg.Drivers()
	if drivers[name] {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- l.cfg.Delete(ctx, name) }()
	for {
		select {
		case err := <-done:
			if drivers, _ := l.cfg.Drivers(); drivers[name] { // it writes its slices anew
				return nil
			}
			if err == nil {
				l.cfg.Log.Info("the resource slices of a driver that is gone were deleted", "driver", name)
			}
			return err
		case <-newer:
			if drivers, newer = l.cfg.Drivers(); drivers[name] {
				cancel()
			}
		}
	}
}
