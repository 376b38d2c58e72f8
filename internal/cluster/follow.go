package cluster

import (
	"context"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
)

// A Listing is what is known of the objects that are followed, at one moment. It and the objects are shared: nobody may change them.
type Listing[T any] struct {
	// Objects are those that exist, by namespace and name. They have no managedFields.
	Objects []T
	// Synced is true once the API server has told all of Objects; before that, an object that is not there says nothing. It stays true
	// while the API server does not answer.
	Synced bool
	// Err is why news may be missing: the API server does not answer, or refuses. It is nil while all is well.
	Err error
	// Since is since when Err is what it is, or since when all is well.
	Since time.Time
}

// Only returns the object of a listing that is about one object.
func (l Listing[T]) Only() (T, bool) {
	if len(l.Objects) == 0 {
		var none T
		return none, false
	}
	return l.Objects[0], true
}

// The Follow functions block until ctx ends, and call tell with the newest listing when something changed: an object, or whether the API
// server answers. tell is called by one goroutine, never twice at once; while it works, changes are gathered, so that the next call
// has the newest listing and those between are left out.

// FollowPods follows the pods that are bound to this node.
func (c *Client) FollowPods(ctx context.Context, tell func(Listing[*corev1.Pod])) {
	follow(ctx, c, target{what: "pods of this node", fields: fields.OneTermEqualSelector("spec.nodeName", c.node),
		kinds: []kind{{corev1.SchemeGroupVersion, "pods", &corev1.PodList{}}}}, as[*corev1.Pod], tell)
}

// FollowNode follows this node.
func (c *Client) FollowNode(ctx context.Context, tell func(Listing[*corev1.Node])) {
	follow(ctx, c, one("node", "", c.node, kind{corev1.SchemeGroupVersion, "nodes", &corev1.NodeList{}}), as[*corev1.Node], tell)
}

// FollowServices follows the services of all namespaces.
func (c *Client) FollowServices(ctx context.Context, tell func(Listing[*corev1.Service])) {
	follow(ctx, c, target{what: "services", kinds: []kind{{corev1.SchemeGroupVersion, "services", &corev1.ServiceList{}}}}, as[*corev1.Service], tell)
}

// FollowRuntimeClasses follows the runtime classes.
func (c *Client) FollowRuntimeClasses(ctx context.Context, tell func(Listing[*nodev1.RuntimeClass])) {
	follow(ctx, c, target{what: "runtime classes", kinds: []kind{{nodev1.SchemeGroupVersion, "runtimeclasses", &nodev1.RuntimeClassList{}}}},
		as[*nodev1.RuntimeClass], tell)
}

// FollowConfigMap follows one ConfigMap.
func (c *Client) FollowConfigMap(ctx context.Context, namespace, name string, tell func(Listing[*corev1.ConfigMap])) {
	follow(ctx, c, one("configmap", namespace, name, kind{corev1.SchemeGroupVersion, "configmaps", &corev1.ConfigMapList{}}), as[*corev1.ConfigMap], tell)
}

// FollowSecret follows one Secret.
func (c *Client) FollowSecret(ctx context.Context, namespace, name string, tell func(Listing[*corev1.Secret])) {
	follow(ctx, c, one("secret", namespace, name, kind{corev1.SchemeGroupVersion, "secrets", &corev1.SecretList{}}), as[*corev1.Secret], tell)
}

// FollowCSR follows one certificate signing request.
func (c *Client) FollowCSR(ctx context.Context, name string, tell func(Listing[*certificatesv1.CertificateSigningRequest])) {
	follow(ctx, c, one("certificate signing request", "", name,
		kind{certificatesv1.SchemeGroupVersion, "certificatesigningrequests", &certificatesv1.CertificateSigningRequestList{}}),
		as[*certificatesv1.CertificateSigningRequest], tell)
}

// FollowClusterTrustBundles follows all ClusterTrustBundles: v1, or v1beta1 where the API server does not have v1.
func (c *Client) FollowClusterTrustBundles(ctx context.Context, tell func(Listing[*certificatesv1.ClusterTrustBundle])) {
	follow(ctx, c, target{what: "cluster trust bundles", kinds: []kind{
		{certificatesv1.SchemeGroupVersion, "clustertrustbundles", &certificatesv1.ClusterTrustBundleList{}},
		{certificatesv1beta1.SchemeGroupVersion, "clustertrustbundles", &certificatesv1beta1.ClusterTrustBundleList{}},
	}}, trustBundle, tell)
}

func trustBundle(o runtime.Object) (*certificatesv1.ClusterTrustBundle, bool) {
	switch o := o.(type) {
	case *certificatesv1.ClusterTrustBundle:
		return o, true
	case *certificatesv1beta1.ClusterTrustBundle:
		return &certificatesv1.ClusterTrustBundle{ObjectMeta: o.ObjectMeta,
			Spec: certificatesv1.ClusterTrustBundleSpec{SignerName: o.Spec.SignerName, TrustBundle: o.Spec.TrustBundle}}, true
	}
	return nil, false
}

func one(what, namespace, name string, k kind) target {
	t := target{what: what + " " + name, namespace: namespace, fields: fields.OneTermEqualSelector("metadata.name", name), kinds: []kind{k}}
	if namespace != "" {
		t.what = what + " " + namespace + "/" + name
	}
	return t
}

func as[T object](o runtime.Object) (T, bool) {
	t, ok := o.(T)
	return t, ok
}
