package manifest

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/bosun-project/bosun/internal/pod"
)

// allContainers checks every container and what they share: names and host ports.
func (c *checker) allContainers(s *v1.PodSpec, at *field.Path) {
	if len(s.Containers) == 0 {
		c.required(at.Child("containers"), "must have at least one container")
	}
	if len(s.EphemeralContainers) > 0 {
		c.forbidden(at.Child("ephemeralContainers"), "cannot be set on create")
	}
	containers, inits := at.Child("containers"), at.Child("initContainers")
	taken, hostPorts := map[string]bool{}, map[string]bool{}
	for i := range s.Containers {
		here := containers.Index(i)
		c.containerName(s.Containers[i].Name, taken, here)
		c.container(&s.Containers[i], here)
		c.containerRestart(&s.Containers[i], here)
		c.lifecycle(&s.Containers[i], here)
		c.hostPortConflicts(&s.Containers[i], hostPorts, here)
	}
	for i := range s.InitContainers {
		one, here := &s.InitContainers[i], inits.Index(i)
		c.containerName(one.Name, taken, here)
		c.container(one, here)
		c.containerRestart(one, here)
		if pod.IsSidecar(one) {
			c.lifecycle(one, here)
			c.hostPortConflicts(one, hostPorts, here)
		} else {
			c.plainInit(one, here)
			// It has ended before the others begin, so only its own ports can clash.
			c.hostPortConflicts(one, map[string]bool{}, here)
		}
	}
}

func (c *checker) containerName(name string, taken map[string]bool, at *field.Path) {
	c.label(at.Child("name"), name)
	if name != "" && taken[name] {
		c.add(field.Duplicate(at.Child("name"), name))
	}
	taken[name] = true
}

// plainInit refuses what makes sense only for a container that goes on running.
func (c *checker) plainInit(one *v1.Container, at *field.Path) {
	const only = "may not be set for init containers without restartPolicy=Always"
	if one.Lifecycle != nil {
		c.forbidden(at.Child("lifecycle"), only)
	}
	if one.LivenessProbe != nil {
		c.forbidden(at.Child("livenessProbe"), only)
	}
	if one.ReadinessProbe != nil {
		c.forbidden(at.Child("readinessProbe"), only)
	}
	if one.StartupProbe != nil {
		c.forbidden(at.Child("startupProbe"), only)
	}
}

// container checks what is the same for every sort of container.
func (c *checker) container(one *v1.Container, at *field.Path) {
	switch {
	case one.Image == "":
		c.required(at.Child("image"), "")
	case strings.TrimSpace(one.Image) != one.Image:
		c.invalid(at.Child("image"), one.Image, "must not have leading or trailing whitespace")
	}
	oneOf(c, at.Child("imagePullPolicy"), one.ImagePullPolicy, v1.PullAlways, v1.PullIfNotPresent, v1.PullNever)
	oneOf(c, at.Child("terminationMessagePolicy"), one.TerminationMessagePolicy,
		v1.TerminationMessageReadFile, v1.TerminationMessageFallbackToLogsOnError)
	c.ports(one.Ports, at.Child("ports"))
	c.env(one, at)
	c.containerResources(&one.Resources, at.Child("resources"))
	c.resizePolicy(one, at.Child("resizePolicy"))
	c.mounts(one, at.Child("volumeMounts"))
	c.devices(one, at.Child("volumeDevices"))
	c.containerSecurity(one.SecurityContext, at.Child("securityContext"))
}

func (c *checker) ports(list []v1.ContainerPort, at *field.Path) {
	taken := map[string]bool{}
	for i, p := range list {
		here := at.Index(i)
		if p.Name != "" {
			c.must(here.Child("name"), p.Name, validation.IsValidPortName(p.Name))
			if taken[p.Name] {
				c.add(field.Duplicate(here.Child("name"), p.Name))
			}
			taken[p.Name] = true
		}
		if p.ContainerPort == 0 {
			c.required(here.Child("containerPort"), "")
		} else {
			c.must(here.Child("containerPort"), p.ContainerPort, validation.IsValidPortNum(int(p.ContainerPort)))
		}
		if p.HostPort != 0 {
			c.must(here.Child("hostPort"), p.HostPort, validation.IsValidPortNum(int(p.HostPort)))
		}
		if c.pod.Spec.HostNetwork && p.HostPort != p.ContainerPort {
			c.invalid(here.Child("hostPort"), p.HostPort, "must match `containerPort` when `hostNetwork` is true")
		}
		oneOf(c, here.Child("protocol"), p.Protocol, v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP)
		if p.HostIP != "" {
			c.add(validation.IsValidIPForLegacyField(here.Child("hostIP"), p.HostIP, true, nil)...)
		}
	}
}

