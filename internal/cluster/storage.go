package cluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/bosun-project/bosun/internal/backoff"
)

func (c *Client) storage(verb, resource string) *rest.Request {
	return c.main.groups[storagev1.SchemeGroupVersion].Verb(verb).Resource(resource)
}

// GetClaim reads a claim.
func (c *Client) GetClaim(ctx context.Context, namespace, name string) (*corev1.PersistentVolumeClaim, error) {
	r := c.core().Get().Namespace(namespace).Resource("persistentvolumeclaims").Name(name)
	return do(ctx, c, c.main.patience, r, &corev1.PersistentVolumeClaim{}, "get claim", namespace+"/"+name)
}

// PatchClaimStatus changes the status of a claim; patch is a strategic merge patch. A node may change what is said of its growing.
func (c *Client) PatchClaimStatus(ctx context.Context, namespace, name string, patch []byte) (*corev1.PersistentVolumeClaim, error) {
	r := c.core().Patch(types.StrategicMergePatchType).Namespace(namespace).Resource("persistentvolumeclaims").Name(name).SubResource("status").Body(patch)
	return do(ctx, c, c.main.patience, r, &corev1.PersistentVolumeClaim{}, "patch status of claim", namespace+"/"+name)
}

// GetVolume reads a persistent volume.
func (c *Client) GetVolume(ctx context.Context, name string) (*corev1.PersistentVolume, error) {
	r := c.core().Get().Resource("persistentvolumes").Name(name)
	return do(ctx, c, c.main.patience, r, &corev1.PersistentVolume{}, "get persistent volume", name)
}

// GetAttachment reads the attachment of a volume to this node.
func (c *Client) GetAttachment(ctx context.Context, name string) (*storagev1.VolumeAttachment, error) {
	return do(ctx, c, c.main.patience, c.storage("GET", "volumeattachments").Name(name), &storagev1.VolumeAttachment{}, "get volume attachment", name)
}

// GetCSINode reads what CSI drivers say of a node.
func (c *Client) GetCSINode(ctx context.Context, name string) (*storagev1.CSINode, error) {
	return do(ctx, c, c.main.patience, c.storage("GET", "csinodes").Name(name), &storagev1.CSINode{}, "get CSINode", name)
}

// CreateCSINode makes it.
func (c *Client) CreateCSINode(ctx context.Context, n *storagev1.CSINode) (*storagev1.CSINode, error) {
	return do(ctx, c, c.main.patience, c.storage("POST", "csinodes").Body(n.DeepCopy()), &storagev1.CSINode{}, "create CSINode", n.Name)
}

// UpdateCSINode writes it; the error is a conflict if it is not as it was read.
func (c *Client) UpdateCSINode(ctx context.Context, n *storagev1.CSINode) (*storagev1.CSINode, error) {
	return do(ctx, c, c.main.patience, c.storage("PUT", "csinodes").Name(n.Name).Body(n.DeepCopy()), &storagev1.CSINode{}, "update CSINode", n.Name)
}

// DeleteCSINode deletes it.
func (c *Client) DeleteCSINode(ctx context.Context, name string) error {
	return ask(ctx, c, c.main.patience, c.storage("DELETE", "csinodes").Name(name), "delete CSINode", name)
}

// FollowClaim follows one claim, and FollowVolume one persistent volume. A node may read but not watch them, so they are asked for
// again: soon, with growing pauses, until there is one and the claim is bound, then now and then.
func (c *Client) FollowClaim(ctx context.Context, namespace, name string, tell func(Listing[*corev1.PersistentVolumeClaim])) {
	bound := func(p *corev1.PersistentVolumeClaim) bool {
		return p.Status.Phase == corev1.ClaimBound && p.Spec.VolumeName != ""
	}
	reread(ctx, c, "claim "+namespace+"/"+name, func(ctx context.Context) (*corev1.PersistentVolumeClaim, error) {
		return c.GetClaim(ctx, namespace, name)
	}, bound, tell)
}

// FollowVolume is described at FollowClaim.
func (c *Client) FollowVolume(ctx context.Context, name string, tell func(Listing[*corev1.PersistentVolume])) {
	reread(ctx, c, "persistent volume "+name, func(ctx context.Context) (*corev1.PersistentVolume, error) {
		return c.GetVolume(ctx, name)
	}, func(*corev1.PersistentVolume) bool { return true }, tell)
}

// rereads are the pauses before an object is asked for again that is not as it will be. The first are short, because the API server
// learns a moment late that a pod of this node uses it. settled is the pause once it is.
var rereads = backoff.Series{Initial: 50 * time.Millisecond, Max: 5 * time.Second}

const settled = 90 * time.Second

// reread asks for an object again and again until ctx ends, and tells what it is.
func reread[T object](
	ctx context.Context, c *Client, what string, get func(context.Context) (T, error), done func(T) bool, tell func(Listing[T]),
) {
	var pause time.Duration
	var l Listing[T]
	for tries := 1; ctx.Err() == nil; tries++ {
		back := c.Back()
		got, err := get(ctx)
		if ctx.Err() != nil {
			return
		}
		now, over := time.Now(), false
		switch {
		case err == nil:
			got.SetManagedFields(nil)
			l, over = Listing[T]{Objects: []T{got}, Synced: true, Since: now}, done(got)
		case apierrors.IsNotFound(err):
			l = Listing[T]{Synced: true, Since: now}
		default:
			l.Err, l.Since = err, now
		}
		tell(l)
		if pause = rereads.Next(pause); over {
			pause = 0
		}
		wait := pause
		if over {
			wait = settled
		}
		timer := time.NewTimer(backoff.Jitter(wait, 0.2, fmt.Sprint(c.node, what, tries)))
		select {
		case <-timer.C:
		case <-back:
			pause = 0
		case <-ctx.Done():
		}
		timer.Stop()
	}
}
