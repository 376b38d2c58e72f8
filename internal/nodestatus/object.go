package nodestatus

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Annotations on nodes (behaviour 288).
const (
	attachDetach = "volumes.kubernetes.io/controller-managed-attach-detach"
	providedIP   = "alpha.kubernetes.io/provided-node-ip"
)

// uninitialized is the taint that a cloud controller takes off when it has finished the node.
const uninitialized = "node.cloudprovider.kubernetes.io/uninitialized"

// defaultLabels are those a node keeps right on an object that exists already (behaviour 285).
var defaultLabels = []string{
	v1.LabelHostname, v1.LabelOSStable, v1.LabelArchStable, "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
	v1.LabelTopologyZone, v1.LabelTopologyRegion, v1.LabelFailureDomainBetaZone, v1.LabelFailureDomainBetaRegion,
	v1.LabelInstanceTypeStable, v1.LabelInstanceType,
}

// Object is the Node object that registration creates: labels, taints, annotations and the first status (behaviours 285
// to 288).
func Object(f Facts, now time.Time) *v1.Node {
	n := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: f.Name, Labels: labels(f), Annotations: map[string]string{}},
		Spec:       v1.NodeSpec{ProviderID: f.ProviderID, Taints: slices.Clone(f.Taints)},
	}
	for key, value := range annotations(f) {
		if value != nil {
			n.Annotations[key] = *value
		}
	}
	cloud := v1.Taint{Key: uninitialized, Value: "true", Effect: v1.TaintEffectNoSchedule}
	if f.ExternalCloud && !slices.ContainsFunc(n.Spec.Taints, func(t v1.Taint) bool { return t.MatchTaint(&cloud) }) {
		n.Spec.Taints = append(n.Spec.Taints, cloud)
	}
	n.Status = Status(v1.NodeStatus{}, f, now)
	return n
}

// labels are the default ones and those asked for, which win.
func labels(f Facts) map[string]string {
	all := map[string]string{
		v1.LabelHostname: f.Name,
		v1.LabelOSStable: f.OS, "beta.kubernetes.io/os": f.OS,
		v1.LabelArchStable: f.Arch, "beta.kubernetes.io/arch": f.Arch,
	}
	if len(validation.IsValidLabelValue(f.Name)) > 0 { // names may be longer than labels: better without than no node
		delete(all, v1.LabelHostname)
	}
	maps.Copy(all, f.Labels)
	return all
}

// annotations are the node's own; nil means that it must not be there.
func annotations(f Facts) map[string]*string {
	all := map[string]*string{attachDetach: nil, providedIP: nil}
	if f.AttachDetach {
		yes := "true"
		all[attachDetach] = &yes
	}
	if f.ExternalCloud && len(f.GivenIPs) > 0 {
		ips := strings.Join(f.GivenIPs, ",")
		all[providedIP] = &ips
	}
	return all
}

// Adopt is the patch that makes an existing Node object this node's: its default labels and its own annotations, and
// nothing else; other labels, and taints, are whoever's changed them since (behaviour 285). Extended resources and huge
// pages are the status' matter. Nil means that nothing is to be done. The patch is a merge patch, strategic or not,
// for the object itself, and holds for this object only, not for another one of that name.
func Adopt(existing *v1.Node, f Facts) ([]byte, error) {
	wrongLabels, wrongAnnotations := map[string]any{}, map[string]any{}
	ours := labels(f)
	for _, key := range defaultLabels {
		if value, ok := ours[key]; ok {
			if have, ok := existing.Labels[key]; !ok || have != value {
				wrongLabels[key] = value
			}
		}
	}
	for key, value := range annotations(f) {
		have, found := existing.Annotations[key]
		switch {
		case value == nil && found:
			wrongAnnotations[key] = nil
		case value != nil && (!found || have != *value):
			wrongAnnotations[key] = *value
		}
	}
	meta := map[string]any{}
	if len(wrongLabels) > 0 {
		meta["labels"] = wrongLabels
	}
	if len(wrongAnnotations) > 0 {
		meta["annotations"] = wrongAnnotations
	}
	if len(meta) == 0 {
		return nil, nil
	}
	return forObject(existing.UID, meta, nil)
}

// forObject is a patch that the API server refuses, as invalid, if the object is not the one meant.
func forObject(uid types.UID, meta, status map[string]any) ([]byte, error) {
	if uid != "" {
		meta["uid"] = uid
	}
	patch := map[string]any{"metadata": meta}
	if status != nil {
		patch["status"] = status
	}
	return json.Marshal(patch)
}
