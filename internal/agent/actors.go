package agent

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// actor is a long-lived part: run blocks until its context ends.
type actor struct {
	name string
	run  func(context.Context) error
}

// runAll runs all actors until the context ends, and returns when all have returned. One that fails or panics is
// said so and started again by itself, after a pause that grows to half a minute.
func runAll(ctx context.Context, log *slog.Logger, actors []actor) {
	var group sync.WaitGroup
	for _, a := range actors {
		group.Go(func() {
			for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
				err := guarded(ctx, a)
				if ctx.Err() != nil {
					return
				}
				log.Error("a part of the agent ended and will be started again", "part", a.name, "pause", pause, "err", err)
				select {
				case <-ctx.Done():
					return
				case <-time.After(pause):
				}
			}
		})
	}
	group.Wait()
}

func guarded(ctx context.Context, a actor) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return a.run(ctx)
}
