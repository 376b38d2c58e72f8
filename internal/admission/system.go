package admission

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/reason"
)

// nodeOS is the one operating system Bosun runs on.
const nodeOS = "linux"

// system says why a pod is not for this kind of node (behaviours 36, 37).
func system(p *v1.Pod, node Node) *refusal {
	label := nodeOS
	if l, ok := node.Labels[v1.LabelOSStable]; ok {
		label = l
	}
	if want, asked := p.Spec.NodeSelector[v1.LabelOSStable]; asked && want != label {
		return refuse(reason.PodOSSelectorMismatch, "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label")
	}
	if p.Spec.OS != nil && p.Spec.OS.Name != nodeOS {
		return refuse(reason.PodOSNotSupported, "Failed to admit pod as the OS field doesn't match node OS")
	}
	if sc := p.Spec.SecurityContext; node.Handlers != nil && !node.Features.SupplementalGroupsPolicy &&
		sc != nil && sc.SupplementalGroupsPolicy != nil && *sc.SupplementalGroupsPolicy == v1.SupplementalGroupsPolicyStrict {
		return refuse(reason.GroupsPolicyNotSupported, "SupplementalGroupsPolicy=Strict is not supported in this node")
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy != v1.ContainerRestartPolicyAlways {
			return refuse(reason.InitRestartPolicyForbidden, "Init container %q may not have restartPolicy %s: only %s is known for init containers",
				c.Name, *c.RestartPolicy, v1.ContainerRestartPolicyAlways)
		}
	}
	return nil
}

// features says what a pod wants that the runtime cannot do (behaviour 37).
func features(p *v1.Pod, node Node) *refusal {
	if node.Handlers == nil {
		return nil
	}
	name := ""
	if p.Spec.RuntimeClassName != nil {
		name = *p.Spec.RuntimeClassName
	}
	i := slices.IndexFunc(node.Handlers, func(h engine.Handler) bool { return h.Name == name })
	if i < 0 && name != "" { // which handler a runtime class stands for is not known here; the runtime will say
		return nil
	}
	var handler engine.Handler
	if i >= 0 {
		handler = node.Handlers[i]
	}
	if p.Spec.HostUsers != nil && !*p.Spec.HostUsers && !handler.UserNamespaces {
		return refuse(reason.PodFeatureUnsupported, "the container runtime handler %q does not support user namespaces (spec.hostUsers: false)", name)
	}
	if c := wantsRecursive(p); c != "" && !handler.RecursiveReadOnlyMounts {
		return refuse(reason.PodFeatureUnsupported, "the container runtime handler %q does not support recursive read-only mounts, which container %q enables", name, c)
	}
	return nil
}

// wantsRecursive names a container with a mount that must be read-only with all below it.
func wantsRecursive(p *v1.Pod) string {
	name := ""
	visit(p, func(c *v1.Container) {
		for _, m := range c.VolumeMounts {
			if m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == v1.RecursiveReadOnlyEnabled && name == "" {
				name = c.Name
			}
		}
	})
	return name
}

func visit(p *v1.Pod, f func(*v1.Container)) {
	for i := range p.Spec.InitContainers {
		f(&p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		f(&p.Spec.Containers[i])
	}
	for i := range p.Spec.EphemeralContainers {
		c := v1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		f(&c)
	}
}

// appArmor says why a profile that a pod asks for cannot be enforced (behaviour 38).
func appArmor(p *v1.Pod, node Node) *refusal {
	var no *refusal
	visit(p, func(c *v1.Container) {
		asked, name := profileOf(p, c)
		switch {
		case no != nil || !asked:
		case node.AppArmor == nil:
			no = refuse(reason.AppArmor, "Cannot enforce AppArmor: AppArmor is not enabled on the host")
		case name != "" && node.AppArmor.Loaded != nil && !node.AppArmor.Loaded[name]:
			no = refuse(reason.AppArmor, "Cannot enforce AppArmor: profile %q is not loaded", name)
		}
	})
	return no
}

// profileOf tells whether AppArmor has to confine a container, and the name of the profile if it is one of the node's
// own: of the container, of its annotation, of the pod, in this order.
func profileOf(p *v1.Pod, c *v1.Container) (asked bool, name string) {
	var profile *v1.AppArmorProfile
	if p.Spec.SecurityContext != nil {
		profile = p.Spec.SecurityContext.AppArmorProfile
	}
	if text := p.Annotations[v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+c.Name]; text != "" {
		if local, ok := strings.CutPrefix(text, v1.DeprecatedAppArmorBetaProfileNamePrefix); ok {
			profile = &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeLocalhost, LocalhostProfile: &local}
		} else if text == v1.DeprecatedAppArmorBetaProfileNameUnconfined {
			profile = &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeUnconfined}
		} else {
			profile = &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeRuntimeDefault}
		}
	}
	if c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
		profile = c.SecurityContext.AppArmorProfile
	}
	switch {
	case profile == nil || profile.Type == v1.AppArmorProfileTypeUnconfined:
		return false, ""
	case profile.Type == v1.AppArmorProfileTypeLocalhost && profile.LocalhostProfile != nil:
		return true, strings.TrimSpace(*profile.LocalhostProfile)
	}
	return true, ""
}
