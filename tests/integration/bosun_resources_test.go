package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Limits as the kernel has them, of the container and of the pod (behaviours 50, 87, 88).
func TestResources(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "resources", `
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: BOX, args: [cat, /proc/self/oom_score_adj, then, wait], resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}}
  - {name: other, image: BOX, resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 100m, memory: 16Mi}}}
`)
	free := n.pod(t, "besteffort", "spec: {containers: [{name: main, image: BOX, args: [cat, /proc/self/oom_score_adj, then, wait]}]}")
	c := b.untilRunning("main")
	b.untilRunning("other")
	pod := filepath.Join(n.cgroups, "kubepods", "burstable", "pod"+b.uid())
	for _, test := range []struct {
		cgroup string
		want   map[string]string
	}{
		{filepath.Join(pod, c.Id), map[string]string{
			"memory/memory.limit_in_bytes": "67108864", "cpu/cpu.shares": "256", "cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000",
			"memory.max": "67108864", "cpu.max": "50000 100000",
		}},
		{pod, map[string]string{
			"memory/memory.limit_in_bytes": "83886080", "cpu/cpu.shares": "358", "cpu/cpu.cfs_quota_us": "60000",
			"memory.max": "83886080", "cpu.max": "60000 100000",
		}},
	} {
		read := 0
		for file, want := range test.want {
			got, err := os.ReadFile(cgroupFile(test.cgroup, file))
			if err != nil {
				continue // of the other version of cgroups
			}
			read++
			same(t, test.cgroup+" "+file, strings.TrimSpace(string(got)), want)
		}
		if read == 0 {
			t.Errorf("cgroup %s has none of the files", test.cgroup)
		}
	}
	same(t, "out-of-memory score of a pod that asks for nothing", free.untilSays("main", "\n"), "1000\n")
	if score := b.untilSays("main", "\n"); !strings.HasPrefix(score, "9") { // 1000 - 1000 × 32 MiB / capacity
		t.Errorf("out-of-memory score of a pod that asks for little: %s", score)
	}
}

// cgroupFile is where a file of a cgroup is: with a controller in front for version 1, without for version 2.
func cgroupFile(cgroup, file string) string {
	if controller, name, v1 := strings.Cut(file, "/"); v1 {
		return filepath.Join("/sys/fs/cgroup", controller, cgroup, name)
	}
	return filepath.Join("/sys/fs/cgroup", cgroup, file)
}

// A container that takes more memory than it may is killed, and the reason says so (behaviour 141).
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	b := sharedNode(t).pod(t, "greedy", `
spec:
  restartPolicy: Never
  containers: [{name: main, image: BOX, args: [alloc, "64"], resources: {limits: {memory: 24Mi}}}]
`)
	c := b.untilExited("main")
	same(t, "exit code", c.ExitCode, int32(137))
	same(t, "reason", c.Reason, "OOMKilled")
}
