package kubeadm

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/testbed"
)

// TestSystemdDriverWithoutSystemd: kubeadm's default is the cgroup driver systemd. Where systemd does not run and the runtime wants
// that driver, too, the agent says what is wrong, and that it is the node's trouble; a runtime that uses the other one is believed.
func TestSystemdDriverWithoutSystemd(t *testing.T) {
	bosun, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	const systemdRuntime = `
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = 'systemd'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.systemd]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.systemd.options]
SystemdCgroup = true
`
	for _, c := range []struct{ name, containerd, want string }{
		{"runtime with systemd", systemdRuntime, `Limits: cgroupDriver systemd: systemd does not run this machine; use cgroupfs, for the runtime as well"`},
		{"runtime with cgroupfs", "", "Updated Node Allocatable limit across pods"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			m := testbed.StartMachine(t, "lone")
			bed := testbed.Start(t, testbed.Options{Machine: m, Images: []string{"testbox"}, Config: c.containerd})
			config := filepath.Join(bed.Dir, "config.yaml")
			n := &node{Machine: m, bed: bed}
			n.write(t, config, "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: systemd\nfailCgroupV1: false\n"+testbed.Roomy+
				"containerRuntimeEndpoint: unix://"+bed.Socket+"\n")
			cmd := m.Command(bosun, "run", "--config="+config)
			startAndListen(t, cmd, c.want, func() {
				if c.containerd == "" {
					return
				}
				explained, err := n.try(bosun, "explain")
				if err != nil || !strings.Contains(explained, "cgroups of pods cannot be made: cgroupDriver systemd") {
					t.Errorf("bosun explain says %q, %v", explained, err)
				}
			})
		})
	}
}

// startAndListen starts a program, waits until it has said what is wanted, calls then, and ends it.
func startAndListen(t *testing.T, cmd *exec.Cmd, want string, then func()) {
	t.Helper()
	var said lines
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // killed below
	}()
	defer func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	}()
	eventually(t, func() error {
		if text := said.String(); !strings.Contains(text, want) {
			return fmt.Errorf("it does not say %q: %s", want, text)
		}
		return nil
	})
	then()
}
