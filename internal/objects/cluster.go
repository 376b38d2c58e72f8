package objects

import (
	"context"
	"errors"
	"net/http"

	authentication "k8s.io/api/authentication/v1"
	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	node "k8s.io/api/node/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
)

// Cluster is the API server. The Follow functions block until ctx ends. They call tell, never twice at once, with what there is
// when it is first known and after each change, with nil and nil if the object is known not to exist, and with an error when
// the API server does not answer or refuses; then they ask again by themselves, soon at first. What was known before such an
// error stays known; an error about what is known may be left out.
type Cluster interface {
	FollowConfigMap(ctx context.Context, namespace, name string, tell func(*v1.ConfigMap, error))
	FollowSecret(ctx context.Context, namespace, name string, tell func(*v1.Secret, error))
	FollowServices(ctx context.Context, tell func([]*v1.Service, error))
	FollowRuntimeClasses(ctx context.Context, tell func([]*node.RuntimeClass, error))
	FollowTrustBundles(ctx context.Context, tell func([]*certificates.ClusterTrustBundle, error))
	// Account asks once for a service account.
	Account(ctx context.Context, namespace, name string) (*v1.ServiceAccount, error)
	FollowClaim(ctx context.Context, namespace, name string, tell func(*v1.PersistentVolumeClaim, error))
	FollowVolume(ctx context.Context, name string, tell func(*v1.PersistentVolume, error))
	FollowCSIDrivers(ctx context.Context, tell func([]*storage.CSIDriver, error))
	// Token asks once for a token of a service account.
	Token(ctx context.Context, namespace, account string, r *authentication.TokenRequest) (*authentication.TokenRequest, error)
}

// Requests are those for certificates of pods, at the API server.
type Requests interface {
	RequestCertificate(ctx context.Context, r *certificates.PodCertificateRequest) error
	// FollowCertificateRequest is as the Follow functions of Cluster.
	FollowCertificateRequest(ctx context.Context, namespace, name string, tell func(*certificates.PodCertificateRequest, error))
}

// Keeper keeps objects over a restart for the time the API server cannot be asked. Its methods may be used by several
// goroutines. Kinds are those of the API, lists included; names may hold any character.
type Keeper interface {
	// Load returns what was stored last.
	Load(kind, namespace, name string) (runtime.Object, bool)
	// Store keeps an object, which nobody changes; nil means that it need not be kept any more.
	Store(kind, namespace, name string, object runtime.Object)
}

// away tells that the API server could not be asked, or had no time: nothing is known, and the same request may succeed later.
func away(err error) bool {
	if err == nil {
		return false
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		code := status.Status().Code
		return code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
	}
	return true
}

// passing tells that an error may go by without anybody's doing: the API server is away, or has not heard yet that a pod of
// this node uses the object.
func passing(err error) bool {
	return away(err) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
}

// said is what the API server said, without what was added on the way.
func said(err error) string {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	return err.Error()
}
