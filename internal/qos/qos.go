package qos

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
)

// CriticalPriority is the priority from which on a pod is critical (behaviour 12).
const CriticalPriority int32 = 2000000000

// nodeCriticalPriority is the value of the priority class system-node-critical.
const nodeCriticalPriority int32 = 2000001000

// The classes that every cluster has. Their pods have their priority from the API server; a manifest may have the name only.
const (
	nodeCriticalClass    = "system-node-critical"
	clusterCriticalClass = "system-cluster-critical"
)

// Critical tells whether the node must keep a pod running whatever happens: it is static, the mirror of a static pod, or of
// a priority of at least CriticalPriority (behaviour 12).
func Critical(d *pod.Desired) bool {
	return d.Static() || CriticalPod(d.Pod)
}

// CriticalPod is Critical for a pod whose source is not at hand: only mirror annotation and priority count.
func CriticalPod(p *v1.Pod) bool {
	if _, mirror := p.Annotations[names.ConfigMirror]; mirror {
		return true
	}
	return p.Spec.Priority != nil && *p.Spec.Priority >= CriticalPriority
}

// NodeCritical tells whether the kernel should spare the pod's containers as long as possible (behaviour 88).
func NodeCritical(p *v1.Pod) bool {
	if p.Spec.PriorityClassName == nodeCriticalClass {
		return true
	}
	return p.Spec.Priority != nil && *p.Spec.Priority >= nodeCriticalPriority
}

// Priority is the pod's priority: as the API server worked it out, else by the class it names, else 0. That a pod is static does
// not make it more important than others here: on a node without a cluster all of them are.
func Priority(p *v1.Pod) int32 {
	switch {
	case p.Spec.Priority != nil:
		return *p.Spec.Priority
	case p.Spec.PriorityClassName == nodeCriticalClass:
		return nodeCriticalPriority
	case p.Spec.PriorityClassName == clusterCriticalClass:
		return CriticalPriority
	}
	return 0
}

// counted are the resources that decide the class.
func counted() [2]v1.ResourceName { return [2]v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} }

// ClassOf computes the quality of service class from the specification; the class in the pod's status is not looked at
// (behaviour 199).
func ClassOf(p *v1.Pod) v1.PodQOSClass {
	if resource.IsPodLevelResourcesSet(p) {
		return classOf(*p.Spec.Resources)
	}
	all, none := true, true
	visit(p, func(c *v1.Container) {
		switch classOf(c.Resources) {
		case v1.PodQOSGuaranteed:
			none = false
		case v1.PodQOSBurstable:
			all, none = false, false
		case v1.PodQOSBestEffort:
			all = false
		}
	})
	switch {
	case none:
		return v1.PodQOSBestEffort
	case all:
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}

func classOf(r v1.ResourceRequirements) v1.PodQOSClass {
	equal, any := true, false
	for _, name := range counted() {
		limit, request := r.Limits[name], r.Requests[name]
		if _, given := r.Requests[name]; !given {
			request = limit // as the API server defaults it
		}
		if limit.Sign() > 0 || request.Sign() > 0 {
			any = true
		}
		if limit.Sign() <= 0 || limit.Cmp(request) != 0 {
			equal = false
		}
	}
	switch {
	case !any:
		return v1.PodQOSBestEffort
	case equal:
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}

// visit calls f with the init containers, sidecars and regular containers. Ephemeral ones have no resources.
func visit(p *v1.Pod, f func(c *v1.Container)) {
	for i := range p.Spec.InitContainers {
		f(&p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		f(&p.Spec.Containers[i])
	}
}
