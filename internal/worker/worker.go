package worker

import (
	"context"
	"log/slog"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// Doer carries out one effect and says how it ended. It returns soon after its context ended.
type Doer interface {
	Do(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) plan.Outcome
}

// Ledger remembers what must survive a crash. Save returns once the record is safe on disk.
type Ledger interface {
	Save(ctx context.Context, uid types.UID, record plan.Record) error
	Forget(ctx context.Context, uid types.UID) error
}

// worker is the life of one pod.
type worker struct {
	doer   Doer
	ledger Ledger
	log    *slog.Logger
	notes  note.Sink
	inbox  *inbox
	story  *story
	show   func(*Entry)
	check  func(plan.Input, plan.Plan)
	// poke makes the Set look at the pod, for admission.
	poke func()
	// outcome is told of every effect that ended; nil is fine.
	outcome func(*pod.Desired, plan.Outcome)

	memory plan.Memory
	saved  []byte // the record as it was saved last
	// sized is the pod of the source wanted with the resources of given in place of its own.
	sized, wanted *pod.Desired
	given         *plan.Allocation
	// sizes is what was remembered of resources when resized was told last.
	sizes plan.Kept
	// resized is told of changes to what is remembered of resources; nil is fine.
	resized func(d *pod.Desired, before, after plan.Kept, said plan.Resize)
	// unsaved is why the ledger refuses records, and retry when to try again.
	unsaved error
	retry   time.Time
}

// run lives until the pod is done or the agent leaves. It tells whether the pod is done.
func (w *worker) run(ctx context.Context) bool {
	flights := newFlights(w.doer)
	defer flights.drain()
	for {
		in := w.inbox.read()
		now := time.Now()
		asked := plan.Input{
			Desired: in.desired, Memory: w.memory, Observed: in.observed, InFlight: flights.effects(), Facts: in.facts, Now: now,
		}
		p := plan.Next(asked)
		if w.check != nil {
			w.check(asked, p)
		}
		w.notice(in, p, now)
		w.save(ctx, in.desired, p.Memory.Kept, now)
		w.tellResized(in, p.Memory.Kept)
		w.memory = p.Memory
		sized := w.size(in.desired)
		changed := w.inbox.mark(w.memory)
		if w.unsaved == nil {
			changed = w.inbox.size(w.memory.Kept, sized, in.told) || changed
		}
		if changed || w.memory.Stage == plan.Waiting && !in.facts.Verdict.Judged && !in.observed.Inspected.IsZero() {
			w.poke()
		}
		if w.memory.Stage == plan.Done && flights.none() {
			w.show(w.story.entry(in, w.memory, nil, p.Waits, now))
			return true
		}
		begun := flights.want(ctx, sized, w.allowed(p.Effects, flights), plan.Seen{Observed: in.observed, Memory: w.memory})
		w.tellBegun(in.desired, begun, now)
		w.show(w.story.entry(in, w.memory, flights.views(), p.Waits, now))
		if !w.await(ctx, flights, in.newer, w.wakeAt(p.WakeAt)) {
			return false
		}
	}
}

// await blocks until something may have changed; it returns false when the agent leaves.
func (w *worker) await(ctx context.Context, flights *flights, newer <-chan struct{}, at time.Time) bool {
	var alarm <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-newer:
	case <-alarm:
	case o := <-flights.done:
		w.learn(flights, o)
		for more := true; more; { // whatever else has ended meanwhile belongs to the same pass
			select {
			case o := <-flights.done:
				w.learn(flights, o)
			default:
				more = false
			}
		}
	}
	return true
}

func (w *worker) learn(flights *flights, o plan.Outcome) {
	o = flights.land(o)
	w.memory = plan.Learn(w.memory, o)
	if o.Report != nil {
		w.inbox.deliver(*o.Report)
	}
	w.story.ended(o)
	if w.outcome != nil {
		w.outcome(w.inbox.read().desired, o)
	}
	w.tellEnded(o)
}

// size is a pod with the resources that it was given.
func (w *worker) size(d *pod.Desired) *pod.Desired {
	if given := w.memory.Kept.Allocated; w.sized == nil || w.wanted != d || w.given != given {
		w.sized, w.wanted, w.given = plan.Allocated(d, given), d, given
	}
	return w.sized
}

// tellResized tells of what has changed about resources since it told last.
func (w *worker) tellResized(in inputs, after plan.Kept) {
	before := w.sizes
	if w.resized == nil || before.Allocated == after.Allocated &&
		reflect.DeepEqual(before.Pending, after.Pending) && reflect.DeepEqual(before.Resizing, after.Resizing) {
		return
	}
	w.sizes = after
	if before.Allocated != nil {
		w.resized(in.desired, before, after, in.facts.Resize)
	}
}

// save writes what must survive a crash, before anything is done about it. A ledger that cannot be written is said
// once and tried again each second.
func (w *worker) save(ctx context.Context, d *pod.Desired, kept plan.Kept, now time.Time) {
	record := plan.Record{Namespace: d.Pod.Namespace, Name: d.Pod.Name, Kept: kept}
	text := encode(record)
	if string(text) == string(w.saved) { // nothing is owed to the ledger, even if it refused something meanwhile
		w.unsaved, w.retry = nil, time.Time{}
		return
	}
	if w.unsaved != nil && now.Before(w.retry) {
		return
	}
	err := w.ledger.Save(ctx, d.UID(), record)
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		if w.unsaved == nil {
			w.log.Error("the ledger cannot be written; what only frees resources goes on, the rest waits", "err", err)
		}
		w.unsaved, w.retry = err, time.Now().Add(time.Second)
	default:
		if w.unsaved != nil {
			w.log.Info("the ledger can be written again")
		}
		w.saved, w.unsaved, w.retry = text, nil, time.Time{}
	}
}

// allowed holds back what must not begin before it is remembered, while the ledger cannot be written: only effects
// in flight and those that free something go on.
func (w *worker) allowed(effects []plan.Effect, flights *flights) []plan.Effect {
	if w.unsaved == nil {
		return effects
	}
	out := make([]plan.Effect, 0, len(effects))
	for _, e := range effects {
		if e.Frees() || flights.has(e) {
			out = append(out, e)
		}
	}
	return out
}

func (w *worker) wakeAt(planned time.Time) time.Time {
	if w.unsaved != nil && (planned.IsZero() || w.retry.Before(planned)) {
		return w.retry
	}
	return planned
}
