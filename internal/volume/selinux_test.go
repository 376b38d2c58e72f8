package volume_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/testbed/csidriver"
	"github.com/bosun-project/bosun/internal/volume"
)

// labels stands in for a kernel with SELinux: it knows with which label what was staged.
type labels struct {
	mu     sync.Mutex
	driver *csidriver.Driver
}

// mounted is the label of the newest call that has staged there.
func (l *labels) mounted(at string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	label := ""
	for _, c := range l.driver.Calls(stage) {
		if r, ok := c.Request.(*pb.NodeStageVolumeRequest); ok && r.StagingTargetPath == at {
			label = ""
			for _, o := range r.VolumeCapability.GetMount().GetMountFlags() {
				if text, ok := strings.CutPrefix(o, `context="`); ok {
					label = strings.TrimSuffix(text, `"`)
				}
			}
		}
	}
	return label, nil
}

func newLabelledBed(t *testing.T, edit func(*csiBed)) *csiBed {
	t.Helper()
	b := newCSIBed(t, csidriver.Options{})
	yes := true
	b.api.object.Spec.SELinuxMount = &yes
	b.api.volumes["pv"].Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteOncePod}
	b.cfg.SELinux = &volume.SELinux{File: "system_u:object_r:container_file_t:s0", Mounted: (&labels{driver: b.driver}).mounted}
	if edit != nil {
		edit(b)
	}
	b.again()
	return b
}

func labelledPod(uid, level string) *v1.Pod {
	p := claimingPod(uid)
	p.Spec.SecurityContext = &v1.PodSecurityContext{SELinuxOptions: &v1.SELinuxOptions{Level: level}}
	return p
}

// flags are the mount options of the newest call of each kind.
func (b *csiBed) flags() string {
	b.t.Helper()
	var all []string
	for _, kind := range []string{stage, publish} {
		calls := b.driver.Calls(kind)
		var flags []string
		switch r := calls[len(calls)-1].Request.(type) {
		case *pb.NodeStageVolumeRequest:
			flags = r.VolumeCapability.GetMount().GetMountFlags()
		case *pb.NodePublishVolumeRequest:
			flags = r.VolumeCapability.GetMount().GetMountFlags()
		}
		all = append(all, strings.Join(flags, ","))
	}
	if all[0] != all[1] {
		b.t.Errorf("staged with %s, published with %s", all[0], all[1])
	}
	return all[0]
}

// Behaviours 101 and 194: who mounts with a label, and with which.
func TestVolumesAreMountedWithLabels(t *testing.T) {
	const option = `context="system_u:object_r:container_file_t:s0:c1,c2"`
	many := func(b *csiBed) {
		b.api.volumes["pv"].Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteMany}
	}
	recursive := v1.SELinuxChangePolicyRecursive
	for name, c := range map[string]struct {
		bed  func(*csiBed)
		pod  func(*v1.Pod)
		want string
	}{
		"of one pod":              {want: option},
		"of many":                 {bed: many},
		"of many, with the gate":  {bed: func(b *csiBed) { many(b); b.cfg.SELinux.All = true }, want: option},
		"no SELinux on the node":  {bed: func(b *csiBed) { b.cfg.SELinux = nil }},
		"a driver that does not":  {bed: func(b *csiBed) { b.api.object.Spec.SELinuxMount = nil }},
		"nothing known of it":     {bed: func(b *csiBed) { b.api.object.Spec.SELinuxMount = new(bool) }},
		"beside other options":    {bed: func(b *csiBed) { b.api.volumes["pv"].Spec.MountOptions = []string{"noatime"} }, want: "noatime," + option},
		"chosen by the volume":    {bed: func(b *csiBed) { b.api.volumes["pv"].Spec.MountOptions = []string{"context=a:b:c:d"} }, want: "context=a:b:c:d"},
		"the pod wants otherwise": {pod: func(p *v1.Pod) { p.Spec.SecurityContext.SELinuxChangePolicy = &recursive }},
		"no level":                {pod: func(p *v1.Pod) { p.Spec.SecurityContext.SELinuxOptions = &v1.SELinuxOptions{Type: "spc_t"} }},
		"nothing said":            {pod: func(p *v1.Pod) { p.Spec.SecurityContext = nil }},
		"its own user": {pod: func(p *v1.Pod) { p.Spec.SecurityContext.SELinuxOptions.User = "u" },
			want: `context="u:object_r:container_file_t:s0:c1,c2"`},
		"a container says so": {pod: func(p *v1.Pod) {
			p.Spec.Containers[0].SecurityContext = &v1.SecurityContext{SELinuxOptions: p.Spec.SecurityContext.SELinuxOptions}
			p.Spec.SecurityContext = nil
		}, want: option},
		"a container that does not see it": {pod: func(p *v1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "o", SecurityContext: &v1.SecurityContext{SELinuxOptions: &v1.SELinuxOptions{Level: "s0"}}})
		}, want: option},
	} {
		t.Run(name, func(t *testing.T) {
			b := newLabelledBed(t, c.bed)
			p := labelledPod("u1", "s0:c1,c2")
			if c.pod != nil {
				c.pod(p)
			}
			b.setup(p)
			if got := b.flags(); got != c.want {
				t.Errorf("mounted with %q, want %q", got, c.want)
			}
		})
	}
}

// A volume is mounted with one label at a time.
func TestVolumeIsMountedWithAnotherLabel(t *testing.T) {
	b := newLabelledBed(t, func(b *csiBed) { b.cfg.SELinux.All = true })
	b.setup(labelledPod("u1", "s0:c1"))
	b.setup(labelledPod("u2", "s0:c1"))
	other := labelledPod("u3", "s0:c3")
	_, err := b.v.Setup(t.Context(), other, "v")
	if err == nil || !strings.Contains(err.Error(), "conflicting SELinux labels of volume pv") {
		t.Fatalf("another label: %v", err)
	}
	b.teardown("u1")
	if _, err := b.v.Setup(t.Context(), other, "v"); err == nil {
		t.Fatal("one of them is still there")
	}
	b.teardown("u2")
	b.setup(other)
	b.called(stage, publish, publish, unpublish, unpublish, unstage, stage, publish)
	if got := b.flags(); got != `context="system_u:object_r:container_file_t:s0:c3"` {
		t.Errorf("mounted with %q", got)
	}
	two := labelledPod("u4", "s0:c3")
	two.Spec.InitContainers = []v1.Container{{Name: "init", VolumeMounts: two.Spec.Containers[0].VolumeMounts,
		SecurityContext: &v1.SecurityContext{SELinuxOptions: &v1.SELinuxOptions{Level: "s0:c9"}}}}
	if _, err := b.v.Setup(t.Context(), two, "v"); err == nil || !strings.Contains(err.Error(), `containers "init" and "app" want it with different SELinux labels`) {
		t.Errorf("two labels in a pod: %v", err)
	}
	if slices.Contains(b.driver.Succeeded()[8:], stage) {
		t.Error("it was staged for that")
	}
}
