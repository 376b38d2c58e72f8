package cluster

import (
	"context"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
	t := all("pods of this node", corev1.SchemeGroupVersion, "pods", &corev1.PodList{})
	t.fields = fields.OneTermEqualSelector("spec.nodeName", c.node)
	follow(ctx, c, t, tell)
}

// FollowNode follows this node.
func (c *Client) FollowNode(ctx context.Context, tell func(Listing[*corev1.Node])) {
	follow(ctx, c, all("node", corev1.SchemeGroupVersion, "nodes", &corev1.NodeList{}).only("", c.node), tell)
}

// FollowServices follows the services of all namespaces.
func (c *Client) FollowServices(ctx context.Context, tell func(Listing[*corev1.Service])) {
	follow(ctx, c, all("services", corev1.SchemeGroupVersion, "services", &corev1.ServiceList{}), tell)
}

// FollowRuntimeClasses follows the runtime classes.
func (c *Client) FollowRuntimeClasses(ctx context.Context, tell func(Listing[*nodev1.RuntimeClass])) {
	follow(ctx, c, all("runtime classes", nodev1.SchemeGroupVersion, "runtimeclasses", &nodev1.RuntimeClassList{}), tell)
}

// FollowCSIDrivers follows what the cluster knows of CSI drivers.
func (c *Client) FollowCSIDrivers(ctx context.Context, tell func(Listing[*storagev1.CSIDriver])) {
	follow(ctx, c, all("CSI drivers", storagev1.SchemeGroupVersion, "csidrivers", &storagev1.CSIDriverList{}), tell)
}

// FollowConfigMap follows one ConfigMap.
func (c *Client) FollowConfigMap(ctx context.Context, namespace, name string, tell func(Listing[*corev1.ConfigMap])) {
	follow(ctx, c, all("configmap", corev1.SchemeGroupVersion, "configmaps", &corev1.ConfigMapList{}).only(namespace, name), tell)
}

// FollowSecret follows one Secret.
func (c *Client) FollowSecret(ctx context.Context, namespace, name string, tell func(Listing[*corev1.Secret])) {
	follow(ctx, c, all("secret", corev1.SchemeGroupVersion, "secrets", &corev1.SecretList{}).only(namespace, name), tell)
}

// FollowCSR follows one certificate signing request.
func (c *Client) FollowCSR(ctx context.Context, name string, tell func(Listing[*certificatesv1.CertificateSigningRequest])) {
	t := all("certificate signing request", certificatesv1.SchemeGroupVersion, "certificatesigningrequests", &certificatesv1.CertificateSigningRequestList{})
	follow(ctx, c, t.only("", name), tell)
}

// FollowPodCertificateRequest follows one request for a certificate of a pod of this node; a node may follow those of its own.
func (c *Client) FollowPodCertificateRequest(ctx context.Context, namespace, name string, tell func(Listing[*certificatesv1.PodCertificateRequest])) {
	t := all("pod certificate request", certificatesv1.SchemeGroupVersion, "podcertificaterequests", &certificatesv1.PodCertificateRequestList{})
	t = t.only(namespace, name)
	t.fields = fields.AndSelectors(t.fields, fields.OneTermEqualSelector("spec.nodeName", c.node))
	follow(ctx, c, t, tell)
}

// FollowClusterTrustBundles follows all ClusterTrustBundles. They are in certificates.k8s.io/v1 since 1.37, and an API server is never
// older than its kubelets.
func (c *Client) FollowClusterTrustBundles(ctx context.Context, tell func(Listing[*certificatesv1.ClusterTrustBundle])) {
	follow(ctx, c, all("cluster trust bundles", certificatesv1.SchemeGroupVersion, "clustertrustbundles", &certificatesv1.ClusterTrustBundleList{}), tell)
}

// target is what is followed.
type target struct {
	// what says it in words.
	what     string
	version  schema.GroupVersion
	resource string
	list     runtime.Object
	// namespace and fields narrow it; empty and nil mean all.
	namespace string
	fields    fields.Selector
}

func all(what string, version schema.GroupVersion, resource string, list runtime.Object) target {
	return target{what: what, version: version, resource: resource, list: list}
}

// only narrows a target to one object.
func (t target) only(namespace, name string) target {
	t.namespace, t.fields = namespace, fields.OneTermEqualSelector("metadata.name", name)
	if namespace != "" {
		name = namespace + "/" + name
	}
	t.what += " " + name
	return t
}
