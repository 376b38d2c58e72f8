package qos

import (
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/component-helpers/resource"

	"github.com/bosun-project/bosun/internal/pod"
)

// Requests is what the scheduler and admission count for the pod: the larger of what its init containers and what its
// running containers ask for, or what the pod itself asks for, plus overhead (behaviours 33, 56, 112, 217).
func Requests(p *v1.Pod) v1.ResourceList {
	return resource.PodRequests(p, resource.PodResourcesOptions{})
}

// Limits are the sums of the limits in the same way; overhead is added to limits that are there. A sum says nothing of
// containers without a limit: see Limited.
func Limits(p *v1.Pod) v1.ResourceList {
	return resource.PodLimits(p, resource.PodResourcesOptions{})
}

// RequestsBare is Requests without the overhead: what the containers themselves ask for.
func RequestsBare(p *v1.Pod) v1.ResourceList {
	return resource.PodRequests(p, resource.PodResourcesOptions{ExcludeOverhead: true})
}

// LimitsBare is Limits without the overhead.
func LimitsBare(p *v1.Pod) v1.ResourceList {
	return resource.PodLimits(p, resource.PodResourcesOptions{ExcludeOverhead: true})
}

// Limited tells whether the pod as a whole has a limit of a resource: the pod itself names one, or every one of its
// containers does (behaviour 205).
func Limited(p *v1.Pod, name v1.ResourceName) bool {
	if _, ok := podLimit(p, name); ok {
		return true
	}
	limited := true
	visit(p, func(c *v1.Container) {
		if l := c.Resources.Limits[name]; l.Sign() <= 0 {
			limited = false
		}
	})
	return limited
}

// LimitOf is the limit of a resource that holds for a container: its own, else that of the pod (behaviour 217). It is
// nil if there is none.
func LimitOf(p *v1.Pod, c *v1.Container, name v1.ResourceName) *apiresource.Quantity {
	if l, ok := c.Resources.Limits[name]; ok {
		return &l
	}
	if l, ok := podLimit(p, name); ok {
		return &l
	}
	return nil
}

func podLimit(p *v1.Pod, name v1.ResourceName) (apiresource.Quantity, bool) {
	if p.Spec.Resources == nil || !resource.IsSupportedPodLevelResource(name) {
		return apiresource.Quantity{}, false
	}
	l, ok := p.Spec.Resources.Limits[name]
	return l, ok && l.Sign() > 0
}

// OOMScoreAdj is the oom_score_adj of a container's processes: -997 is spared longest, 1000 killed first (behaviour 88).
// memoryCapacity is the node's, in bytes.
func OOMScoreAdj(p *v1.Pod, c *v1.Container, memoryCapacity int64) int64 {
	const guaranteed, bestEffort = -997, 1000
	if NodeCritical(p) {
		return guaranteed
	}
	switch ClassOf(p) {
	case v1.PodQOSGuaranteed:
		return guaranteed
	case v1.PodQOSBestEffort:
		return bestEffort
	case v1.PodQOSBurstable:
	}
	if memoryCapacity <= 0 {
		return bestEffort - 1
	}
	extra := extraMemory(p)
	score := burstableScore(c, extra, memoryCapacity)
	if !isSidecarOf(p, c) {
		return score
	}
	// A sidecar must not die before the containers it serves.
	for i := range p.Spec.Containers {
		score = min(score, burstableScore(&p.Spec.Containers[i], extra, memoryCapacity))
	}
	return score
}

func burstableScore(c *v1.Container, extra, memoryCapacity int64) int64 {
	request := min(c.Resources.Requests.Memory().Value()+extra, memoryCapacity)
	return min(max(1000-1000*request/memoryCapacity, 3), 999)
}

// extraMemory is each container's share of what the pod asks for beyond what its containers ask for, in bytes (KEP-2837).
func extraMemory(p *v1.Pod) int64 {
	if p.Spec.Resources == nil {
		return 0
	}
	request, ok := p.Spec.Resources.Requests[v1.ResourceMemory]
	if !ok {
		return 0
	}
	rest, n := request.Value(), int64(len(p.Spec.Containers))
	for i := range p.Spec.Containers {
		rest -= p.Spec.Containers[i].Resources.Requests.Memory().Value()
	}
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; pod.IsSidecar(c) {
			rest -= c.Resources.Requests.Memory().Value()
			n++
		}
	}
	if rest <= 0 || n == 0 {
		return 0
	}
	return rest / n
}

func isSidecarOf(p *v1.Pod, c *v1.Container) bool {
	for i := range p.Spec.InitContainers {
		if p.Spec.InitContainers[i].Name == c.Name {
			return pod.IsSidecar(&p.Spec.InitContainers[i])
		}
	}
	return false
}
