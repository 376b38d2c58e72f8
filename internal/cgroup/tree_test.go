package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/qos"
)

func TestLayoutOf(t *testing.T) {
	unified := t.TempDir()
	if err := os.WriteFile(filepath.Join(unified, "cgroup.controllers"), []byte("cpuset cpu io memory pids\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, "cgroup.controllers"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	v1mount := func(dir, opts string) *mountinfo.Info {
		return &mountinfo.Info{Mountpoint: dir, FSType: "cgroup", VFSOptions: opts}
	}
	for _, c := range []struct {
		name     string
		mounts   []*mountinfo.Info
		v2       bool
		limiting []string
		missing  []string
	}{
		{"v2", []*mountinfo.Info{{Mountpoint: unified, FSType: "cgroup2", VFSOptions: "rw"}}, true, []string{unified}, []string{"hugetlb"}},
		{"v1", []*mountinfo.Info{
			v1mount("/c/cpu,cpuacct", "rw,cpu,cpuacct"), v1mount("/c/memory", "rw,memory"), v1mount("/c/pids", "rw,pids"),
			v1mount("/c/hugetlb", "rw,hugetlb"), v1mount("/c/systemd", "rw,name=systemd"), v1mount("/again", "rw,memory"),
		}, false, []string{"/c/cpu,cpuacct", "/c/memory", "/c/pids", "/c/hugetlb"}, nil},
		{"hybrid", []*mountinfo.Info{v1mount("/c/cpu", "rw,cpu"), {Mountpoint: empty, FSType: "cgroup2"}}, false, []string{"/c/cpu"}, []string{"memory", "pids", "hugetlb"}},
	} {
		l, err := layoutOf(c.mounts)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var dirs []string
		for _, h := range l.limiting() {
			dirs = append(dirs, h.dir)
		}
		if l.v2 != c.v2 || !slices.Equal(dirs, c.limiting) || !slices.Equal(l.missing(), c.missing) {
			t.Errorf("%s: v2 %v, limiting %v, missing %v", c.name, l.v2, dirs, l.missing())
		}
	}
	if _, err := layoutOf(nil); err == nil {
		t.Error("no error without any cgroup mount")
	}
}

func TestNewRefuses(t *testing.T) {
	l := layout{v2: true, all: []hierarchy{{dir: "/x", unified: true}}}
	if _, err := newTree(Config{Driver: "docker"}, l); err == nil || !strings.Contains(err.Error(), "cgroupDriver") {
		t.Errorf("unknown driver: %v", err)
	}
	if _, err := newTree(Config{Root: "/../x"}, l); err == nil {
		t.Error("root with '..' passed")
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		if _, err := newTree(Config{Driver: Systemd}, l); err == nil || !strings.Contains(err.Error(), "cgroupfs") {
			t.Errorf("systemd driver without systemd: %v", err)
		}
	}
}

// TestLost holds what counts as a pod without a cgroup (behaviour 364).
func TestLost(t *testing.T) {
	tree, _ := fakeV2(t, Config{Root: "/outer"}, "cpuset cpu io memory pids")
	if _, err := tree.EnsureQOS(t.Context()); err != nil {
		t.Fatal(err)
	}
	pod := podOf("cpu=500m")
	if !tree.Lost(pod) {
		t.Error("a pod whose cgroup was not made yet has one")
	}
	if err := tree.Ensure(t.Context(), pod, false); err != nil {
		t.Fatal(err)
	}
	if tree.Lost(pod) {
		t.Error("a pod has lost its cgroup that was just made")
	}
	if flat, _ := fakeV2(t, Config{Flat: true}, "cpu memory pids"); flat.Lost(pod) {
		t.Error("a pod that is to have no cgroup has lost it")
	}
}

func TestV2Tree(t *testing.T) {
	tree, root := fakeV2(t, Config{Root: "/outer"}, "cpuset cpu io memory pids rdma")
	warning, err := tree.EnsureQOS(t.Context())
	if err != nil || !strings.Contains(warning, "hugetlb") {
		t.Fatalf("EnsureQOS = %q, %v; want a warning that names hugetlb", warning, err)
	}
	if err := tree.SetNodeLimits(t.Context(), Resources{CPUShares: 4096, Memory: 1 << 30, Pids: 500}); err != nil {
		t.Fatal(err)
	}
	pod := podOf("cpu=500m memory=64Mi hugepages-2Mi=2Mi/cpu=1 memory=64Mi hugepages-2Mi=2Mi")
	tree.opts = Options{PidsLimit: 50, PageSizes: []string{"2MB"}}
	for range 2 { // again, as after a crash
		if err := tree.Ensure(t.Context(), pod, false); err != nil {
			t.Fatal(err)
		}
	}
	kubepods := filepath.Join(root, "outer", "kubepods")
	dir := filepath.Join(kubepods, "burstable", "poduid-1")
	for path, want := range map[string]string{
		filepath.Join(root, "cgroup.subtree_control"):       "+cpuset +cpu +io +memory +pids",
		filepath.Join(kubepods, "cgroup.subtree_control"):   "+cpuset +cpu +io +memory +pids",
		filepath.Join(dir, "cgroup.subtree_control"):        "+cpuset +cpu +io +memory +pids",
		filepath.Join(kubepods, "memory.max"):               "1073741824",
		filepath.Join(kubepods, "cpu.weight"):               "157",
		filepath.Join(kubepods, "pids.max"):                 "500",
		filepath.Join(kubepods, "besteffort", "cpu.weight"): "1",
		filepath.Join(kubepods, "burstable", "cpu.weight"):  "1",
		filepath.Join(dir, "cpu.weight"):                    "20",
		filepath.Join(dir, "cpu.max"):                       "100000 100000",
		filepath.Join(dir, "memory.max"):                    "67108864",
		filepath.Join(dir, "pids.max"):                      "50",
	} {
		if got := content(t, path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	if err := tree.SetBurstableShares(t.Context(), 1024); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.EnsureQOS(t.Context()); err != nil { // keeps the burstable weight
		t.Fatal(err)
	}
	if got := content(t, kubepods, "burstable", "cpu.weight"); got != "39" {
		t.Errorf("burstable weight %s, want 39", got)
	}
	if uids, err := tree.Pods(); err != nil || !slices.Equal(uids, []types.UID{"uid-1"}) {
		t.Errorf("Pods = %v, %v", uids, err)
	}
	if got := tree.Parent(pod); got != "/outer/kubepods/burstable/poduid-1" {
		t.Errorf("Parent = %s", got)
	}
	if !tree.Exists(pod) || tree.Dir("memory", pod) != dir || tree.Dir("hugetlb", pod) != "" || tree.Version() != 2 {
		t.Errorf("exists %v, dir %s, version %d", tree.Exists(pod), tree.Dir("memory", pod), tree.Version())
	}
	if err := tree.Remove(t.Context(), "uid-1"); err != nil {
		t.Fatal(err)
	}
	if tree.Exists(pod) {
		t.Error("still there")
	}
}

// TestV2Reserve: a cgroup of somebody else is limited as it is, and not made.
func TestV2Reserve(t *testing.T) {
	tree, root := fakeV2(t, Config{Root: "/outer"}, "cpu memory pids")
	if _, err := tree.EnsureQOS(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := ReserveResources(list("cpu=500m memory=1Gi pid=100"), false, true)
	if err := tree.SetReserve(t.Context(), "/system", r); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/system") {
		t.Errorf("a cgroup that is not there: %v", err)
	}
	if err := tree.SetReserve(t.Context(), "/", r); err == nil {
		t.Error("the top was limited")
	}
	if err := tree.set(Name{"system"}, Resources{}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "system")
	if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("as it was"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := tree.SetReserve(t.Context(), "/system", r); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"cpu.weight": "20", "memory.max": "1073741824", "memory.min": "1073741824", "memory.low": "0", "pids.max": "100", "cgroup.subtree_control": "as it was"} {
		got, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || string(got) != want {
			t.Errorf("%s is %q (%v), want %q", file, got, err, want)
		}
	}
}

// Behaviour 212: what pods ask for is kept from being reclaimed, at each level, or no more.
func TestProtect(t *testing.T) {
	tree, root := fakeV2(t, Config{Pod: Options{Reserve: true}}, "cpu memory pids")
	kubepods, sure, soft := filepath.Join(root, "kubepods"), podOf("cpu=1 memory=100/cpu=1 memory=100"), podOf("memory=50")
	sure.UID, soft.UID = "sure", "soft"
	pods := []*v1.Pod{sure, soft, podOf("")}
	for _, p := range pods {
		if err := tree.Ensure(t.Context(), p, false); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want map[string]string) {
		t.Helper()
		for dir, want := range want {
			if got := content(t, kubepods, dir, "memory.min") + " " + content(t, kubepods, dir, "memory.low"); got != want {
				t.Errorf("kubepods/%s has %s, want %s", dir, got, want)
			}
		}
	}
	all, burstable := Protected(pods)
	if err := tree.Protect(t.Context(), all, burstable); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{".": "150 50", "burstable": "0 50", "besteffort": "0 0", "podsure": "100 0", "burstable/podsoft": "0 50"})
	more := podOf("memory=70")
	more.UID = "soft"
	if err := tree.Grow(t.Context(), more, false); err != nil {
		t.Fatal(err)
	}
	if err := tree.Settle(t.Context(), more, false); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{"burstable/podsoft": "0 70"})
	if err := tree.Protect(t.Context(), 0, 0); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{".": "0 0", "burstable": "0 0"})
}

