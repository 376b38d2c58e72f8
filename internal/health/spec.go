package health

import (
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

// Spec is how one container of a pod is probed. It is never changed.
type Spec struct {
	Container string
	// Restarts tells whether the container starts again after a probe has had it killed.
	Restarts bool

	rules    [Kinds]*Rule
	handlers [Kinds]*v1.ProbeHandler
}

// SpecOf reads the probes of a container. It returns nil if there are none.
func SpecOf(p *v1.Pod, c *v1.Container) *Spec {
	if c.StartupProbe == nil && c.LivenessProbe == nil && c.ReadinessProbe == nil {
		return nil
	}
	s := &Spec{Container: c.Name, Restarts: policyOf(p, c) != v1.RestartPolicyNever}
	seed := string(p.UID) + "/" + c.Name
	for kind, probe := range [Kinds]*v1.Probe{Startup: c.StartupProbe, Liveness: c.LivenessProbe, Readiness: c.ReadinessProbe} {
		if probe != nil {
			s.rules[kind], s.handlers[kind] = ruleOf(Kind(kind), probe, seed), &probe.ProbeHandler
		}
	}
	return s
}

// Rule is how the probe of that kind is asked and judged; nil if there is none.
func (s *Spec) Rule(k Kind) *Rule { return s.rules[k] }

// Handler is what the probe of that kind does; nil if there is none.
func (s *Spec) Handler(k Kind) *v1.ProbeHandler { return s.handlers[k] }

// Probed are the containers of a pod that may have probes: sidecars and regular ones, in order (behaviours 109, 113).
func Probed(p *v1.Pod) []*v1.Container {
	var out []*v1.Container
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; pod.IsSidecar(c) {
			out = append(out, c)
		}
	}
	for i := range p.Spec.Containers {
		out = append(out, &p.Spec.Containers[i])
	}
	return out
}

// Finished tells whether an ended container cannot come back, so that nobody will ask it anything (behaviour 130).
func Finished(p *v1.Pod, c *v1.Container, last *pod.Container) bool {
	if last == nil || last.State != pod.Exited || len(c.RestartPolicyRules) > 0 {
		return false
	}
	switch policyOf(p, c) {
	case v1.RestartPolicyNever:
		return true
	case v1.RestartPolicyOnFailure:
		return last.ExitCode == 0
	case v1.RestartPolicyAlways:
	}
	return false
}

func policyOf(p *v1.Pod, c *v1.Container) v1.RestartPolicy {
	if c.RestartPolicy != nil {
		return v1.RestartPolicy(*c.RestartPolicy)
	}
	return p.Spec.RestartPolicy
}
