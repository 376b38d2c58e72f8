package admission

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	declarable "k8s.io/component-helpers/nodedeclaredfeatures/features"
	"k8s.io/component-helpers/nodedeclaredfeatures/types"
	"k8s.io/component-helpers/resource"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// declared says what a pod needs that this node does not say of itself that it can: the scheduler looks at that, too, but not for pods
// that others bind (behaviour 37).
func declared(p *v1.Pod, node Node) *refusal {
	lacking := undeclaredOf(node, func(f types.Feature) bool { return f.InferForScheduling(&types.PodInfo{Spec: &p.Spec}) })
	if lacking == "" {
		return nil
	}
	return refuse(reason.PodFeatureUnsupported, "%s", lacking)
}

// undeclared says what a resize needs that this node does not say of itself that it can; empty if there is nothing.
func undeclared(wanted, given *pod.Desired, node Node) string {
	before, after := &types.PodInfo{Spec: &given.Pod.Spec}, &types.PodInfo{Spec: &wanted.Pod.Spec}
	return undeclaredOf(node, func(f types.Feature) bool { return f.InferForUpdate(before, after) })
}

func undeclaredOf(node Node, needed func(types.Feature) bool) string {
	var names []string
	for _, f := range declarable.AllFeatures {
		if needed(f) && !slices.Contains(node.Declared, f.Name()) {
			names = append(names, f.Name())
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "Pod requires node features that are not available: " + strings.Join(names, ", ")
}

// wholes refuses resources of a pod as a whole where pods have no cgroups: nothing would hold the pod to them (behaviour 37).
func wholes(p *v1.Pod, node Node) *refusal {
	if !node.Flat || !resource.IsPodLevelResourcesSet(p) {
		return nil
	}
	return refuse(reason.PodLevelResourcesNotSupported, "Pod-level resources are not supported on this node: its pods have no cgroups of their own (cgroupsPerQOS: false)")
}
