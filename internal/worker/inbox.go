package worker

import (
	"reflect"
	"sync"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// inbox holds the newest of what others tell a worker. Any goroutine may put something in; the worker reads all at once.
type inbox struct {
	mu    sync.Mutex
	in    inputs
	newer chan struct{}
}

type inputs struct {
	desired  *pod.Desired
	observed pod.Observed
	facts    plan.Facts
	// stopping, admitted and released are what the worker itself last decided; the Set reads them. A released pod has
	// no processes any more.
	stopping, admitted, released bool
	// sized is the pod with the resources it was given, allocated what these are, nil while it was given none. pending is why it
	// has not got others.
	sized     *pod.Desired
	allocated *plan.Allocation
	pending   *plan.Pending
	// assigned is what the pod has for itself, as the ledger has it; nil for nothing.
	assigned *allocate.Assigned
	// told counts what the Set has told the worker; heard is how much of it the worker had heard when it decided this.
	told, heard uint64
	// newer is closed when anything changes after this was read.
	newer <-chan struct{}
}

func newInbox(d *pod.Desired, o pod.Observed, f plan.Facts) *inbox {
	return &inbox{in: inputs{desired: d, observed: o, facts: f}, newer: make(chan struct{})}
}

func (b *inbox) read() inputs {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.in
	in.newer = b.newer
	return in
}

func (b *inbox) change(change func(*inputs)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.in)
	close(b.newer)
	b.newer = make(chan struct{})
}

// tell hands on what the source and the node say, and wakes the worker only if that is new.
func (b *inbox) tell(d *pod.Desired, f plan.Facts) {
	b.mu.Lock()
	same := b.in.desired == d && reflect.DeepEqual(b.in.facts, f)
	b.mu.Unlock()
	if !same {
		b.change(func(in *inputs) {
			in.desired, in.facts = d, f
			in.told++
		})
	}
}

// size notes what the pod has of the node, which must be safe in the ledger: what it has given back others may have. It tells
// whether that changes what other pods may have.
func (b *inbox) size(k plan.Kept, sized *pod.Desired, heard uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	given := k.Allocated
	changed := b.in.allocated != nil && b.in.allocated != given || given != nil && sized != b.in.desired && b.in.sized != sized ||
		b.in.assigned != k.Assigned
	b.in.sized, b.in.allocated, b.in.pending, b.in.assigned, b.in.heard = nil, given, k.Pending, k.Assigned, heard
	if given != nil {
		b.in.sized = sized
	}
	return changed
}

// mark notes what the worker decided, and tells whether that changes what other pods may do.
func (b *inbox) mark(m plan.Memory) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	stopping, released := m.Kept.Stop != nil, m.Stage >= plan.Cleaning
	changed := stopping != b.in.stopping || released != b.in.released
	b.in.stopping, b.in.admitted, b.in.released = stopping, !m.Kept.Admitted.IsZero(), released
	return changed
}

func (b *inbox) deliver(r pod.Report) {
	b.change(func(in *inputs) {
		in.observed = in.observed.Merge(r)
		if d := in.desired; d.Source == pod.FromRuntime && len(d.Pod.Spec.Containers) == 0 && len(in.observed.Containers) > 0 {
			in.desired = translate.Orphan(d.UID(), pod.Report{ // the ledger had its name only: its containers tell the rest
				Namespace: d.Pod.Namespace, Name: d.Pod.Name, Sandboxes: in.observed.Sandboxes, Containers: in.observed.Containers,
			}, d.Seen)
		}
	})
}
