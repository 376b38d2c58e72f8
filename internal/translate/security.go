package translate

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/reason"
)

// effective is the security context that holds for a container: its own settings, and where it has none, the pod's
// (behaviour 91).
func effective(p *v1.Pod, c *v1.Container) *v1.SecurityContext {
	out := &v1.SecurityContext{}
	if c.SecurityContext != nil {
		*out = *c.SecurityContext
	}
	ps := p.Spec.SecurityContext
	if ps == nil {
		return out
	}
	inherit(&out.SELinuxOptions, ps.SELinuxOptions)
	inherit(&out.WindowsOptions, ps.WindowsOptions)
	inherit(&out.RunAsUser, ps.RunAsUser)
	inherit(&out.RunAsGroup, ps.RunAsGroup)
	inherit(&out.RunAsNonRoot, ps.RunAsNonRoot)
	inherit(&out.SeccompProfile, ps.SeccompProfile)
	return out // AppArmor has its own order of precedence: see appArmor
}

func inherit[T any](to **T, from *T) {
	if *to == nil {
		*to = from
	}
}

// security is the security context of a container (behaviours 91-103). imageUser is whom the image wants to run as.
func security(p *v1.Pod, c *v1.Container, imageUser string, n *Node, in *Inputs) (*runtimeapi.LinuxContainerSecurityContext, error) {
	sc := effective(p, c)
	if err := checkNonRoot(p, c, sc, imageUser); err != nil {
		return nil, err
	}
	spaces, err := namespaces(p, n, in.PodInputs)
	if err != nil {
		return nil, configError(c, err)
	}
	if in.TargetID != "" && spaces.Pid == runtimeapi.NamespaceMode_CONTAINER {
		spaces.Pid, spaces.TargetId = runtimeapi.NamespaceMode_TARGET, in.TargetID
	}
	out := &runtimeapi.LinuxContainerSecurityContext{
		Capabilities:             capabilities(sc.Capabilities),
		Privileged:               isTrue(sc.Privileged),
		NamespaceOptions:         spaces,
		SelinuxOptions:           selinux(sc.SELinuxOptions),
		RunAsGroup:               int64Value(sc.RunAsGroup),
		ReadonlyRootfs:           isTrue(sc.ReadOnlyRootFilesystem),
		SupplementalGroups:       groups(p, in.Groups),
		SupplementalGroupsPolicy: groupsPolicy(p),
		NoNewPrivs:               sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
	}
	out.RunAsUser, out.RunAsUsername = user(sc, imageUser)
	if sc.ProcMount == nil || *sc.ProcMount != v1.UnmaskedProcMount {
		out.MaskedPaths = append(maskedPaths(), n.MaskedPaths...)
		out.ReadonlyPaths = readOnlyPaths()
	}
	if out.Seccomp, err = seccomp(c, sc.SeccompProfile, n); err != nil {
		return nil, err
	}
	//lint:ignore SA1019 older runtimes read only this field
	if out.Apparmor, out.ApparmorProfile, err = appArmor(p, c); err != nil {
		return nil, err
	}
	return out, nil
}

