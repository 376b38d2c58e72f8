package containerlog

import (
	"context"
	"log/slog"
	"time"

	"github.com/bosun-project/bosun/internal/safepath"
)

// Target is the log of a running container.
type Target struct {
	// ID is the container's; Dir and Name are as in Log.
	ID, Dir, Name string
}

// Reopener makes the writer of a container's log open its file anew.
type Reopener interface {
	ReopenContainerLog(ctx context.Context, id string) error
}

// RotatorConfig says which logs are rotated and when.
type RotatorConfig struct {
	// Targets returns the logs of running containers, and a channel that is closed when there may be others.
	Targets func() ([]Target, <-chan struct{})
	Runtime Reopener
	// MaxSize is the size in bytes beyond which a log is rotated (containerLogMaxSize); 0 means 10 MiB, a negative
	// one that none is.
	MaxSize int64
	// MaxFiles is how many files a log may have, the current one included (containerLogMaxFiles); 0 means 5, and the
	// least is 2.
	MaxFiles int
	// Every is the time between looks (containerLogMonitorInterval); 0 means 10 seconds.
	Every time.Duration
	// Workers is how many logs may be rotated at once (containerLogMaxWorkers); 0 means 1.
	Workers int
	Log     *slog.Logger
}

// Rotator rotates the logs of running containers (behaviour 263). While none runs it does nothing at all.
type Rotator struct {
	cfg RotatorConfig
	// failed holds the containers whose last rotation failed, so that it is said once.
	failed map[string]bool
}

// NewRotator builds a rotator.
func NewRotator(cfg RotatorConfig) *Rotator {
	if cfg.MaxSize == 0 {
		cfg.MaxSize = 10 << 20
	}
	if cfg.MaxFiles == 0 {
		cfg.MaxFiles = 5
	}
	cfg.MaxFiles = max(cfg.MaxFiles, 2)
	if cfg.Every <= 0 {
		cfg.Every = 10 * time.Second
	}
	cfg.Workers = max(cfg.Workers, 1)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Rotator{cfg: cfg, failed: map[string]bool{}}
}

// Run rotates logs until ctx ends, and returns when what it began has ended.
func (r *Rotator) Run(ctx context.Context) error {
	if r.cfg.MaxSize < 0 {
		<-ctx.Done()
		return nil
	}
	for {
		targets, others := r.cfg.Targets()
		r.rotate(ctx, targets)
		if len(targets) > 0 { // looking at a file's size is cheap; being woken by each line written to it is not
			others = nil
		}
		if !rest(ctx, r.cfg.Every, others) {
			return nil
		}
	}
}

// rest waits until there are others, or, where that is not waited for, for a time. It is false when ctx ended.
func rest(ctx context.Context, d time.Duration, others <-chan struct{}) bool {
	var over <-chan time.Time
	if others == nil {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-over:
	case <-others:
	}
	return true
}

type rotation struct {
	target Target
	err    error
}

// rotate rotates those that are too large, a few at once.
func (r *Rotator) rotate(ctx context.Context, targets []Target) {
	due := due(targets, size, r.cfg.MaxSize)
	slots := make(chan struct{}, r.cfg.Workers)
	over := make(chan rotation, len(due))
	for _, t := range due {
		slots <- struct{}{}
		go func() {
			err := Rotate(ctx, t.Dir, t.Name, r.cfg.MaxFiles, time.Now(), func(ctx context.Context) error {
				return r.cfg.Runtime.ReopenContainerLog(ctx, t.ID)
			})
			over <- rotation{t, err}
			<-slots
		}()
	}
	for range due {
		r.say(ctx, <-over)
	}
	r.forget(targets)
}

func (r *Rotator) say(ctx context.Context, done rotation) {
	switch {
	case done.err == nil:
		delete(r.failed, done.target.ID)
	case ctx.Err() == nil && !r.failed[done.target.ID]:
		r.failed[done.target.ID] = true
		r.cfg.Log.Warn("a container's log cannot be rotated; it is tried again", "container", done.target.ID, "err", done.err)
	}
}

// forget drops what is remembered of containers that are gone.
func (r *Rotator) forget(targets []Target) {
	for id := range r.failed {
		if !has(targets, id) {
			delete(r.failed, id)
		}
	}
}

func has(targets []Target, id string) bool {
	for _, t := range targets {
		if t.ID == id {
			return true
		}
	}
	return false
}

// due are the targets whose logs are larger than most. A log that is not there is not due.
func due(targets []Target, size func(Target) int64, most int64) []Target {
	var out []Target
	for _, t := range targets {
		if size(t) > most {
			out = append(out, t)
		}
	}
	return out
}

func size(t Target) int64 {
	root, err := safepath.Open(t.Dir)
	if err != nil {
		return 0
	}
	defer root.Close()
	info, err := root.Lstat(t.Name)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}
