package agent

import (
	"context"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/cgroup"
	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/host"
)

// nodeLimits are what all pods together may use: capacity without what is reserved, eviction thresholds not taken off
// (behaviour 207). None are set unless enforceNodeAllocatable names pods.
func nodeLimits(c *config.Config, h host.Facts) cgroup.Resources {
	if !slices.Contains(c.Kubelet.EnforceNodeAllocatable, "pods") {
		return cgroup.Resources{}
	}
	capacity := v1.ResourceList{
		v1.ResourceCPU:    *resource.NewQuantity(int64(h.CPUs), resource.DecimalSI),
		v1.ResourceMemory: *resource.NewQuantity(h.Memory, resource.BinarySI),
	}
	return cgroup.NodeResources(capacity, quantities(c.Kubelet.SystemReserved), quantities(c.Kubelet.KubeReserved))
}

// quantities leaves out what is none; the configuration has been checked by then.
func quantities(texts map[string]string) v1.ResourceList {
	list := v1.ResourceList{}
	for name, text := range texts {
		if q, err := resource.ParseQuantity(text); err == nil {
			list[v1.ResourceName(name)] = q
		}
	}
	return list
}

// weighPause is the least time between two looks at all pods: a burst of changes costs one.
const weighPause = time.Second

// weigh keeps the weight of all burstable pods together at the sum of what they ask for (behaviour 206).
func (a *Agent) weigh(ctx context.Context) error {
	var written uint64
	for {
		entries, newer := a.set.Table().Pods()
		pods := make([]*v1.Pod, 0, len(entries))
		for _, e := range entries {
			if phase := e.Status.Phase; phase != v1.PodSucceeded && phase != v1.PodFailed {
				pods = append(pods, e.Desired.Pod)
			}
		}
		a.treeLock.Lock()
		tree := a.tree
		a.treeLock.Unlock()
		// The tree comes with the first pod's cgroup, which is news of that pod.
		if shares := cgroup.BurstableShares(pods); tree != nil && shares != written {
			if err := tree.SetBurstableShares(ctx, shares); err != nil {
				return err
			}
			written = shares
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(weighPause):
		}
	}
}
