package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// What the member of a cluster is configured with, in bytes: what all pods may have together, and what has to be left, of that and of
// the machine. Of the processes there have to be left so many fewer than there are at first.
const (
	podsMemory = 450 << 20
	leastLeft  = 150 << 20
	manyPIDs   = 400
)

// memberAgent is bosun as a node of the cluster on the host.
func memberAgent(t *testing.T) agent {
	t.Helper()
	total := number(t, "/proc", "meminfo", "MemTotal:") << 10
	file := func(name string) string { return filepath.Join(clusterFiles, name) }
	return agent{
		config: fmt.Sprintf(`
podPidsLimit: 1000
singleProcessOOMKill: true
memorySwap: {swapBehavior: LimitedSwap}
memoryThrottlingFactor: 0.5
memoryReservationPolicy: TieredReservation
systemReserved: {cpu: 500m, memory: "%d"}
evictionHard: {memory.available: "%d", pid.available: "%d"}
evictionPressureTransitionPeriod: 1s
`, total-podsMemory, leastLeft, processesLeft(t)-manyPIDs),
		flags: []string{
			"--kubeconfig=" + file("kubeconfig"), "--client-ca-file=" + file("ca.crt"),
			"--tls-cert-file=" + file("serving.crt"), "--tls-private-key-file=" + file("serving.key"),
		},
	}
}

// processesLeft is how many more processes and threads the kernel would make.
func processesLeft(t *testing.T) uint64 {
	t.Helper()
	_, now, _ := strings.Cut(strings.Fields(read(t, "/proc/loadavg"))[3], "/")
	var count uint64
	if _, err := fmt.Sscan(now, &count); err != nil {
		t.Fatal(err)
	}
	return mostProcesses(t) - count
}

func mostProcesses(t *testing.T) uint64 {
	t.Helper()
	return min(number(t, "/proc/sys/kernel", "pid_max", ""), number(t, "/proc/sys/kernel", "threads-max", ""))
}

// TestMember tells bosun to end, and starts it as a node of a cluster: the containers go on meanwhile, and are its own then.
func TestMember(t *testing.T) {
	before := everything(t)
	if err := restartBosun(memberAgent(t)); err != nil {
		t.Fatal(err)
	}
	c := openCluster(t)
	c.untilCondition(t, v1.NodeReady, v1.ConditionTrue)
	paths, err := filepath.Glob(filepath.Join(manifests, "*"))
	if err != nil {
		t.Fatal(err)
	}
	c.until(t, func() error {
		for _, path := range paths {
			name := strings.TrimSuffix(filepath.Base(path), ".yaml") + "-" + nodeName
			if p := c.pods[name]; p == nil || p.Status.Phase != v1.PodRunning {
				return fmt.Errorf("the mirror of pod %s is %+v", name, p)
			}
		}
		return nil
	})
	if after := everything(t); !slices.Equal(before, after) {
		t.Errorf("containers before: %v, after: %v", before, after)
	}
	checkFiles(t, filepath.Join(cgroups, "kubepods"), map[string]string{"memory.max": fmt.Sprint(podsMemory)})
	removeManifests(t)
	t.Run("Pods", func(t *testing.T) {
		t.Run("Resize", func(t *testing.T) { testResize(t, c) })
		t.Run("ResizeWhole", func(t *testing.T) { testResizeWhole(t, c) })
		t.Run("Swap", func(t *testing.T) { testSwap(t, c) })
		t.Run("SingleProcess", func(t *testing.T) { testSingleProcess(t, c) })
	})
	t.Run("Removal", func(t *testing.T) {
		for _, p := range c.all() {
			t.Run(p.Name, func(t *testing.T) {
				t.Parallel()
				(&tenant{t, c, p.Name, string(p.UID)}).remove()
			})
		}
	})
}

// removeManifests takes all manifests away.
func removeManifests(t *testing.T) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(manifests, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// LimitedSwap: a container that asks for less memory than it may have is given swap space in proportion, and uses it when it is above
// what memory quality of service has it use (behaviours 212, 214).
func testSwap(t *testing.T, c *cluster) {
	t.Parallel()
	p := c.create(t, "swaps", `
spec:
  containers:
  - {name: app, image: BOX, args: [alloc, "74"], resources: {requests: {memory: 64Mi}, limits: {memory: 80Mi}}}
  - {name: free, image: BOX, resources: {limits: {memory: 24Mi}}}
`)
	p.untilReady()
	p.log("app", "allocated 74 MiB")
	total, swap := number(t, "/proc", "meminfo", "MemTotal:"), number(t, "/proc", "meminfo", "SwapTotal:")
	share := uint64(float64(64<<20) / float64(total) * float64(swap))
	dir := p.burstable("app")
	checkFiles(t, dir, map[string]string{
		"memory.max": fmt.Sprint(80 << 20), "memory.high": fmt.Sprint(72 << 20), "memory.low": fmt.Sprint(64 << 20), "memory.min": "0",
	})
	if most := number(t, dir, "memory.swap.max", ""); most > share || most+4096 < share {
		t.Errorf("the container may swap %d bytes, want %d", most, share)
	}
	if number(t, dir, "memory.swap.current", "") == 0 {
		t.Error("it has swapped nothing")
	}
	checkFiles(t, p.burstable("free"), map[string]string{"memory.swap.max": "0", "memory.high": "max"}) // its request is its limit
	raw := number(t, dir, "memory.swap.current", "")
	labels := `{container="app",namespace="default",pod="swaps"}`
	if told := sample(t, answer(t, "/metrics/resource"), "container_swap_limit_bytes"+labels); told != float64(number(t, dir, "memory.swap.max", "")) {
		t.Errorf("/metrics/resource tells %v as the limit of swap", told)
	}
	if told := sample(t, answer(t, "/metrics/resource"), "container_swap_usage_bytes"+labels); told == 0 || raw == 0 {
		t.Errorf("/metrics/resource tells %v bytes in swap, the kernel %d", told, raw)
	}
	if s := podIn(t, summaryOf(t), "swaps"); s.Swap == nil || *s.Swap.SwapUsageBytes == 0 {
		t.Errorf("/stats/summary tells of swap %+v", s.Swap)
	}
}

// singleProcessOOMKill: where memory is out, the kernel ends one process, and the container goes on (behaviour 211).
func testSingleProcess(t *testing.T, c *cluster) {
	t.Parallel()
	p := c.create(t, "family", `
spec: {containers: [{name: app, image: BOX, args: [child, alloc, "200", then, wait], resources: {limits: {memory: 40Mi}}}]}
`)
	p.untilReady()
	p.log("app", "child ended: signal: killed")
	dir := p.burstable("app")
	checkFiles(t, dir, map[string]string{"memory.oom.group": "0", "memory.swap.max": "0"})
	if number(t, dir, "memory.events", "oom_kill") == 0 || number(t, dir, "memory.events", "oom_group_kill") != 0 {
		t.Errorf("the kernel tells: %s", read(t, dir, "memory.events"))
	}
	if s := p.untilReady().Status.ContainerStatuses[0]; s.RestartCount != 0 || s.State.Running == nil {
		t.Errorf("the container is %+v", s)
	}
}
