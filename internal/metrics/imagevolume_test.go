package metrics

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

func TestImageVolumes(t *testing.T) {
	d := desired("a", func(d *pod.Desired) {
		d.Pod.Spec.Volumes = []v1.Volume{{Name: "data", VolumeSource: v1.VolumeSource{Image: &v1.ImageVolumeSource{Reference: "data:1"}}}}
		d.Pod.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "data", MountPath: "/a"}, {Name: "data", MountPath: "/b"}}
	})
	m := New(Config{})
	app := d.Pod.Spec.Containers[0].Name
	for _, o := range []plan.Outcome{
		{Effect: plan.Effect{Kind: plan.EnsureImage, Volume: "data"}},
		{Effect: plan.Effect{Kind: plan.EnsureImage, Container: app}},
		{Effect: plan.Effect{Kind: plan.CreateContainer, Container: app}, Failed: &plan.Fault{Message: "no"}},
		{Effect: plan.Effect{Kind: plan.CreateContainer, Container: app}, Failed: &plan.Fault{Class: plan.Cancelled}},
		{Effect: plan.Effect{Kind: plan.CreateContainer, Container: app}},
	} {
		m.Ended(d, o)
	}
	gathered, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, f := range gathered {
		if strings.HasPrefix(f.GetName(), "kubelet_image_volume_") {
			counted++
			if n := f.GetMetric()[0].GetCounter().GetValue(); n != 1 {
				t.Errorf("%s is %v, want 1", f.GetName(), n)
			}
		}
	}
	if counted != 3 {
		t.Errorf("%d families", counted)
	}
}
