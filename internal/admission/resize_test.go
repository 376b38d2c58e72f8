package admission_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/admission"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

func replaces(name v1.ResourceName) change {
	return spec(func(s *v1.PodSpec) {
		s.Containers[0].ResizePolicy = []v1.ContainerResizePolicy{{ResourceName: name, RestartPolicy: v1.RestartContainer}}
	})
}

// TestResize holds what a pod that runs may have instead of what it was given (behaviours 223, 224, 225).
func TestResize(t *testing.T) {
	node := admission.Node{Name: "n1", Allocatable: list("cpu 4 memory 4Gi")}
	with := func(f func(*admission.Node)) admission.Node { n := node; f(&n); return n }
	running := []*pod.Desired{make1("other", asks("cpu 2500m memory 1Gi")), make1("web", asks("cpu 1"))}
	deferred := func(message string) plan.Resize { return plan.Resize{Reason: "Deferred", Message: message} }
	infeasible := func(detail, message string) plan.Resize {
		return plan.Resize{Reason: "Infeasible", Detail: detail, Message: message}
	}
	fits := plan.Resize{Fits: true}
	burstable := func(memory string) change {
		return spec(func(s *v1.PodSpec) {
			s.Containers[0].Resources = v1.ResourceRequirements{Requests: list("memory " + memory), Limits: list("memory 2Gi")}
		})
	}
	for name, c := range map[string]struct {
		wanted, given []change
		node          admission.Node
		want          plan.Resize
	}{
		"223 it fits, and its own share does not count": {[]change{asks("cpu 1500m")}, []change{asks("cpu 1")}, node, fits},
		"223 it does not fit now": {[]change{asks("cpu 2")}, []change{asks("cpu 1")}, node,
			deferred("Node didn't have enough resource: cpu, requested: 2000, used: 2500, capacity: 4000")},
		"223 all or nothing": {[]change{asks("cpu 500m memory 3500Mi")}, []change{asks("cpu 1 memory 1Gi")}, node,
			deferred("Node didn't have enough resource: memory, requested: 3670016000, used: 1073741824, capacity: 4294967296")},
		"223 less always fits": {[]change{asks("cpu 3")}, []change{asks("cpu 3500m")}, node, fits},
		"224 more than the node has": {[]change{asks("cpu 5")}, []change{asks("cpu 1")}, node,
			infeasible("insufficient_node_allocatable", "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000")},
		"224 less, on a node that has become too small": {[]change{asks("cpu 5")}, []change{asks("cpu 6")}, node, fits},
		"225 a static pod": {[]change{asks("cpu 500m"), fromFile}, []change{asks("cpu 1"), fromFile}, node,
			infeasible("static_pod", "In-place resize of static-pods is not supported")},
		"224 processors of its own": {[]change{guaranteed("cpu 500m memory 1Gi")}, []change{guaranteed("cpu 1 memory 1Gi")},
			with(func(n *admission.Node) { n.StaticCPUs = true }),
			infeasible("guaranteed_pod_cpu_manager_static_policy", `Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"`)},
		"224 memory of a pod with processors of its own": {[]change{guaranteed("cpu 1 memory 2Gi")}, []change{guaranteed("cpu 1 memory 1Gi")},
			with(func(n *admission.Node) { n.StaticCPUs = true }), fits},
		"224 a burstable pod beside such pods": {[]change{asks("cpu 500m")}, []change{asks("cpu 1")},
			with(func(n *admission.Node) { n.StaticCPUs, n.StaticMemory = true, true }), fits},
		"224 memory of its own": {[]change{guaranteed("cpu 1 memory 2Gi")}, []change{guaranteed("cpu 1 memory 1Gi")},
			with(func(n *admission.Node) { n.StaticMemory = true }),
			infeasible("guaranteed_pod_memory_manager_static_policy", `Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"`)},
		"224 a share of the swap space": {[]change{burstable("2Gi")}, []change{burstable("1Gi")}, with(func(n *admission.Node) { n.LimitedSwap = true }),
			infeasible("swap_limitation", "In-place resize of containers with swap is not supported.")},
		"224 a share of the swap space for a new instance": {[]change{burstable("2Gi"), replaces(v1.ResourceMemory)},
			[]change{burstable("1Gi"), replaces(v1.ResourceMemory)}, with(func(n *admission.Node) { n.LimitedSwap = true }), fits},
		"224 CPU beside swap": {[]change{asks("cpu 500m memory 1")}, []change{asks("cpu 1 memory 1")}, with(func(n *admission.Node) { n.LimitedSwap = true }), fits},
		"230 the pod as a whole, undeclared": {[]change{whole("cpu 2")}, []change{whole("cpu 1")}, node,
			infeasible(plan.Undeclared, "Pod requires node features that are not available: InPlacePodLevelResourcesVerticalScaling")},
		"230 the pod as a whole, declared":   {[]change{whole("cpu 1100m")}, []change{whole("cpu 1")}, with(declares("InPlacePodLevelResourcesVerticalScaling")), fits},
		"223 nobody knows what the node has": {[]change{asks("cpu 500")}, []change{asks("cpu 1")}, admission.Node{}, fits},
	} {
		t.Run(name, func(t *testing.T) {
			if got := admission.Resize(make1("web", c.wanted...), make1("web", c.given...), running, c.node); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}
