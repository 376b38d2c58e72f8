package limits

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
)

// world is what the loop reads and writes.
type world struct {
	up    latest.Cell[bool]
	pods  latest.Cell[int]
	began time.Time

	mu      sync.Mutex
	refused error
	done    []string
}

func (w *world) refuse(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = err
}

func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = append(w.done, fmt.Sprintf("%v ", time.Since(w.began))+fmt.Sprintf(format, args...))
}

func (w *world) Limit(context.Context) error {
	w.say("limit")
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

func (w *world) Weigh(_ context.Context, of Sums) error {
	w.say("weigh %d", of.Shares)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

// run runs a loop beside play and returns all that was written and noted.
func run(t *testing.T, enforced bool, play func(*world)) []string {
	t.Helper()
	var done []string
	synctest.Test(t, func(t *testing.T) {
		w := &world{began: time.Now()}
		l := New(Config{
			Up: w.up.Get, Cgroups: w, Enforced: enforced, Node: "here",
			Pods: func() ([]*v1.Pod, <-chan struct{}) {
				n, newer := w.pods.Get()
				return make([]*v1.Pod, n), newer
			},
			Sum:   func(pods []*v1.Pod) Sums { return Sums{Shares: uint64(2 + 10*len(pods))} },
			Notes: func(n note.Note) { w.say("%s %s %s: %s", n.Level, n.Reason, n.About.Name, n.Message) },
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		synctest.Wait()
		play(w)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		done = w.done
	})
	return done
}

func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestLoop(t *testing.T) {
	for name, c := range map[string]struct {
		lifted bool
		play   func(*world)
		want   []string
	}{
		"nothing before the runtime answers": {
			play: func(w *world) {
				w.pods.Set(3)
				pause(time.Hour)
			},
		},
		"at once when it does, then each minute; told once": {
			play: func(w *world) {
				pause(time.Second)
				w.up.Set(true)
				pause(90 * time.Second)
			},
			want: []string{"1s limit", "1s weigh 2", "1s Normal NodeAllocatableEnforced here: Updated Node Allocatable limit across pods", "1m1s limit", "1m1s weigh 2"},
		},
		"a burst of pods costs one look, and others that change nothing cost no writing": {
			play: func(w *world) {
				w.up.Set(true)
				synctest.Wait()
				for i := range 10 {
					w.pods.Set(i)
					pause(50 * time.Millisecond)
				}
				pause(10 * time.Second)
				w.pods.Set(9)
				pause(10 * time.Second)
			},
			want: []string{"0s limit", "0s weigh 2", "0s Normal NodeAllocatableEnforced here: Updated Node Allocatable limit across pods", "1s weigh 92"},
		},
		"a failure is told once, and when it is over": {
			play: func(w *world) {
				w.refuse(errors.New("device busy"))
				w.up.Set(true)
				pause(90 * time.Second)
				w.refuse(nil)
				pause(time.Minute)
			},
			want: []string{
				"0s limit", "0s weigh 2", "0s Warning FailedNodeAllocatableEnforcement here: Failed to update Node Allocatable Limits: device busy",
				"1m0s limit", "1m0s weigh 2",
				"2m0s limit", "2m0s weigh 2", "2m0s Normal NodeAllocatableEnforced here: Updated Node Allocatable limit across pods",
			},
		},
		"limits that are lifted are not worth a word": {
			lifted: true,
			play: func(w *world) {
				w.up.Set(true)
				pause(time.Second)
			},
			want: []string{"0s limit", "0s weigh 2"},
		},
		"a runtime that went away": {
			play: func(w *world) {
				w.up.Set(true)
				synctest.Wait()
				w.up.Set(false)
				pause(10 * time.Minute)
			},
			want: []string{"0s limit", "0s weigh 2", "0s Normal NodeAllocatableEnforced here: Updated Node Allocatable limit across pods"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := run(t, !c.lifted, c.play); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
