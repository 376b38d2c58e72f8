package signals

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/evict"
	"github.com/bosun-project/bosun/internal/pod"
)

const kib, mib = int64(1) << 10, int64(1) << 20

// write makes files below a directory.
func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const procMeminfo = `MemTotal:        8192 kB
MemFree:         1024 kB
MemAvailable:    3072 kB
Inactive(file):  1024 kB
HugePages_Total:       1
Hugetlb:          512 kB
`

const pressureFile = `some avg10=9.00 avg60=0.00 avg300=0.00 total=1
full avg10=2.50 avg60=0.00 avg300=0.00 total=1
`

func v1Group(usage, limit, inactive, active string) map[string]string {
	return map[string]string{
		"memory.usage_in_bytes": usage + "\n", "memory.limit_in_bytes": limit + "\n",
		"memory.stat": "inactive_file 1\nactive_file 2\ntotal_inactive_file " + inactive + "\ntotal_active_file " + active + "\n",
	}
}

func v2Group(usage, limit, inactive, active string) map[string]string {
	return map[string]string{
		"memory.current": usage + "\n", "memory.max": limit + "\n", "memory.pressure": pressureFile,
		"memory.stat": "anon 5\ninactive_file " + inactive + "\nactive_file " + active + "\n",
	}
}

func TestMemory(t *testing.T) {
	for name, c := range map[string]struct {
		root, pods map[string]string // cgroups
		proc       string
		want       map[evict.Signal]evict.Reading
	}{
		"244 v1: what the uppermost cgroup does not use": {v1Group("5242880", "9223372036854771712", "1048576", "1048576"), nil, procMeminfo,
			map[evict.Signal]evict.Reading{evict.MemoryAvailable: {Available: 8*mib - 4*mib - 512*kib, Capacity: 8 * mib, Doubt: &evict.Doubt{Spare: 3 * mib, Stalled: 2.5}}}},
		"244 v2: the true root has no numbers": {map[string]string{"memory.stat": "anon 1\n"}, nil, procMeminfo,
			map[evict.Signal]evict.Reading{evict.MemoryAvailable: {Available: 2 * mib, Capacity: 8 * mib, Doubt: &evict.Doubt{Spare: 3 * mib, Stalled: 2.5}}}},
		"244 a container that plays the machine": {v2Group("3145728", "4194304", "1048576", "524288"), nil, procMeminfo,
			map[evict.Signal]evict.Reading{evict.MemoryAvailable: {Available: 2 * mib, Capacity: 4 * mib, Doubt: &evict.Doubt{Spare: 2*mib + 512*kib, Stalled: 2.5}}}},
		"244 the limit of all pods, v2": {map[string]string{"memory.stat": ""}, v2Group("3145728", "4194304", "0", "1048576"), procMeminfo,
			map[evict.Signal]evict.Reading{
				evict.MemoryAvailable: {Available: 2 * mib, Capacity: 8 * mib, Doubt: &evict.Doubt{Spare: 3 * mib, Stalled: 2.5}},
				evict.PodsMemory:      {Available: mib, Capacity: 4 * mib, Doubt: &evict.Doubt{Spare: 2 * mib, Stalled: 2.5}},
			}},
		"244 the limit of all pods, v1, and there is none": {nil, v1Group("3145728", "9223372036854771712", "1048576", "0"), procMeminfo,
			map[evict.Signal]evict.Reading{
				evict.MemoryAvailable: {Available: 2 * mib, Capacity: 8 * mib, Doubt: &evict.Doubt{Spare: 3 * mib, Stalled: 2.5}},
				evict.PodsMemory:      {Available: 6 * mib, Capacity: 8 * mib, Doubt: &evict.Doubt{Spare: 6 * mib, Stalled: -1}},
			}},
		"an old kernel has no opinion": {nil, nil, "MemTotal: 8192 kB\nMemFree: 1024 kB\nInactive(file): 0 kB\n",
			map[evict.Signal]evict.Reading{evict.MemoryAvailable: {Available: mib, Capacity: 8 * mib}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := New(Config{
				Proc:   write(t, filepath.Join(dir, "proc"), map[string]string{"meminfo": c.proc, "pressure/memory": pressureFile}),
				Memory: func() string { return write(t, filepath.Join(dir, "pods"), c.pods) },
			})
			r.looked, r.root = true, write(t, filepath.Join(dir, "root"), c.root)
			got := evict.Readings{Of: map[evict.Signal]evict.Reading{}}
			if err := r.memory(got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Of); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRootOf(t *testing.T) {
	unified := &mountinfo.Info{FSType: "cgroup2", Mountpoint: "/c/unified"}
	for want, mounts := range map[string][]*mountinfo.Info{
		"/c/memory":  {unified, {FSType: "cgroup", Mountpoint: "/c/cpu", VFSOptions: "rw,cpu"}, {FSType: "cgroup", Mountpoint: "/c/memory", VFSOptions: "rw,memory"}},
		"/c/unified": {unified},
		"":           nil,
	} {
		if got := rootOf(mounts); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestRead reads this machine.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	answer := errors.New("containerd does not answer")
	asked := 0
	r := New(Config{RootDir: dir, PIDs: 1 << 22, Memory: func() string { return "" }, ImageFS: func(context.Context) (string, string, error) {
		asked++
		return dir, "", answer
	}})
	got, err := r.Read(t.Context())
	if err == nil || !strings.Contains(err.Error(), answer.Error()) || got.Layout != evict.Unknown {
		t.Errorf("without an answer of the runtime: layout %v, %v", got.Layout, err)
	}
	for _, s := range []evict.Signal{evict.MemoryAvailable, evict.NodeFSAvailable, evict.PIDAvailable} {
		if n := got.Of[s]; n.Available <= 0 || n.Available > n.Capacity {
			t.Errorf("%s: %+v", s, n)
		}
	}
	answer = nil
	for range 3 {
		if got, err = r.Read(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got.Layout != evict.One || got.Of[evict.ImageFSAvailable].Capacity != got.Of[evict.NodeFSAvailable].Capacity || asked != 2 {
		t.Errorf("257: layout %v after asking %d times: %+v", got.Layout, asked, got.Of)
	}
}

// TestQuiet: a runtime that does not answer yet is no problem to speak of here.
func TestQuiet(t *testing.T) {
	r := New(Config{RootDir: t.TempDir(), PIDs: 1 << 22, Memory: func() string { return "" }, ImageFS: func(context.Context) (string, string, error) { return "", "", nil }})
	if got, err := r.Read(t.Context()); err != nil || got.Layout != evict.Unknown || len(got.Of) < 3 {
		t.Errorf("%v: %+v", err, got)
	}
}

func TestSameDevice(t *testing.T) {
	for _, c := range []struct {
		a, b device
		want bool
	}{
		{device{1, "/dev/sda1"}, device{1, "/dev/sda1"}, true},
		{device{1, "/dev/sda1"}, device{2, "/dev/sda1"}, true}, // two subvolumes of btrfs
		{device{1, "/dev/sda1"}, device{2, "/dev/sda2"}, false},
		{device{1, "tmpfs"}, device{2, "tmpfs"}, false},
		{device{1, ""}, device{2, ""}, false},
	} {
		if got := c.a.same(c.b); got != c.want {
			t.Errorf("%v and %v: %v", c.a, c.b, got)
		}
	}
}

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	root, logs, groups := filepath.Join(dir, "root"), filepath.Join(dir, "logs"), filepath.Join(dir, "groups")
	write(t, root, map[string]string{"pods/u1/volumes/kubernetes.io~empty-dir/data/deep/er/file": strings.Repeat("x", 64<<10), "pods/u1/volumes/kubernetes.io~empty-dir/shm/file": "x"})
	write(t, logs, map[string]string{"default_web_u1/app/0.log": strings.Repeat("x", 32<<10), "default_web_u1/app/0.log.1": "x"})
	write(t, filepath.Join(groups, "memory"), v2Group("3145728", "max", "1048576", "0"))
	write(t, filepath.Join(groups, "memory", "cri-containerd-abc.scope"), v2Group("2097152", "max", "0", "0"))
	write(t, filepath.Join(groups, "memory", "crio-conmon-abc.scope"), v2Group("1", "max", "0", "0"))
	write(t, filepath.Join(groups, "pids"), map[string]string{"pids.current": "17\n"})
	if err := os.Symlink("/usr", filepath.Join(root, "pods/u1/volumes/kubernetes.io~empty-dir/data/link")); err != nil {
		t.Fatal(err)
	}
	var asked []string
	r := New(Config{
		RootDir: root, LogsDir: logs,
		Pod: func(controller string, _ *v1.Pod) string { return filepath.Join(groups, controller) },
		Written: func(_ context.Context, ids []string) map[string]evict.Disk {
			asked = append(asked, ids...)
			return map[string]evict.Disk{"abc": {Bytes: 7, Inodes: 3}}
		},
	})
	web := evict.Candidate{IDs: map[string]string{"app": "abc"}, Pod: &pod.Desired{Pod: &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "u1"},
		Spec: v1.PodSpec{Containers: []v1.Container{{Name: "app"}}, Volumes: []v1.Volume{
			{Name: "data", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
			{Name: "shm", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{Medium: v1.StorageMediumMemory}}},
			{Name: "missing", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}},
		}},
	}}}
	all := evict.Need{Memory: true, Processes: true, Disk: evict.Parts{Writable: true, Logs: true, Volumes: true}}
	u := r.Measure(t.Context(), []evict.Candidate{web}, all)[0].Usage
	app := u.Containers["app"]
	if u.Memory != 2*mib || app.Memory != 2*mib || u.Processes != 17 || app.Writable != (evict.Disk{Bytes: 7, Inodes: 3}) {
		t.Errorf("%+v", u)
	}
	data, known := u.Volumes["data"]
	if data.Bytes < 64<<10 || data.Bytes > 128<<10 || data.Inodes != 5 || !known || u.Volumes["shm"] != (evict.Disk{}) || u.Volumes["missing"] != (evict.Disk{}) {
		t.Errorf("volumes %+v", u.Volumes)
	}
	if app.Logs.Bytes < 32<<10 || app.Logs.Inodes != 3 {
		t.Errorf("logs %+v", app.Logs)
	}
	u = r.Measure(t.Context(), []evict.Candidate{web}, evict.Need{Memory: true})[0].Usage
	if len(asked) != 1 || u.Volumes != nil || u.Processes != 0 {
		t.Errorf("asked %v, measured %+v", asked, u)
	}
	gone := evict.Candidate{Pod: &pod.Desired{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "../u1"}, Spec: web.Pod.Pod.Spec}}}
	if u := r.Measure(t.Context(), []evict.Candidate{gone}, evict.Need{Disk: evict.Parts{Volumes: true}})[0].Usage; len(u.Volumes) != 0 {
		t.Errorf("a UID that leads elsewhere: %+v", u)
	}
}

// TestMeasureDeep: no depth, link or name hides from a measurement what a tenant has written.
func TestMeasureDeep(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "volume")
	write(t, dir, map[string]string{"a": strings.Repeat("x", 64<<10)})
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "again")); err != nil {
		t.Fatal(err)
	}
	deep := dir
	for range 300 {
		deep = filepath.Join(deep, "d")
	}
	write(t, deep, map[string]string{"file": strings.Repeat("x", 64<<10)})
	if d := below(t.Context(), root, "volume"); d.Bytes < 128<<10 || d.Bytes > 128<<10+302*8<<10 || d.Inodes != 303 {
		t.Errorf("%+v", d)
	}
}
