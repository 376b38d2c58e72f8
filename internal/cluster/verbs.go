package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

func (c *Client) core() *rest.RESTClient { return c.main.groups[corev1.SchemeGroupVersion] }

// GetPod reads a pod.
func (c *Client) GetPod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	r := c.core().Get().Namespace(namespace).Resource("pods").Name(name)
	return do(ctx, c, c.main.patience, r, &corev1.Pod{}, "get pod", namespace+"/"+name)
}

// CreatePod makes a pod: a mirror of a static one.
func (c *Client) CreatePod(ctx context.Context, pod *corev1.Pod) (*corev1.Pod, error) {
	r := c.core().Post().Namespace(pod.Namespace).Resource("pods").Body(pod.DeepCopy())
	return do(ctx, c, c.main.patience, r, &corev1.Pod{}, "create pod", pod.Namespace+"/"+pod.Name)
}

// DeletePod deletes the pod of that name if it has that UID; otherwise the error is a conflict. grace is in seconds; 0 removes it from the
// API at once.
func (c *Client) DeletePod(ctx context.Context, namespace, name string, uid types.UID, grace int64) error {
	options := &metav1.DeleteOptions{GracePeriodSeconds: &grace, Preconditions: &metav1.Preconditions{UID: &uid}}
	r := c.core().Delete().Namespace(namespace).Resource("pods").Name(name).Body(options)
	return ask(ctx, c, c.main.patience, r, "delete pod", namespace+"/"+name)
}

// PatchPodStatus changes the status of the pod of that name if it has that UID; otherwise the error is a conflict. patch is a strategic
// merge patch, a JSON object; the UID is added to it.
func (c *Client) PatchPodStatus(ctx context.Context, namespace, name string, uid types.UID, patch []byte) (*corev1.Pod, error) {
	patch, err := withUID(patch, uid)
	if err != nil {
		return nil, fmt.Errorf("patch status of pod %s/%s: %w", namespace, name, err)
	}
	r := c.core().Patch(types.StrategicMergePatchType).Namespace(namespace).Resource("pods").Name(name).SubResource("status").Body(patch)
	pod, err := do(ctx, c, c.main.patience, r, &corev1.Pod{}, "patch status of pod", namespace+"/"+name)
	if isOther(err) {
		err = fmt.Errorf("patch status of pod %s/%s: %w", namespace, name,
			apierrors.NewConflict(corev1.Resource("pods"), name, fmt.Errorf("the pod of that name is another: its UID is not %s", uid)))
	}
	return pod, err
}

// isOther tells that a patch was refused because it was for another object of that name. Unlike the precondition of a deletion, the UID
// in a patch is judged as a change of a field that cannot be changed.
func isOther(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

// withUID returns the patch with metadata.uid set, which makes the API server refuse it for another object of that name.
func withUID(patch []byte, uid types.UID) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(patch, &fields); err != nil {
		return nil, fmt.Errorf("the patch is not a JSON object: %w", err)
	}
	meta := map[string]json.RawMessage{}
	if have, ok := fields["metadata"]; ok {
		if err := json.Unmarshal(have, &meta); err != nil {
			return nil, fmt.Errorf("the patch's metadata is not a JSON object: %w", err)
		}
	}
	var err error
	if meta["uid"], err = json.Marshal(uid); err != nil {
		return nil, err
	}
	if fields["metadata"], err = json.Marshal(meta); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}

// GetServiceAccount reads a service account. A node may read those of its own pods, one by one.
func (c *Client) GetServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	r := c.core().Get().Namespace(namespace).Resource("serviceaccounts").Name(name)
	return do(ctx, c, c.main.patience, r, &corev1.ServiceAccount{}, "get service account", namespace+"/"+name)
}

// CreateToken asks for a token of a service account.
func (c *Client) CreateToken(ctx context.Context, namespace, account string, request *authenticationv1.TokenRequest) (*authenticationv1.TokenRequest, error) {
	r := c.core().Post().Namespace(namespace).Resource("serviceaccounts").Name(account).SubResource("token").Body(request.DeepCopy())
	return do(ctx, c, c.main.patience, r, &authenticationv1.TokenRequest{}, "create token of service account", namespace+"/"+account)
}

// CreateCSR makes a certificate signing request.
func (c *Client) CreateCSR(ctx context.Context, csr *certificatesv1.CertificateSigningRequest) (*certificatesv1.CertificateSigningRequest, error) {
	r := c.main.groups[certificatesv1.SchemeGroupVersion].Post().Resource("certificatesigningrequests").Body(csr.DeepCopy())
	return do(ctx, c, c.main.patience, r, &certificatesv1.CertificateSigningRequest{}, "create certificate signing request", csr.Name+csr.GenerateName)
}

// GetCSR reads a certificate signing request.
func (c *Client) GetCSR(ctx context.Context, name string) (*certificatesv1.CertificateSigningRequest, error) {
	r := c.main.groups[certificatesv1.SchemeGroupVersion].Get().Resource("certificatesigningrequests").Name(name)
	return do(ctx, c, c.main.patience, r, &certificatesv1.CertificateSigningRequest{}, "get certificate signing request", name)
}

// CreatePodCertificateRequest makes a request for a certificate of a pod.
func (c *Client) CreatePodCertificateRequest(ctx context.Context, r *certificatesv1.PodCertificateRequest) (*certificatesv1.PodCertificateRequest, error) {
	q := c.main.groups[certificatesv1.SchemeGroupVersion].Post().Namespace(r.Namespace).Resource("podcertificaterequests").Body(r.DeepCopy())
	return do(ctx, c, c.main.patience, q, &certificatesv1.PodCertificateRequest{}, "create pod certificate request", r.Namespace+"/"+r.Name)
}

// ReviewToken asks whom a token stands for.
func (c *Client) ReviewToken(ctx context.Context, review *authenticationv1.TokenReview) (*authenticationv1.TokenReview, error) {
	r := c.main.groups[authenticationv1.SchemeGroupVersion].Post().Resource("tokenreviews").Body(review.DeepCopy())
	return do(ctx, c, c.main.patience, r, &authenticationv1.TokenReview{}, "review a token")
}

// ReviewAccess asks whether somebody may do something.
func (c *Client) ReviewAccess(ctx context.Context, review *authorizationv1.SubjectAccessReview) (*authorizationv1.SubjectAccessReview, error) {
	r := c.main.groups[authorizationv1.SchemeGroupVersion].Post().Resource("subjectaccessreviews").Body(review.DeepCopy())
	return do(ctx, c, c.main.patience, r, &authorizationv1.SubjectAccessReview{}, "review the access of", review.Spec.User)
}

// CreateEvent makes an event in its namespace.
func (c *Client) CreateEvent(ctx context.Context, event *corev1.Event) (*corev1.Event, error) {
	r := c.events.groups[corev1.SchemeGroupVersion].Post().Namespace(event.Namespace).Resource("events").Body(event.DeepCopy())
	return do(ctx, c, c.events.patience, r, &corev1.Event{}, "create event", event.Namespace+"/"+event.Name)
}

// PatchEvent changes an event; patch is a strategic merge patch.
func (c *Client) PatchEvent(ctx context.Context, namespace, name string, patch []byte) (*corev1.Event, error) {
	r := c.events.groups[corev1.SchemeGroupVersion].Patch(types.StrategicMergePatchType).Namespace(namespace).Resource("events").Name(name).Body(patch)
	return do(ctx, c, c.events.patience, r, &corev1.Event{}, "patch event", namespace+"/"+name)
}
