package simworld

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
)

// SetCapacity says how many thousandths of a CPU the node has for its pods: from then on they must never have been given more.
func (w *World) SetCapacity(milli int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.capacity = milli
}

// Given is how many thousandths of a CPU the pods of the node were given that are wanted and not ending, or still run.
func (a *Agent) Given() int64 {
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	return a.givenBut("")
}

func (a *Agent) givenBut(uid types.UID) int64 {
	w, wanted := a.world, a.wanted.Value().Pods
	sum := int64(0)
	for other, r := range w.ledger {
		if other != uid && !r.Kept.Admitted.IsZero() && (r.Kept.Stop == nil && wanted[other] != nil || w.runs(other)) {
			sum += requested(r.Kept.Allocated)
		}
	}
	return sum
}

func (w *World) runs(uid types.UID) bool {
	for _, c := range w.containers {
		if c.uid == uid && c.state == pod.Running {
			return true
		}
	}
	return false
}

// requested is the sum of CPU requests of an allocation.
func requested(a *plan.Allocation) int64 {
	if a == nil {
		return 0
	}
	sum := int64(0)
	for _, s := range a.Containers {
		if q, err := resource.ParseQuantity(s.CPU.Request); err == nil {
			sum += q.MilliValue()
		}
	}
	return sum
}

// checkGrant holds that no pod is given what others have.
func (a *Agent) checkGrant(uid types.UID, r *plan.Record) {
	w := a.world
	before := w.ledger[uid].Kept
	if w.capacity == 0 || r.Kept.Stop != nil || r.Kept.Admitted.IsZero() || !before.Admitted.IsZero() && requested(r.Kept.Allocated) <= requested(before.Allocated) {
		return
	}
	if sum := a.givenBut(uid) + requested(r.Kept.Allocated); sum > w.capacity {
		w.violate("%s: pods are given %d thousandths of a CPU, and the node has %d", uid, sum, w.capacity)
	}
}

// limit sets the memory limit of a pod's cgroup, or only raises it.
func (w *World) limit(d *pod.Desired, raise bool) {
	uid := d.UID()
	limits := qos.Limits(d.Pod)
	now, limited := w.memory[uid]
	switch to := limits.Memory().Value(); {
	case !w.cgroups[uid]:
	case !qos.Limited(d.Pod, v1.ResourceMemory):
		delete(w.memory, uid)
	case raise && (!limited && w.runs(uid) || limited && now >= to):
	default:
		w.memory[uid] = to
	}
}

func (w *World) updateContainer(e plan.Effect) plan.Outcome {
	c := w.containers[e.ID]
	if c == nil || c.state != pod.Running && c.state != pod.Created {
		return failed("no such container", plan.Again)
	}
	if e.Lowers && w.chance(w.faults.InUse) {
		return failed("memory is in use", plan.Again)
	}
	c.given = e.Given
	return plan.Outcome{}
}

// checkMemory holds that what the containers of a pod may use together is never more than their pod may.
func (w *World) checkMemory(d *pod.Desired, e plan.Effect) {
	most, limited := w.memory[d.UID()]
	if !limited || e.Kind != plan.UpdateContainer && e.Kind != plan.SettlePod && e.Kind != plan.StartContainer {
		return
	}
	sum := int64(0)
	for _, c := range w.containers {
		if c.uid != d.UID() || c.state != pod.Running || w.past(c) {
			continue
		}
		if q, err := resource.ParseQuantity(c.given.Memory.Limit); err == nil {
			sum += q.Value()
		}
	}
	if sum > most {
		w.violate("%s: after %s the containers may use %d bytes of memory, and their pod %d", d.UID(), e.Key(), sum, most)
	}
}
