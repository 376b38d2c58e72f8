package perform

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

func TestCreateContainer(t *testing.T) { // behaviours 59-61
	w := newWorld()
	d := web(nil)
	o := w.performer().Do(t.Context(), d, one(plan.CreateContainer), around())
	if o.Failed != nil || len(w.configs) != 1 {
		t.Fatalf("%+v", o.Failed)
	}
	c := w.configs[0]
	if c.Labels[names.PodName] != "web" || c.Labels[names.PodNamespace] != "shop" || c.Labels[names.PodUID] != "u1" || c.Labels[names.ContainerName] != "app" {
		t.Errorf("labels %v", c.Labels)
	}
	if c.Image.Image != "sha256:app" || c.Image.UserSpecifiedImage != "nginx:1" || c.LogPath != "app/4.log" {
		t.Errorf("%+v", c)
	}
	if !mounts(w, "/etc/hosts", "/pods/hosts") || !strings.Contains(w.hosts, "10.0.0.7\tweb") {
		t.Errorf("mounts %v, hosts file\n%s", c.Mounts, w.hosts)
	}
	if target := c.Linux.SecurityContext.NamespaceOptions.TargetId; target != "" {
		t.Errorf("a container that is not ephemeral joins %s", target)
	}
	made := o.Report.Containers[0]
	if made.Hash != names.HashContainer(&d.Pod.Spec.Containers[0]) || made.ImageID != "sha256:app" ||
		made.LogPath != "/var/log/pods/shop_web_u1/app/4.log" || made.Annotations[names.ContainerHash] != made.Hash || !made.CreatedAt.Equal(o.Report.Began) {
		t.Errorf("report %+v", made)
	}
	c.Annotations["later"] = "x"
	if made.Annotations["later"] != "" {
		t.Error("the report shares its annotations with what was sent")
	}
}

func TestCreateContainerNamesItsSandboxAsItWasMade(t *testing.T) {
	for id, attempt := range map[string]uint32{"s1": 2, "s0": 1, "unknown": 0} {
		w := newWorld()
		e := one(plan.CreateContainer)
		e.SandboxID = id
		if o := w.performer().Do(t.Context(), web(nil), e, around()); o.Failed != nil || w.sandboxes[0].Metadata.Attempt != attempt {
			t.Errorf("%s: %+v, attempt %d", id, o.Failed, w.sandboxes[0].Metadata.Attempt)
		}
	}
}

func TestEphemeralContainerJoinsItsTarget(t *testing.T) {
	create := plan.Effect{Kind: plan.CreateContainer, Container: "debug", SandboxID: "s1", Image: "sha256:debug"}
	for name, c := range map[string]struct {
		change func(*v1.Pod, *plan.Seen)
		want   string
	}{
		"target":         {func(*v1.Pod, *plan.Seen) {}, "c1"},
		"none named":     {func(p *v1.Pod, _ *plan.Seen) { p.Spec.EphemeralContainers[0].TargetContainerName = "" }, ""},
		"none there yet": {func(_ *v1.Pod, s *plan.Seen) { s.Observed.Containers = nil }, ""},
		"one is gone":    {func(_ *v1.Pod, s *plan.Seen) { s.Observed.Containers[0].State = pod.Gone }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, d, seen := newWorld(), web(nil), around()
			c.change(d.Pod, &seen)
			o := w.do(t, w.performer(), d, create, seen, "Range", "Hosts", "Termination debug#0", "CreateContainer s1 debug#0 sha256:debug sandbox#2")
			if o.Failed != nil {
				t.Fatal(o.Failed)
			}
			if got := w.configs[0].Linux.SecurityContext.NamespaceOptions.TargetId; got != c.want {
				t.Errorf("target %q, want %q", got, c.want)
			}
		})
	}
}

func variable(w *world, name string) string {
	for _, e := range w.configs[len(w.configs)-1].Envs {
		if e.Key == name {
			return string(e.Value)
		}
	}
	return "none"
}

