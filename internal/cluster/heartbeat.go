package cluster

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// The verbs of this file have a lane of their own, see the package comment.

func (c *Client) nodes(verb string) *rest.Request {
	return c.heartbeat.groups[corev1.SchemeGroupVersion].Verb(verb).Resource("nodes")
}

func (c *Client) leases(verb string) *rest.Request {
	return c.heartbeat.groups[coordinationv1.SchemeGroupVersion].Verb(verb).Namespace(corev1.NamespaceNodeLease).Resource("leases")
}

// GetNode reads a node.
func (c *Client) GetNode(ctx context.Context, name string) (*corev1.Node, error) {
	return do(ctx, c, c.heartbeat.patience, c.nodes("GET").Name(name), &corev1.Node{}, "get node", name)
}

// CreateNode makes a node.
func (c *Client) CreateNode(ctx context.Context, node *corev1.Node) (*corev1.Node, error) {
	return do(ctx, c, c.heartbeat.patience, c.nodes("POST").Body(node.DeepCopy()), &corev1.Node{}, "create node", node.Name)
}

// PatchNode changes labels, annotations, taints; patch is a strategic merge patch.
func (c *Client) PatchNode(ctx context.Context, name string, patch []byte) (*corev1.Node, error) {
	r := c.nodes("PATCH").Name(name).SetHeader("Content-Type", string(types.StrategicMergePatchType)).Body(patch)
	return do(ctx, c, c.heartbeat.patience, r, &corev1.Node{}, "patch node", name)
}

// PatchNodeStatus changes the status of a node; patch is a strategic merge patch.
func (c *Client) PatchNodeStatus(ctx context.Context, name string, patch []byte) (*corev1.Node, error) {
	r := c.nodes("PATCH").Name(name).SubResource("status").SetHeader("Content-Type", string(types.StrategicMergePatchType)).Body(patch)
	return do(ctx, c, c.heartbeat.patience, r, &corev1.Node{}, "patch status of node", name)
}

// GetLease reads the lease of a node.
func (c *Client) GetLease(ctx context.Context, name string) (*coordinationv1.Lease, error) {
	return do(ctx, c, c.heartbeat.patience, c.leases("GET").Name(name), &coordinationv1.Lease{}, "get lease", name)
}

// CreateLease makes the lease of a node.
func (c *Client) CreateLease(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return do(ctx, c, c.heartbeat.patience, c.leases("POST").Body(lease.DeepCopy()), &coordinationv1.Lease{}, "create lease", lease.Name)
}

// UpdateLease writes the lease of a node; the error is a conflict if it is not as it was read.
func (c *Client) UpdateLease(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return do(ctx, c, c.heartbeat.patience, c.leases("PUT").Name(lease.Name).Body(lease.DeepCopy()), &coordinationv1.Lease{}, "update lease", lease.Name)
}

// ask sends a request whose answer does not matter beyond success.
func ask(ctx context.Context, c *Client, patience time.Duration, r *rest.Request, what, object string) error {
	ctx, cancel := context.WithTimeout(withTurn(quiet(ctx)), patience)
	defer cancel()
	if err := r.Do(ctx).Error(); err != nil {
		return fmt.Errorf("%s %s: %w", what, object, c.wire.explain(unansweredUnlessStatus(err)))
	}
	return nil
}
