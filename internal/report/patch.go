package report

import (
	"encoding/json"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// object is a part of a strategic merge patch.
type object = map[string]any

// same compares as the API does: quantities and times by value, nil as empty.
var same = equality.Semantic.DeepEqual

// patch is a strategic merge patch that makes the status of a pod as wanted and does nothing to a pod with another UID. It
// names only what differs, so what others write at the same time stays. A patch that moves the phase is for this version of
// the pod only: somebody may have ended the pod in the meantime, and a terminal phase must never be left (behaviour 269).
// It is nil when nothing differs.
//
// It is made by hand: apimachinery's strategicpatch needs three times the work for it (see the benchmarks) and brings along
// the machinery of API schemas. Tests apply what is made here with that library, as the API server does.
func patch(api *v1.Pod, want *v1.PodStatus) ([]byte, error) {
	have := api.Status.DeepCopy()
	normalise(api, have)
	status := changes(have, want)
	if len(status) == 0 {
		return nil, nil
	}
	meta := object{"uid": api.UID}
	if _, moves := status["phase"]; moves {
		meta["resourceVersion"] = api.ResourceVersion
	}
	return json.Marshal(object{"metadata": meta, "status": status})
}

// changes are the fields of a status that differ.
func changes(have, want *v1.PodStatus) object {
	out := object{}
	number(out, "observedGeneration", have.ObservedGeneration, want.ObservedGeneration)
	text(out, "phase", have.Phase, want.Phase)
	text(out, "reason", have.Reason, want.Reason)
	text(out, "message", have.Message, want.Message)
	text(out, "hostIP", have.HostIP, want.HostIP)
	text(out, "podIP", have.PodIP, want.PodIP)
	text(out, "qosClass", have.QOSClass, want.QOSClass)
	whole(out, "hostIPs", have.HostIPs, want.HostIPs, true)
	whole(out, "podIPs", have.PodIPs, want.PodIPs, true)
	whole(out, "initContainerStatuses", have.InitContainerStatuses, want.InitContainerStatuses, false)
	whole(out, "containerStatuses", have.ContainerStatuses, want.ContainerStatuses, false)
	whole(out, "ephemeralContainerStatuses", have.EphemeralContainerStatuses, want.EphemeralContainerStatuses, false)
	whole(out, "volumeHealth", have.VolumeHealth, want.VolumeHealth, false)
	if !same(have.StartTime, want.StartTime) {
		out["startTime"] = want.StartTime
	}
	quantities(out, "allocatedResources", have.AllocatedResources, want.AllocatedResources)
	resources(out, have.Resources, want.Resources)
	conditions(out, have.Conditions, want.Conditions)
	return out
}

// number and text name a field that differs; an empty one is taken out.
func number(out object, name string, have, want int64) {
	if have != want {
		out[name] = want
	}
}

func text[T ~string](out object, name string, have, want T) {
	switch {
	case have == want:
	case want == "":
		out[name] = nil
	default:
		out[name] = want
	}
}

// whole names a list that differs, all of it. Lists that the API server would merge have to be told not to be.
func whole[T any](out object, name string, have, want []T, merged bool) {
	switch {
	case same(have, want):
	case len(want) == 0:
		out[name] = nil
	case merged:
		list := []any{object{"$patch": "replace"}}
		for _, x := range want {
			list = append(list, x)
		}
		out[name] = list
	default:
		out[name] = want
	}
}

// quantities name the amounts that differ.
func quantities(out object, name string, have, want v1.ResourceList) {
	if len(want) == 0 {
		if len(have) > 0 {
			out[name] = nil
		}
		return
	}
	diff := object{}
	for resource, amount := range want {
		if was, ok := have[resource]; !ok || was.Cmp(amount) != 0 {
			diff[string(resource)] = amount
		}
	}
	for resource := range have {
		if _, ok := want[resource]; !ok {
			diff[string(resource)] = nil
		}
	}
	if len(diff) > 0 {
		out[name] = diff
	}
}

// resources name what differs in requests and limits.
func resources(out object, have, want *v1.ResourceRequirements) {
	if want == nil {
		return
	}
	if have == nil {
		have = &v1.ResourceRequirements{}
	}
	diff := object{}
	quantities(diff, "limits", have.Limits, want.Limits)
	quantities(diff, "requests", have.Requests, want.Requests)
	whole(diff, "claims", have.Claims, want.Claims, false)
	if len(diff) > 0 {
		out["resources"] = diff
	}
}

// conditions names what differs in each condition. The order matters to people only: it is told when some are new.
func conditions(out object, have, want []v1.PodCondition) {
	var list, order []any
	fresh := false
	for i := range want {
		c := &want[i]
		order = append(order, object{"type": c.Type})
		was := find(have, c.Type)
		fresh = fresh || was == nil
		if diff := condition(was, c); len(diff) > 0 {
			diff["type"] = c.Type
			list = append(list, diff)
		}
	}
	for i := range have {
		if find(want, have[i].Type) == nil {
			list = append(list, object{"$patch": "delete", "type": have[i].Type})
		}
	}
	if len(list) == 0 {
		return
	}
	out["conditions"] = list
	if fresh {
		out["$setElementOrder/conditions"] = order
	}
}

func condition(was, c *v1.PodCondition) object {
	if was == nil {
		was = &v1.PodCondition{}
	}
	out := object{}
	number(out, "observedGeneration", was.ObservedGeneration, c.ObservedGeneration)
	text(out, "status", was.Status, c.Status)
	text(out, "reason", was.Reason, c.Reason)
	text(out, "message", was.Message, c.Message)
	moment(out, "lastProbeTime", was.LastProbeTime, c.LastProbeTime)
	moment(out, "lastTransitionTime", was.LastTransitionTime, c.LastTransitionTime)
	return out
}

func moment(out object, name string, have, want metav1.Time) {
	switch {
	case same(have, want):
	case want.IsZero():
		out[name] = nil
	default:
		out[name] = want
	}
}

// target is the object that a call is about.
type target struct {
	namespace, name string
	uid             types.UID
}