func TestEnvFiles(t *testing.T) {
	optional := true
	fromFile := func(o *bool) func(*v1.Pod) {
		return func(p *v1.Pod) {
			p.Spec.Containers[0].Env = []v1.EnvVar{{Name: "KEY", ValueFrom: &v1.EnvVarSource{
				FileKeyRef: &v1.FileKeySelector{VolumeName: "conf", Path: "a.env", Key: "KEY", Optional: o},
			}}}
		}
	}
	for _, c := range []struct {
		name     string
		optional *bool
		content  string
		want     string
		fails    bool
	}{
		{"there", nil, "KEY='value'\n", "value", false},
		{"missing", nil, "", "", true},
		{"missing and optional", &optional, "", "none", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			if c.content != "" {
				w.files["conf/a.env"] = c.content
			}
			o := w.performer().Do(t.Context(), web(fromFile(c.optional)), one(plan.CreateContainer), around())
			switch {
			case c.fails && (o.Failed == nil || o.Failed.Reason != reason.CreateContainerConfigErr || len(w.configs) != 0):
				t.Errorf("%+v, created %v", o.Failed, w.configs)
			case !c.fails && (o.Failed != nil || variable(w, "KEY") != c.want):
				t.Errorf("%+v, KEY=%q", o.Failed, variable(w, "KEY"))
			}
		})
	}
}

func TestSubPaths(t *testing.T) {
	mount := func(change func(*v1.VolumeMount)) *pod.Desired {
		return web(func(p *v1.Pod) {
			p.Spec.Volumes = []v1.Volume{{Name: "data"}}
			p.Spec.Containers[0].Env = []v1.EnvVar{{Name: "WHO", Value: "joe"}}
			p.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "data", MountPath: "/all"}, {Name: "data", MountPath: "/part"}}
			change(&p.Spec.Containers[0].VolumeMounts[1])
		})
	}
	for _, c := range []struct {
		name   string
		change func(*v1.VolumeMount)
		fail   error
		asked  string
		failed string
	}{
		{"plain", func(m *v1.VolumeMount) { m.SubPath = "a/b" }, nil, "a/b", ""},
		{"with a variable", func(m *v1.VolumeMount) { m.SubPathExpr = "of/$(WHO)" }, nil, "of/joe", ""},
		{"with an unknown variable", func(m *v1.VolumeMount) { m.SubPathExpr = "$(WHAT)" }, nil, "", `missing value for "WHAT"`},
		{"upwards", func(m *v1.VolumeMount) { m.SubPath = "../etc" }, nil, "", "must not contain '..'"},
		{"through a link", func(m *v1.VolumeMount) { m.SubPath = "a" }, errors.New("a is a symbolic link"), "a", "a is a symbolic link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, d := newWorld(), mount(c.change)
			w.fail["Subpath"] = c.fail
			x := w.performer()
			x.Do(t.Context(), d, one(plan.SetupVolume), around())
			calls := []string{"Range"}
			if c.asked != "" {
				calls = append(calls, "Subpath app 1 "+c.asked)
			}
			if c.failed == "" {
				calls = append(calls, "Hosts", "Termination app#4", "CreateContainer s1 app#4 sha256:app sandbox#2")
			}
			o := w.do(t, x, d, one(plan.CreateContainer), around(), calls...)
			if c.failed != "" {
				if o.Failed == nil || o.Failed.Reason != reason.CreateContainerConfigErr || !strings.Contains(o.Failed.Message, c.failed) {
					t.Errorf("%+v", o.Failed)
				}
				return
			}
			if o.Failed != nil || !mounts(w, "/all", "/pods/u1/data") || !mounts(w, "/part", "/sub/"+c.asked) {
				t.Errorf("%+v, %v", o.Failed, w.configs[0].Mounts)
			}
		})
	}
}

