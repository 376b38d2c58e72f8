package perform

import (
	"errors"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// TestMemoryIsNotCutBelowUse holds that a container does not get less memory than it uses (behaviour 227).
func TestMemoryIsNotCutBelowUse(t *testing.T) {
	w := newWorld()
	x := w.performer()
	d := web(func(p *v1.Pod) {
		p.Spec.Containers[0].Resources.Limits = v1.ResourceList{v1.ResourceMemory: resource.MustParse("100")}
	})
	lower := one(plan.UpdateContainer)
	lower.Lowers = true
	w.uses = 101
	if o := w.do(t, x, d, lower, around(), "ContainerStats c1"); o.Failed == nil || !strings.Contains(o.Failed.Message, "uses 101 bytes of memory, and its new limit is 100") {
		t.Errorf("it says %+v", o.Failed)
	}
	w.uses = 100
	if o := w.do(t, x, d, lower, around(), "ContainerStats c1", "UpdateContainerResources c1 2 100"); o.Failed != nil {
		t.Error(o.Failed)
	}
	if o := w.do(t, x, d, one(plan.UpdateContainer), around(), "UpdateContainerResources c1 2 100"); o.Failed != nil {
		t.Error(o.Failed)
	}
	w.fail["ContainerStats"] = errors.New("no")
	if o := w.do(t, x, d, lower, around(), "ContainerStats c1"); o.Failed == nil {
		t.Error("what is not known is taken for little")
	}
}

// TestCgroupWhileResizing holds that the pod's cgroup is not made smaller before its containers are, whatever the agent does
// when it starts (behaviour 226), and that a runtime that does not want to know of resizes does not stop them.
func TestCgroupWhileResizing(t *testing.T) {
	w := newWorld()
	x := w.performer()
	seen := around()
	seen.Memory.Kept.Resizing = &plan.Resizing{}
	w.do(t, x, web(nil), one(plan.MakePod), seen, "Make", "LostCgroup", "GrowCgroup")
	w.fail["UpdatePodSandboxResources"] = errors.New("unknown method")
	if o := w.do(t, x, web(nil), one(plan.SettlePod), seen, "SettleCgroup", "UpdatePodSandboxResources s1 2"); o.Failed != nil {
		t.Error(o.Failed)
	}
	seen.Observed = pod.Observed{}
	w.do(t, x, web(nil), one(plan.GrowPod), seen, "GrowCgroup")
	w.fail["SettleCgroup"] = errors.New("in use")
	if o := w.do(t, x, web(nil), one(plan.SettlePod), around(), "SettleCgroup"); o.Failed == nil {
		t.Error("it is told to have worked")
	}
}