// checkNonRoot refuses a container that must not run as root but would, or might (behaviour 92).
func checkNonRoot(p *v1.Pod, c *v1.Container, sc *v1.SecurityContext, imageUser string) error {
	if !isTrue(sc.RunAsNonRoot) {
		return nil
	}
	where := fmt.Sprintf("(pod: %q, container: %s)", describe(p), c.Name)
	refuse := func(text string) error { return &ConfigError{reason.CreateContainerConfigErr, text + " " + where} }
	if sc.RunAsUser != nil {
		if *sc.RunAsUser == 0 {
			return refuse("container's runAsUser breaks non-root policy")
		}
		return nil
	}
	switch uid, err := strconv.ParseInt(imageUser, 10, 64); {
	case imageUser == "" || err == nil && uid == 0:
		return refuse("container has runAsNonRoot and image will run as root")
	case err != nil:
		return refuse(fmt.Sprintf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root", imageUser))
	}
	return nil
}

// user is whom the container runs as: what the pod says, else what the image says, else root (behaviour 93).
func user(sc *v1.SecurityContext, imageUser string) (*runtimeapi.Int64Value, string) {
	if sc.RunAsUser != nil {
		return int64Value(sc.RunAsUser), ""
	}
	if imageUser == "" {
		return &runtimeapi.Int64Value{Value: 0}, ""
	}
	if uid, err := strconv.ParseInt(imageUser, 10, 64); err == nil {
		return &runtimeapi.Int64Value{Value: uid}, ""
	}
	return nil, imageUser
}

// groups are fsGroup, supplementalGroups and the groups that volumes demand, each once (behaviour 94).
func groups(p *v1.Pod, volumes []int64) []int64 {
	var out []int64
	if sc := p.Spec.SecurityContext; sc != nil {
		if sc.FSGroup != nil {
			out = append(out, *sc.FSGroup)
		}
		out = append(out, sc.SupplementalGroups...)
	}
	out = append(out, volumes...)
	seen := map[int64]bool{}
	return slices.DeleteFunc(out, func(g int64) bool {
		again := seen[g]
		seen[g] = true
		return again
	})
}

func groupsPolicy(p *v1.Pod) runtimeapi.SupplementalGroupsPolicy {
	if sc := p.Spec.SecurityContext; sc != nil && sc.SupplementalGroupsPolicy != nil && *sc.SupplementalGroupsPolicy == v1.SupplementalGroupsPolicyStrict {
		return runtimeapi.SupplementalGroupsPolicy_Strict
	}
	return runtimeapi.SupplementalGroupsPolicy_Merge
}

// capabilities are the names without CAP_, which is how the API spells them; written with it they are understood too
// (behaviour 98).
func capabilities(c *v1.Capabilities) *runtimeapi.Capability {
	if c == nil {
		return nil
	}
	bare := func(list []v1.Capability) []string {
		var out []string
		for _, name := range list {
			out = append(out, strings.TrimPrefix(strings.ToUpper(string(name)), "CAP_"))
		}
		return out
	}
	return &runtimeapi.Capability{AddCapabilities: bare(c.Add), DropCapabilities: bare(c.Drop)}
}

// seccomp is the system call filter (behaviour 95).
func seccomp(c *v1.Container, profile *v1.SeccompProfile, n *Node) (*runtimeapi.SecurityProfile, error) {
	if profile == nil {
		if n.SeccompDefault {
			return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, nil
		}
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, nil
	}
	switch profile.Type {
	case v1.SeccompProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, nil
	case v1.SeccompProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, nil
	case v1.SeccompProfileTypeLocalhost:
		return localSeccomp(c, profile.LocalhostProfile, n)
	}
	return nil, configError(c, fmt.Errorf("seccompProfile.type: invalid value %q: must be RuntimeDefault, Unconfined or Localhost", profile.Type))
}

func localSeccomp(c *v1.Container, name *string, n *Node) (*runtimeapi.SecurityProfile, error) {
	if name == nil || *name == "" {
		return nil, configError(c, fmt.Errorf("localhostProfile must be set if seccompProfile type is Localhost"))
	}
	if !filepath.IsLocal(*name) {
		return nil, configError(c, fmt.Errorf("seccompProfile.localhostProfile: invalid value %q: must be a relative path without '..'", *name))
	}
	return &runtimeapi.SecurityProfile{
		ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: filepath.Join(n.RootDir, "seccomp", *name),
	}, nil
}

// appArmor is the AppArmor profile: of the container, of its annotation, of the pod (behaviour 96). The string says the
// same to runtimes that know only the older field.
func appArmor(p *v1.Pod, c *v1.Container) (*runtimeapi.SecurityProfile, string, error) {
	profile := appArmorField(p, c)
	if profile == nil {
		return nil, "", nil
	}
	switch profile.Type {
	case v1.AppArmorProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, v1.DeprecatedAppArmorBetaProfileRuntimeDefault, nil
	case v1.AppArmorProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, v1.DeprecatedAppArmorBetaProfileNameUnconfined, nil
	case v1.AppArmorProfileTypeLocalhost:
		if profile.LocalhostProfile == nil || strings.TrimSpace(*profile.LocalhostProfile) == "" {
			return nil, "", configError(c, fmt.Errorf("missing localhost apparmor profile name"))
		}
		name := strings.TrimSpace(*profile.LocalhostProfile)
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: name},
			v1.DeprecatedAppArmorBetaProfileNamePrefix + name, nil
	}
	return nil, "", configError(c, fmt.Errorf("appArmorProfile.type: invalid value %q: must be RuntimeDefault, Unconfined or Localhost", profile.Type))
}

func appArmorField(p *v1.Pod, c *v1.Container) *v1.AppArmorProfile {
	if c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil {
		return c.SecurityContext.AppArmorProfile
	}
	if text, ok := p.Annotations[v1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+c.Name]; ok && text != "" {
		return appArmorAnnotation(text)
	}
	if p.Spec.SecurityContext != nil {
		return p.Spec.SecurityContext.AppArmorProfile
	}
	return nil
}

func appArmorAnnotation(text string) *v1.AppArmorProfile {
	if name, ok := strings.CutPrefix(text, v1.DeprecatedAppArmorBetaProfileNamePrefix); ok {
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeLocalhost, LocalhostProfile: &name}
	}
	switch text {
	case v1.DeprecatedAppArmorBetaProfileRuntimeDefault:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeRuntimeDefault}
	case v1.DeprecatedAppArmorBetaProfileNameUnconfined:
		return &v1.AppArmorProfile{Type: v1.AppArmorProfileTypeUnconfined}
	}
	return &v1.AppArmorProfile{Type: v1.AppArmorProfileType(text)} // refused by name
}

func selinux(o *v1.SELinuxOptions) *runtimeapi.SELinuxOption {
	if o == nil {
		return nil
	}
	return &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

func int64Value(v *int64) *runtimeapi.Int64Value {
	if v == nil {
		return nil
	}
	return &runtimeapi.Int64Value{Value: *v}
}

// maskedPaths are hidden from containers, readOnlyPaths cannot be written to, unless procMount is Unmasked (behaviour 99).
func maskedPaths() []string {
	return []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
}

func readOnlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}
