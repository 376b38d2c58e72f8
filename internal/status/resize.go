package status

import (
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// resources tell what the node has set aside for a container, and what the runtime was told of its newest instance; for one
// that does not run, what it will be given (behaviour 221).
func (v *view) resources(out *v1.ContainerStatus, newest *pod.Container) {
	c, _ := pod.FindContainer(v.allocated, out.Name)
	if c == nil {
		return
	}
	out.AllocatedResources = c.Resources.Requests.DeepCopy()
	out.Resources = &v1.ResourceRequirements{Limits: c.Resources.Limits, Requests: c.Resources.Requests}
	if a := v.in.Memory.Kept.Allocated; newest.Live() && a != nil && a.Resized {
		actual := v.in.Memory.GivenTo(newest, v.allocated).In(out.Resources)
		out.Resources = &actual
		return
	}
	out.Resources = out.Resources.DeepCopy()
}

// sizes tell the same of a pod that asks for something as a whole (behaviours 217, 230).
func (v *view) sizes(out *v1.PodStatus) {
	r := v.allocated.Spec.Resources
	if r == nil || v.in.Memory.Kept.Admitted.IsZero() {
		return
	}
	out.AllocatedResources = r.Requests.DeepCopy()
	if v.in.Memory.Kept.Resizing == nil || out.Resources == nil { // while it is brought about, what was holds
		out.Resources = &v1.ResourceRequirements{Limits: r.Limits.DeepCopy(), Requests: r.Requests.DeepCopy()}
	}
}

// resizing tells whether a condition is one of those that come and go with a resize.
func resizing(t v1.PodConditionType) bool {
	return t == v1.PodResizePending || t == v1.PodResizeInProgress
}

// resizes are the conditions of a resize that waits, and of one under way (behaviours 223, 227, 231, 270). A pod that ends has
// none.
func (v *view) resizes() []v1.PodCondition {
	k := &v.in.Memory.Kept
	if v.stopping || v.final {
		return nil
	}
	var out []v1.PodCondition
	if p := k.Pending; p != nil {
		c := v1.PodCondition{Type: v1.PodResizePending, Status: v1.ConditionTrue, Reason: p.Reason, Message: p.Message, ObservedGeneration: p.Generation}
		if said := v.in.Facts.Resize; said.Of != nil && said.Reason == p.Reason && said.Of.Generation == p.Generation {
			c.Message = said.Message // what others have of the node changes
		}
		out = append(out, c)
	}
	if k.Resizing != nil {
		c := v1.PodCondition{Type: v1.PodResizeInProgress, Status: v1.ConditionTrue, ObservedGeneration: k.Allocated.Generation}
		if why := plan.ResizeFailure(v.in.Memory, v.pod); why != "" {
			c.Reason, c.Message = reason.Error, why
		}
		out = append(out, c)
	}
	return out
}
