package manifest

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate tells all that is wrong with a pod, as the API server does when a pod is created. The pod must be
// defaulted: fields that Default fills in count as missing otherwise. Feature gates are those of 1.37: what is alpha
// and off there is checked here too, so that a wrong value never passes silently.
func Validate(p *v1.Pod) field.ErrorList {
	c := &checker{pod: p, volumes: map[string]*v1.Volume{}, claims: map[string]bool{}}
	meta := field.NewPath("metadata")
	c.add(apivalidation.ValidateObjectMeta(&p.ObjectMeta, true, apivalidation.NameIsDNSSubdomain, meta)...)
	c.appArmorAnnotations(meta.Child("annotations"))
	c.spec(&p.Spec, field.NewPath("spec"))
	return c.wrong
}

// checker collects what is wrong with one pod.
type checker struct {
	pod     *v1.Pod
	volumes map[string]*v1.Volume
	claims  map[string]bool
	wrong   field.ErrorList
}

func (c *checker) add(e ...*field.Error) { c.wrong = append(c.wrong, e...) }

func (c *checker) required(at *field.Path, detail string) { c.add(field.Required(at, detail)) }

func (c *checker) invalid(at *field.Path, value any, detail string) {
	c.add(field.Invalid(at, value, detail))
}

func (c *checker) forbidden(at *field.Path, detail string) { c.add(field.Forbidden(at, detail)) }

// must keeps what one of the validation library's functions says of a value.
func (c *checker) must(at *field.Path, value any, says []string) {
	for _, s := range says {
		c.invalid(at, value, s)
	}
}

// oneOf keeps a fault when a word is none of the accepted ones.
func oneOf[T ~string](c *checker, at *field.Path, value T, accepted ...T) {
	if value == "" {
		c.required(at, "must be one of "+words(accepted))
	} else if !slices.Contains(accepted, value) {
		c.add(field.NotSupported(at, value, accepted))
	}
}

func words[T ~string](list []T) string {
	out := make([]string, 0, len(list))
	for _, w := range list {
		out = append(out, string(w))
	}
	return strings.Join(out, ", ")
}

// nonNegative keeps a fault when a number is less than zero.
func (c *checker) nonNegative(at *field.Path, n int64) {
	if n < 0 {
		c.invalid(at, n, "must be greater than or equal to 0")
	}
}

func (c *checker) label(at *field.Path, name string) {
	if name == "" {
		c.required(at, "")
		return
	}
	c.must(at, name, validation.IsDNS1123Label(name))
}

func (c *checker) subdomain(at *field.Path, name string) {
	if name == "" {
		c.required(at, "")
		return
	}
	c.must(at, name, validation.IsDNS1123Subdomain(name))
}

const (
	maxDeadline = 1<<31 - 1
	maxGates    = 100
)

func (c *checker) spec(s *v1.PodSpec, at *field.Path) {
	c.allVolumes(s.Volumes, at.Child("volumes"))
	c.resourceClaims(s.ResourceClaims, at.Child("resourceClaims"))
	c.allContainers(s, at)
	oneOf(c, at.Child("restartPolicy"), s.RestartPolicy, v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever)
	if d := s.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > maxDeadline) {
		c.invalid(at.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, maxDeadline))
	}
	if g := s.TerminationGracePeriodSeconds; g == nil {
		c.required(at.Child("terminationGracePeriodSeconds"), "")
	} else {
		c.nonNegative(at.Child("terminationGracePeriodSeconds"), *g)
	}
	c.network(s, at)
	c.podSecurity(s, at)
	c.scheduling(s, at)
	c.podResources(s, at.Child("resources"))
	c.operatingSystem(s, at)
	if s.ServiceAccountName != "" {
		c.subdomain(at.Child("serviceAccountName"), s.ServiceAccountName)
	}
	if s.NodeName != "" {
		c.subdomain(at.Child("nodeName"), s.NodeName)
	}
	if s.PriorityClassName != "" {
		c.subdomain(at.Child("priorityClassName"), s.PriorityClassName)
	}
	if s.RuntimeClassName != nil && *s.RuntimeClassName != "" {
		c.subdomain(at.Child("runtimeClassName"), *s.RuntimeClassName)
	}
	if s.PreemptionPolicy != nil {
		oneOf(c, at.Child("preemptionPolicy"), *s.PreemptionPolicy, v1.PreemptLowerPriority, v1.PreemptNever)
	}
	for i := range s.ImagePullSecrets {
		if s.ImagePullSecrets[i].Name == "" {
			c.required(at.Child("imagePullSecrets").Index(i).Child("name"), "")
		}
	}
	for i := range s.ReadinessGates {
		c.add(metavalidation.ValidateLabelName(string(s.ReadinessGates[i].ConditionType),
			at.Child("readinessGates").Index(i).Child("conditionType"))...)
	}
	c.resourceNames(s.Overhead, at.Child("overhead"))
	c.responders(s, at)
}

