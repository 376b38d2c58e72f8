package manifest

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// One reads a text that holds one Pod, ConfigMap or Secret, YAML or JSON, as strictly as a manifest. Nothing is defaulted or
// checked beyond names and types of fields. The error is an *Error.
func One(data []byte) (runtime.Object, error) {
	docs, left, err := documents(data, "the request", true)
	switch {
	case err != nil:
		return nil, err
	case len(left.Faults) > 0:
		return nil, left
	case len(docs) != 1:
		return nil, &Error{Origin: "the request", Faults: []Fault{{Message: "want one Pod, ConfigMap or Secret"}}}
	case docs[0].ConfigMap != nil:
		return docs[0].ConfigMap, nil
	case docs[0].Secret != nil:
		return docs[0].Secret, nil
	}
	return docs[0].Pod, nil
}

// Given makes of a decoded pod that was given to the node's own API one that can run: defaulted, valid, bound to the node. Its
// name and UID are as given. It does not change the pod it is given. What is wrong comes back as a list.
func Given(p *v1.Pod, nodeName string) (*v1.Pod, field.ErrorList) {
	p = p.DeepCopy()
	var wrong field.ErrorList
	spec := field.NewPath("spec")
	if p.Spec.NodeName != "" && p.Spec.NodeName != nodeName {
		wrong = append(wrong, field.Invalid(spec.Child("nodeName"), p.Spec.NodeName, "the only node here is "+nodeName))
	}
	Default(p)
	wrong = append(wrong, references(p, true)...)
	setTo(&p.Namespace, metav1.NamespaceDefault)
	p.Spec.NodeName = nodeName
	return p, append(wrong, Validate(p)...)
}
