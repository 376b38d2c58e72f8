package stats

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/golden"
	"github.com/bosun-project/bosun/internal/usage"
)

// TestRecorded reads machines that were recorded, and compares all that is known of them.
func TestRecorded(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		for name, depth := range map[string]usage.Depth{"basic": usage.Basic, "detail": usage.Detail} {
			t.Run(version+"/"+name, func(t *testing.T) {
				r, dir, _, _ := recorded(t, version)
				s, err := r.Read(t.Context(), depth)
				if err != nil {
					t.Fatal(err)
				}
				if s.Missed != 0 {
					t.Errorf("%d files could not be read", s.Missed)
				}
				ofThisMachine(t, s, dir)
				golden.File(t, version+"-"+name+".golden", list(*s))
			})
		}
	}
}

// ofThisMachine checks what cannot be recorded, and takes it out: how full the file systems are on which the test runs.
func ofThisMachine(t *testing.T, s *usage.Snapshot, dir string) {
	t.Helper()
	if s.Depth < usage.Storage {
		return
	}
	for name, f := range map[string]*usage.Filesystem{"state": s.Node.FS, "images": s.Node.Images, "layers": s.Node.Layers, "ephemeral": s.Pods[0].Ephemeral, "layer": s.Pods[0].Containers[0].Layer, "logs": s.Pods[0].Containers[0].Logs} {
		if f == nil || !f.Capacity.Known || f.Capacity.Value == 0 || f.Available.Value > f.Capacity.Value {
			t.Errorf("file system of %s: %+v", name, f)
		}
	}
	same := func(what string, f *usage.Filesystem, used, inodes uint64) {
		if f != nil && (f.Used != usage.Of(used) || f.InodesUsed != usage.Of(inodes)) {
			t.Errorf("%s take %v bytes and %v inodes, want %d and %d", what, f.Used, f.InodesUsed, used, inodes)
		}
	}
	same("images", s.Node.Images, 30<<20, 500)
	same("layers", s.Node.Layers, 2<<20, 11)
	same("the layer", s.Pods[0].Containers[0].Layer, 2<<20, 11)
	same("the logs", s.Pods[0].Containers[0].Logs, onDisk(t, filepath.Join(dir, "logs", "ns_app_"+podUID, "app", "0.log")), 1)
	s.Node.FS, s.Node.Images, s.Node.Layers, s.Node.Mounts = nil, nil, nil, nil
	s.Pods[0].Ephemeral, s.Pods[0].Containers[0].Layer, s.Pods[0].Containers[0].Logs = nil, nil, nil
}

// TestWorkingSet computes once more, from the recorded files, the numbers that people and autoscalers look at.
func TestWorkingSet(t *testing.T) {
	for version, files := range map[string][4]string{
		"v1": {"memory", "memory.usage_in_bytes", "total_inactive_file", "cpuacct/X/cpuacct.usage"},
		"v2": {"", "memory.current", "inactive_file", ""},
	} {
		t.Run(version, func(t *testing.T) {
			r, dir, _, _ := recorded(t, version)
			s, err := r.Read(t.Context(), usage.Basic)
			if err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(podCgroup, appID)
			memory := filepath.Join(dir, "cgroup", files[0], at)
			used := numberIn(t, filepath.Join(memory, files[1]), "")
			inactive := numberIn(t, filepath.Join(memory, "memory.stat"), files[2])
			c := &s.Pods[0].Containers[0].Cgroup
			if want := usage.Of(used - inactive); c.Memory.WorkingSet != want || used == inactive {
				t.Errorf("the working set is %v, want %v", c.Memory.WorkingSet, want)
			}
			cpu := uint64(0)
			if version == "v1" {
				cpu = numberIn(t, filepath.Join(dir, "cgroup", strings.Replace(files[3], "X", at, 1)), "")
			} else {
				cpu = 1000 * numberIn(t, filepath.Join(memory, "cpu.stat"), "usage_usec")
			}
			if c.CPU.Usage != usage.Of(cpu) || cpu == 0 {
				t.Errorf("processor time is %v, want %d", c.CPU.Usage, cpu)
			}
		})
	}
}

