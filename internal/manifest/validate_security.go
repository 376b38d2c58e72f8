package manifest

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/node/util/sysctl"

	"github.com/bosun-project/bosun/internal/pod"
)

// sysctlName is the name of a kernel setting, its parts separated by dots or slashes.
var sysctlName = regexp.MustCompile(`^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`)

// podSecurity checks the pod's security context and its namespaces.
func (c *checker) podSecurity(s *v1.PodSpec, at *field.Path) {
	if s.HostPID && s.ShareProcessNamespace != nil && *s.ShareProcessNamespace {
		c.invalid(at.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled")
	}
	c.hostUsers(s, at)
	sc, here := s.SecurityContext, at.Child("securityContext")
	if sc == nil {
		return
	}
	c.userID(here.Child("runAsUser"), sc.RunAsUser)
	c.groupID(here.Child("runAsGroup"), sc.RunAsGroup)
	c.groupID(here.Child("fsGroup"), sc.FSGroup)
	for i, g := range sc.SupplementalGroups {
		c.groupID(here.Child("supplementalGroups").Index(i), &g)
	}
	if sc.SupplementalGroupsPolicy != nil {
		oneOf(c, here.Child("supplementalGroupsPolicy"), *sc.SupplementalGroupsPolicy,
			v1.SupplementalGroupsPolicyMerge, v1.SupplementalGroupsPolicyStrict)
	}
	if sc.FSGroupChangePolicy != nil {
		oneOf(c, here.Child("fsGroupChangePolicy"), *sc.FSGroupChangePolicy, v1.FSGroupChangeOnRootMismatch, v1.FSGroupChangeAlways)
	}
	if sc.SELinuxChangePolicy != nil {
		oneOf(c, here.Child("seLinuxChangePolicy"), *sc.SELinuxChangePolicy,
			v1.SELinuxChangePolicyRecursive, v1.SELinuxChangePolicyMountOption)
	}
	c.seccomp(sc.SeccompProfile, here.Child("seccompProfile"))
	c.appArmor(sc.AppArmorProfile, here.Child("appArmorProfile"))
	c.sysctls(s, here.Child("sysctls"))
}

// hostUsers checks what a pod with its own user namespace cannot have.
func (c *checker) hostUsers(s *v1.PodSpec, at *field.Path) {
	own := s.HostUsers != nil && !*s.HostUsers
	const not = "when `hostUsers` is false"
	if own && s.HostNetwork {
		c.forbidden(at.Child("hostNetwork"), not)
	}
	if own && s.HostPID {
		c.forbidden(at.Child("hostPID"), not)
	}
	if own && s.HostIPC {
		c.forbidden(at.Child("hostIPC"), not)
	}
	check := func(list []v1.Container, here *field.Path) {
		for i := range list {
			if own && len(list[i].VolumeDevices) > 0 {
				c.forbidden(here.Index(i).Child("volumeDevices"), not)
			}
			sc := list[i].SecurityContext
			if !own && sc != nil && sc.ProcMount != nil && *sc.ProcMount == v1.UnmaskedProcMount {
				c.invalid(here.Index(i).Child("securityContext", "procMount"), *sc.ProcMount, "`hostUsers` must be false to use `Unmasked`")
			}
		}
	}
	check(s.InitContainers, at.Child("initContainers"))
	check(s.Containers, at.Child("containers"))
}

func (c *checker) userID(at *field.Path, id *int64) {
	if id != nil {
		c.must(at, *id, validation.IsValidUserID(*id))
	}
}

func (c *checker) groupID(at *field.Path, id *int64) {
	if id != nil {
		c.must(at, *id, validation.IsValidGroupID(*id))
	}
}

func (c *checker) sysctls(s *v1.PodSpec, at *field.Path) {
	seen := map[string]bool{}
	for i, setting := range s.SecurityContext.Sysctls {
		here := at.Index(i).Child("name")
		name := sysctl.NormalizeName(setting.Name)
		switch {
		case setting.Name == "":
			c.required(here, "")
		case len(setting.Name) > 253 || !sysctlName.MatchString(setting.Name):
			c.invalid(here, setting.Name, "must be at most 253 characters: lower case letters, digits, '-' and '_', "+
				"in parts separated by '.' or '/', such as net.ipv4.tcp_syncookies")
		case seen[name]:
			c.add(field.Duplicate(here, setting.Name))
		}
		seen[name] = true
		space, _, _ := sysctl.GetNamespace(name)
		if s.HostNetwork && space == sysctl.NetNamespace {
			c.invalid(here, setting.Name, "may not be specified when `hostNetwork` is true")
		}
		if s.HostIPC && space == sysctl.IPCNamespace {
			c.invalid(here, setting.Name, "may not be specified when `hostIPC` is true")
		}
	}
}

func (c *checker) seccomp(p *v1.SeccompProfile, at *field.Path) {
	if p == nil {
		return
	}
	oneOf(c, at.Child("type"), p.Type, v1.SeccompProfileTypeLocalhost, v1.SeccompProfileTypeRuntimeDefault, v1.SeccompProfileTypeUnconfined)
	here := at.Child("localhostProfile")
	switch local := p.Type == v1.SeccompProfileTypeLocalhost; {
	case local && (p.LocalhostProfile == nil || *p.LocalhostProfile == ""):
		c.required(here, "must be set when seccomp type is Localhost")
	case local:
		c.relative(here, *p.LocalhostProfile)
	case p.LocalhostProfile != nil:
		c.invalid(here, *p.LocalhostProfile, "can only be set when seccomp type is Localhost")
	}
}

func (c *checker) appArmor(p *v1.AppArmorProfile, at *field.Path) {
	if p == nil {
		return
	}
	oneOf(c, at.Child("type"), p.Type, v1.AppArmorProfileTypeLocalhost, v1.AppArmorProfileTypeRuntimeDefault, v1.AppArmorProfileTypeUnconfined)
	here := at.Child("localhostProfile")
	if p.Type != v1.AppArmorProfileTypeLocalhost {
		if p.LocalhostProfile != nil {
			c.invalid(here, *p.LocalhostProfile, "can only be set when AppArmor type is Localhost")
		}
		return
	}
	if p.LocalhostProfile == nil || strings.TrimSpace(*p.LocalhostProfile) == "" {
		c.required(here, "must be set when AppArmor type is Localhost")
		return
	}
	if name := *p.LocalhostProfile; strings.TrimSpace(name) != name {
		c.invalid(here, name, "must not be padded with whitespace")
	} else if len(name) > 4095 {
		c.add(field.TooLong(here, name, 4095))
	}
}

// appArmorAnnotations checks the annotations that chose AppArmor profiles before there were fields for it.
func (c *checker) appArmorAnnotations(at *field.Path) {
	for _, key := range slices.Sorted(maps.Keys(c.pod.Annotations)) {
		name, ok := strings.CutPrefix(key, v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix)
		if !ok {
			continue
		}
		here, chosen := at.Key(key), c.pod.Annotations[key]
		if found, _ := pod.FindContainer(c.pod, name); found == nil {
			c.invalid(here, name, "container not found")
		}
		if chosen != v1.DeprecatedAppArmorBetaProfileRuntimeDefault && chosen != v1.DeprecatedAppArmorBetaProfileNameUnconfined &&
			!strings.HasPrefix(chosen, v1.DeprecatedAppArmorBetaProfileNamePrefix) {
			c.invalid(here, chosen, "must be runtime/default, unconfined or localhost/PROFILE")
		}
	}
}

// containerSecurity checks a container's security context. What is for Windows is left alone here.
func (c *checker) containerSecurity(s *v1.SecurityContext, at *field.Path) {
	if s == nil {
		return
	}
	c.userID(at.Child("runAsUser"), s.RunAsUser)
	c.groupID(at.Child("runAsGroup"), s.RunAsGroup)
	if s.ProcMount != nil {
		oneOf(c, at.Child("procMount"), *s.ProcMount, v1.DefaultProcMount, v1.UnmaskedProcMount)
	}
	c.seccomp(s.SeccompProfile, at.Child("seccompProfile"))
	c.appArmor(s.AppArmorProfile, at.Child("appArmorProfile"))
	if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
		return
	}
	if s.Privileged != nil && *s.Privileged {
		c.invalid(at, "", "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
	}
	if s.Capabilities != nil && slices.Contains(s.Capabilities.Add, "CAP_SYS_ADMIN") {
		c.invalid(at, "", "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN")
	}
}
