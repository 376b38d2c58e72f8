package objects

import (
	"bytes"
	"maps"
	"slices"

	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	node "k8s.io/api/node/v1"
	resource "k8s.io/api/resource/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// trimConfigMap keeps what pods use; nil stays nil. Annotations go: the last applied one repeats all data.
func trimConfigMap(m *v1.ConfigMap) any {
	if m == nil {
		return nil
	}
	return &v1.ConfigMap{ObjectMeta: identity(m), Immutable: m.Immutable, Data: m.Data, BinaryData: m.BinaryData}
}

func trimSecret(s *v1.Secret) any {
	if s == nil {
		return nil
	}
	return &v1.Secret{ObjectMeta: identity(s), Immutable: s.Immutable, Data: s.Data, Type: s.Type}
}

func identity(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()}
}

func immutable(value any) bool {
	var is *bool
	switch value := value.(type) {
	case *v1.ConfigMap:
		is = value.Immutable
	case *v1.Secret:
		is = value.Immutable
	}
	return is != nil && *is
}

// same tells whether pods see no difference.
func same(a, b any) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case *v1.ConfigMap:
		b, ok := b.(*v1.ConfigMap)
		return ok && maps.Equal(a.Data, b.Data) && maps.EqualFunc(a.BinaryData, b.BinaryData, bytes.Equal)
	case *v1.Secret:
		b, ok := b.(*v1.Secret)
		return ok && a.Type == b.Type && maps.EqualFunc(a.Data, b.Data, bytes.Equal)
	case *v1.PersistentVolumeClaim, *v1.PersistentVolume, *resource.ResourceClaim, []*storage.CSIDriver:
		return equality.Semantic.DeepEqual(a, b)
	case []*node.RuntimeClass:
		b, ok := b.([]*node.RuntimeClass)
		return ok && slices.EqualFunc(a, b, func(a, b *node.RuntimeClass) bool { return a.UID == b.UID && a.ResourceVersion == b.ResourceVersion })
	case []*certificates.ClusterTrustBundle:
		b, ok := b.([]*certificates.ClusterTrustBundle)
		return ok && slices.EqualFunc(a, b, func(a, b *certificates.ClusterTrustBundle) bool {
			return a.Name == b.Name && a.Spec == b.Spec && maps.Equal(a.Labels, b.Labels)
		})
	}
	return false // services: whoever follows them tells only of changes
}

// grown tells that something has appeared: what waits for it should hear at once.
func grown(old, value any) bool {
	switch value := value.(type) {
	case *v1.ConfigMap, *v1.Secret:
		return old == nil
	case *v1.PersistentVolumeClaim, *v1.PersistentVolume, *resource.ResourceClaim: // all that is kept of them is waited for
		return true
	case []*storage.CSIDriver:
		old, _ := old.([]*storage.CSIDriver)
		return len(value) > len(old)
	case []*node.RuntimeClass:
		old, _ := old.([]*node.RuntimeClass)
		return len(value) > len(old)
	case []*certificates.ClusterTrustBundle:
		old, _ := old.([]*certificates.ClusterTrustBundle)
		return len(value) > len(old)
	}
	return false
}
