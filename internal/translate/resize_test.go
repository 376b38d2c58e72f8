package translate_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// TestResize holds what the runtime is told of a container that is there, and of its pod (behaviour 226).
func TestResize(t *testing.T) {
	list := func(cpu, memory string) v1.ResourceList {
		return v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(memory)}
	}
	p := &v1.Pod{Spec: v1.PodSpec{
		Overhead: list("50m", "1Mi"),
		Containers: []v1.Container{
			{Name: "both", Resources: v1.ResourceRequirements{Requests: list("100m", "32Mi"), Limits: list("200m", "64Mi")}},
			{Name: "open", Resources: v1.ResourceRequirements{Requests: list("100m", "32Mi")}},
		},
	}}
	d := &pod.Desired{Pod: p, Source: pod.FromAPI}
	node := &translate.Node{CPUCFSQuota: true, CgroupVersion: 2, MemoryCapacity: 1 << 30, HugePageSizes: []int64{2 << 20}, Swap: translate.Swap{Controller: true}}
	both := translate.ContainerResize(d, &p.Spec.Containers[0], node, false)
	if both.CpuShares != 102 || both.CpuQuota != 20000 || both.MemoryLimitInBytes != 64<<20 || both.Unified["memory.swap.max"] != "0" {
		t.Errorf("limits: %v", both)
	}
	if both.OomScoreAdj != 0 || len(both.HugepageLimits) > 0 {
		t.Errorf("it tells of what cannot change: %v", both)
	}
	if open := translate.ContainerResize(d, &p.Spec.Containers[1], node, false); open.CpuQuota != -1 || open.MemoryLimitInBytes != -1 {
		t.Errorf("no limits: %v", open)
	}
	node.CgroupVersion = 1
	if open := translate.ContainerResize(d, &p.Spec.Containers[1], node, false); open.MemorySwapLimitInBytes != -1 {
		t.Errorf("no limits with cgroup v1: %v", open)
	}
	overhead, whole := translate.PodResize(p, node)
	if overhead.CpuShares != 51 || whole.CpuShares != 204 || whole.MemoryLimitInBytes != 64<<20 {
		t.Errorf("the pod: %v and %v", overhead, whole)
	}
	p.Spec.Overhead = nil
	if overhead, _ = translate.PodResize(p, node); overhead != nil {
		t.Errorf("overhead of a pod without: %v", overhead)
	}
}
