package pod

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDesired(t *testing.T) {
	grace := int64(7)
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u1"}}
	d := &Desired{Pod: p, Source: FromAPI}
	if d.UID() != "u1" || FullNameOf(p) != "web_shop" || d.Grace() != 30*time.Second || d.Static() {
		t.Errorf("uid %s, full name %s, grace %s, static %v", d.UID(), FullNameOf(p), d.Grace(), d.Static())
	}
	p.Spec.TerminationGracePeriodSeconds = &grace
	if d.Grace() != 7*time.Second {
		t.Errorf("grace %s", d.Grace())
	}
	for source, static := range map[Source]bool{FromFile: true, FromURL: true, FromAPI: false, FromRuntime: false} {
		d.Source = source
		if d.Static() != static {
			t.Errorf("%s: static %v", source, d.Static())
		}
	}
}

func TestFindContainer(t *testing.T) {
	always, never := v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyNever
	p := &v1.Pod{Spec: v1.PodSpec{
		InitContainers:      []v1.Container{{Name: "init"}, {Name: "side", RestartPolicy: &always}, {Name: "once", RestartPolicy: &never}},
		Containers:          []v1.Container{{Name: "app", Image: "i"}},
		EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug"}}},
	}}
	for name, want := range map[string]string{
		"init": "spec.initContainers{init}", "side": "spec.initContainers{side}", "app": "spec.containers{app}", "debug": "spec.ephemeralContainers{debug}",
	} {
		c, path := FindContainer(p, name)
		if c == nil || c.Name != name || path != want {
			t.Errorf("%s: %v at %q, want %q", name, c, path, want)
		}
	}
	if c, path := FindContainer(p, "ghost"); c != nil || path != "" {
		t.Errorf("ghost: %v at %q", c, path)
	}
	for i, want := range []bool{false, true, false} {
		if IsSidecar(&p.Spec.InitContainers[i]) != want {
			t.Errorf("%s: sidecar %v", p.Spec.InitContainers[i].Name, !want)
		}
	}
}
