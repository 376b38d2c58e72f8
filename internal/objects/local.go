package objects

import (
	"context"

	authentication "k8s.io/api/authentication/v1"
	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	node "k8s.io/api/node/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Local is a Cluster for a node that has its objects itself: from manifests beside those of pods, and from its own API. There are
// ConfigMaps and Secrets and nothing else.
type Local struct {
	// ConfigMap and Secret return what there is, nil for nothing; known is false while not all sources have spoken. newer is closed
	// when any of that may have changed.
	ConfigMap func(namespace, name string) (m *v1.ConfigMap, known bool, newer <-chan struct{})
	Secret    func(namespace, name string) (s *v1.Secret, known bool, newer <-chan struct{})
}

// FollowConfigMap tells of one ConfigMap.
func (l Local) FollowConfigMap(ctx context.Context, namespace, name string, tell func(*v1.ConfigMap, error)) {
	followLocal(ctx, func() (*v1.ConfigMap, bool, <-chan struct{}) { return l.ConfigMap(namespace, name) }, tell)
}

// FollowSecret tells of one Secret.
func (l Local) FollowSecret(ctx context.Context, namespace, name string, tell func(*v1.Secret, error)) {
	followLocal(ctx, func() (*v1.Secret, bool, <-chan struct{}) { return l.Secret(namespace, name) }, tell)
}

func followLocal[T any](ctx context.Context, get func() (*T, bool, <-chan struct{}), tell func(*T, error)) {
	var last *T
	for told := false; ; {
		now, known, newer := get()
		// That an object is not there is proven only when all have spoken; that it is, by anyone.
		if (known || now != nil) && (!told || now != last) {
			last, told = now, true
			tell(now, nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-newer:
		}
	}
}

// nothing tells once that there are none.
func nothing[T any](ctx context.Context, tell func([]T, error)) {
	tell(nil, nil)
	<-ctx.Done()
}

// FollowServices tells that there are none.
func (Local) FollowServices(ctx context.Context, tell func([]*v1.Service, error)) { nothing(ctx, tell) }

// FollowRuntimeClasses tells that there are none.
func (Local) FollowRuntimeClasses(ctx context.Context, tell func([]*node.RuntimeClass, error)) {
	nothing(ctx, tell)
}

// FollowTrustBundles tells that there are none.
func (Local) FollowTrustBundles(ctx context.Context, tell func([]*certificates.ClusterTrustBundle, error)) {
	nothing(ctx, tell)
}

// FollowCSIDrivers tells that there are none.
func (Local) FollowCSIDrivers(ctx context.Context, tell func([]*storage.CSIDriver, error)) {
	nothing(ctx, tell)
}

// FollowClaim tells that there is none.
func (Local) FollowClaim(ctx context.Context, _, _ string, tell func(*v1.PersistentVolumeClaim, error)) {
	tell(nil, nil)
	<-ctx.Done()
}

// FollowVolume tells that there is none.
func (Local) FollowVolume(ctx context.Context, _ string, tell func(*v1.PersistentVolume, error)) {
	tell(nil, nil)
	<-ctx.Done()
}

// Account answers that there are no service accounts.
func (Local) Account(_ context.Context, _, name string) (*v1.ServiceAccount, error) {
	return nil, errors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, name)
}

// Token answers that there are no service accounts.
func (Local) Token(_ context.Context, _, account string, _ *authentication.TokenRequest) (*authentication.TokenRequest, error) {
	return nil, errors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, account)
}
