package perform

import (
	"context"
	"fmt"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// Resizer is the container runtime as resizes use it.
type Resizer interface {
	UpdateContainerResources(ctx context.Context, id string, resources *runtimeapi.LinuxContainerResources) error
	UpdatePodSandboxResources(ctx context.Context, id string, overhead, resources *runtimeapi.LinuxContainerResources) error
	ContainerStats(ctx context.Context, id string) (*runtimeapi.ContainerStats, error)
}

// updateContainer changes what a container may use. Less memory than it uses is refused here: not every kernel would refuse it,
// some would kill (behaviour 227).
func (x *Performer) updateContainer(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) error {
	spec, _ := pod.FindContainer(d.Pod, e.Container)
	if spec == nil {
		return noContainer(d, e)
	}
	node := x.cfg.Node()
	resources := translate.ContainerResize(d, spec, &node, !ownCPUs(seen, e.Container).Empty())
	if limit := resources.MemoryLimitInBytes; e.Lowers && limit > 0 {
		stats, err := x.cfg.Resizer.ContainerStats(ctx, e.ID)
		if err != nil {
			return err
		}
		if used := stats.GetMemory().GetWorkingSetBytes().GetValue(); used > uint64(limit) {
			return fmt.Errorf("container %s uses %d bytes of memory, and its new limit is %d: it is tried again", e.Container, used, limit)
		}
	}
	return x.cfg.Resizer.UpdateContainerResources(ctx, e.ID, resources)
}

// resizePod changes the pod's cgroup, and tells the runtime of it. The latter is for those who look at sandboxes from inside the
// runtime; not every runtime wants to know, and nothing depends on it.
func (x *Performer) resizePod(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) error {
	change := x.cfg.Cgroups.Settle
	if e.Kind == plan.GrowPod {
		change = x.cfg.Cgroups.Grow
	}
	if err := change(ctx, d.Pod, owns(seen)); err != nil {
		return err
	}
	if sandbox := plan.Sandbox(d, seen.Observed); sandbox != nil {
		node := x.cfg.Node()
		overhead, resources := translate.PodResize(d.Pod, &node)
		_ = x.cfg.Resizer.UpdatePodSandboxResources(ctx, sandbox.ID, overhead, resources)
	}
	return nil
}
