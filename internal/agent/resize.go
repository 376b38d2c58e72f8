package agent

import (
	"github.com/bosun-project/bosun/internal/admission"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// resizable is admission of resizes with what this node is now.
func (a *Agent) resizable(wanted, given *pod.Desired, running []*pod.Desired) plan.Resize {
	k := &a.cfg.Kubelet
	own := false // which lasts, whatever the policy is now
	if e := a.set.Table().Pod(given.UID()); e != nil {
		own = !e.Memory.Kept.Assigned.CPUs().Empty()
	}
	return admission.Resize(wanted, given, running, admission.Node{
		Name: a.host.Name, Allocatable: a.settings.allocatable, Declared: a.declares(),
		StaticCPUs: k.CPUManagerPolicy == "static" || own, StaticMemory: k.MemoryManagerPolicy == "Static",
		LimitedSwap: k.MemorySwap.SwapBehavior == "LimitedSwap" && a.settings.cgroupVersion() == 2 && a.host.Swap > 0,
	})
}
