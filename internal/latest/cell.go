package latest

import "sync"

// Cell holds the newest value of something. The zero Cell holds the zero T and is ready to use.
type Cell[T any] struct {
	mu    sync.Mutex
	value T
	newer chan struct{}
}

// Set publishes a value. The caller must not change it, or anything reachable from it, afterwards.
func (c *Cell[T]) Set(value T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = value
	if c.newer != nil {
		close(c.newer)
		c.newer = nil
	}
}

// Get returns the newest value and a channel that is closed when a newer one exists.
func (c *Cell[T]) Get() (T, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.newer == nil {
		c.newer = make(chan struct{})
	}
	return c.value, c.newer
}

// Value returns the newest value.
func (c *Cell[T]) Value() T {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value
}
