package image

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// shelf is a runtime's images in so far as they can be pulled, found and removed.
type shelf struct {
	mu      sync.Mutex
	present map[string]string // ID by name
	pulls   int
}

func (s *shelf) ensure(name, id string, slow time.Duration) func() (Result, error) {
	return func() (Result, error) {
		time.Sleep(slow)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.present[name] == "" {
			s.present[name] = id
			s.pulls++
		}
		return Result{ID: s.present[name]}, nil
	}
}

func (s *shelf) remove(id string, slow time.Duration) func(context.Context) error {
	return func(context.Context) error {
		time.Sleep(slow / 2)
		s.mu.Lock()
		for name, at := range s.present {
			if at == id {
				delete(s.present, name)
			}
		}
		s.mu.Unlock()
		time.Sleep(slow / 2)
		return nil
	}
}

func (s *shelf) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.present {
		if at == id {
			return true
		}
	}
	return false
}

// TestHolds holds that an image that was ensured is there for the container that is made from it.
func TestHolds(t *testing.T) {
	cases := []struct {
		name string
		// wish is what the pod calls the image, names what the runtime does.
		wish    string
		names   []string
		present bool
		// The wish takes that long and begins at, as the removal.
		wished, wishTakes, removed, removalTakes time.Duration
		// looked is when what is in use was looked at.
		looked time.Duration
		gone   bool // the removal came about
		pulls  int
	}{
		{name: "wish while removing", wish: "a:1", names: []string{"a:1"}, present: true, removed: 0, removalTakes: 10 * time.Second, wished: time.Second, gone: true, pulls: 1},
		{name: "remove while wishing", wish: "a:1", names: []string{"a:1"}, present: true, wished: 0, wishTakes: 10 * time.Second, removed: time.Second},
		{name: "remove after the wish, looked before", wish: "a:1", names: []string{"a:1"}, present: true, wished: time.Second, removed: time.Hour, looked: 0},
		{name: "remove soon after the wish", wish: "a:1", names: []string{"a:1"}, present: true, wished: 0, removed: 2 * time.Second, looked: time.Second},
		{name: "remove long after the wish", wish: "a:1", names: []string{"a:1"}, present: true, wished: 0, removed: 2 * time.Hour, looked: 2 * time.Hour, gone: true},
		{name: "another name of the same image is pulled meanwhile", wish: "a:2", names: []string{"a:1"}, wished: 0, wishTakes: 10 * time.Second, removed: time.Second, removalTakes: 20 * time.Second, gone: true, pulls: 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				h, s := NewHolds(), &shelf{present: map[string]string{}}
				if c.present {
					s.present[c.wish] = "id"
				}
				var group sync.WaitGroup
				group.Go(func() {
					time.Sleep(c.wished)
					r, err := h.Ensure(t.Context(), []string{c.wish}, s.ensure(c.wish, "id", c.wishTakes))
					if err != nil || r.ID != "id" || !s.has("id") {
						t.Errorf("ensured %+v, %v, there: %v", r, err, s.has("id"))
					}
				})
				group.Go(func() {
					time.Sleep(c.removed)
					gone, err := h.Remove(t.Context(), "id", c.names, began.Add(c.looked), s.remove("id", c.removalTakes))
					if err != nil || gone != c.gone {
						t.Errorf("removed: %v, %v", gone, err)
					}
				})
				group.Wait()
				if s.pulls != c.pulls {
					t.Errorf("%d pulls, want %d", s.pulls, c.pulls)
				}
				if len(h.wishes)+len(h.removals) != 0 {
					t.Errorf("left: %d wishes, %d removals", len(h.wishes), len(h.removals))
				}
			})
		})
	}
}

func TestHoldsGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHolds()
		boom := errors.New("boom")
		var group sync.WaitGroup
		group.Go(func() {
			gone, err := h.Remove(t.Context(), "id", nil, time.Now(), func(context.Context) error { time.Sleep(time.Hour); return boom })
			if !gone || !errors.Is(err, boom) {
				t.Errorf("removed %v, %v", gone, err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := h.Ensure(ctx, []string{"id"}, func() (Result, error) { t.Error("ensured"); return Result{}, nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a wish that is given up: %v", err)
		}
		if _, err := h.Ensure(t.Context(), []string{"other"}, func() (Result, error) { return Result{}, boom }); !errors.Is(err, boom) {
			t.Errorf("a failed wish: %v", err)
		}
		group.Wait()
	})
}

// TestHoldsAtRandom lets pods wish for images, and a collector remove those that no pod has, as the agent's does: an image that
// a pod was told is there must be there when the pod makes its container from it.
func TestHoldsAtRandom(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			h, s := NewHolds(), &shelf{present: map[string]string{}}
			var mu sync.Mutex
			using := map[string]int{} // what can be seen to be in use
			var group sync.WaitGroup
			stop := make(chan struct{})
			for p := range uint64(4) {
				r := rand.New(rand.NewPCG(seed, p))
				group.Go(func() {
					for range 30 {
						time.Sleep(time.Duration(r.IntN(120)) * time.Second)
						id := fmt.Sprint("id", r.IntN(3))
						name := fmt.Sprint(id, ":", r.IntN(2)) // two names of each image
						got, err := h.Ensure(t.Context(), []string{name}, s.ensure(name, id, time.Duration(r.IntN(30))*time.Second))
						if err != nil {
							t.Error(err)
						}
						time.Sleep(time.Duration(r.IntN(50)) * time.Second) // not to be seen yet
						if !s.has(got.ID) {
							t.Errorf("seed %d: image %s has gone before its container was made", seed, got.ID)
						}
						mu.Lock()
						using[got.ID]++
						mu.Unlock()
						time.Sleep(time.Duration(r.IntN(100)) * time.Second)
						mu.Lock()
						using[got.ID]--
						mu.Unlock()
					}
				})
			}
			removed := 0
			collector := make(chan struct{})
			go func() {
				defer close(collector)
				r := rand.New(rand.NewPCG(seed, 9))
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(r.IntN(20)) * time.Second):
					}
					looked := time.Now()
					for n := range 3 {
						id := fmt.Sprint("id", n)
						mu.Lock()
						busy := using[id] > 0
						mu.Unlock()
						if busy || !s.has(id) {
							continue
						}
						gone, _ := h.Remove(t.Context(), id, []string{id + ":0"}, looked, s.remove(id, time.Duration(r.IntN(20))*time.Second))
						if gone {
							removed++
						}
					}
				}
			}()
			group.Wait()
			close(stop)
			<-collector
			if removed == 0 {
				t.Errorf("seed %d: nothing was removed", seed)
			}
		})
	}
}

func TestNames(t *testing.T) {
	digest := "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for image, want := range map[string][]string{
		"busybox":                    {"busybox", "docker.io/library/busybox:latest"},
		"ghcr.io/a/b:1":              {"ghcr.io/a/b:1"},
		"busybox:1@" + digest:        {"docker.io/library/busybox@" + digest},
		"localhost:5000/a@" + digest: {"localhost:5000/a@" + digest},
		digest:                       {digest},
		"No Name":                    {"No Name"},
	} {
		got := Names(image)
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("%s: %v lacks %s", image, got, name)
			}
		}
	}
}
