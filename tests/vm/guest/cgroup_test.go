package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

// The tests run in this order: the pods of one are there for the next.

// lone is bosun without a cluster. What is reserved for the system is enforced on its cgroup; for what belongs to Kubernetes, that is
// the share of CPU time.
var lone = agent{config: `
podPidsLimit: 100
systemReserved: {cpu: 500m, memory: 400Mi, pid: "1000"}
kubeReserved: {cpu: 250m, memory: 50Mi}
systemReservedCgroup: ` + systemCgroup + `
kubeReservedCgroup: ` + kubeCgroup + `
enforceNodeAllocatable: [pods, system-reserved, kube-reserved-compressible]
`}

// TestCheck asks bosun what the machine lacks. The port of the bosun that runs is left out.
func TestCheck(t *testing.T) {
	good := regexp.MustCompile(`(?m)^ok +cgroup +cgroup v2 with cpu, cpuset, hugetlb, io, memory, `)
	eventually(t, func() error { // it does not wait long for the runtime, which is slow here
		out, err := exec.Command("/bin/bosun", append([]string{"check"}, common...)...).CombinedOutput()
		if err == nil && !good.Match(out) {
			err = errors.New("nothing good is said of cgroup v2")
		}
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// TestPods makes one pod of each kind, all at once.
func TestPods(t *testing.T) {
	t.Run("Guaranteed", testGuaranteed)
	t.Run("Burstable", testBurstable)
	t.Run("BestEffort", testBestEffort)
	t.Run("OutOfMemory", testOutOfMemory)
	t.Run("UserNamespace", testUserNamespace)
}

// Behaviours 175, 200, 203, 204, 205, 211, 214, 243.
func testGuaranteed(t *testing.T) {
	t.Parallel()
	b := newPod(t, "guaranteed", `
spec:
  containers:
  - name: app
    image: BOX
    args: [write, /scratch/file, text, then, stat, /scratch/file, then, huge, "4", then, wait]
    resources: {limits: {cpu: 500m, memory: 64Mi, hugepages-2Mi: 4Mi}}
    volumeMounts: [{name: scratch, mountPath: /scratch}, {name: huge, mountPath: /huge}]
  volumes:
  - {name: scratch, emptyDir: {medium: Memory, sizeLimit: 16Mi}}
  - {name: huge, emptyDir: {medium: HugePages}}
`)
	app, uid := b.untilRunning("app"), b.uid()
	b.output("app", "touched 4 MiB of huge pages")
	checkMount(t, uid, "scratch", " tmpfs ", "noswap", "size=16384k") // never swapped out where the kernel can promise it
	checkMount(t, uid, "huge", " hugetlbfs ", "pagesize=2M")
	dir := filepath.Join(cgroups, "kubepods", "pod"+uid)
	checkFiles(t, dir, map[string]string{
		"cpu.weight": "20", // of 512 shares
		"cpu.max":    "50000 100000", "memory.max": "67108864", "pids.max": "100", "hugetlb.2MB.max": "4194304", "hugetlb.2MB.current": "4194304",
	})
	checkFiles(t, filepath.Join(dir, app.Id), map[string]string{
		"cpu.max": "50000 100000", "memory.max": "67108864", "memory.swap.max": "0", "memory.oom.group": "1", "memory.high": "max",
		"hugetlb.2MB.max": "4194304", "hugetlb.2MB.current": "4194304", "hugetlb.1GB.max": "0",
	})
}

// Behaviours 200, 203 to 206, 211, 214.
func testBurstable(t *testing.T) {
	t.Parallel()
	b := newPod(t, "burstable", `
spec:
  containers:
  - {name: bounded, image: BOX, args: [wait], resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 1500m, memory: 48Mi}}}
  - {name: free, image: BOX, args: [wait], resources: {requests: {cpu: 250m}}}
`)
	bounded, free := b.untilRunning("bounded"), b.untilRunning("free")
	class := filepath.Join(cgroups, "kubepods", "burstable")
	dir := filepath.Join(class, "pod"+b.uid())
	// One container has no limit, so the pod has none; the weight is that of the sum of requests.
	checkFiles(t, dir, map[string]string{"cpu.weight": "20", "cpu.max": "max 100000", "memory.max": "max", "pids.max": "100"})
	checkFiles(t, filepath.Join(dir, bounded.Id), map[string]string{
		"cpu.max": "150000 100000", "memory.max": "50331648", "memory.swap.max": "0", "memory.oom.group": "1", "memory.high": "max",
	})
	checkFiles(t, filepath.Join(dir, free.Id), map[string]string{
		"cpu.max": "max 100000", "memory.max": "max", "memory.swap.max": "0", "memory.oom.group": "1",
	})
	// No other burstable pod asks for CPU time.
	eventually(t, func() error {
		if got := read(t, class, "cpu.weight"); got != "20" {
			return fmt.Errorf("the weight of burstable pods is %s, want 20", got)
		}
		return nil
	})
}

// Behaviours 200, 205, 206, 207. It gets no more processes than a pod may have.
func testBestEffort(t *testing.T) {
	t.Parallel()
	b := newPod(t, "besteffort", `
spec:
  containers:
  - {name: app, image: BOX, args: [crowd, "200", then, wait]}
`)
	said := b.output("app", "crowd of ")
	var count int
	if _, err := fmt.Sscanf(said, "crowd of %d: resource temporarily unavailable", &count); err != nil || count < 50 || count > 99 {
		t.Errorf("it said %q, want something below a hundred", said)
	}
	app := b.untilRunning("app")
	class := filepath.Join(cgroups, "kubepods", "besteffort")
	dir := filepath.Join(class, "pod"+b.uid())
	checkFiles(t, class, map[string]string{"cpu.weight": "1", "memory.max": "max"})
	checkFiles(t, dir, map[string]string{"cpu.weight": "1", "cpu.max": "max 100000", "memory.max": "max", "pids.max": "100"})
	checkFiles(t, filepath.Join(dir, app.Id), map[string]string{"memory.max": "max", "memory.swap.max": "0", "memory.oom.group": "1", "hugetlb.2MB.max": "0"})
	if number(t, dir, "pids.events", "max") == 0 {
		t.Error("the kernel has refused no process for the limit of the pod")
	}
}

// TestNodeLimits: all pods together get what is not reserved, and who has reserved it no more than that (behaviours 207, 210).
func TestNodeLimits(t *testing.T) {
	total := 1024 * number(t, "/proc", "meminfo", "MemTotal:")
	checkFiles(t, filepath.Join(cgroups, "kubepods"), map[string]string{
		"memory.max": fmt.Sprint(total - 450<<20),
		"cpu.weight": "49", // of 1280 shares: two processors less 750m
	})
	checkFiles(t, filepath.Join(cgroups, "kubepods"), map[string]string{"pids.max": fmt.Sprint(mostProcesses(t) - 1000)})
	checkFiles(t, cgroups+systemCgroup, map[string]string{"memory.max": "419430400", "cpu.weight": "20", "pids.max": "1000"})
	checkFiles(t, cgroups+kubeCgroup, map[string]string{"memory.max": "max", "cpu.weight": "10", "pids.max": "max"}) // of 256 shares
}

// TestStats: what is told of a pod is what the kernel says of it, in all three places (behaviours 341, 363).
func TestStats(t *testing.T) {
	b := &box{t, "guaranteed"}
	app := b.untilRunning("app")
	dir := filepath.Join(cgroups, "kubepods", "pod"+b.uid(), app.Id)
	before := number(t, dir, "cpu.stat", "usage_usec")
	s := summaryOf(t)
	checkNode(t, &s.Node)
	p := podIn(t, s, "guaranteed-"+nodeName)
	c := &p.Containers[0]
	if used, after := *c.CPU.UsageCoreNanoSeconds/1000, number(t, dir, "cpu.stat", "usage_usec"); used < before || used > after {
		t.Errorf("the container used %d us, want %d to %d", used, before, after)
	}
	if c.CPU.PSI == nil || c.Memory.PSI == nil || c.IO == nil || p.CPU.PSI == nil {
		t.Errorf("no pressure is told of container or pod: %+v %+v", c, p)
	}
	if limit, set := uint64(64<<20), *c.Memory.WorkingSetBytes; set == 0 || *c.Memory.AvailableBytes != limit-set {
		t.Errorf("of %d bytes %d are used and %d are left", limit, set, *c.Memory.AvailableBytes)
	}
	if p.Network == nil || p.Network.Name != "eth0" {
		t.Errorf("network %+v", p.Network)
	}
	if v := p.VolumeStats; len(v) != 2 || v[1].Name != "scratch" || *v[1].CapacityBytes != 16<<20 || *v[1].UsedBytes == 0 {
		t.Errorf("volumes %+v", v)
	}
	if c.Rootfs == nil || c.Logs == nil || p.EphemeralStorage == nil || *c.Logs.UsedBytes == 0 {
		t.Errorf("nothing is told of disks: %+v", c)
	}
	labels := fmt.Sprintf(`{container="app",id="/kubepods/pod%s/%s",image="%s",name="%s",namespace="default",pod="guaranteed-%s"}`, b.uid(), app.Id, testbed.Testbox, app.Id, nodeName)
	families := answer(t, "/metrics/cadvisor")
	for _, want := range []string{
		"container_spec_memory_limit_bytes" + labels + " 6.7108864e+07", "container_spec_cpu_quota" + labels + " 50000",
		"container_pressure_cpu_waiting_seconds_total" + labels, "container_memory_working_set_bytes" + labels, "container_scrape_error 0",
		`container_network_receive_bytes_total{container="",id="/kubepods/pod` + b.uid(),
	} {
		if !strings.Contains(families, "\n"+want) {
			t.Errorf("/metrics/cadvisor lacks %s", want)
		}
	}
	checkNumbers(t, dir, "guaranteed-"+nodeName)
	if want := fmt.Sprintf("\ncontainer_memory_working_set_bytes{container=\"app\",namespace=\"default\",pod=\"guaranteed-%s\"} ", nodeName); !strings.Contains(answer(t, "/metrics/resource"), want) {
		t.Errorf("/metrics/resource lacks %s", want)
	}
}

// An out of memory container is killed as a whole, is said to have been, and starts again: at once the first time,
// after ten seconds the second (behaviours 137, 138, 211).
func testOutOfMemory(t *testing.T) {
	t.Parallel()
	b := newPod(t, "eater", `
spec:
  containers:
  - {name: app, image: BOX, args: [alloc, "200"], resources: {limits: {memory: 24Mi}}}
`)
	attempt := func(n uint32, done bool) *runtimeapi.ContainerStatus {
		return b.until("app", fmt.Sprintf("attempt %d, ended %v", n, done), func(c *runtimeapi.ContainerStatus) bool {
			return c.Metadata.Attempt == n && c.StartedAt > 0 && (!done || c.FinishedAt > 0)
		})
	}
	first := attempt(0, true)
	if first.Reason != "OOMKilled" || first.ExitCode != 137 {
		t.Errorf("ended with %d, %q: want 137, OOMKilled", first.ExitCode, first.Reason)
	}
	second := attempt(1, true)
	third := attempt(2, false)
	if pause := time.Duration(third.StartedAt - second.FinishedAt); pause < 10*time.Second {
		t.Errorf("the third attempt began %v after the end of the second, want 10s of back-off at least", pause)
	}
	events := read(t, cgroups, "kubepods", "burstable", "pod"+b.uid(), "memory.events")
	if !strings.Contains(events, "oom_group_kill ") || strings.Contains(events, "oom_group_kill 0") {
		t.Errorf("no container was killed as a group: %s", events)
	}
	b.remove()
	b.awaitGone()
}

// checkMount looks for words in what the mount table says of a pod's emptyDir (behaviour 175).
func checkMount(t *testing.T, uid, volume string, words ...string) {
	t.Helper()
	place := filepath.Join(rootDir, "pods", uid, "volumes", "kubernetes.io~empty-dir", volume)
	mounts := read(t, "/proc/self/mountinfo")
	for line := range strings.Lines(mounts) {
		if strings.Fields(line)[4] != place {
			continue
		}
		for _, word := range words {
			if !strings.Contains(line, word) {
				t.Errorf("%q is missing in %s", word, line)
			}
		}
		return
	}
	t.Errorf("nothing is mounted on %s:\n%s", place, mounts)
}

// Root in the pod is nobody on the node, and yet owns its volumes (hostUsers: false).
func testUserNamespace(t *testing.T) {
	t.Parallel()
	b := newPod(t, "userns", `
spec:
  hostUsers: false
  containers:
  - name: app
    image: BOX
    args: [cat, /proc/self/uid_map, then, write, /disk/file, text, then, stat, /disk/file, then, write, /memory/file, text, then,
      stat, /memory/file, then, cat, /etc/hosts, then, write, /dev/termination-log, bye, then, say, done, then, wait]
    volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}]
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
`)
	said := b.output("app", "done\n")
	var inside, first, length int64
	if _, err := fmt.Sscan(said, &inside, &first, &length); err != nil || inside != 0 || first < 65536 || length != 65536 {
		t.Errorf("the map of users is %d %d %d (%v), want 65536 users from above the node's own", inside, first, length, err)
	}
	for _, file := range []string{"/disk/file", "/memory/file"} {
		if !strings.Contains(said, file+" mode=-rw-r--r-- uid=0 gid=0") {
			t.Errorf("%s is not root's in the pod: %s", file, said)
		}
	}
	if !strings.Contains(said, "localhost") {
		t.Errorf("the hosts file cannot be read: %s", said)
	}
	app := b.untilRunning("app")
	pid := read(t, cgroups, "kubepods", "besteffort", "pod"+b.uid(), app.Id, "cgroup.procs")
	info, err := os.Stat("/proc/" + pid)
	if err != nil {
		t.Fatal(err)
	}
	if owner := int64(info.Sys().(*syscall.Stat_t).Uid); owner != first {
		t.Errorf("on the node, user %d runs the container, want %d", owner, first)
	}
}

// TestRestart kills bosun: containers go on, and the next one takes them over.
func TestRestart(t *testing.T) {
	before := everything(t)
	if err := killBosun(); err != nil {
		t.Fatal(err)
	}
	if err := startBosun(asBefore); err != nil {
		t.Fatal(err)
	}
	// It knows that the pod is one it has to end, so it has seen everything.
	gone := &box{t, "besteffort"}
	gone.remove()
	gone.awaitGone()
	after := everything(t)
	if len(before) != 5 || len(after) != 4 {
		t.Errorf("%d containers before, want 5: %v; %d after, want 4: %v", len(before), before, len(after), after)
	}
	for _, c := range after {
		if !slices.Contains(before, c) {
			t.Errorf("%s is new", c)
		}
	}
}

// everything lists the containers that run.
func everything(t *testing.T) (found []string) {
	t.Helper()
	list, err := cri.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{
		State: &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Containers {
		found = append(found, c.Metadata.Name+" "+c.Id)
	}
	slices.Sort(found)
	return found
}
