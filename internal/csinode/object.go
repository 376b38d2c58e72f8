package csinode

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// nodeIDAnnotation says what the drivers call the node, as JSON by driver.
const nodeIDAnnotation = "csi.volume.kubernetes.io/nodeid"

// fresh is the CSINode of a node that has none. It goes with the Node object.
func fresh(name string, uid types.UID, drivers map[string]Driver) *storage.CSINode {
	n := &storage.CSINode{ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "Node", Name: name, UID: uid},
	}}}
	n.Spec.Drivers = []storage.CSINodeDriver{}
	for _, driver := range slices.Sorted(maps.Keys(drivers)) {
		n.Spec.Drivers = append(n.Spec.Drivers, told(driver, drivers[driver]))
	}
	return n
}

func ownedBy(n *storage.CSINode, uid types.UID) bool {
	return slices.ContainsFunc(n.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "Node" && o.UID == uid })
}

// told is what is said of a driver.
func told(name string, d Driver) storage.CSINodeDriver {
	out := storage.CSINodeDriver{Name: name, NodeID: d.NodeID, TopologyKeys: slices.Sorted(maps.Keys(d.Topology))}
	if d.MostVolumes > 0 {
		most := int32(min(d.MostVolumes, math.MaxInt32))
		out.Allocatable = &storage.VolumeNodeResources{Count: &most}
	}
	return out
}

// updated is a CSINode with these drivers, and without those that were seen and have gone; nil if it is so already.
func updated(have *storage.CSINode, drivers, seen map[string]Driver) *storage.CSINode {
	want := have.DeepCopy()
	want.Spec.Drivers = slices.DeleteFunc(want.Spec.Drivers, func(d storage.CSINodeDriver) bool {
		_, was := seen[d.Name]
		return was
	})
	for name, d := range drivers {
		want.Spec.Drivers = append(want.Spec.Drivers, told(name, d))
	}
	byName := func(a, b storage.CSINodeDriver) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(want.Spec.Drivers, byName)
	was := slices.Clone(have.Spec.Drivers)
	slices.SortFunc(was, byName)
	if equality.Semantic.DeepEqual(was, want.Spec.Drivers) {
		return nil
	}
	return want
}

// annotationPatch brings the annotation up to date; nil if it is.
func annotationPatch(node *v1.Node, drivers, seen map[string]Driver) ([]byte, error) {
	ids := map[string]string{}
	have, there := node.Annotations[nodeIDAnnotation]
	if json.Unmarshal([]byte(have), &ids) != nil || ids == nil { // nobody's, or damaged
		ids = map[string]string{}
	}
	before := maps.Clone(ids)
	for name := range seen {
		delete(ids, name)
	}
	for name, d := range drivers {
		ids[name] = d.NodeID
	}
	if maps.Equal(before, ids) && (there || len(ids) == 0) {
		return nil, nil
	}
	var value any
	if len(ids) > 0 {
		text, err := json.Marshal(ids)
		if err != nil {
			return nil, err
		}
		value = string(text)
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"uid": node.UID, "annotations": map[string]any{nodeIDAnnotation: value}}})
}

// labelPatch adds the labels by which drivers find where the node is; nil if they are there. A label that says something else already
// is an error, and stays.
func labelPatch(node *v1.Node, drivers map[string]Driver) ([]byte, error) {
	missing := map[string]string{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(drivers)) {
		for key, value := range drivers[name].Topology {
			have, there := node.Labels[key]
			if other, asked := missing[key]; asked && !there {
				have, there = other, true
			}
			switch {
			case !there:
				missing[key] = value
			case have != value:
				errs = append(errs, fmt.Errorf("detected topology value collision: CSI driver %s says %s=%s, the node has %s", name, key, value, have))
			}
		}
	}
	err := errors.Join(errs...)
	if len(missing) == 0 {
		return nil, err
	}
	patch, wrong := json.Marshal(map[string]any{"metadata": map[string]any{"uid": node.UID, "labels": missing}})
	return patch, errors.Join(err, wrong)
}