// numberIn finds the number after a word in a file, or the only one.
func numberIn(t *testing.T, path, word string) uint64 {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text))
	for i := range fields {
		if word == "" || i > 0 && fields[i-1] == word {
			n, err := strconv.ParseUint(fields[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in %s", word, path)
	return 0
}

// Askers at about the same time share a reading, if it is deep enough.
func TestShared(t *testing.T) {
	r, _, c, runtime := recorded(t, "v1")
	read := func(d usage.Depth) *usage.Snapshot {
		t.Helper()
		s, err := r.Read(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := read(usage.Basic)
	c.at = c.at.Add(fresh - time.Millisecond)
	if read(usage.Basic) != first {
		t.Error("a fresh reading was made anew")
	}
	deep := read(usage.Detail)
	if deep == first || read(usage.Basic) != deep || read(usage.Storage) != deep {
		t.Error("a deep reading is not what shallow askers get")
	}
	if runtime.asked != 1 {
		t.Errorf("the runtime was asked %d times, want once", runtime.asked)
	}
	c.at = c.at.Add(fresh)
	if read(usage.Detail) == deep {
		t.Error("an old reading was given out")
	}
	if runtime.asked != 1 {
		t.Errorf("the runtime was asked %d times, want once in %v", runtime.asked, layersAge)
	}
	c.at = c.at.Add(layersAge)
	read(usage.Storage)
	if runtime.asked != 2 {
		t.Errorf("the runtime was asked %d times, want twice", runtime.asked)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.turn <- struct{}{}
	if _, err := r.Read(ctx, usage.Basic); !errors.Is(err, context.Canceled) {
		t.Errorf("an asker who left waits on: %v", err)
	}
}

// What the runtime said last holds for a while when it does not answer.
func TestRuntimeAway(t *testing.T) {
	r, _, c, runtime := recorded(t, "v1")
	layer := func() *usage.Filesystem {
		t.Helper()
		s, err := r.Read(t.Context(), usage.Storage)
		if err != nil {
			t.Fatal(err)
		}
		if runtime.fails != (s.Missed > 0) {
			t.Errorf("missed %d, and the runtime fails: %v", s.Missed, runtime.fails)
		}
		return s.Pods[0].Containers[0].Layer
	}
	if layer() == nil {
		t.Fatal("the layer is not known")
	}
	runtime.fails = true
	c.at = c.at.Add(layersAge)
	if layer() == nil {
		t.Error("what was known is forgotten at once")
	}
	c.at = c.at.Add(layersKept)
	if layer() != nil {
		t.Error("what was known long ago is still told")
	}
}

// TestRate: how much of a processor is in use follows from two readings; what the runtime says serves until then.
func TestRate(t *testing.T) {
	r, dir, c, _ := recorded(t, "v1")
	file := filepath.Join(dir, "cgroup", "cpuacct", podCgroup, appID, "cpuacct.usage")
	read := func(after time.Duration, used string, d usage.Depth) usage.Number {
		t.Helper()
		c.at = c.at.Add(after)
		write(t, file, used+"\n")
		r.last = nil
		s, err := r.Read(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		return s.Pods[0].Containers[0].Cgroup.CPU.NanoCores
	}
	same := func(what string, got, want usage.Number) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	same("one reading", read(0, "5000000000", usage.Basic), usage.Number{})
	same("what the runtime says", read(0, "5000000000", usage.Storage), usage.Of(77))
	same("too soon", read(time.Second/2, "5500000000", usage.Basic), usage.Number{})
	same("half a processor", read(9*time.Second+time.Second/2, "10000000000", usage.Basic), usage.Of(500_000_000))
	same("the same again", read(0, "10000000000", usage.Basic), usage.Of(500_000_000))
	same("idle since", read(5*time.Second, "10000000000", usage.Basic), usage.Of(0))
	same("over the whole window", read(5*time.Second, "12000000000", usage.Basic), usage.Of(200_000_000))
	same("another cgroup of that name", read(5*time.Second, "1", usage.Basic), usage.Number{})
	c.at = c.at.Add(keepPace + time.Second)
	r.forgetPaces()
	same("forgotten", usage.Of(uint64(len(r.paces))), usage.Of(0))
}

// TestVanished: a pod whose cgroups are gone while it is read is told of without numbers.
func TestVanished(t *testing.T) {
	r, dir, _, _ := recorded(t, "v1")
	for _, controller := range readers {
		if err := os.RemoveAll(filepath.Join(dir, "cgroup", controller, podCgroup)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.Read(t.Context(), usage.Detail)
	if err != nil {
		t.Fatal(err)
	}
	p := &s.Pods[0]
	if s.Missed != 0 || p.Cgroup.At != (time.Time{}) || p.Containers[0].Cgroup.CPU.Usage.Known || p.Network != nil || p.Name != "app" {
		t.Errorf("missed %d, pod %+v", s.Missed, p)
	}
}