// TestFlat: without cgroups for classes and pods, containers go right below the root.
func TestFlat(t *testing.T) {
	tree, root := fakeV2(t, Config{Root: "/outer", Flat: true}, "cpu memory pids")
	pod := podOf("cpu=500m/cpu=1")
	if _, err := tree.EnsureQOS(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(tree.Ensure(t.Context(), pod, false), tree.SetNodeLimits(t.Context(), Resources{Memory: 1}), tree.SetBurstableShares(t.Context(), 5), tree.Remove(t.Context(), pod.UID))
	if err != nil {
		t.Fatal(err)
	}
	if made := children(filepath.Join(root, "outer")); len(made) > 0 {
		t.Errorf("made %v", made)
	}
	if got := tree.Parent(pod); got != "/outer" {
		t.Errorf("parent %q", got)
	}
	if tree, _ = fakeV2(t, Config{Flat: true}, "cpu"); tree.Parent(pod) != "" {
		t.Errorf("parent %q at the top, want the runtime's choice", tree.Parent(pod))
	}
}

func TestV2Update(t *testing.T) {
	tree, root := fakeV2(t, Config{}, "cpu memory pids")
	pod := podOf("memory=100/memory=100")
	if err := tree.Update(t.Context(), pod, Resources{Memory: 5}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Update of a pod without cgroup = %v", err)
	}
	if err := tree.Ensure(t.Context(), pod, false); err != nil { // makes the tree above as well
		t.Fatal(err)
	}
	dir := filepath.Join(root, "kubepods", "burstable", "poduid-1")
	if err := os.WriteFile(filepath.Join(dir, "memory.current"), []byte("60\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := tree.Update(t.Context(), pod, Resources{Memory: 50}); !errors.Is(err, ErrInUse) {
		t.Errorf("Update below what is used = %v, want ErrInUse", err)
	}
	if got := content(t, dir, "memory.max"); got != "100" {
		t.Errorf("memory.max became %s", got)
	}
	if err := tree.Update(t.Context(), pod, Resources{Memory: -1, CPUShares: 2048, CPUQuota: -1}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir, "memory.max") + " " + content(t, dir, "cpu.max"); got != "max max 100000" {
		t.Errorf("lifted limits: %s", got)
	}
}

func TestUIDsThatArePathsAreRefused(t *testing.T) {
	tree, root := fakeV2(t, Config{}, "cpu memory pids")
	pod := podOf("")
	for _, uid := range []types.UID{"../../x", "a/b", "", ".."} {
		pod.UID = uid
		if err := tree.Ensure(t.Context(), pod, false); err == nil || !strings.Contains(err.Error(), "metadata.uid") {
			t.Errorf("Ensure(%q) = %v", uid, err)
		}
		if err := tree.Remove(t.Context(), uid); err == nil {
			t.Errorf("Remove(%q) passed", uid)
		}
	}
	if c := children(root); len(c) != 0 {
		t.Errorf("made %v", c)
	}
}

// realTree is a tree of its own on this machine's cgroups, removed afterwards.
func realTree(t testing.TB) *Tree {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: cgroups")
	}
	return realTreeOn(t, func(l layout) layout { return l })
}

func realTreeOn(t testing.TB, choose func(layout) layout) *Tree {
	t.Helper()
	l, err := findLayout()
	if err != nil {
		t.Fatal(err)
	}
	name := strings.NewReplacer("/", "_").Replace(t.Name())
	tree, err := newTree(Config{Root: fmt.Sprintf("/bosun-unit-%d-%s", os.Getpid(), name)}, choose(l))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := tree.Destroy(ctx); err != nil {
			t.Error(err)
		}
		for _, dir := range tree.dirs(tree.root) {
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s is left", dir)
			}
		}
	})
	if _, err := tree.EnsureQOS(t.Context()); err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestRealLimits(t *testing.T) {
	tree := realTree(t)
	pod := podOf("cpu=500m memory=64Mi/cpu=1 memory=64Mi")
	tree.opts = Options{PidsLimit: 50, PageSizes: []string{"2MB", "1GB"}}
	for range 2 {
		if err := tree.Ensure(t.Context(), pod, false); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"cpu.shares": "512", "cpu.cfs_quota_us": "100000", "memory.limit_in_bytes": "67108864", "pids.max": "50"}
	if tree.Version() == 2 {
		want = map[string]string{"cpu.weight": "20", "cpu.max": "100000 100000", "memory.max": "67108864", "pids.max": "50"}
	}
	check := func() {
		t.Helper()
		got := map[string]string{}
		for file := range want {
			controller, _, _ := strings.Cut(file, ".")
			got[file] = content(t, tree.Dir(controller, pod), file)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	check()
	if tree.Version() == 1 {
		// A period so short that the old quota would exceed what the parent has.
		if err := tree.Update(t.Context(), pod, Resources{CPUQuota: 5000, CPUPeriod: 10000, Memory: -1}); err != nil {
			t.Fatal(err)
		}
		want["cpu.cfs_quota_us"], want["cpu.cfs_period_us"] = "5000", "10000"
		want["memory.limit_in_bytes"] = "9223372036854771712"
		check()
	}
	if uids, err := tree.Pods(); err != nil || !slices.Equal(uids, []types.UID{"uid-1"}) {
		t.Errorf("Pods = %v, %v", uids, err)
	}
	for range 2 {
		if err := tree.Remove(t.Context(), pod.UID); err != nil {
			t.Fatal(err)
		}
	}
	if uids, _ := tree.Pods(); len(uids) != 0 || tree.Exists(pod) {
		t.Errorf("left: %v", uids)
	}
}

// startIn starts a process that ignores TERM and has a child, puts both into a cgroup of each hierarchy beneath the
// pod's, as a runtime would, and returns the process.
func startIn(t *testing.T, tree *Tree, pod *v1.Pod) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", `trap "" TERM; read go; sleep 1000 & echo ready; wait; sleep 1000`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for _, dir := range tree.dirs(tree.root.Pod(qos.ClassOf(pod), pod.UID)) {
			thaw(dir) // else a failed test would wait for ever
		}
		_ = cmd.Wait()
	})
	for _, h := range tree.layout.all {
		dir := filepath.Join(tree.path(&h, tree.root.Pod(qos.ClassOf(pod), pod.UID)), "container")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.dir, "cpuset") {
			copyCpuset(t, h.dir, dir)
		}
		if err := writeFile(dir, "cgroup.procs", fmt.Sprint(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, err := out.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "ready") {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	return cmd
}

// copyCpuset gives the cpuset cgroups from top down to dir the values of top, without which none can be entered.
func copyCpuset(t *testing.T, top, dir string) {
	t.Helper()
	rel, _ := filepath.Rel(top, dir)
	at := top
	for part := range strings.SplitSeq(rel, "/") {
		at = filepath.Join(at, part)
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := writeFile(at, f, content(t, top, f)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRemoveKillsWhatIsLeft(t *testing.T) {
	tree := realTree(t)
	pod := podOf("")
	if err := tree.Ensure(t.Context(), pod, false); err != nil {
		t.Fatal(err)
	}
	cmd := startIn(t, tree, pod)
	if err := tree.Remove(t.Context(), pod.UID); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.String() != "signal: killed" {
		t.Errorf("process: %v", cmd.ProcessState)
	}
	if tree.Exists(pod) {
		t.Error("the cgroup is still there")
	}
}

func TestRemoveKillsFrozenProcesses(t *testing.T) {
	tree := realTree(t)
	pod := podOf("")
	if err := tree.Ensure(t.Context(), pod, false); err != nil {
		t.Fatal(err)
	}
	cmd := startIn(t, tree, pod)
	for _, dir := range tree.dirs(tree.root.Pod(qos.ClassOf(pod), pod.UID)) {
		_ = writeFile(filepath.Join(dir, "container"), "freezer.state", "FROZEN")
		_ = writeFile(filepath.Join(dir, "container"), "cgroup.freeze", "1")
	}
	if err := tree.Remove(t.Context(), pod.UID); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.String() != "signal: killed" {
		t.Errorf("process: %v", cmd.ProcessState)
	}
}

// TestRealUnified runs the v2 code on the machine's cgroup2 mount, whatever controllers are there: directories,
// killing, waiting and removal are real.
func TestRealUnified(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: cgroups")
	}
	l, err := findLayout()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(l.all, func(h hierarchy) bool { return h.unified })
	if i < 0 {
		t.Skip("no cgroup2 mount on this machine")
	}
	// The controllers passed on at the top stay passed on: another runtime on this machine may use them by now.
	tree := realTreeOn(t, func(l layout) layout { return layout{v2: true, all: l.all[i : i+1]} })
	pod := podOf("cpu=1 hugepages-2Mi=2Mi/hugepages-2Mi=2Mi")
	tree.opts.PageSizes = []string{"2MB", "3MB"} // there are none of 3 MB anywhere
	if err := tree.Ensure(t.Context(), pod, false); err != nil {
		t.Fatal(err)
	}
	if dir := tree.Dir("hugetlb", pod); dir != "" {
		if got := content(t, dir, "hugetlb.2MB.max"); got != "2097152" {
			t.Errorf("hugetlb.2MB.max = %s", got)
		}
	}
	cmd := startIn(t, tree, pod)
	if err := writeFile(filepath.Join(tree.path(&tree.limiting[0], tree.root.Pod(qos.ClassOf(pod), pod.UID)), "container"), "cgroup.freeze", "1"); err != nil {
		t.Fatal(err)
	}
	if err := tree.Remove(t.Context(), pod.UID); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.String() != "signal: killed" {
		t.Errorf("process: %v", cmd.ProcessState)
	}
}

func TestRemoveNeverKillsTheAgent(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := killEach(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "agent itself") {
		t.Errorf("killEach = %v", err)
	}
}

func TestPollEndsWithItsContext(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := poll(ctx, []unix.PollFd{{Fd: int32(r.Fd()), Events: unix.POLLIN}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("poll = %v", err)
	}
}

func BenchmarkEnsureRemove(b *testing.B) {
	tree := realTree(b)
	pod := podOf("cpu=500m memory=64Mi/cpu=1 memory=64Mi")
	tree.opts = Options{PidsLimit: 50}
	b.Run("ensure", func(b *testing.B) {
		for range b.N {
			if err := tree.Ensure(b.Context(), pod, false); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := tree.Remove(b.Context(), pod.UID); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("again", func(b *testing.B) {
		for range b.N {
			if err := tree.Ensure(b.Context(), pod, false); err != nil {
				b.Fatal(err)
			}
		}
	})
}