func (c *checker) hostPortConflicts(one *v1.Container, taken map[string]bool, at *field.Path) {
	for i, p := range one.Ports {
		if p.HostPort == 0 {
			continue
		}
		key := fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort)
		if taken[key] {
			c.add(field.Duplicate(at.Child("ports").Index(i).Child("hostPort"), key))
		}
		taken[key] = true
	}
}

// containerRestart checks a container's own restart policy and its rules.
func (c *checker) containerRestart(one *v1.Container, at *field.Path) {
	if one.RestartPolicy != nil {
		oneOf(c, at.Child("restartPolicy"), *one.RestartPolicy,
			v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyOnFailure, v1.ContainerRestartPolicyNever)
	}
	rules := at.Child("restartPolicyRules")
	if len(one.RestartPolicyRules) > 0 && one.RestartPolicy == nil {
		c.required(at.Child("restartPolicy"), "must be specified when `restartPolicyRules` are used")
	}
	if len(one.RestartPolicyRules) > 20 {
		c.add(field.TooMany(rules, len(one.RestartPolicyRules), 20))
	}
	for i := range one.RestartPolicyRules {
		rule, here := &one.RestartPolicyRules[i], rules.Index(i)
		oneOf(c, here.Child("action"), rule.Action,
			v1.ContainerRestartRuleActionRestart, v1.ContainerRestartRuleActionRestartAllContainers)
		if rule.ExitCodes == nil {
			c.required(here.Child("exitCodes"), "must be specified")
			continue
		}
		c.exitCodes(rule.ExitCodes, here.Child("exitCodes"))
	}
}

func (c *checker) exitCodes(e *v1.ContainerRestartRuleOnExitCodes, at *field.Path) {
	oneOf(c, at.Child("operator"), e.Operator, v1.ContainerRestartRuleOnExitCodesOpIn, v1.ContainerRestartRuleOnExitCodesOpNotIn)
	values := at.Child("values")
	if len(e.Values) == 0 {
		c.required(values, "must have at least one exit code")
	}
	if len(e.Values) > 255 {
		c.add(field.TooMany(values, len(e.Values), 255))
	}
	for i, code := range e.Values {
		if code < 0 || code > 255 {
			c.invalid(values.Index(i), code, validation.InclusiveRangeError(0, 255))
		}
		if slices.Contains(e.Values[:i], code) {
			c.add(field.Duplicate(values.Index(i), code))
		}
	}
}

func (c *checker) resizePolicy(one *v1.Container, at *field.Path) {
	for i, p := range one.ResizePolicy {
		here := at.Index(i)
		oneOf(c, here.Child("resourceName"), p.ResourceName, v1.ResourceCPU, v1.ResourceMemory)
		oneOf(c, here.Child("restartPolicy"), p.RestartPolicy, v1.NotRequired, v1.RestartContainer)
		if slices.ContainsFunc(one.ResizePolicy[:i], func(o v1.ContainerResizePolicy) bool { return o.ResourceName == p.ResourceName }) {
			c.add(field.Duplicate(here.Child("resourceName"), p.ResourceName))
		}
		if c.pod.Spec.RestartPolicy == v1.RestartPolicyNever && p.RestartPolicy == v1.RestartContainer && !pod.IsSidecar(one) {
			c.invalid(here.Child("restartPolicy"), p.RestartPolicy, "must be 'NotRequired' when `restartPolicy` is 'Never'")
		}
	}
}

