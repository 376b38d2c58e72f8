package boxruntime

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Delays before containerd is started again: none after a first death, then doubling.
const (
	firstDelay = 500 * time.Millisecond
	maxDelay   = 30 * time.Second
	// steady is how long containerd must have run for its death to count as a first one again.
	steady = time.Minute
)

// restartDelay is the pause before the next start after so many failures in a row.
func restartDelay(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	delay := firstDelay
	for range failures - 2 {
		if delay *= 2; delay >= maxDelay {
			return maxDelay
		}
	}
	return delay
}

// Supervise starts containerd again whenever it dies, and publishes each change in Health. It blocks until ctx ends or
// Stop is called, and leaves containerd running: nil. An error means that it can no longer tell whether containerd runs.
// One call at a time; another one waits.
func (b *Box) Supervise(ctx context.Context) error {
	b.supervising.Lock()
	defer b.supervising.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	defer func() { <-stopped }()
	defer cancel()
	go func() {
		defer close(stopped)
		select {
		case <-b.ending:
			cancel()
		case <-ctx.Done():
		}
	}()

	failures := 0
	for {
		b.mu.Lock()
		p := b.proc
		b.mu.Unlock()
		if err := p.wait(ctx); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return fmt.Errorf("container runtime: %w", err)
		}
		h := b.health.Value()
		if time.Since(h.Since) > steady {
			failures = 0
		}
		died := lastWords(b.cfg, errors.New(p.reap()), logTail(b.cfg.logFile(), b.logStart))
		b.cfg.Log.Error("the container runtime died; pods go on", "pid", p.pid, "error", died)
		b.health.Set(Health{Since: time.Now(), PID: p.pid, Restarts: h.Restarts, Err: died})
		if !b.revive(ctx, &failures, h.Restarts+1, died) {
			return nil
		}
	}
}

// revive tries to bring containerd up until it succeeds; false when ctx ended first.
func (b *Box) revive(ctx context.Context, failures *int, restarts int, died error) bool {
	for {
		*failures++
		delay := time.NewTimer(restartDelay(*failures))
		select {
		case <-ctx.Done():
			delay.Stop()
			return false
		case <-delay.C:
		}
		h, err := b.bringUpLocked(ctx)
		if ctx.Err() != nil && err != nil {
			return false
		}
		if err == nil {
			h.Restarts, h.Err = restarts, died
			b.health.Set(h)
			return true
		}
		b.cfg.Log.Error("starting the container runtime again failed", "next", restartDelay(*failures+1), "error", err)
		b.health.Set(Health{Since: b.health.Value().Since, Restarts: restarts, Err: err})
	}
}

func (b *Box) bringUpLocked(ctx context.Context) (Health, error) {
	unlock, err := lock(b.cfg)
	if err != nil {
		return Health{}, err
	}
	defer unlock()
	return b.bringUp(ctx)
}
