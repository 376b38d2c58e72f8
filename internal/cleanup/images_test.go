package cleanup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/bosun-project/bosun/internal/collect"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
)

// cellar is a runtime with images on a disk, and everything that happens to them.
type cellar struct {
	began time.Time
	ready latest.Cell[bool]

	mu     sync.Mutex
	images map[string]collect.Image
	used   collect.Used
	// disk is its size, other what is on it beside images.
	disk, other int64
	// stuck cannot be removed; wished is wished for by somebody.
	stuck, wished map[string]bool
	refused       error // listing fails
	story         []string
}

func (c *cellar) say(format string, args ...any) {
	c.story = append(c.story, fmt.Sprintf("%v ", time.Since(c.began).Truncate(time.Second))+fmt.Sprintf(format, args...))
}

func (c *cellar) change(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *cellar) add(id string, size int64, names ...string) {
	c.images[id] = collect.Image{ID: id, Names: names, Size: size}
}

func (c *cellar) loop(p collect.Policy) *Images {
	p.Began = c.began
	return NewImages(ImagesConfig{
		Policy: p, Ready: c.ready.Get,
		Images: func(context.Context) ([]collect.Image, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return slices.SortedFunc(maps.Values(c.images), func(a, b collect.Image) int { return cmp.Compare(a.ID, b.ID) }), c.refused
		},
		Used: func(context.Context) (collect.Used, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return maps.Clone(c.used), nil
		},
		Disk: func(context.Context) (collect.Disk, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			d := collect.Disk{Capacity: c.disk, Available: c.disk - c.other}
			for _, i := range c.images {
				d.Available -= i.Size
			}
			return d, nil
		},
		Remove: func(_ context.Context, i collect.Image, looked time.Time) (bool, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			switch {
			case time.Since(looked) > time.Minute:
				return false, errors.New("what is in use was looked at long ago")
			case c.wished[i.ID]:
				return false, nil
			case c.stuck[i.ID]:
				return false, errors.New(i.ID + " is stuck")
			}
			delete(c.images, i.ID)
			c.say("removed %s", i.ID)
			return true, nil
		},
		Removed: func(why string) { c.change(func() { c.story[len(c.story)-1] += " for " + why }) },
		Notes: func(n note.Note) {
			c.change(func() { c.say("%s %s %s %s", n.Level, n.About.Kind, n.Reason, n.Message) })
		},
		Log: slog.New(slog.DiscardHandler),
	})
}

