package nodeapi

import (
	"errors"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/given"
)

// A namespace is there as long as something is in it. That it can be made nevertheless is for the manifests that do.

// decodeNamespace reads a Namespace, YAML or JSON.
func decodeNamespace(text []byte) (given.Object, error) {
	n := &v1.Namespace{}
	if err := yaml.UnmarshalStrict(text, n); err != nil {
		return nil, badRequest("the body is no Namespace: %v", err)
	}
	if n.Kind != "Namespace" || n.APIVersion != "v1" {
		return nil, badRequest("the object is a %s of %s: want a Namespace of v1", n.Kind, n.APIVersion)
	}
	return n, nil
}

func validNamespace(n *v1.Namespace) field.ErrorList {
	var wrong field.ErrorList
	for _, says := range validation.IsDNS1123Label(n.Name) {
		wrong = append(wrong, field.Invalid(field.NewPath("metadata", "name"), n.Name, says))
	}
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	n.Labels[v1.LabelMetadataName] = n.Name
	return wrong
}

// empty deletes what was given of a namespace that is deleted. What manifests hold stays, and the namespace with it.
func (a *API) empty(q *request) error {
	if q.kind.name != namespaces {
		return nil
	}
	held, _ := a.cfg.Store.Content()
	var errs []error
	for key, o := range held {
		if key.Namespace != q.name.name {
			continue
		}
		p, ok := o.(*v1.Pod)
		switch {
		case !ok:
			errs = append(errs, a.cfg.Store.Drop(key))
		case p.DeletionTimestamp == nil:
			next := p.DeepCopy()
			grace := int64(v1.DefaultTerminationGracePeriodSeconds)
			if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
				grace = *s
			}
			a.markDeleted(next, grace)
			errs = append(errs, a.cfg.Store.Put(next))
		}
	}
	return errors.Join(errs...)
}

// markDeleted has the node end a pod. Run takes it out of the store when it has.
func (a *API) markDeleted(p *v1.Pod, grace int64) {
	at := metav1.NewTime(a.now().UTC()).Rfc3339Copy()
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &at, &grace
}
