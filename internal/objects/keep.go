package objects

import (
	"slices"
	"time"

	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	node "k8s.io/api/node/v1"
	resource "k8s.io/api/resource/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// kindName is what a thing is called where it is kept.
func (k key) kindName() string {
	switch k.kind {
	case configMaps:
		return "ConfigMap"
	case secrets:
		return "Secret"
	case services:
		return "ServiceList"
	case runtimeClasses:
		return "RuntimeClassList"
	case trustBundles:
		return "ClusterTrustBundleList"
	case claims:
		return "PersistentVolumeClaim"
	case volumes:
		return "PersistentVolume"
	case resourceClaims:
		return "ResourceClaim"
	case drivers:
		return "CSIDriverList"
	}
	return ""
}

// store keeps what was heard, for the time after a restart.
func (l *Loop) store(k key, value any) {
	if l.cfg.Keep == nil {
		return
	}
	var kept runtime.Object
	switch value := value.(type) {
	case *v1.ConfigMap:
		kept = value
	case *v1.Secret:
		kept = value
	case []*v1.Service:
		kept = &v1.ServiceList{Items: l.used(value)}
	case []*node.RuntimeClass:
		kept = &node.RuntimeClassList{Items: values(value)}
	case []*certificates.ClusterTrustBundle:
		kept = &certificates.ClusterTrustBundleList{Items: values(value)}
	case *v1.PersistentVolumeClaim:
		kept = value
	case *v1.PersistentVolume:
		kept = value
	case *resource.ResourceClaim:
		kept = value
	case []*storage.CSIDriver:
		kept = &storage.CSIDriverList{Items: values(value)}
	}
	l.cfg.Keep.Store(k.kindName(), k.namespace, k.name, kept)
}

// forget gives up what was kept, once the lock is free.
func (l *Loop) forget(kind, namespace, name string) {
	if l.cfg.Keep != nil {
		l.kept = append(l.kept, func() { l.cfg.Keep.Store(kind, namespace, name, nil) })
	}
}

// keepServices keeps the services of one more namespace, once the lock is free.
func (l *Loop) keepServices() {
	if e := l.entries[key{kind: services}]; l.cfg.Keep != nil && e != nil && e.known {
		value := e.value
		l.kept = append(l.kept, func() { l.store(e.key, value) })
	}
}

// used are the services whose variables the pods of the node get, without what is not used of them.
func (l *Loop) used(all []*v1.Service) []v1.Service {
	namespaces := map[string]bool{}
	l.mu.Lock()
	for _, u := range l.pods {
		namespaces[u.pod.Namespace] = true
	}
	l.mu.Unlock()
	var out []v1.Service
	for _, s := range all {
		if namespaces[s.Namespace] || isMaster(s) {
			out = append(out, v1.Service{ObjectMeta: identity(s), Spec: v1.ServiceSpec{ClusterIP: s.Spec.ClusterIP, Ports: s.Spec.Ports}})
		}
	}
	return out
}

// recall takes what was kept for as long as the API server does not answer.
func (l *Loop) recall(e *entry) {
	if l.cfg.Keep == nil {
		return
	}
	kept, ok := l.cfg.Keep.Load(e.key.kindName(), e.key.namespace, e.key.name)
	if !ok {
		return
	}
	var value any
	switch kept := kept.(type) {
	case *v1.ConfigMap:
		value = kept
	case *v1.Secret:
		value = kept
	case *v1.ServiceList:
		value = pointers(kept.Items)
	case *node.RuntimeClassList:
		value = pointers(kept.Items)
	case *certificates.ClusterTrustBundleList:
		value = pointers(kept.Items)
	case *v1.PersistentVolumeClaim:
		value = kept
	case *v1.PersistentVolume:
		value = kept
	case *resource.ResourceClaim:
		value = kept
	case *storage.CSIDriverList:
		value = pointers(kept.Items)
	default:
		return
	}
	l.mu.Lock()
	if !e.known {
		l.learn(e, value, time.Now())
	}
	l.mu.Unlock()
	l.wake()
}

func values[T any](list []*T) []T {
	out := make([]T, len(list))
	for i, p := range list {
		out[i] = *p
	}
	return out
}

func pointers[T any](list []T) []*T {
	out := make([]*T, 0, len(list))
	for i := range list {
		out = append(out, &list[i])
	}
	return slices.Clip(out)
}