func (c *checker) resourceClaims(list []v1.PodResourceClaim, at *field.Path) {
	for i, claim := range list {
		here := at.Index(i)
		c.label(here.Child("name"), claim.Name)
		if c.claims[claim.Name] {
			c.add(field.Duplicate(here.Child("name"), claim.Name))
		}
		c.claims[claim.Name] = true
		switch {
		case claim.ResourceClaimName == nil && claim.ResourceClaimTemplateName == nil:
			c.invalid(here, claim.Name, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
		case claim.ResourceClaimName != nil && claim.ResourceClaimTemplateName != nil:
			c.invalid(here, claim.Name, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified")
		case claim.ResourceClaimName != nil:
			c.subdomain(here.Child("resourceClaimName"), *claim.ResourceClaimName)
		default:
			c.subdomain(here.Child("resourceClaimTemplateName"), *claim.ResourceClaimTemplateName)
		}
	}
}

// responders checks spec.evictionResponders and spec.schedulingGroup.
func (c *checker) responders(s *v1.PodSpec, at *field.Path) {
	list := at.Child("evictionResponders")
	if len(s.EvictionResponders) > 10 {
		c.add(field.TooMany(list, len(s.EvictionResponders), 10))
	}
	if len(s.EvictionResponders) > 0 && s.SchedulingGroup != nil {
		c.forbidden(list, "may not be set when `schedulingGroup` is set")
	}
	seen := map[string]bool{}
	for i, r := range s.EvictionResponders {
		here := list.Index(i)
		if r.Name == "" {
			c.required(here.Child("name"), "")
		} else {
			c.add(validation.IsDomainPrefixedKey(here.Child("name"), r.Name)...)
		}
		if seen[r.Name] {
			c.add(field.Duplicate(here.Child("name"), r.Name))
		}
		seen[r.Name] = true
		switch {
		case r.Priority == nil:
			c.required(here.Child("priority"), "")
		case *r.Priority < 0 || *r.Priority > 100000:
			c.invalid(here.Child("priority"), *r.Priority, validation.InclusiveRangeError(0, 100000))
		}
	}
	if g := s.SchedulingGroup; g != nil {
		if g.PodGroupName == nil {
			c.required(at.Child("schedulingGroup", "podGroupName"), "")
		} else {
			c.subdomain(at.Child("schedulingGroup", "podGroupName"), *g.PodGroupName)
		}
	}
}

// operatingSystem checks spec.os and what may not be set for the other system.
func (c *checker) operatingSystem(s *v1.PodSpec, at *field.Path) {
	if s.OS == nil {
		return
	}
	oneOf(c, at.Child("os", "name"), s.OS.Name, v1.Linux, v1.Windows)
	switch s.OS.Name {
	case v1.Linux:
		if s.SecurityContext != nil && s.SecurityContext.WindowsOptions != nil {
			c.forbidden(at.Child("securityContext", "windowsOptions"), "windows options cannot be set for a linux pod")
		}
		c.eachSecurity(s, at, func(sc *v1.SecurityContext, here *field.Path) {
			if sc.WindowsOptions != nil {
				c.forbidden(here.Child("windowsOptions"), "windows options cannot be set for a linux pod")
			}
		})
	case v1.Windows:
		c.windowsPod(s, at)
	}
}

// windowsPod checks that nothing is set that only Linux has.
func (c *checker) windowsPod(s *v1.PodSpec, at *field.Path) {
	refuse := func(set bool, path *field.Path) {
		if set {
			c.forbidden(path, "cannot be set for a windows pod")
		}
	}
	refuse(s.HostPID, at.Child("hostPID"))
	refuse(s.HostIPC, at.Child("hostIPC"))
	refuse(s.HostUsers != nil, at.Child("hostUsers"))
	refuse(s.Resources != nil, at.Child("resources"))
	refuse(s.ShareProcessNamespace != nil, at.Child("shareProcessNamespace"))
	if sc, here := s.SecurityContext, at.Child("securityContext"); sc != nil {
		refuse(sc.AppArmorProfile != nil, here.Child("appArmorProfile"))
		refuse(sc.SELinuxOptions != nil, here.Child("seLinuxOptions"))
		refuse(sc.SeccompProfile != nil, here.Child("seccompProfile"))
		refuse(sc.FSGroup != nil, here.Child("fsGroup"))
		refuse(sc.FSGroupChangePolicy != nil, here.Child("fsGroupChangePolicy"))
		refuse(len(sc.Sysctls) > 0, here.Child("sysctls"))
		refuse(sc.RunAsUser != nil, here.Child("runAsUser"))
		refuse(sc.RunAsGroup != nil, here.Child("runAsGroup"))
		refuse(len(sc.SupplementalGroups) > 0, here.Child("supplementalGroups"))
		refuse(sc.SupplementalGroupsPolicy != nil, here.Child("supplementalGroupsPolicy"))
	}
	c.eachSecurity(s, at, func(sc *v1.SecurityContext, here *field.Path) {
		refuse(sc.AppArmorProfile != nil, here.Child("appArmorProfile"))
		refuse(sc.SELinuxOptions != nil, here.Child("seLinuxOptions"))
		refuse(sc.SeccompProfile != nil, here.Child("seccompProfile"))
		refuse(sc.Capabilities != nil, here.Child("capabilities"))
		refuse(sc.ReadOnlyRootFilesystem != nil, here.Child("readOnlyRootFilesystem"))
		refuse(sc.Privileged != nil, here.Child("privileged"))
		refuse(sc.AllowPrivilegeEscalation != nil, here.Child("allowPrivilegeEscalation"))
		refuse(sc.ProcMount != nil, here.Child("procMount"))
		refuse(sc.RunAsUser != nil, here.Child("runAsUser"))
		refuse(sc.RunAsGroup != nil, here.Child("runAsGroup"))
	})
}

// eachSecurity visits the security context of every container that has one.
func (c *checker) eachSecurity(s *v1.PodSpec, at *field.Path, visit func(*v1.SecurityContext, *field.Path)) {
	for i := range s.InitContainers {
		if sc := s.InitContainers[i].SecurityContext; sc != nil {
			visit(sc, at.Child("initContainers").Index(i).Child("securityContext"))
		}
	}
	for i := range s.Containers {
		if sc := s.Containers[i].SecurityContext; sc != nil {
			visit(sc, at.Child("containers").Index(i).Child("securityContext"))
		}
	}
}

// relative keeps a fault when a path is absolute or leads out of where it begins.
func (c *checker) relative(at *field.Path, path string) {
	if strings.HasPrefix(path, "/") {
		c.invalid(at, path, "must be a relative path")
	}
	c.noBacksteps(at, path)
}

func (c *checker) noBacksteps(at *field.Path, path string) {
	if slices.Contains(strings.Split(path, "/"), "..") {
		c.invalid(at, path, "must not contain '..'")
	}
}

// fileInVolume checks the path of a file that the node writes into a volume.
func (c *checker) fileInVolume(at *field.Path, path string) {
	if path == "" {
		c.required(at, "")
		return
	}
	c.relative(at, path)
	if strings.HasPrefix(path, "..") && !strings.HasPrefix(path, "../") && path != ".." {
		c.invalid(at, path, "must not start with '..'")
	}
}

func (c *checker) fileMode(at *field.Path, mode *int32) {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		c.invalid(at, *mode, fmt.Sprintf("must be a number between 0 and 0777 (octal), both inclusive; %d is 0%o", *mode, *mode))
	}
}
