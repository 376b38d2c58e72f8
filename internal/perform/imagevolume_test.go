package perform

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/reason"
)

// withImage is a pod whose container app mounts the image volume data, the second time a part of it.
func withImage(p *v1.Pod) {
	p.Annotations = map[string]string{"variant": "small"}
	p.Spec.Volumes = []v1.Volume{{Name: "data", VolumeSource: v1.VolumeSource{Image: &v1.ImageVolumeSource{Reference: "data:1", PullPolicy: v1.PullAlways}}}}
	p.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "data", MountPath: "/part", SubPath: "a/b"}}
}

// TestImageOfVolume holds that the image of a volume is got as those of containers are, and that a pod goes on with the one it had
// (behaviour 189).
func TestImageOfVolume(t *testing.T) {
	e := plan.Effect{Kind: plan.EnsureImage, Volume: "data", Image: "data:1"}
	w := newWorld()
	w.image, w.pulled, w.pulls = plan.ResolvedImage{ID: "sha256:data"}, plan.Pulled{Image: "data:1"}, true
	o := w.do(t, w.performer(), web(withImage), e, around(), "EnsureImage  data:1")
	if o.Failed != nil || o.Image.ID != "sha256:data" || o.Pulled == nil {
		t.Errorf("%+v", o)
	}
	if len(w.notes) != 1 || w.notes[0].Reason != reason.Pulling || w.notes[0].About.Container != "" || w.notes[0].About.FieldPath != "" {
		t.Errorf("notes %+v", w.notes)
	}

	again := e
	again.ID = "sha256:before"
	if o = w.do(t, w.performer(), web(withImage), again, around(), "EnsureImage  data:1 sha256:before"); o.Failed != nil {
		t.Errorf("%+v", o)
	}
	w.lacks = map[string]*plan.Fault{}
	w.lacks["data:1"] = &plan.Fault{Reason: reason.ErrImagePull, Message: "no such host"}
	if o = w.performer().Do(t.Context(), web(withImage), e, around()); o.Failed == nil || o.Failed.Reason != reason.ErrImagePull {
		t.Errorf("%+v", o.Failed)
	}
	if o = w.performer().Do(t.Context(), web(nil), e, around()); o.Failed == nil {
		t.Error("a pod without the volume gets its image")
	}
}

// TestContainerWithImageVolume holds what the runtime is told of an image volume: the very image, and where in it.
func TestContainerWithImageVolume(t *testing.T) {
	w := newWorld()
	seen := around()
	seen.Memory.Session.VolumeImages = map[string]plan.ResolvedImage{"data": {Name: "data:1", ID: "sha256:data"}}
	o := w.do(t, w.performer(), web(withImage), one(plan.CreateContainer), seen,
		"Range", "Hosts", "Termination app#4", "CreateContainer s1 app#4 sha256:app sandbox#2")
	if o.Failed != nil {
		t.Fatal(o.Failed.Message)
	}
	got := ""
	for _, m := range w.configs[0].Mounts {
		if m.Image != nil {
			got += fmt.Sprintln(m.ContainerPath, m.Image.Image, m.Image.UserSpecifiedImage, m.Image.Annotations["variant"], m.ImageSubPath, m.Readonly, m.HostPath)
		}
	}
	if want := "/data sha256:data data:1 small  true \n/part sha256:data data:1 small a/b true \n"; got != want {
		t.Errorf("mounts\n%swant\n%s", got, want)
	}
	if len(o.Report.Containers) != 1 || fmt.Sprint(o.Report.Containers[0].Mounted) != "[sha256:data sha256:data]" {
		t.Errorf("told of as %+v", o.Report.Containers)
	}
}

// TestMissingImage holds that a pod hears when the runtime has not got any more what it was to make a container from.
func TestMissingImage(t *testing.T) {
	w := newWorld()
	w.fail = map[string]error{"CreateContainer": fmt.Errorf("create container: %w", fault.ErrNotFound)}
	if o := w.performer().Do(t.Context(), web(nil), one(plan.CreateContainer), around()); o.Failed == nil || !o.Failed.Missing {
		t.Errorf("%+v", o.Failed)
	}
	w.fail["CreateContainer"] = fmt.Errorf("create container: %w", fault.ErrUnavailable)
	if o := w.performer().Do(t.Context(), web(nil), one(plan.CreateContainer), around()); o.Failed == nil || o.Failed.Missing {
		t.Errorf("%+v", o.Failed)
	}
}
