package resourceslices

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bosun-project/bosun/internal/latest"
)

// cluster is an API server with slices, and the drivers of the node.
type cluster struct {
	t       *testing.T
	began   time.Time
	drivers latest.Cell[map[string]bool]
	mu      sync.Mutex
	back    chan struct{}
	away    error
	takes   time.Duration
	slices  []string
	deleted []string
}

func bubble(t *testing.T, listed []string, play func(*cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, began: time.Now(), back: make(chan struct{}), slices: listed}
		l := New(Config{Drivers: c.drivers.Get, Listed: c.list, Delete: c.delete, Log: slog.New(slog.DiscardHandler), Back: func() <-chan struct{} {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.back
		}})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		play(c)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (c *cluster) list(context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.slices), c.away
}

func (c *cluster) delete(ctx context.Context, driver string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(c.takes):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away == nil {
		c.deleted = append(c.deleted, driver+" at "+time.Since(c.began).String())
	}
	return c.away
}

func (c *cluster) is(after time.Duration, want ...string) {
	c.t.Helper()
	time.Sleep(after)
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.deleted, want) {
		c.t.Errorf("after %s deleted %q, want %q", time.Since(c.began), c.deleted, want)
	}
}

func (c *cluster) goAway(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = err
	if err == nil {
		close(c.back)
		c.back = make(chan struct{})
	}
}

// TestAfterTheStart: behaviour 242, what nobody has claimed in time goes.
func TestAfterTheStart(t *testing.T) {
	bubble(t, []string{"here", "gone", "late"}, func(c *cluster) {
		c.drivers.Set(map[string]bool{"here": true})
		c.is(29 * time.Second)
		c.drivers.Set(map[string]bool{"here": true, "late": true})
		c.is(time.Hour, "gone at 30s")
	})
}

// TestADriverLeaves: it has 30 s to come back, however often it leaves.
func TestADriverLeaves(t *testing.T) {
	bubble(t, nil, func(c *cluster) {
		c.drivers.Set(map[string]bool{"a": true, "b": true})
		time.Sleep(time.Minute)
		c.drivers.Set(map[string]bool{"b": true})
		time.Sleep(20 * time.Second)
		c.drivers.Set(map[string]bool{"a": true, "b": true})
		time.Sleep(time.Minute)
		c.drivers.Set(map[string]bool{"a": false, "b": true}) // registered, and nobody answers
		c.is(29 * time.Second)
		c.drivers.Set(map[string]bool{"b": true})
		c.is(time.Hour, "a at 2m50s")
		c.drivers.Set(map[string]bool{"b": true, "c": false}) // never reached
		c.is(time.Minute, "a at 2m50s", "c at 1h3m19s")
	})
}

// TestTheAPIServerIsAway: nothing goes then, and everything as soon as it is back, unless the driver is back too.
func TestTheAPIServerIsAway(t *testing.T) {
	bubble(t, []string{"gone", "other"}, func(c *cluster) {
		c.goAway(errors.New("connection refused"))
		c.is(10*time.Minute + time.Second/2)
		c.drivers.Set(map[string]bool{"other": true})
		c.goAway(nil)
		c.is(time.Second, "gone at 10m0.5s")
		c.goAway(errors.New("connection refused"))
		c.drivers.Set(nil)
		c.is(10*time.Minute, "gone at 10m0.5s")
		c.drivers.Set(map[string]bool{"other": true})
		c.goAway(nil)
		c.is(time.Hour, "gone at 10m0.5s")
	})
}

// TestADriverComesBackMeanwhile: a deletion under way is given up.
func TestADriverComesBackMeanwhile(t *testing.T) {
	bubble(t, nil, func(c *cluster) {
		c.takes = 10 * time.Second
		c.drivers.Set(map[string]bool{"a": true, "b": true})
		time.Sleep(time.Minute)
		c.drivers.Set(map[string]bool{})
		time.Sleep(35 * time.Second)
		c.drivers.Set(map[string]bool{"a": true})
		c.is(time.Minute, "b at 1m45s")
	})
}
