package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	podresource "k8s.io/component-helpers/resource"
)

func isHugePages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

// isStandard tells whether a container may ask for the resource without anyone offering it.
func isStandard(name v1.ResourceName) bool {
	return name == v1.ResourceCPU || name == v1.ResourceMemory || name == v1.ResourceEphemeralStorage || isHugePages(name)
}

// isExtended tells whether somebody outside of Kubernetes offers the resource: its name has a domain that is not ours.
func isExtended(name v1.ResourceName) bool {
	n := string(name)
	return strings.Contains(n, "/") && !strings.Contains(n, v1.ResourceDefaultNamespacePrefix) &&
		!strings.HasPrefix(n, v1.DefaultResourceRequestsPrefix)
}

// exact tells whether a resource cannot be shared out twice, so that request and limit must be the same.
func exact(name v1.ResourceName) bool { return isExtended(name) || isHugePages(name) }

func sorted(list v1.ResourceList) []v1.ResourceName { return slices.Sorted(maps.Keys(list)) }

func (c *checker) containerResources(r *v1.ResourceRequirements, at *field.Path) {
	limits, requests := at.Child("limits"), at.Child("requests")
	c.containerList(r.Limits, limits)
	c.containerList(r.Requests, requests)
	c.requestsWithinLimits(r, requests, "")
	hugePages := func(list v1.ResourceList) bool { return slices.ContainsFunc(sorted(list), isHugePages) }
	_, cpu := r.Requests[v1.ResourceCPU]
	_, memory := r.Requests[v1.ResourceMemory]
	if (hugePages(r.Limits) || hugePages(r.Requests)) && !cpu && !memory && c.pod.Spec.Resources == nil {
		c.forbidden(at, "HugePages require cpu or memory")
	}
	for i, claim := range r.Claims {
		here := at.Child("claims").Index(i)
		switch {
		case claim.Name == "":
			c.required(here.Child("name"), "")
		case !c.claims[claim.Name]:
			c.add(field.NotFound(here.Child("name"), claim.Name))
		case slices.Contains(r.Claims[:i], claim):
			c.add(field.Duplicate(here, claim.Name))
		}
		if claim.Request != "" {
			c.must(here.Child("request"), claim.Request, validation.IsDNS1123Label(claim.Request))
		}
	}
}

func (c *checker) containerList(list v1.ResourceList, at *field.Path) {
	for _, name := range sorted(list) {
		here := at.Key(string(name))
		switch {
		case !isStandard(name) && !strings.Contains(string(name), "/"):
			c.invalid(here, name, "must be a standard resource for containers: cpu, memory, ephemeral-storage or hugepages-SIZE; others are named DOMAIN/NAME")
		case !isStandard(name):
			c.must(here, name, validation.IsQualifiedName(string(name)))
			if !isExtended(name) {
				c.invalid(here, name, "must be a standard resource for containers, or have a domain that is not kubernetes.io")
			}
		}
		c.quantity(name, list[name], here)
	}
}

// quantity checks how much of a resource there may be.
func (c *checker) quantity(name v1.ResourceName, q resource.Quantity, at *field.Path) {
	if q.Sign() < 0 {
		c.invalid(at, q.String(), "must be greater than or equal to 0")
	}
	if isExtended(name) && q.MilliValue()%1000 != 0 {
		c.invalid(at, q.String(), "must be an integer")
	}
	if !isHugePages(name) {
		return
	}
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), v1.ResourceHugePagesPrefix))
	switch {
	case err != nil || size.Sign() <= 0:
		c.invalid(at, name, "must end in the size of a page, as hugepages-2Mi does")
	case q.Value()%size.Value() != 0:
		c.invalid(at, q.String(), "must be a multiple of the page size "+size.String())
	}
}

// requestsWithinLimits compares the two; whose names the owner in the message, empty for a container.
func (c *checker) requestsWithinLimits(r *v1.ResourceRequirements, at *field.Path, whose string) {
	for _, name := range sorted(r.Requests) {
		q, here := r.Requests[name], at.Key(string(name))
		limit, limited := r.Limits[name]
		switch {
		case !limited && exact(name):
			c.required(here, "Limit must be set for non overcommitable resources")
		case limited && exact(name) && q.Cmp(limit) != 0:
			c.invalid(here, q.String(), fmt.Sprintf("must be equal to %s%s limit of %s", whose, name, limit.String()))
		case limited && q.Cmp(limit) > 0:
			c.invalid(here, q.String(), fmt.Sprintf("must be less than or equal to %s%s limit of %s", whose, name, limit.String()))
		}
	}
}

// resourceNames checks a list that is not of a container, such as the pod's overhead.
func (c *checker) resourceNames(list v1.ResourceList, at *field.Path) {
	for _, name := range sorted(list) {
		here := at.Key(string(name))
		c.must(here, name, validation.IsQualifiedName(string(name)))
		c.quantity(name, list[name], here)
	}
}

// podResources checks spec.resources, the budget of the pod as a whole.
func (c *checker) podResources(s *v1.PodSpec, at *field.Path) {
	r := s.Resources
	if r == nil {
		return
	}
	if len(r.Claims) > 0 {
		c.forbidden(at.Child("claims"), "claims may not be set for resources at pod-level")
	}
	for _, part := range []struct {
		list v1.ResourceList
		at   *field.Path
	}{{r.Limits, at.Child("limits")}, {r.Requests, at.Child("requests")}} {
		for _, name := range sorted(part.list) {
			if !podresource.IsSupportedPodLevelResource(name) {
				c.add(field.NotSupported(part.at.Key(string(name)), name, []string{"cpu", "memory", "hugepages-SIZE"}))
				continue
			}
			c.quantity(name, part.list[name], part.at.Key(string(name)))
		}
	}
	c.requestsWithinLimits(r, at.Child("requests"), "pod ")
	together := podresource.AggregateContainerRequests(c.pod, podresource.PodResourcesOptions{})
	for _, name := range sorted(r.Requests) {
		q := r.Requests[name]
		if sum, has := together[name]; has && q.Cmp(sum) < 0 {
			c.invalid(at.Child("requests").Key(string(name)), q.String(),
				"must be greater than or equal to aggregate container requests of "+sum.String())
		}
	}
	for i := range s.Containers {
		c.withinPod(&s.Containers[i], r.Limits, field.NewPath("spec", "containers").Index(i))
	}
	for i := range s.InitContainers {
		c.withinPod(&s.InitContainers[i], r.Limits, field.NewPath("spec", "initContainers").Index(i))
	}
}

func (c *checker) withinPod(one *v1.Container, most v1.ResourceList, at *field.Path) {
	for _, name := range sorted(one.Resources.Limits) {
		q := one.Resources.Limits[name]
		if limit, has := most[name]; has && q.Cmp(limit) > 0 {
			c.invalid(at.Child("resources", "limits").Key(string(name)), q.String(),
				"must be less than or equal to pod limits of "+limit.String())
		}
	}
}
