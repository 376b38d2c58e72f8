package volume

import (
	"context"
	"sync"
)

// locks are locks by name; the zero value has none.
type locks struct {
	mu   sync.Mutex
	held map[string]*turn
}

// turn is one lock: its channel is full while somebody has it.
type turn struct {
	taken chan struct{}
	users int
}

// lock waits until nobody else has the lock of that name. The error is that of ctx.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*turn{}
	}
	t := l.held[name]
	if t == nil {
		t = &turn{taken: make(chan struct{}, 1)}
		l.held[name] = t
	}
	t.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(l.held, name)
		}
	}
	select {
	case t.taken <- struct{}{}:
		return func() { <-t.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