// TestPodIPs: a container is told the addresses of the sandbox that is ready, or the node's in the node's network.
func TestPodIPs(t *testing.T) {
	for _, c := range []struct {
		name      string
		hostIPs   []string
		sandboxes []pod.Sandbox
		want      string
	}{
		{"the ready one", []string{"192.0.2.1"}, []pod.Sandbox{{IPs: []string{"10.0.0.6"}}, {Ready: true, IPs: []string{"10.0.0.7"}}}, "10.0.0.7"},
		{"of the node's family first", []string{"fd00::1"}, []pod.Sandbox{{Ready: true, IPs: []string{"10.0.0.7", "fd00::7"}}}, "fd00::7 10.0.0.7"},
		{"the node's network", []string{"192.0.2.1", "fd00::1"}, []pod.Sandbox{{Ready: true, HostNetwork: true}}, "192.0.2.1 fd00::1"},
		{"none ready", []string{"192.0.2.1"}, []pod.Sandbox{{IPs: []string{"10.0.0.6"}}}, ""},
		{"a node without addresses", nil, []pod.Sandbox{{Ready: true, IPs: []string{"10.0.0.7"}}}, "10.0.0.7"},
	} {
		w := newWorld()
		w.node.HostIPs = c.hostIPs
		if got := strings.Join(podIPs(plan.Seen{Observed: pod.Observed{Sandboxes: c.sandboxes}}, &w.node), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestHostsFileOfTheNodesNetwork(t *testing.T) {
	w := newWorld()
	o := w.performer().Do(t.Context(), web(func(p *v1.Pod) { p.Spec.HostNetwork = true }), one(plan.CreateContainer), around())
	if o.Failed != nil || !strings.Contains(w.hosts, "of-the-node") {
		t.Errorf("%+v\n%s", o.Failed, w.hosts)
	}
	w.performer().Do(t.Context(), web(nil), one(plan.CreateContainer), around())
	if strings.Contains(w.hosts, "of-the-node") {
		t.Errorf("a pod with a network of its own reads the node's hosts:\n%s", w.hosts)
	}
}

func TestStartContainerWithoutLogLink(t *testing.T) {
	w := newWorld()
	w.fail["Link"] = errors.New("read-only file system")
	o := w.performer().Do(t.Context(), web(nil), one(plan.StartContainer), around())
	if o.Failed != nil || o.Report == nil || o.Report.Containers[0].State != pod.Running {
		t.Errorf("a container that runs is one without its link, too: %+v", o)
	}
	if len(w.notes) != 1 || w.notes[0].Reason != "FailedLogLink" || w.notes[0].Message != "read-only file system" {
		t.Errorf("notes %+v", w.notes)
	}
}

func TestStopContainerRoundsToTheNearestSecond(t *testing.T) {
	for left, want := range map[time.Duration]string{
		30 * time.Second: "30", 29600 * time.Millisecond: "30", 1400 * time.Millisecond: "1", time.Nanosecond: "0", 0: "0", -time.Hour: "0",
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			e := one(plan.StopContainer)
			e.Deadline = time.Now().Add(left)
			w.do(t, w.performer(), web(nil), e, around(), "StopContainer c1 "+want, "Inspect u1")
		})
	}
}

func TestReadEndWithoutMessage(t *testing.T) {
	w := newWorld()
	if o := w.do(t, w.performer(), web(nil), one(plan.ReadEnd), around(), "End app c1"); o.Report != nil || o.Failed != nil {
		t.Errorf("%+v", o)
	}
	w.end = "out of memory"
	if o := w.do(t, w.performer(), web(nil), one(plan.ReadEnd), around(), "End app c1"); o.Report == nil || o.Report.Containers[0].Message != "out of memory" {
		t.Errorf("%+v", o)
	}
	e := one(plan.ReadEnd)
	e.Container = "other" // a manifest may lose a container that has run
	if o := w.do(t, w.performer(), web(nil), e, around()); o.Report != nil || o.Failed != nil {
		t.Errorf("%+v", o)
	}
}

func TestHookDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []plan.Kind{plan.PostStart, plan.PreStop} {
			w := newWorld()
			e := one(kind)
			w.performer().Do(t.Context(), web(nil), e, plan.Seen{})
			if !w.deadline.IsZero() || !strings.HasSuffix(w.calls[0], "ip=") {
				t.Errorf("%s: deadline %v, calls %q", kind, w.deadline, w.calls)
			}
			e.Deadline = time.Now().Add(10 * time.Second)
			w.performer().Do(t.Context(), web(nil), e, around())
			if !w.deadline.Equal(e.Deadline) {
				t.Errorf("%s: deadline %v, want %v", kind, w.deadline, e.Deadline)
			}
		}
	})
}