func TestImages(t *testing.T) {
	full := func(percent, freed int) string {
		return fmt.Sprintf("Insufficient free disk space on the node's image filesystem (%d%% of 1000.0 B used). "+
			"Failed to free sufficient space by deleting unused images (freed %d bytes). "+
			"Investigate disk usage, as it could be used by active images, logs, volumes, or other data.", percent, freed)
	}
	space := collect.Policy{MinAge: 2 * time.Minute, High: 85, Low: 80}
	cases := []struct {
		name   string
		policy collect.Policy
		begin  func(*cellar)
		play   func(*cellar) // meanwhile
		lasts  time.Duration
		want   []string
	}{
		{
			"nothing while there is room", space,
			func(c *cellar) { c.add("a", 100); c.other = 700 }, nil, time.Hour, nil,
		},
		{
			"down to the low threshold, the longest unused first", space,
			func(c *cellar) {
				c.add("a", 100)
				c.add("b", 100)
				c.add("busy", 300)
				c.used["busy"] = true
				c.other = 350
			},
			func(c *cellar) {
				time.Sleep(6 * time.Minute)
				c.change(func() { c.add("c", 100, "c:1"); c.used["c:1"] = true; c.used["a"] = true }) // 950
				time.Sleep(5 * time.Minute)
				c.change(func() { delete(c.used, "a"); delete(c.used, "c:1"); c.add("b2", 100) })
			},
			20 * time.Minute,
			// At 0: 850 of 1000 are used, 50 have to go. At 10: 850 again, of which a and c are used, and nothing may go.
			[]string{"0s removed a for space", "10m0s removed b for space", "15m0s removed c for space"},
		},
		{
			"too young", space,
			func(c *cellar) { c.other = 400 },
			func(c *cellar) {
				time.Sleep(5*time.Minute - time.Second)
				c.change(func() { c.add("a", 500) })
			},
			11 * time.Minute,
			[]string{
				"5m0s Warning Node FreeDiskSpaceFailed " + full(90, 0),
				"10m0s removed a for space",
			},
		},
		{
			"full of other things", space,
			func(c *cellar) { c.add("a", 100); c.add("b", 10); c.other = 790; c.used["a"] = true },
			nil, 6 * time.Minute,
			[]string{
				"0s removed b for space",
				"0s Warning Node FreeDiskSpaceFailed " + full(90, 10),
				"5m0s Warning Node FreeDiskSpaceFailed " + full(89, 0),
				"5m0s Warning Node ImageGCFailed " + full(89, 0),
			},
		},
		{
			"a disk of no size", space,
			func(c *cellar) { c.disk = 0 }, nil, 6 * time.Minute,
			[]string{
				"0s Warning Node InvalidDiskCapacity invalid capacity 0 on image filesystem",
				"5m0s Warning Node InvalidDiskCapacity invalid capacity 0 on image filesystem",
				"5m0s Warning Node ImageGCFailed invalid capacity 0 on image filesystem",
			},
		},
		{
			"a runtime that is away once is no failure", space,
			func(c *cellar) { c.refused = errors.New("away") },
			func(c *cellar) {
				time.Sleep(time.Minute)
				c.change(func() { c.refused = nil })
				time.Sleep(5 * time.Minute)
				c.change(func() { c.refused = errors.New("away again") })
			},
			16 * time.Minute,
			[]string{"15m0s Warning Node ImageGCFailed away again"},
		},
		{
			"one that cannot be removed does not keep the others", space,
			func(c *cellar) { c.add("a", 100); c.add("b", 100); c.add("c", 100); c.stuck["a"] = true; c.other = 600 },
			nil, 4 * time.Minute, []string{"0s removed b for space"},
		},
		{
			"what is wished for stays", space,
			func(c *cellar) { c.add("a", 100); c.add("b", 100); c.wished["a"] = true; c.other = 700 },
			nil, 4 * time.Minute, []string{"0s removed b for space"},
		},
		{
			"by age alone", collect.Policy{MinAge: time.Minute, MaxAge: time.Hour, High: 100, Low: 80},
			func(c *cellar) { c.add("a", 1); c.add("b", 1); c.used["b"] = true; c.other = 998 },
			func(c *cellar) {
				time.Sleep(12 * time.Minute)
				c.change(func() { delete(c.used, "b") })
			},
			2 * time.Hour, []string{"1h5m0s removed a for age", "1h15m0s removed b for age"},
		},
		{
			"never", collect.Policy{High: 100, Low: 80},
			func(c *cellar) { c.add("a", 1000) }, nil, 2 * time.Hour, nil,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCellar()
				c.begin(w)
				ctx, cancel := context.WithTimeout(t.Context(), c.lasts)
				defer cancel()
				var group sync.WaitGroup
				if c.play != nil {
					group.Go(func() { c.play(w) })
				}
				w.ready.Set(true)
				if err := w.loop(c.policy).Run(ctx); err != nil {
					t.Error(err)
				}
				group.Wait()
				if diff := gocmp.Diff(c.want, w.story); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func newCellar() *cellar {
	return &cellar{
		began: time.Now(), images: map[string]collect.Image{}, used: collect.Used{}, disk: 1000,
		stuck: map[string]bool{}, wished: map[string]bool{},
	}
}

// TestImagesWait holds that nothing is removed before it is known what is wanted.
func TestImagesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCellar()
		w.add("a", 1000)
		l := w.loop(collect.Policy{High: 85, Low: 80})
		if freed, err := l.Collect(t.Context()); freed != 0 || err != nil {
			t.Errorf("collected %d bytes, %v", freed, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
		defer cancel()
		go func() {
			time.Sleep(7 * time.Minute)
			w.ready.Set(true)
		}()
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
		if diff := gocmp.Diff([]string{"7m0s removed a for space"}, w.story); diff != "" {
			t.Error(diff)
		}
	})
}

// TestImagesCollect holds what an eviction asks for: all unused images go, whatever the thresholds are.
func TestImagesCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCellar()
		w.add("a", 10)
		w.add("b", 20)
		w.add("busy", 30)
		w.used["busy"] = true
		w.stuck["b"] = true
		w.ready.Set(true)
		l := w.loop(collect.Policy{MinAge: 2 * time.Minute, High: 100, Low: 80})
		freed, err := l.Collect(t.Context())
		if freed != 10 || err == nil {
			t.Errorf("freed %d, %v", freed, err)
		}
		w.stuck = nil
		w.add("young", 40)
		if freed, err = l.Collect(t.Context()); freed != 20 || err != nil {
			t.Errorf("freed %d, %v", freed, err)
		}
		time.Sleep(3 * time.Minute)
		if freed, err = l.Collect(t.Context()); freed != 40 || err != nil {
			t.Errorf("freed %d, %v", freed, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		l.turn <- struct{}{}
		cancel()
		if _, err = l.Collect(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
	})
}

// TestImagesFree holds that no more images go than are asked for.
func TestImagesFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCellar()
		for _, name := range []string{"a", "b", "c"} {
			w.add(name, 10)
		}
		w.ready.Set(true)
		l := w.loop(collect.Policy{High: 100, Low: 80})
		if freed, err := l.Free(t.Context(), 15); freed != 20 || err != nil || len(w.images) != 1 {
			t.Errorf("freed %d, %v; %d are left", freed, err, len(w.images))
		}
	})
}
