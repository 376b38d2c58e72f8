package dra

import (
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/pod"
)

// Grant is what one container has of one prepared claim.
type Grant struct {
	// Name is what the pod calls the claim; Namespace and Claim name the ResourceClaim.
	Name, Namespace, Claim string
	// Request is the one of its requests that the container has; empty for all.
	Request string
	Devices []Device
}

// Grants are what a container has of its pod's claims, in the order in which it names them. What is not prepared is left out.
func (c *Claims) Grants(p *v1.Pod, container *v1.Container) []Grant {
	c.mu.Lock()
	defer c.mu.Unlock()
	var grants []Grant
	for _, use := range pod.ClaimsOf(p, container) {
		if r := c.find(p.UID, p.Namespace, use.Object); r != nil && r.prepared(c.cfg.Boot) {
			grants = append(grants, Grant{Name: use.Name, Namespace: r.Namespace, Claim: r.Name, Request: use.Request, Devices: r.devices(use.Request)})
		}
	}
	return grants
}

// Devices are the CDI names of what a container has of its pod's claims, each once. The error says that a claim is not prepared.
func (c *Claims) Devices(p *v1.Pod, container *v1.Container) ([]string, error) {
	grants := c.Grants(p, container)
	for _, use := range pod.ClaimsOf(p, container) {
		if !slices.ContainsFunc(grants, func(g Grant) bool { return g.Name == use.Name && g.Request == use.Request }) {
			return nil, fmt.Errorf("resource claim %s of container %s is not prepared", use.Name, container.Name)
		}
	}
	var names []string
	for _, g := range grants {
		for _, d := range g.Devices {
			for _, name := range d.CDI {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	return names, nil
}

// AnyDriver is under which InUse counts all claims.
const AnyDriver = "<any>"

// InUse counts the claims that pods use: by driver, and all of them.
func (c *Claims) InUse() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := map[string]int{AnyDriver: 0}
	for _, r := range c.records {
		counts[AnyDriver]++
		for name := range r.Parts {
			counts[name]++
		}
	}
	return counts
}

// Pods are the pods that claims are prepared for, or may be.
func (c *Claims) Pods() ([]types.UID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pods := map[types.UID]bool{}
	for _, r := range c.records {
		for _, uid := range r.Pods {
			pods[uid] = true
		}
	}
	return slices.Sorted(maps.Keys(pods)), nil
}
