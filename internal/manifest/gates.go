package manifest

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Off says which parts of a pod's specification do not count, because their feature gates are off. What is left out there is as if nobody
// had written it.
type Off struct {
	// RestartRules is the gate ContainerRestartRules: restart policies of single containers, except that of sidecars, and rules.
	RestartRules bool
	// RestartAll is the gate RestartAllContainersOnContainerExits: rules with that action.
	RestartAll bool
	// PodResources is the gate PodLevelResources: resources of the pod as a whole.
	PodResources bool
}

// Of is the pod without what does not count; the same pod if there is no such thing in it.
func (o Off) Of(p *v1.Pod) *v1.Pod {
	if !o.touches(p) {
		return p
	}
	p = p.DeepCopy()
	if o.PodResources {
		p.Spec.Resources = nil
	}
	for i := range p.Spec.InitContainers {
		o.strip(&p.Spec.InitContainers[i], v1.ContainerRestartPolicyAlways)
	}
	for i := range p.Spec.Containers {
		o.strip(&p.Spec.Containers[i], "")
	}
	return p
}

func (o Off) touches(p *v1.Pod) bool {
	containers := func(all []v1.Container, stays v1.ContainerRestartPolicy) bool {
		return slices.ContainsFunc(all, func(c v1.Container) bool {
			return o.RestartRules && (len(c.RestartPolicyRules) > 0 || policyOtherThan(&c, stays)) || o.RestartAll && slices.ContainsFunc(c.RestartPolicyRules, restartsAll)
		})
	}
	return o.PodResources && p.Spec.Resources != nil || containers(p.Spec.InitContainers, v1.ContainerRestartPolicyAlways) || containers(p.Spec.Containers, "")
}

// strip takes what does not count from a container; stays is the restart policy that it may have of its own.
func (o Off) strip(c *v1.Container, stays v1.ContainerRestartPolicy) {
	if o.RestartRules {
		c.RestartPolicyRules = nil
		if policyOtherThan(c, stays) {
			c.RestartPolicy = nil
		}
	}
	if o.RestartAll {
		c.RestartPolicyRules = slices.DeleteFunc(c.RestartPolicyRules, restartsAll)
	}
}

func policyOtherThan(c *v1.Container, stays v1.ContainerRestartPolicy) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy != stays
}

func restartsAll(r v1.ContainerRestartRule) bool {
	return r.Action == v1.ContainerRestartRuleActionRestartAllContainers
}
