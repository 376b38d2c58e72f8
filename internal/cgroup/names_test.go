package cgroup

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestNames(t *testing.T) {
	const uid = "1b4e28ba-2fa1-11d2"
	for _, c := range []struct {
		root         string
		class        v1.PodQOSClass
		cgroupfs     string
		systemd      string
		systemdGiven string
	}{
		{"", v1.PodQOSGuaranteed, "/kubepods/pod1b4e28ba-2fa1-11d2",
			"/kubepods.slice/kubepods-pod1b4e28ba_2fa1_11d2.slice", "kubepods-pod1b4e28ba_2fa1_11d2.slice"},
		{"/", v1.PodQOSBurstable, "/kubepods/burstable/pod1b4e28ba-2fa1-11d2",
			"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1b4e28ba_2fa1_11d2.slice", "kubepods-burstable-pod1b4e28ba_2fa1_11d2.slice"},
		{"/", v1.PodQOSBestEffort, "/kubepods/besteffort/pod1b4e28ba-2fa1-11d2",
			"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1b4e28ba_2fa1_11d2.slice", "kubepods-besteffort-pod1b4e28ba_2fa1_11d2.slice"},
		{"/kubelet", v1.PodQOSGuaranteed, "/kubelet/kubepods/pod1b4e28ba-2fa1-11d2",
			"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1b4e28ba_2fa1_11d2.slice", "kubelet-kubepods-pod1b4e28ba_2fa1_11d2.slice"},
		{"/bosun-x/y", v1.PodQOSGuaranteed, "/bosun-x/y/kubepods/pod1b4e28ba-2fa1-11d2",
			"/bosun_x.slice/bosun_x-y.slice/bosun_x-y-kubepods.slice/bosun_x-y-kubepods-pod1b4e28ba_2fa1_11d2.slice", "bosun_x-y-kubepods-pod1b4e28ba_2fa1_11d2.slice"},
	} {
		root, err := ParseRoot(c.root)
		if err != nil {
			t.Fatal(err)
		}
		n := root.Pod(c.class, uid)
		if got := n.Path(Cgroupfs); got != c.cgroupfs {
			t.Errorf("root %q %s: cgroupfs path %s, want %s", c.root, c.class, got, c.cgroupfs)
		}
		if got := n.Parent(Cgroupfs); got != c.cgroupfs {
			t.Errorf("root %q %s: cgroupfs parent %s, want %s", c.root, c.class, got, c.cgroupfs)
		}
		if got := n.Path(Systemd); got != c.systemd {
			t.Errorf("root %q %s: systemd path %s, want %s", c.root, c.class, got, c.systemd)
		}
		if got := n.Parent(Systemd); got != c.systemdGiven {
			t.Errorf("root %q %s: systemd parent %s, want %s", c.root, c.class, got, c.systemdGiven)
		}
		parent := root.QOS(c.class)
		for d, element := range map[Driver]string{Cgroupfs: "pod" + uid, Systemd: c.systemdGiven} {
			if got, ok := parent.podUID(d, element); !ok || got != types.UID(uid) {
				t.Errorf("root %q %s: podUID(%s, %s) = %q, %v", c.root, c.class, d, element, got, ok)
			}
		}
	}
}

func TestNamesThatAreNoPods(t *testing.T) {
	root := Name{}
	for d, list := range map[Driver][]string{
		Cgroupfs: {"burstable", "pod", "cgroup.procs", "system.slice"},
		Systemd:  {"kubepods-burstable.slice", "kubepods-pod.slice", "pod1.slice", "kubepods-pod1", "cri-x.scope"},
	} {
		for _, element := range list {
			if uid, ok := root.Kubepods().podUID(d, element); ok {
				t.Errorf("%s: %q taken for pod %q", d, element, uid)
			}
		}
	}
}

func TestParseRootRefusesDotDot(t *testing.T) {
	if _, err := ParseRoot("/a/../b"); err == nil {
		t.Error("passed")
	}
}

func TestChildDoesNotShareMemory(t *testing.T) {
	base := append(make(Name, 0, 8), "a")
	x, y := base.Child("x"), base.Child("y")
	if x[1] != "x" || y[1] != "y" {
		t.Errorf("x = %v, y = %v", x, y)
	}
}
