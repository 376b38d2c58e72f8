package mirror

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
)

// Object is the mirror pod of a static pod, as it is to be created (behaviour 13). The node owns it: when the Node object
// goes, the garbage collector takes it along. The server lets a node create nothing else.
func Object(d *pod.Desired, node *v1.Node) *v1.Pod {
	p := d.Pod
	out := &v1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: p.Name, Namespace: p.Namespace, Labels: maps.Clone(p.Labels), Annotations: maps.Clone(p.Annotations),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: new(true)}},
		},
		Spec: *p.Spec.DeepCopy(),
	}
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	out.Annotations[names.ConfigMirror] = string(d.UID())
	out.Annotations[names.ConfigHash] = string(d.UID())
	out.Spec.NodeName = node.Name
	// The server works these out from priorityClassName, and refuses a pod that brings others: a manifest with a priority
	// and no class would have no mirror.
	out.Spec.Priority, out.Spec.PreemptionPolicy = nil, nil
	return out
}

// hash is the UID of the static pod that a mirror pod stands for; empty if it is no mirror pod.
func hash(p *v1.Pod) types.UID { return types.UID(p.Annotations[names.ConfigMirror]) }

// ownedBy tells whether a mirror pod is this node's. One that is not was made for a Node object that is gone, or by somebody
// who only says that it is a mirror.
func ownedBy(p *v1.Pod, node *v1.Node) bool {
	owner := metav1.GetControllerOf(p)
	return owner != nil && owner.Kind == "Node" && owner.Name == node.Name && owner.UID == node.UID
}
