package worker

import (
	"cmp"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
)

// Room is admission of resizes: it says whether a pod that runs may have other resources than it was given, beside the other
// pods that run. It must be pure and quick.
type Room func(wanted, given *pod.Desired, running []*pod.Desired) plan.Resize

// What made room for a pod that had to wait for it, as the metrics of upstream call it.
const (
	podsRemoved = "pods_removed"
	podUpdated  = "pod_updated"
	podResized  = "pod_resized"
)

// resizes judges the pods that are wanted with other resources than they were given: first those that ask for no more than they
// have, then by priority, by class, and by how long they have waited (behaviour 223). staying are all pods that run, each with
// what it has; they have what is granted afterwards. known tells whether these are all.
func (s *Set) resizes(staying []resident, ending []*pod.Desired, known bool) {
	var asking []*resident
	for i := range staying {
		r := &staying[i]
		r.running.acknowledge(r.in)
		if in := r.in; in.allocated == nil || in.desired == in.sized || in.allocated.Same(plan.AllocationOf(in.desired.Pod)) {
			r.running.resize = plan.Resize{}
			continue
		}
		if !known {
			continue
		}
		r.of = plan.AllocationOf(r.in.desired.Pod)
		asking = append(asking, r)
	}
	slices.SortStableFunc(asking, urgency)
	for _, r := range asking {
		others := append(shares(staying, r.running), ending...)
		answer := s.cfg.Room(r.in.desired, r.in.sized, others)
		answer.Of = r.of
		if before := r.running.resize; answer.Fits {
			answer.Trigger = s.trigger(r)
			if before.Fits && before.Of.Same(r.of) {
				answer.Trigger = before.Trigger
			}
			r.running.grant(r.in, !before.Fits || !before.Of.Same(r.of))
		}
		r.running.resize = answer
	}
	s.residents = len(staying) + len(ending)
}

// resident is a pod that runs, or may begin to, as the Set sees it while it judges.
type resident struct {
	running *running
	in      inputs
	// of is what it asks for, if that is something else than it has.
	of *plan.Allocation
}

// shares are all residents but one, each with what it has of the node.
func shares(all []resident, but *running) []*pod.Desired {
	out := make([]*pod.Desired, 0, len(all))
	for i := range all {
		if all[i].running != but {
			out = append(out, all[i].running.share(all[i].in))
		}
	}
	return out
}

// share is a pod with what it has of the node: what it was given, and, until its worker has heard the newest answer, what it may
// be about to take.
func (r *running) share(in inputs) *pod.Desired {
	switch {
	case r.remains != nil && in.desired.Source == pod.FromRuntime:
		return r.remains
	case in.sized == nil && r.let != nil:
		return r.let
	case in.sized == nil:
		return in.desired
	case r.granted != nil:
		return plan.Larger(in.sized, r.granted)
	}
	return in.sized
}

// remains is a pod that nobody names, with what the ledger says it was given: of what it is made may not be known, and still it holds
// its share of the node until it has ended.
func remains(d *pod.Desired, a *plan.Allocation) *pod.Desired {
	out, p := *d, *d.Pod
	p.Spec = v1.PodSpec{}
	for _, name := range slices.Sorted(maps.Keys(a.Containers)) {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: name})
	}
	out.Pod = &p
	return plan.Allocated(&out, a)
}

// grant remembers what a worker may take at any moment, once it was told; fresh says that it has not been yet.
func (r *running) grant(in inputs, fresh bool) {
	switch {
	case fresh && r.granted != nil:
		r.granted, r.grantedAs = plan.Larger(in.desired, r.granted), in.told+1
	case fresh:
		r.granted, r.grantedAs = in.desired, in.told+1
	}
}

// acknowledge forgets what was granted once the worker has planned with that or something newer: it has taken it, or never will.
func (r *running) acknowledge(in inputs) {
	if in.heard >= r.grantedAs {
		r.granted = nil
	}
}

// trigger is what made room for a pod that had to wait.
func (s *Set) trigger(r *resident) string {
	switch {
	case r.in.pending == nil || r.in.pending.Generation != r.in.desired.Pod.Generation:
		return podUpdated
	case s.fewer:
		return podsRemoved
	}
	return podResized
}

// urgency orders resizes.
func urgency(a, b *resident) int {
	yes := func(b bool) int {
		if b {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(yes(!plan.AsksForMore(a.in.desired, a.in.sized)), yes(!plan.AsksForMore(b.in.desired, b.in.sized))),
		cmp.Compare(qos.Priority(b.in.desired.Pod), qos.Priority(a.in.desired.Pod)),
		cmp.Compare(class(a.in.desired.Pod), class(b.in.desired.Pod)),
		waited(a).Compare(waited(b)),
		cmp.Compare(a.running.order, b.running.order),
	)
}

// waited is since when a pod waits for what it asks for; one that has just asked comes last.
func waited(r *resident) time.Time {
	if p := r.in.pending; p != nil && p.Generation == r.in.desired.Pod.Generation {
		return p.Since
	}
	return time.Now()
}

func class(p *v1.Pod) int {
	return slices.Index([]v1.PodQOSClass{v1.PodQOSGuaranteed, v1.PodQOSBurstable, v1.PodQOSBestEffort}, qos.ClassOf(p))
}
