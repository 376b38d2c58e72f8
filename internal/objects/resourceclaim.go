package objects

import (
	"context"
	"fmt"

	resource "k8s.io/api/resource/v1"

	"github.com/bosun-project/bosun/internal/fault"
)

// ResourceClaim is ConfigMap for a ResourceClaim; the error is fault.ErrNotFound if it does not exist.
func (l *Loop) ResourceClaim(ctx context.Context, namespace, name string) (*resource.ResourceClaim, error) {
	value, err := l.wait().read(ctx, key{resourceClaims, namespace, name})
	if err != nil {
		return nil, err
	}
	if c, ok := value.(*resource.ResourceClaim); ok {
		return c, nil
	}
	return nil, fault.As(fault.ErrNotFound, fmt.Errorf("resourceclaim %q not found", name))
}

// trimResourceClaim keeps what pods use: which devices of which drivers it has, and for whom. Nil stays nil.
func trimResourceClaim(r *resource.ResourceClaim) any {
	if r == nil {
		return nil
	}
	out := &resource.ResourceClaim{ObjectMeta: standing(r)}
	out.Status.ReservedFor = r.Status.ReservedFor
	if a := r.Status.Allocation; a != nil {
		out.Status.Allocation = &resource.AllocationResult{}
		for _, d := range a.Devices.Results {
			out.Status.Allocation.Devices.Results = append(out.Status.Allocation.Devices.Results,
				resource.DeviceRequestAllocationResult{Request: d.Request, Driver: d.Driver, Pool: d.Pool, Device: d.Device})
		}
	}
	return out
}
