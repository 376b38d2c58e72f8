package objects

import (
	"context"
	"errors"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	resource "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/fault"
)

func (s *server) FollowResourceClaim(ctx context.Context, ns, name string, tell func(*resource.ResourceClaim, error)) {
	followed(ctx, s, "resource claim "+ns+"/"+name, tell)
}

// ResourceClaim answers what is newer than what those hear who follow it, if there is such.
func (s *server) ResourceClaim(context.Context, string, string) (*resource.ResourceClaim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fresh == nil {
		return nil, errors.New("no answer")
	}
	return s.fresh, nil
}

// TestResourceClaimsAreFollowed: behaviour 241, a pod is told at once when its claim appears, is allocated and is reserved.
func TestResourceClaimsAreFollowed(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		const gpu = "resource claim shop/gpu"
		p := podOf()
		p.Spec.ResourceClaims = []v1.PodResourceClaim{{Name: "gpu", ResourceClaimName: new("gpu")}, {Name: "late", ResourceClaimTemplateName: new("t")}}
		b.want(p)
		if _, err := b.ResourceClaim(b.t.Context(), "shop", "gpu"); !errors.Is(err, fault.ErrNotFound) || err.Error() != `resourceclaim "gpu" not found` {
			t.Errorf("error %v", err)
		}
		claim := func() *resource.ResourceClaim {
			return &resource.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "gpu", UID: "g", Annotations: map[string]string{"a": "b"}}}
		}
		b.grows("appears", 0, func() { b.server.put(gpu, claim()) })
		allocated := claim()
		allocated.Status.Allocation = &resource.AllocationResult{}
		allocated.Status.Allocation.Devices.Results = []resource.DeviceRequestAllocationResult{{Driver: "d", Device: "0", Tolerations: []resource.DeviceToleration{{Key: "k"}}}}
		b.grows("is allocated", 0, func() { b.server.put(gpu, allocated) })
		reserved := allocated.DeepCopy()
		reserved.Status.ReservedFor = []resource.ResourceClaimConsumerReference{{Resource: "pods", UID: p.UID}}
		b.grows("is reserved", 0, func() { b.server.put(gpu, reserved) })
		labelled := reserved.DeepCopy()
		labelled.Labels = map[string]string{"x": "y"}
		b.rests("labelled", func() { b.server.put(gpu, labelled) })
		got, err := b.ResourceClaim(b.t.Context(), "shop", "gpu")
		if err != nil || got.UID != "g" || got.Annotations != nil || len(got.Status.ReservedFor) != 1 ||
			got.Status.Allocation.Devices.Results[0].Driver != "d" || got.Status.Allocation.Devices.Results[0].Tolerations != nil {
			t.Errorf("%+v, %v", got, err)
		}
		b.is("followed", b.server.following(), []string{gpu + " 1", "services 1"})
		// Another pod has come to use it, which nobody was told of yet.
		shared := reserved.DeepCopy()
		shared.Status.ReservedFor = append(shared.Status.ReservedFor, resource.ResourceClaimConsumerReference{Resource: "pods", UID: "other"})
		b.server.mu.Lock()
		b.server.fresh = shared
		b.server.mu.Unlock()
		if got, err := b.ResourceClaim(b.t.Context(), "shop", "gpu"); err != nil || len(got.Status.ReservedFor) != 2 {
			t.Errorf("%+v, %v", got, err)
		}
		b.want()
		time.Sleep(time.Minute)
		b.is("followed", b.server.following(), []string{})
	})
}
