package cluster

import (
	"context"
	"slices"

	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"
)

func (c *Client) resources(verb, resource string) *rest.Request {
	return c.main.groups[resourcev1.SchemeGroupVersion].Verb(verb).Resource(resource)
}

// GetResourceClaim reads a ResourceClaim. A node may read those of its own pods, one by one.
func (c *Client) GetResourceClaim(ctx context.Context, namespace, name string) (*resourcev1.ResourceClaim, error) {
	r := c.resources("GET", "resourceclaims").Namespace(namespace).Name(name)
	return do(ctx, c, c.main.patience, r, &resourcev1.ResourceClaim{}, "get resource claim", namespace+"/"+name)
}

// FollowResourceClaim follows one ResourceClaim. A node may read but not watch it, so it is asked for again: soon, with growing pauses,
// until it is allocated and reserved, then now and then.
func (c *Client) FollowResourceClaim(ctx context.Context, namespace, name string, tell func(Listing[*resourcev1.ResourceClaim])) {
	ready := func(r *resourcev1.ResourceClaim) bool {
		return r.Status.Allocation != nil && len(r.Status.ReservedFor) > 0
	}
	reread(ctx, c, "resource claim "+namespace+"/"+name, func(ctx context.Context) (*resourcev1.ResourceClaim, error) {
		return c.GetResourceClaim(ctx, namespace, name)
	}, ready, tell)
}

// slicesOf are the ResourceSlices of this node, of one driver or, if that is empty, of all.
func (c *Client) slicesOf(driver string) metav1.ListOptions {
	all := fields.OneTermEqualSelector(resourcev1.ResourceSliceSelectorNodeName, c.node)
	if driver != "" {
		all = fields.AndSelectors(all, fields.OneTermEqualSelector(resourcev1.ResourceSliceSelectorDriver, driver))
	}
	return metav1.ListOptions{FieldSelector: all.String()}
}

// SliceDrivers are the drivers of which there are ResourceSlices of this node, in order. An API server that has none at all has none of
// any.
func (c *Client) SliceDrivers(ctx context.Context) ([]string, error) {
	options := c.slicesOf("")
	r := c.resources("GET", "resourceslices").VersionedParams(&options, c.codec)
	list, err := do(ctx, c, c.main.patience, r, &resourcev1.ResourceSliceList{}, "list resource slices of node", c.node)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var drivers []string
	for i := range list.Items {
		drivers = append(drivers, list.Items[i].Spec.Driver)
	}
	slices.Sort(drivers)
	return slices.Compact(drivers), nil
}

// DeleteSlices deletes the ResourceSlices of this node that are of a driver.
func (c *Client) DeleteSlices(ctx context.Context, driver string) error {
	options := c.slicesOf(driver)
	r := c.resources("DELETE", "resourceslices").VersionedParams(&options, c.codec).Body(&metav1.DeleteOptions{})
	err := ask(ctx, c, c.main.patience, r, "delete resource slices of driver", driver)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
