package manifest

import (
	"strings"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// Default fills in what the manifest left out, as the API server does when a pod is created. It changes the pod.
// Defaulting twice is the same as once.
func Default(p *v1.Pod) {
	s := &p.Spec
	setTo(&s.RestartPolicy, v1.RestartPolicyAlways)
	setTo(&s.DNSPolicy, v1.DNSClusterFirst)
	setTo(&s.SchedulerName, v1.DefaultSchedulerName)
	setPointer(&s.TerminationGracePeriodSeconds, int64(v1.DefaultTerminationGracePeriodSeconds))
	setPointer(&s.EnableServiceLinks, v1.DefaultEnableServiceLinks)
	if s.SecurityContext == nil {
		s.SecurityContext = &v1.PodSecurityContext{}
	}
	// The deprecated name of the field and the new one are one field.
	setTo(&s.ServiceAccountName, s.DeprecatedServiceAccount)
	s.DeprecatedServiceAccount = s.ServiceAccountName
	for i := range s.Volumes {
		defaultVolume(&s.Volumes[i])
	}
	for i := range s.InitContainers {
		defaultContainer(&s.InitContainers[i], s.HostNetwork)
	}
	for i := range s.Containers {
		defaultContainer(&s.Containers[i], s.HostNetwork)
	}
	for i := range s.EphemeralContainers {
		c := v1.Container(s.EphemeralContainers[i].EphemeralContainerCommon)
		defaultContainer(&c, false)
		s.EphemeralContainers[i].EphemeralContainerCommon = v1.EphemeralContainerCommon(c)
	}
	wholeMilli(s.Overhead)
	defaultPodResources(p)
	appArmorFromAnnotations(p)
}

// appArmorFromAnnotations reads the annotations that chose AppArmor profiles before there were fields for it.
func appArmorFromAnnotations(p *v1.Pod) {
	set := func(list []v1.Container) {
		for i := range list {
			c := &list[i]
			chosen, has := p.Annotations[v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+c.Name]
			if !has || c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
				continue
			}
			profile := &v1.AppArmorProfile{}
			local, isLocal := strings.CutPrefix(chosen, v1.DeprecatedAppArmorBetaProfileNamePrefix)
			switch {
			case chosen == v1.DeprecatedAppArmorBetaProfileRuntimeDefault:
				profile.Type = v1.AppArmorProfileTypeRuntimeDefault
			case chosen == v1.DeprecatedAppArmorBetaProfileNameUnconfined:
				profile.Type = v1.AppArmorProfileTypeUnconfined
			case isLocal:
				profile.Type, profile.LocalhostProfile = v1.AppArmorProfileTypeLocalhost, &local
			default:
				continue // Validate reports it
			}
			setPointer(&c.SecurityContext, v1.SecurityContext{})
			c.SecurityContext.AppArmorProfile = profile
		}
	}
	set(p.Spec.InitContainers)
	set(p.Spec.Containers)
}

func setTo[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}

func setPointer[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

func defaultContainer(c *v1.Container, hostNetwork bool) {
	setTo(&c.ImagePullPolicy, pullPolicyFor(c.Image))
	setTo(&c.TerminationMessagePath, v1.TerminationMessagePathDefault)
	setTo(&c.TerminationMessagePolicy, v1.TerminationMessageReadFile)
	for i := range c.Ports {
		setTo(&c.Ports[i].Protocol, v1.ProtocolTCP)
		if hostNetwork {
			setTo(&c.Ports[i].HostPort, c.Ports[i].ContainerPort)
		}
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil {
			if from.FieldRef != nil {
				setTo(&from.FieldRef.APIVersion, "v1")
			}
			if from.FileKeyRef != nil {
				setPointer(&from.FileKeyRef.Optional, false)
			}
		}
	}
	wholeMilli(c.Resources.Limits)
	wholeMilli(c.Resources.Requests)
	requestsFromLimits(&c.Resources)
	defaultProbe(c.LivenessProbe)
	defaultProbe(c.ReadinessProbe)
	defaultProbe(c.StartupProbe)
	if l := c.Lifecycle; l != nil {
		if l.PostStart != nil {
			defaultHTTP(l.PostStart.HTTPGet)
		}
		if l.PreStop != nil {
			defaultHTTP(l.PreStop.HTTPGet)
		}
	}
}

func defaultProbe(p *v1.Probe) {
	if p == nil {
		return
	}
	setTo(&p.TimeoutSeconds, 1)
	setTo(&p.PeriodSeconds, 10)
	setTo(&p.SuccessThreshold, 1)
	setTo(&p.FailureThreshold, 3)
	defaultHTTP(p.HTTPGet)
	if p.GRPC != nil {
		setPointer(&p.GRPC.Service, "")
	}
}

func defaultHTTP(h *v1.HTTPGetAction) {
	if h == nil {
		return
	}
	setTo(&h.Path, "/")
	setTo(&h.Scheme, v1.URISchemeHTTP)
}

// pullPolicyFor is Always for an image whose tag is "latest", also when it does not say so; IfNotPresent for all
// others, and for names that nobody can read.
func pullPolicyFor(image string) v1.PullPolicy {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return v1.PullIfNotPresent
	}
	if tagged, ok := reference.TagNameOnly(named).(reference.Tagged); ok && tagged.Tag() == "latest" {
		return v1.PullAlways
	}
	return v1.PullIfNotPresent
}

// wholeMilli rounds quantities up to the finest step the API keeps.
func wholeMilli(list v1.ResourceList) {
	for name, q := range list {
		q.RoundUp(-3)
		list[name] = q
	}
}

func requestsFromLimits(r *v1.ResourceRequirements) {
	for name, q := range r.Limits {
		if _, has := r.Requests[name]; has {
			continue
		}
		if r.Requests == nil {
			r.Requests = v1.ResourceList{}
		}
		r.Requests[name] = q.DeepCopy()
	}
}

// defaultPodResources fills in spec.resources: the pod requests what its containers do together, where one of them
// requests it, and else its own limit. Huge pages, of which there is never more than the limit, are always both.
func defaultPodResources(p *v1.Pod) {
	r := p.Spec.Resources
	if r == nil {
		return
	}
	wholeMilli(r.Limits)
	wholeMilli(r.Requests)
	together := resource.AggregateContainerRequests(p, resource.PodResourcesOptions{})
	for name, q := range together {
		_, limited := r.Limits[name]
		_, requested := r.Requests[name]
		if requested || !limited && !isHugePages(name) || !resource.IsSupportedPodLevelResource(name) {
			continue
		}
		if r.Requests == nil {
			r.Requests = v1.ResourceList{}
		}
		if isHugePages(name) && limited {
			q = r.Limits[name]
		}
		r.Requests[name] = q.DeepCopy()
		if isHugePages(name) && !limited {
			if r.Limits == nil {
				r.Limits = v1.ResourceList{}
			}
			r.Limits[name] = q.DeepCopy()
		}
	}
	requestsFromLimits(r)
}
