package pod

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Claim is a ResourceClaim that a pod uses (behaviour 241).
type Claim struct {
	// Name is what the pod calls it. The claim that stands for a pod's extended resources has no name but its own.
	Name string
	// Object is the name of the ResourceClaim in the pod's namespace; empty while none has been made from its template yet.
	Object string
}

// UsesClaims tells whether a pod uses ResourceClaims.
func UsesClaims(p *v1.Pod) bool {
	return len(p.Spec.ResourceClaims) > 0 || p.Status.ExtendedResourceClaimStatus != nil
}

// Claims are the ResourceClaims that a pod uses: those it names, those that were made for it from templates, and the one that stands for
// its extended resources. A template from which nothing had to be made is left out.
func Claims(p *v1.Pod) []Claim {
	var all []Claim
	for i := range p.Spec.ResourceClaims {
		c := &p.Spec.ResourceClaims[i]
		if c.ResourceClaimName != nil {
			all = append(all, Claim{Name: c.Name, Object: *c.ResourceClaimName})
			continue
		}
		made := slices.IndexFunc(p.Status.ResourceClaimStatuses, func(s v1.PodResourceClaimStatus) bool { return s.Name == c.Name })
		switch {
		case made < 0:
			all = append(all, Claim{Name: c.Name})
		case p.Status.ResourceClaimStatuses[made].ResourceClaimName != nil:
			all = append(all, Claim{Name: c.Name, Object: *p.Status.ResourceClaimStatuses[made].ResourceClaimName})
		}
	}
	if e := p.Status.ExtendedResourceClaimStatus; e != nil {
		all = append(all, Claim{Name: e.ResourceClaimName, Object: e.ResourceClaimName})
	}
	return all
}

// ClaimUse is what one container has of a claim of its pod.
type ClaimUse struct {
	Claim
	// Request is the one of the claim's requests whose devices the container has; empty means those of all.
	Request string
}

// ClaimsOf are the claims that a container has devices of, in the order in which it names them.
func ClaimsOf(p *v1.Pod, c *v1.Container) []ClaimUse {
	var uses []ClaimUse
	all := Claims(p)
	for _, named := range c.Resources.Claims {
		i := slices.IndexFunc(all, func(c Claim) bool { return c.Name == named.Name })
		if i >= 0 {
			uses = append(uses, ClaimUse{Claim: all[i], Request: named.Request})
		}
	}
	if e := p.Status.ExtendedResourceClaimStatus; e != nil {
		for _, m := range e.RequestMappings {
			if m.ContainerName == c.Name {
				uses = append(uses, ClaimUse{Claim: Claim{Name: e.ResourceClaimName, Object: e.ResourceClaimName}, Request: m.RequestName})
			}
		}
	}
	return uses
}
