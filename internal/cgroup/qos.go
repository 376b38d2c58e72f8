package cgroup

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// QOSOf computes a pod's QoS class from its specification (behaviour 199). Only cpu and memory count; with pod-level
// resources set, they alone decide. A container with a limit and no request counts as asking for the limit, as the
// API's defaulting would have it.
func QOSOf(pod *v1.Pod) v1.PodQOSClass {
	if resource.IsPodLevelResourcesSet(pod) {
		return classOf([]v1.ResourceRequirements{{Requests: pod.Spec.Resources.Requests, Limits: pod.Spec.Resources.Limits}})
	}
	var all []v1.ResourceRequirements
	for i := range pod.Spec.InitContainers {
		all = append(all, pod.Spec.InitContainers[i].Resources)
	}
	for i := range pod.Spec.Containers {
		all = append(all, pod.Spec.Containers[i].Resources)
	}
	return classOf(all)
}

func classOf(all []v1.ResourceRequirements) v1.PodQOSClass {
	guaranteed, asked := true, false
	for _, r := range all {
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			limit, request := r.Limits[name], r.Requests[name]
			if _, set := r.Requests[name]; !set {
				request = limit
			}
			if !limit.IsZero() || !request.IsZero() {
				asked = true
			}
			if limit.IsZero() || limit.Cmp(request) != 0 {
				guaranteed = false
			}
		}
	}
	switch {
	case !asked:
		return v1.PodQOSBestEffort
	case guaranteed:
		return v1.PodQOSGuaranteed
	default:
		return v1.PodQOSBurstable
	}
}
