package objects

import (
	"context"
	"fmt"

	resource "k8s.io/api/resource/v1"

	"github.com/bosun-project/bosun/internal/fault"
)

// ResourceClaims are those at the API server.
type ResourceClaims interface {
	// FollowResourceClaim is as the functions of Cluster.
	FollowResourceClaim(ctx context.Context, namespace, name string, tell func(*resource.ResourceClaim, error))
	// ResourceClaim asks once; nil and nil if it does not exist.
	ResourceClaim(ctx context.Context, namespace, name string) (*resource.ResourceClaim, error)
}

// ResourceClaim is ConfigMap for a ResourceClaim; the error is fault.ErrNotFound if it does not exist. What was heard last may be old,
// for a node may not watch it, and other pods may have come to use it: so the API server is asked, if it answers soon.
func (l *Loop) ResourceClaim(ctx context.Context, namespace, name string) (*resource.ResourceClaim, error) {
	k := key{resourceClaims, namespace, name}
	l.refresh(ctx, k)
	value, err := l.wait().read(ctx, k)
	if err != nil {
		return nil, err
	}
	if c, ok := value.(*resource.ResourceClaim); ok {
		return c, nil
	}
	return nil, fault.As(fault.ErrNotFound, fmt.Errorf("resourceclaim %q not found", name))
}

// refresh asks for a ResourceClaim that is followed.
func (l *Loop) refresh(ctx context.Context, k key) {
	if away, _ := l.cfg.Away(); away || l.cfg.ResourceClaims == nil {
		return
	}
	asking, cancel := context.WithTimeout(ctx, brief)
	defer cancel()
	now, err := l.cfg.ResourceClaims.ResourceClaim(asking, k.namespace, k.name)
	if err != nil { // whoever follows it says why
		return
	}
	l.mu.Lock()
	e := l.entries[k]
	l.mu.Unlock()
	if e != nil {
		l.heard(ctx, e, trimResourceClaim(now), nil)
	}
}

// followResourceClaim follows one, where there are any.
func (l *Loop) followResourceClaim(ctx context.Context, k key, tell func(any, error)) {
	if l.cfg.ResourceClaims == nil {
		tell(nil, nil)
		<-ctx.Done()
		return
	}
	l.cfg.ResourceClaims.FollowResourceClaim(ctx, k.namespace, k.name, func(r *resource.ResourceClaim, err error) { tell(trimResourceClaim(r), err) })
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
