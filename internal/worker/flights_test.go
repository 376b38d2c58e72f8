package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// slowDoer takes a while for everything, unless it is cancelled before, and remembers what was.
type slowDoer struct {
	takes     time.Duration
	cancelled chan plan.Kind
}

func (s slowDoer) Do(ctx context.Context, _ *pod.Desired, e plan.Effect, _ plan.Seen) plan.Outcome {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		s.cancelled <- e.Kind
	}
	return plan.Outcome{}
}

// What makes something in the runtime may come to its end for a moment, when the agent leaves and when it is not wanted any
// more; all else is cut short.
func TestWhatIsBeingMadeIsNotCutShortAtOnce(t *testing.T) {
	leave := func(_ context.Context, _ *flights, leave func()) { leave() }
	unwanted := func(ctx context.Context, f *flights, _ func()) { f.want(ctx, nil, nil, plan.Seen{}) }
	for _, c := range []struct {
		name          string
		takes, lasted time.Duration
		cancelled     int
		end           func(context.Context, *flights, func())
	}{
		{"the agent leaves, it ends soon", time.Second, time.Second, 1, leave},
		{"the agent leaves, it hangs", time.Minute, lastMake, 3, leave},
		{"unwanted, it ends soon", time.Second, time.Second, 1, unwanted},
		{"unwanted, it hangs", time.Minute, lastMake, 3, unwanted},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, leave := context.WithCancel(t.Context())
				doer := slowDoer{c.takes, make(chan plan.Kind, 3)}
				f := newFlights(doer)
				f.want(ctx, nil, []plan.Effect{
					{Kind: plan.StartContainer, Container: "a"}, {Kind: plan.RunSandbox}, {Kind: plan.EnsureImage, Container: "b"},
				}, plan.Seen{})
				began := time.Now()
				c.end(ctx, f, leave)
				synctest.Wait()
				f.drain()
				if lasted := time.Since(began); lasted != c.lasted {
					t.Errorf("it took %v, want %v", lasted, c.lasted)
				}
				if kind := <-doer.cancelled; kind != plan.EnsureImage || len(doer.cancelled) != c.cancelled-1 {
					t.Errorf("%v was cut short first, and %d others", kind, len(doer.cancelled))
				}
			})
		})
	}
}
