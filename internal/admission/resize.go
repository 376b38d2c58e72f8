package admission

import (
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/reason"
)

// Resize says whether a pod that runs may have other resources than it was given: now, later, or never on this node
// (behaviours 223-225). running are the pods that have a share of the node, each with what it was given; the pod itself may be
// among them. What is asked for is had as a whole or not at all.
func Resize(wanted, given *pod.Desired, running []*pod.Desired, node Node) plan.Resize {
	if detail, why := infeasible(wanted, given, node); why != "" {
		return plan.Resize{Reason: reason.Infeasible, Message: why, Detail: detail}
	}
	if node.Allocatable == nil {
		return plan.Resize{Fits: true}
	}
	running = others(wanted, running)
	asks, has := qos.Requests(wanted.Pod), qos.Requests(given.Pod)
	for _, name := range resizable() {
		requested := amount(asks, name)
		if requested <= amount(has, name) { // it gives something back: that helps whatever the others have
			continue
		}
		if s := (shortage{name, requested, used(running, name), amount(node.Allocatable, name)}); s.missing() > 0 {
			return plan.Resize{Reason: reason.Deferred, Message: s.refusal().message}
		}
	}
	return plan.Resize{Fits: true}
}

// resizable are the resources that a pod may be given more or less of while it runs.
func resizable() [2]v1.ResourceName { return [2]v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} }

// infeasible says why a resize can never be on this node, and the word that metrics have for that; empty if it can.
func infeasible(wanted, given *pod.Desired, node Node) (detail, why string) {
	if wanted.Static() {
		return "static_pod", "In-place resize of static-pods is not supported"
	}
	guaranteed := qos.ClassOf(given.Pod) == v1.PodQOSGuaranteed
	switch {
	case guaranteed && node.StaticCPUs && differs(wanted, given, v1.ResourceCPU):
		return "guaranteed_pod_cpu_manager_static_policy", `Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"`
	case guaranteed && node.StaticMemory && differs(wanted, given, v1.ResourceMemory):
		return "guaranteed_pod_memory_manager_static_policy", `Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"`
	case node.LimitedSwap && changesSwap(wanted, given):
		return "swap_limitation", "In-place resize of containers with swap is not supported."
	}
	if why := undeclared(wanted, given, node); why != "" {
		return plan.Undeclared, why
	}
	if node.Allocatable == nil {
		return "", ""
	}
	asks, has := qos.Requests(wanted.Pod), qos.Requests(given.Pod)
	for _, name := range resizable() {
		requested, all := amount(asks, name), amount(node.Allocatable, name)
		if requested > all && requested > amount(has, name) {
			return "insufficient_node_allocatable", fmt.Sprintf("Node didn't have enough capacity: %s, requested: %d, capacity: %d", name, requested, all)
		}
	}
	return "", ""
}

// differs tells whether any container is to have another amount of a resource.
func differs(wanted, given *pod.Desired, name v1.ResourceName) bool {
	different := false
	each(wanted, given, func(to, now *v1.Container) {
		different = different || !same(to.Resources.Requests, now.Resources.Requests, name) || !same(to.Resources.Limits, now.Resources.Limits, name)
	})
	return different
}

// changesSwap tells whether a running container would be to have another share of the swap space, which follows from the memory
// it asks for (behaviour 214). One that is replaced by a new one gets its share with that.
func changesSwap(wanted, given *pod.Desired) bool {
	if qos.ClassOf(given.Pod) != v1.PodQOSBurstable || qos.Critical(given) {
		return false
	}
	changes := false
	each(wanted, given, func(to, now *v1.Container) {
		changes = changes || !replaced(to, v1.ResourceMemory) && !same(to.Resources.Requests, now.Resources.Requests, v1.ResourceMemory)
	})
	return changes
}

// replaced tells whether another amount of a resource makes another instance of a container.
func replaced(c *v1.Container, name v1.ResourceName) bool {
	for _, p := range c.ResizePolicy {
		if p.ResourceName == name && p.RestartPolicy == v1.RestartContainer {
			return true
		}
	}
	return false
}

func same(a, b v1.ResourceList, name v1.ResourceName) bool {
	x, y := a[name], b[name]
	return x.Cmp(y) == 0
}

// each calls f with every container that both pods have.
func each(wanted, given *pod.Desired, f func(to, now *v1.Container)) {
	for _, list := range [][]v1.Container{wanted.Pod.Spec.InitContainers, wanted.Pod.Spec.Containers} {
		for i := range list {
			if now, _ := pod.FindContainer(given.Pod, list[i].Name); now != nil {
				f(&list[i], now)
			}
		}
	}
}
