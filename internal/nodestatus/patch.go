package nodestatus

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Need is how much the API server needs to hear of a new status.
type Need int

const (
	// Nothing has changed but heartbeat times, which are due now and then only.
	Nothing Need = iota
	// Later means that a change can wait for the next round: other images.
	Later
	// Soon means that others decide by what has changed; several such changes may go together.
	Soon
	// AtOnce means that a condition has turned, which says where pods go.
	AtOnce
)

// NeedOf compares the status that the API server has with the one it should have.
func NeedOf(previous, next v1.NodeStatus) Need {
	for _, kind := range ownConditions {
		if find(previous.Conditions, kind).Status != find(next.Conditions, kind).Status {
			return AtOnce
		}
	}
	was, is := timeless(previous), timeless(next)
	if equality.Semantic.DeepEqual(was, is) {
		return Nothing
	}
	was.Images, is.Images = nil, nil
	if equality.Semantic.DeepEqual(was, is) {
		return Later
	}
	return Soon
}

// timeless is what counts of a status as a change: not when it was reported.
func timeless(s v1.NodeStatus) v1.NodeStatus {
	s.Conditions = slices.Clone(s.Conditions)
	for i := range s.Conditions {
		s.Conditions[i].LastHeartbeatTime = metav1.Time{}
	}
	return s
}

// Patch is the strategic merge patch, for the status of the object with that UID, that leads from a status to the next.
// It names the node's own conditions only, all of them, since it is also their heartbeat; what else has not changed is
// left out. So it does no harm to what others have written meanwhile.
func Patch(uid types.UID, previous, next v1.NodeStatus) ([]byte, error) {
	status := map[string]any{}
	var own []v1.NodeCondition
	for _, kind := range ownConditions {
		if c := find(next.Conditions, kind); c.Type != "" {
			own = append(own, c)
		}
	}
	status["conditions"] = own
	for name, lists := range map[string][2]v1.ResourceList{
		"capacity": {previous.Capacity, next.Capacity}, "allocatable": {previous.Allocatable, next.Allocatable},
	} {
		if changed := listPatch(lists[0], lists[1]); len(changed) > 0 {
			status[name] = changed
		}
	}
	if !equality.Semantic.DeepEqual(previous.Addresses, next.Addresses) {
		status["addresses"] = addressPatch(next.Addresses)
	}
	whole := func(name string, was, is any, empty bool) {
		switch {
		case equality.Semantic.DeepEqual(was, is):
		case empty:
			status[name] = nil
		default:
			status[name] = is
		}
	}
	whole("daemonEndpoints", previous.DaemonEndpoints, next.DaemonEndpoints, false)
	whole("images", previous.Images, next.Images, len(next.Images) == 0)
	whole("volumesInUse", previous.VolumesInUse, next.VolumesInUse, len(next.VolumesInUse) == 0)
	whole("runtimeHandlers", previous.RuntimeHandlers, next.RuntimeHandlers, len(next.RuntimeHandlers) == 0)
	whole("features", previous.Features, next.Features, next.Features == nil)
	whole("declaredFeatures", previous.DeclaredFeatures, next.DeclaredFeatures, len(next.DeclaredFeatures) == 0)
	if !equality.Semantic.DeepEqual(previous.NodeInfo, next.NodeInfo) {
		changed, err := infoPatch(previous.NodeInfo, next.NodeInfo)
		if err != nil {
			return nil, err
		}
		status["nodeInfo"] = changed
	}
	return forObject(uid, map[string]any{}, status)
}

// listPatch is what changes in a resource list; nil takes a resource out.
func listPatch(previous, next v1.ResourceList) map[string]any {
	changed := map[string]any{}
	for name, q := range next {
		if was, ok := previous[name]; !ok || was.Cmp(q) != 0 {
			changed[string(name)] = q
		}
	}
	for name := range previous {
		if _, ok := next[name]; !ok {
			changed[string(name)] = nil
		}
	}
	return changed
}

// addressPatch replaces the list. The API says that addresses merge by type, which is wrong: a type can come twice.
func addressPatch(next []v1.NodeAddress) []any {
	patch := []any{map[string]string{"$patch": "replace"}}
	for _, a := range next {
		patch = append(patch, a)
	}
	return patch
}

// infoPatch also takes out what is no longer told.
func infoPatch(previous, next v1.NodeSystemInfo) (map[string]any, error) {
	was, err := fields(previous)
	if err != nil {
		return nil, err
	}
	is, err := fields(next)
	if err != nil {
		return nil, err
	}
	changed := map[string]any{}
	for name, value := range is {
		if !reflect.DeepEqual(was[name], value) {
			changed[name] = value
		}
	}
	for name := range was {
		if _, ok := is[name]; !ok {
			changed[name] = nil
		}
	}
	return changed, nil
}

func fields(i v1.NodeSystemInfo) (map[string]any, error) {
	text, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("write down the node's info: %w", err)
	}
	all := map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the node's info: %w", err)
	}
	return all, nil
}
