package translate

import (
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
)

// ContainerResize is what the runtime is told when the CPU and memory of a container change while it is there. It leaves alone
// what cannot change then; a limit that is no more is lifted (behaviour 226). own tells that it has
// processors of its own.
func ContainerResize(d *pod.Desired, c *v1.Container, n *Node, own bool) *runtimeapi.LinuxContainerResources {
	out := Resources(d, c, n, &Inputs{NoCPUQuota: own})
	out.OomScoreAdj, out.HugepageLimits = 0, nil
	if out.MemoryLimitInBytes == 0 {
		out.MemoryLimitInBytes = -1
		if out.MemorySwapLimitInBytes == 0 && n.Swap.Controller && n.CgroupVersion != 2 {
			out.MemorySwapLimitInBytes = -1
		}
	}
	return out
}

// PodResize is what the runtime is told of a pod as a whole when that changes: its overhead, nil if it has none, and what its
// containers have together.
func PodResize(p *v1.Pod, n *Node) (overhead, resources *runtimeapi.LinuxContainerResources) {
	if len(p.Spec.Overhead) > 0 {
		overhead = resourcesOf(p.Spec.Overhead, p.Spec.Overhead, n)
	}
	return overhead, resourcesOf(qos.RequestsBare(p), qos.LimitsBare(p), n)
}
