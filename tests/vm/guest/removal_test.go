package guest

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestFlat: without cgroups for classes and pods, containers are where cgroupRoot says, each with limits of its own.
func TestFlat(t *testing.T) {
	if err := restartBosun(agent{config: "cgroupsPerQOS: false\nenforceNodeAllocatable: [none]\ncgroupRoot: /outer\n"}); err != nil {
		t.Fatal(err)
	}
	b := newPod(t, "flat", "spec: {hostNetwork: true, containers: [{name: app, image: BOX, resources: {limits: {cpu: 300m, memory: 32Mi}}}]}")
	app := b.untilRunning("app")
	dir := filepath.Join(cgroups, "outer", app.Id)
	checkFiles(t, dir, map[string]string{"cpu.max": "30000 100000", "memory.max": "33554432", "memory.oom.group": "1"})
	if memory := podIn(t, summaryOf(t), "flat-"+nodeName).Containers[0].Memory; memory == nil || *memory.UsageBytes == 0 {
		t.Errorf("/stats/summary tells of memory %+v", memory)
	}
	b.remove()
	b.awaitGone()
	if left, err := filepath.Glob(filepath.Join(cgroups, "outer", "*", "cgroup.procs")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// TestRemoval ends all pods: no sandbox, cgroup, mount or directory is left of them.
func TestRemoval(t *testing.T) {
	removeManifests(t)
	eventually(t, func() error {
		list, err := cri.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
		if err != nil {
			return err
		}
		left := []string{}
		for _, s := range list.Items {
			left = append(left, "sandbox of "+s.Metadata.Name)
		}
		err = filepath.WalkDir(filepath.Join(cgroups, "kubepods"), func(path string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasPrefix(e.Name(), "pod") {
				left = append(left, path)
			}
			return nil
		})
		if err != nil {
			return err
		}
		dirs, err := filepath.Glob(filepath.Join(rootDir, "pods", "*"))
		if err != nil {
			return err
		}
		left = append(left, dirs...)
		for line := range strings.Lines(read(t, "/proc/self/mountinfo")) {
			if point := strings.Fields(line)[4]; strings.HasPrefix(point, filepath.Join(rootDir, "pods")) {
				left = append(left, "mount "+point)
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("left: %s", strings.Join(left, ", "))
		}
		return nil
	})
}
