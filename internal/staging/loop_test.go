package staging_test

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
	"github.com/bosun-project/bosun/internal/staging"
)

// node is a node with staged volumes.
type node struct {
	mu      sync.Mutex
	orphans []staging.Volume
	fails   map[staging.Volume]error
	hangs   map[staging.Volume]bool
	tried   map[staging.Volume]int
	left    latest.Cell[int]
	drivers latest.Cell[int]
}

func (n *node) Orphans() ([]staging.Volume, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.orphans), nil
}

func (n *node) Unstage(ctx context.Context, v staging.Volume) error {
	n.mu.Lock()
	n.tried[v]++
	hangs, err := n.hangs[v], n.fails[v]
	n.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.orphans = slices.DeleteFunc(n.orphans, func(o staging.Volume) bool { return o == v })
	}
	return err
}

// times is how often a volume was tried to be let go, and still what is left to do.
func (n *node) times(v staging.Volume) int {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tried[v]
}

func (n *node) still() []staging.Volume {
	synctest.Wait()
	found, _ := n.Orphans()
	return found
}

func (n *node) leave(v staging.Volume) {
	n.mu.Lock()
	n.orphans = append(n.orphans, v)
	n.mu.Unlock()
	n.left.Set(n.left.Value() + 1)
	synctest.Wait()
}

func bubble(t *testing.T, test func(n *node)) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{fails: map[staging.Volume]error{}, hangs: map[staging.Volume]bool{}, tried: map[staging.Volume]int{}}
		n.orphans = []staging.Volume{{Driver: "d", Handle: "old"}}
		newer := func(c *latest.Cell[int]) func() <-chan struct{} {
			return func() <-chan struct{} {
				_, newer := c.Get()
				return newer
			}
		}
		l := staging.New(staging.Config{Orphans: n.Orphans, Unstage: n.Unstage, Left: newer(&n.left), Drivers: newer(&n.drivers), Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		synctest.Wait()
		test(n)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestWhatACrashHasLeftGoes(t *testing.T) {
	bubble(t, func(n *node) {
		if len(n.still()) > 0 {
			t.Errorf("left: %v", n.still())
		}
		n.leave(staging.Volume{Driver: "d", Handle: "new"})
		if len(n.still()) > 0 {
			t.Errorf("left: %v", n.still())
		}
	})
}

func TestADriverThatHangsHoldsUpOnlyItsOwn(t *testing.T) {
	bubble(t, func(n *node) {
		hung, well := staging.Volume{Driver: "hung", Handle: "a"}, staging.Volume{Driver: "well", Handle: "b"}
		n.hangs[hung] = true
		n.leave(hung)
		n.leave(well)
		if !slices.Equal(n.still(), []staging.Volume{hung}) || n.times(hung) != 1 {
			t.Errorf("left: %v, tried %v", n.still(), n.times(hung))
		}
	})
}

func TestFailuresAreTriedAgainAndAtOnceWhenADriverComes(t *testing.T) {
	bubble(t, func(n *node) {
		v := staging.Volume{Driver: "d", Handle: "a"}
		n.fails[v] = errors.New("not now")
		n.leave(v)
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if n.times(v) != 2 {
			t.Errorf("tried %d times after the first pause, want 2", n.times(v))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n.times(v) > 45 {
			t.Errorf("tried %d times in an hour", n.times(v))
		}
		n.mu.Lock()
		delete(n.fails, v)
		n.mu.Unlock()
		n.drivers.Set(1)
		synctest.Wait()
		if len(n.still()) > 0 {
			t.Errorf("left: %v", n.still())
		}
	})
}