func (c *checker) mounts(one *v1.Container, at *field.Path) {
	paths := map[string]bool{}
	for i := range one.VolumeMounts {
		m, here := &one.VolumeMounts[i], at.Index(i)
		volume := c.volumes[m.Name]
		switch {
		case m.Name == "":
			c.required(here.Child("name"), "")
		case volume == nil:
			c.add(field.NotFound(here.Child("name"), m.Name))
		}
		if m.MountPath == "" {
			c.required(here.Child("mountPath"), "")
		}
		if paths[m.MountPath] {
			c.invalid(here.Child("mountPath"), m.MountPath, "must be unique")
		}
		paths[m.MountPath] = true
		for _, d := range one.VolumeDevices {
			if d.DevicePath == m.MountPath && m.MountPath != "" {
				c.invalid(here.Child("mountPath"), m.MountPath, "must not already exist as a path in volumeDevices")
			}
			if d.Name == m.Name && m.Name != "" {
				c.invalid(here.Child("name"), m.Name, "must not already exist in volumeDevices")
			}
		}
		if m.SubPath != "" {
			c.relative(here.Child("subPath"), m.SubPath)
		}
		if m.SubPathExpr != "" {
			c.relative(here.Child("subPathExpr"), m.SubPathExpr)
			if m.SubPath != "" {
				c.invalid(here.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive")
			}
		}
		c.mountModes(one, m, here)
		c.bindOptions(m, volume, here.Child("bindMountOptions"))
	}
}

// mountModes checks mountPropagation and recursiveReadOnly.
func (c *checker) mountModes(one *v1.Container, m *v1.VolumeMount, at *field.Path) {
	if p := m.MountPropagation; p != nil {
		here := at.Child("mountPropagation")
		oneOf(c, here, *p, v1.MountPropagationNone, v1.MountPropagationHostToContainer, v1.MountPropagationBidirectional)
		if *p == v1.MountPropagationBidirectional && !isTrue(one.SecurityContext, func(s *v1.SecurityContext) *bool { return s.Privileged }) {
			c.forbidden(here, "Bidirectional mount propagation is available only to privileged containers")
		}
	}
	r := m.RecursiveReadOnly
	if r == nil {
		return
	}
	here := at.Child("recursiveReadOnly")
	oneOf(c, here, *r, v1.RecursiveReadOnlyDisabled, v1.RecursiveReadOnlyIfPossible, v1.RecursiveReadOnlyEnabled)
	if *r == v1.RecursiveReadOnlyDisabled {
		return
	}
	if !m.ReadOnly {
		c.forbidden(here, "may only be specified when readOnly is true")
	}
	if m.MountPropagation != nil && *m.MountPropagation != v1.MountPropagationNone {
		c.forbidden(here, "may only be specified when mountPropagation is None or not specified")
	}
}

func isTrue(s *v1.SecurityContext, get func(*v1.SecurityContext) *bool) bool {
	if s == nil {
		return false
	}
	b := get(s)
	return b != nil && *b
}

func (c *checker) bindOptions(m *v1.VolumeMount, volume *v1.Volume, at *field.Path) {
	if len(m.BindMountOptions) > 0 && volume != nil && volume.Image != nil {
		c.forbidden(at, "not supported with image volumes")
	}
	for i, o := range m.BindMountOptions {
		oneOf(c, at.Index(i), o, "noexec", "nodev", "nosuid")
		if slices.Contains(m.BindMountOptions[:i], o) {
			c.add(field.Duplicate(at.Index(i), o))
		}
	}
}

func (c *checker) devices(one *v1.Container, at *field.Path) {
	names, paths := map[string]bool{}, map[string]bool{}
	for i, d := range one.VolumeDevices {
		here := at.Index(i)
		volume := c.volumes[d.Name]
		switch {
		case d.Name == "":
			c.required(here.Child("name"), "")
		case names[d.Name]:
			c.invalid(here.Child("name"), d.Name, "must be unique")
		case volume == nil:
			c.add(field.NotFound(here.Child("name"), d.Name))
		case volume.PersistentVolumeClaim == nil && volume.Ephemeral == nil:
			c.invalid(here.Child("name"), d.Name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode")
		}
		switch {
		case d.DevicePath == "":
			c.required(here.Child("devicePath"), "")
		case paths[d.DevicePath]:
			c.invalid(here.Child("devicePath"), d.DevicePath, "must be unique")
		default:
			c.noBacksteps(here.Child("devicePath"), d.DevicePath)
		}
		names[d.Name], paths[d.DevicePath] = true, true
	}
}
