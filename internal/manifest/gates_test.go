package manifest_test

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/manifest"
)

func TestOff(t *testing.T) {
	always, never := v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyNever
	rule := func(a v1.ContainerRestartRuleAction) v1.ContainerRestartRule {
		return v1.ContainerRestartRule{Action: a}
	}
	one, all := rule(v1.ContainerRestartRuleActionRestart), rule(v1.ContainerRestartRuleActionRestartAllContainers)
	full := func() *v1.Pod {
		return &v1.Pod{Spec: v1.PodSpec{
			Resources: &v1.ResourceRequirements{},
			InitContainers: []v1.Container{
				{Name: "sidecar", RestartPolicy: &always, RestartPolicyRules: []v1.ContainerRestartRule{all}},
				{Name: "init", RestartPolicy: &never, RestartPolicyRules: []v1.ContainerRestartRule{one}},
			},
			Containers: []v1.Container{
				{Name: "app", RestartPolicy: &always, RestartPolicyRules: []v1.ContainerRestartRule{one, all}}, {Name: "plain"},
			},
		}}
	}
	for name, c := range map[string]struct {
		off  manifest.Off
		want func(*v1.PodSpec)
	}{
		"nothing":              {manifest.Off{}, func(*v1.PodSpec) {}},
		"resources of the pod": {manifest.Off{PodResources: true}, func(s *v1.PodSpec) { s.Resources = nil }},
		"rules that restart all": {manifest.Off{RestartAll: true}, func(s *v1.PodSpec) {
			s.InitContainers[0].RestartPolicyRules = []v1.ContainerRestartRule{}
			s.Containers[0].RestartPolicyRules = []v1.ContainerRestartRule{one}
		}},
		"rules, and policies but those of sidecars": {manifest.Off{RestartRules: true}, func(s *v1.PodSpec) {
			s.InitContainers[0].RestartPolicyRules, s.InitContainers[1].RestartPolicyRules, s.Containers[0].RestartPolicyRules = nil, nil, nil
			s.InitContainers[1].RestartPolicy, s.Containers[0].RestartPolicy = nil, nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, want := full(), full()
			c.want(&want.Spec)
			got := c.off.Of(p)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if diff := gocmp.Diff(full(), p); diff != "" {
				t.Errorf("the pod itself was changed: %s", diff)
			}
		})
	}
	bare := &v1.Pod{Spec: v1.PodSpec{InitContainers: []v1.Container{{RestartPolicy: &always}}, Containers: []v1.Container{{}}}}
	if got := (manifest.Off{RestartRules: true, RestartAll: true, PodResources: true}).Of(bare); got != bare {
		t.Error("a pod without any of that was copied")
	}
}
