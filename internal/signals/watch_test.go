package signals

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/evict"
)

// TestWatchEnds: it waits on this kernel's files until its context ends, or says that there are none.
func TestWatchEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(Config{Memory: func() string { return "" }}).Watch(ctx, nil, func() {}) }()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			if _, none := os.Stat("/proc/pressure/memory"); none == nil && os.Geteuid() == 0 {
				t.Error(err)
			}
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestNothingToWatch(t *testing.T) {
	if err := New(Config{Proc: t.TempDir()}).Watch(t.Context(), nil, func() {}); err == nil || !strings.Contains(err.Error(), "pressure/memory") {
		t.Errorf("without files of the kernel: %v", err)
	}
}

// TestLevelIsTold: on cgroup v1 the kernel tells when a cgroup uses so much that less is left than a threshold wants.
func TestLevelIsTold(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making cgroups needs root")
	}
	real := New(Config{})
	root := real.memoryRoot()
	if !v1Memory(root) {
		t.Skip("the hierarchy for memory is of cgroup v2, which has no levels")
	}
	group := filepath.Join(root, "bosun-signals-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(group) })
	if err := os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), []byte("67108864"), 0); err != nil {
		t.Fatal(err)
	}
	r := New(Config{Memory: func() string { return group }})
	told := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		least := map[evict.Signal]int64{evict.PodsMemory: 48 << 20}
		ended <- r.Watch(ctx, func() map[evict.Signal]int64 { return least }, func() { told <- struct{}{} })
	}()
	// A process of the cgroup that takes 32 MB, again and again: the watch may have begun later than it.
	file := filepath.Join(group, "cgroup.procs")
	deadline := time.After(time.Minute)
	for {
		eat(t, file)
		select {
		case <-told:
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			return
		case err := <-ended:
			t.Fatal(err)
		case <-deadline:
			t.Fatal("the kernel did not tell")
		default:
		}
	}
}

// eat lets a process in a cgroup use memory for a moment.
func eat(t *testing.T, procs string) {
	t.Helper()
	script := "echo $$ > " + procs + " && exec dd if=/dev/zero of=/dev/null bs=32M count=2 status=none"
	p, err := os.StartProcess("/bin/sh", []string{"sh", "-c", script}, &os.ProcAttr{Files: []*os.File{nil, nil, os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := p.Wait(); err != nil || !s.Success() {
		t.Fatal(s, err)
	}
}

// TestNotices: only what is meant counts as a notice, and a file of the kernel that fails ends it.
func TestNotices(t *testing.T) {
	end, err := eventFD()
	if err != nil {
		t.Fatal(err)
	}
	level, err := eventFD()
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	w := &watch{tell: func() { told++ }}
	w.add(end, unix.POLLIN)
	w.add(level, unix.POLLIN)
	w.fixed = 1
	if err := w.wait(t.Context(), 0); err != nil || told != 0 {
		t.Errorf("nothing was there: %v, told %d times", err, told)
	}
	if _, err := level.Write(one); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is told once
		if err := w.wait(t.Context(), 0); err != nil || told != 1 {
			t.Errorf("%v, told %d times", err, told)
		}
	}
	reads, writes, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = writes.Close()
	w.add(reads, unix.POLLPRI)
	if err := w.wait(t.Context(), 0); err == nil {
		t.Error("a file that has come to its end is no reason to end")
	}
	w.close()
}
