package agent

import (
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/serve"
)

func wanted(uid types.UID, rules ...v1.ContainerRestartRule) *pod.Desired {
	return &pod.Desired{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}, Spec: v1.PodSpec{Containers: []v1.Container{{RestartPolicyRules: rules}}}}}
}

// What does not count is left out once for each pod: workers take another value for another pod.
func TestWhatCounts(t *testing.T) {
	rule := v1.ContainerRestartRule{Action: v1.ContainerRestartRuleActionRestartAllContainers}
	pods := map[types.UID]*pod.Desired{"a": wanted("a", rule), "b": wanted("b")}
	if got := newCounting(configured(t, "")).of(pods); got["a"] != pods["a"] || got["b"] != pods["b"] {
		t.Error("with all gates as usual, pods were changed")
	}
	c := newCounting(configured(t, "featureGates: {RestartAllContainersOnContainerExits: false}\n"))
	first := c.of(pods)
	if first["a"] == pods["a"] || len(first["a"].Pod.Spec.Containers[0].RestartPolicyRules) != 0 || first["b"] != pods["b"] {
		t.Errorf("%+v", first)
	}
	if again := c.of(pods); again["a"] != first["a"] || again["b"] != first["b"] {
		t.Error("the same pods are other values when looked at again")
	}
	if c.of(nil); len(c.made) != 0 {
		t.Error("pods that are gone are remembered")
	}
}

func TestGatesCloseFaces(t *testing.T) {
	for _, lines := range []string{"", "featureGates: {ContainerCheckpoint: false, ComponentFlagz: false, ComponentStatusz: false, RestartAllContainersOnContainerExits: false}\n"} {
		a := &Agent{cfg: configured(t, lines)}
		c := serve.Config{CheckpointsDir: "/c", Flags: func() map[string]string { return nil }, About: &serve.About{}}
		a.closeFaces(&c)
		if open := lines == ""; (c.CheckpointsDir != "") != open || (c.Flags != nil) != open || (c.About != nil) != open {
			t.Errorf("%q: %+v", lines, c)
		}
		want := []string{"ExtendWebSocketsToKubelet", "InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers", "RestartAllContainersOnContainerExits"}
		if lines != "" {
			want = want[:3]
		}
		if got := a.declares(); !slices.Equal(got, want) {
			t.Errorf("%q: declared %q", lines, got)
		}
	}
}
