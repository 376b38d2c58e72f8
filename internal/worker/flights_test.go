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

// When the agent leaves, a container that is being started may finish that, for a moment; all else is cut short.
func TestStartsOutliveTheAgentForAMoment(t *testing.T) {
	for _, c := range []struct {
		name          string
		takes, lasted time.Duration
		cancelled     int
	}{
		{"soon", time.Second, time.Second, 1},
		{"late", time.Minute, lastStart, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, leave := context.WithCancel(t.Context())
				doer := slowDoer{c.takes, make(chan plan.Kind, 2)}
				f := newFlights(doer)
				f.want(ctx, nil, []plan.Effect{{Kind: plan.StartContainer, Container: "a"}, {Kind: plan.CreateContainer, Container: "b"}}, plan.Seen{})
				began := time.Now()
				leave()
				synctest.Wait()
				f.drain()
				if lasted := time.Since(began); lasted != c.lasted {
					t.Errorf("it took %v, want %v", lasted, c.lasted)
				}
				if kind := <-doer.cancelled; kind != plan.CreateContainer || len(doer.cancelled) != c.cancelled-1 {
					t.Errorf("%v was cancelled first, and %d others", kind, len(doer.cancelled))
				}
			})
		})
	}
}

// A start that is not wanted any more is cancelled at once.
func TestStartsAreCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doer := slowDoer{time.Minute, make(chan plan.Kind, 1)}
		f := newFlights(doer)
		f.want(t.Context(), nil, []plan.Effect{{Kind: plan.StartContainer, Container: "a"}}, plan.Seen{})
		began := time.Now()
		f.want(t.Context(), nil, nil, plan.Seen{})
		f.drain()
		if lasted := time.Since(began); lasted != 0 || len(doer.cancelled) != 1 {
			t.Errorf("it took %v, want nothing", lasted)
		}
	})
}
