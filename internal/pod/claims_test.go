package pod_test

import (
	"reflect"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

// TestClaims: behaviour 241, which ResourceClaims a pod uses, and what its containers have of them.
func TestClaims(t *testing.T) {
	p := &v1.Pod{}
	p.Spec.ResourceClaims = []v1.PodResourceClaim{
		{Name: "shared", ResourceClaimName: new("gpus")},
		{Name: "own", ResourceClaimTemplateName: new("gpu")},
		{Name: "none", ResourceClaimTemplateName: new("gpu")},
		{Name: "late", ResourceClaimTemplateName: new("gpu")},
	}
	p.Status.ResourceClaimStatuses = []v1.PodResourceClaimStatus{{Name: "own", ResourceClaimName: new("web-own-x")}, {Name: "none"}}
	p.Status.ExtendedResourceClaimStatus = &v1.PodExtendedResourceClaimStatus{
		ResourceClaimName: "web-extended", RequestMappings: []v1.ContainerExtendedResourceRequest{
			{ContainerName: "app", ResourceName: "example.com/gpu", RequestName: "container-0-request-0"},
			{ContainerName: "other", ResourceName: "example.com/gpu", RequestName: "container-1-request-0"},
		},
	}
	shared, own := pod.Claim{Name: "shared", Object: "gpus"}, pod.Claim{Name: "own", Object: "web-own-x"}
	late, extended := pod.Claim{Name: "late"}, pod.Claim{Name: "web-extended", Object: "web-extended"}
	if got, want := pod.Claims(p), []pod.Claim{shared, own, late, extended}; !reflect.DeepEqual(got, want) {
		t.Errorf("claims of the pod: %v, want %v", got, want)
	}
	c := &v1.Container{Name: "app"}
	c.Resources.Claims = []v1.ResourceClaim{{Name: "own", Request: "big"}, {Name: "shared"}, {Name: "none"}, {Name: "nobody's"}}
	want := []pod.ClaimUse{{own, "big"}, {shared, ""}, {extended, "container-0-request-0"}}
	if got := pod.ClaimsOf(p, c); !reflect.DeepEqual(got, want) {
		t.Errorf("claims of the container: %v, want %v", got, want)
	}
	if !pod.UsesClaims(p) || pod.UsesClaims(&v1.Pod{}) || !pod.UsesClaims(&v1.Pod{Status: v1.PodStatus{ExtendedResourceClaimStatus: p.Status.ExtendedResourceClaimStatus}}) {
		t.Error("UsesClaims is wrong")
	}
}
