package worker

import (
	"context"
	"time"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// flights holds the effects of one pod that are in flight: never two of one key.
type flights struct {
	doer    Doer
	running map[string]*flight
	done    chan plan.Outcome
}

type flight struct {
	effect    plan.Effect
	began     time.Time
	cancel    context.CancelFunc
	cancelled bool
	// last is set on an effect that is cancelled but not yet cut short.
	last *time.Timer
}

func newFlights(doer Doer) *flights {
	return &flights{doer: doer, running: map[string]*flight{}, done: make(chan plan.Outcome)}
}

// want makes what is in flight what is wanted: it cancels what is not wanted any more or not in this form, and begins
// what is missing. An effect that is cancelled and wanted again begins when the old one has returned. It returns what it began.
func (f *flights) want(ctx context.Context, d *pod.Desired, effects []plan.Effect, seen plan.Seen) []plan.Effect {
	wanted := make(map[string]plan.Effect, len(effects))
	for _, e := range effects {
		wanted[e.Key()] = e
	}
	for key, fl := range f.running {
		if e, ok := wanted[key]; (!ok || !e.Same(fl.effect)) && !fl.cancelled {
			fl.abandon()
		}
	}
	var begun []plan.Effect
	for _, e := range effects {
		if _, busy := f.running[e.Key()]; !busy {
			f.begin(ctx, d, e, seen)
			begun = append(begun, e)
		}
	}
	return begun
}

func (f *flights) begin(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) {
	if e.Makes() { // drain ends it, not the end of ctx
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	fl := &flight{effect: e, began: time.Now(), cancel: cancel}
	f.running[e.Key()] = fl
	go func() {
		o := f.doer.Do(ctx, d, e, seen)
		o.Effect, o.Began, o.Ended = e, fl.began, time.Now()
		f.done <- o
	}()
}

// land takes an outcome out of what is in flight. A cancelled effect that failed says nothing about the world.
func (f *flights) land(o plan.Outcome) plan.Outcome {
	key := o.Effect.Key()
	if fl, ok := f.running[key]; ok {
		if fl.last != nil {
			fl.last.Stop()
		}
		fl.cancel()
		delete(f.running, key)
		if fl.cancelled && o.Failed != nil {
			failed := *o.Failed
			failed.Class = plan.Cancelled
			o.Failed = &failed
		}
	}
	return o
}

// lastMake is how long what makes a sandbox or a container may still take when it is not wanted any more.
const lastMake = 3 * time.Second

// abandon cancels an effect. One that makes something in the runtime may come to its end, if it does soon: a call that is cut
// short returns at once, while the runtime goes on for a while and then may leave behind a sandbox that nobody knows of; and
// a start that is cut short is a failure to the runtime, with which a pod has failed that is not to be restarted.
func (fl *flight) abandon() {
	fl.cancelled = true
	if fl.effect.Makes() {
		fl.last = time.AfterFunc(lastMake, fl.cancel)
		return
	}
	fl.cancel()
}

// drain cancels everything and waits until it has returned.
func (f *flights) drain() {
	for _, fl := range f.running {
		if !fl.cancelled {
			fl.abandon()
		}
	}
	for len(f.running) > 0 {
		f.land(<-f.done)
	}
}

func (f *flights) none() bool { return len(f.running) == 0 }

func (f *flights) has(e plan.Effect) bool {
	fl, ok := f.running[e.Key()]
	return ok && fl.effect.Same(e)
}

func (f *flights) effects() []plan.Effect {
	out := make([]plan.Effect, 0, len(f.running))
	for _, fl := range f.running {
		out = append(out, fl.effect)
	}
	return out
}

func (f *flights) views() []InFlight {
	out := make([]InFlight, 0, len(f.running))
	for key, fl := range f.running {
		out = append(out, InFlight{Effect: key, Since: fl.began, Cancelled: fl.cancelled})
	}
	sortInFlight(out)
	return out
}
