package kmsg

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	memcg  = "6,1,2,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=abc,mems_allowed=0,oom_memcg=/kubepods/podx,task_memcg=/kubepods/podx/abc,task=sh,pid=77,uid=0\n"
	global = "6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/system.slice/a.service,task=stress,pid=78,uid=0\n"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		records string // one a line; a line that begins with a space belongs to the one before
		want    []Kill
	}{
		"nothing of it": {"6,1,2,-;usb 1-1: new device\n SUBSYSTEM=usb\n4,2,3,-;Out of paper", nil},
		"a cgroup": {memcg + "3,2,3,-;Memory cgroup out of memory: Killed process 77 (sh) total-vm:1234kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:44kB oom_score_adj:1000",
			[]Kill{{Process: "sh", PID: 77, Cgroup: "/kubepods/podx/abc"}}},
		"the machine": {global + "3,2,3,-;Out of memory: Killed process 78 (stress) total-vm:1kB, oom_score_adj:0",
			[]Kill{{Machine: true, Process: "stress", PID: 78, Cgroup: "/system.slice/a.service"}}},
		"an old kernel": {"3,2,3,-;Out of memory: Kill process 79 (my app) score 900 or sacrifice child\n3,3,3,-;Killed process 79 (my app) total-vm:1kB",
			[]Kill{{Machine: true, Process: "my app", PID: 79}}},
		"circumstances of another process": {global + "3,2,3,-;Out of memory: Killed process 80 (a) total-vm:1kB",
			[]Kill{{Machine: true, Process: "a", PID: 80}}},
		"strange names": {strings.Replace(memcg, "task=sh,pid=77", "task=a,pid=1,uid),pid=77", 1) + "3,2,3,-;Memory cgroup out of memory: Killed process 77 (a,pid=1,uid)) total-vm:1kB",
			[]Kill{{Process: "a,pid=1,uid)", PID: 77, Cgroup: "/kubepods/podx/abc"}}},
		"a program that writes there": {"11,2,3,-;Out of memory: Killed process 78 (stress) total-vm:1kB", nil},
		"not whole":                   {"3,2,3,-;Out of memory: Killed process x (a)\n3,2,3,-;Out of memory: Killed process 1\nxyz\n;\n-1,;Out of memory: Killed process 1 (a)", nil},
		"two": {memcg + "3,2,3,-;Memory cgroup out of memory: Killed process 77 (sh) x\n3,2,3,-;Memory cgroup out of memory: Killed process 77 (sh) x",
			[]Kill{{Process: "sh", PID: 77, Cgroup: "/kubepods/podx/abc"}, {Process: "sh", PID: 77}}},
	} {
		t.Run(name, func(t *testing.T) {
			var p parser
			var got []Kill
			for _, record := range strings.Split(strings.ReplaceAll(c.records, "\n ", "\x00 "), "\n") {
				if k, ok := p.take(strings.ReplaceAll(record, "\x00", "\n")); ok {
					got = append(got, k)
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("%+v, want %+v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("%+v, want %+v", got[i], c.want[i])
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(memcg, "3,2,3,-;Memory cgroup out of memory: Killed process 77 (sh) total-vm:1234kB")
	f.Add(global, "3,2,3,-;Out of memory: Kill process 79 (my app) score 900 or sacrifice child")
	f.Fuzz(func(t *testing.T, a, b string) {
		var p parser
		for _, record := range []string{a, b} {
			if k, ok := p.take(record); ok && (k.PID <= 0 || strings.Contains(k.Process, "\n")) {
				t.Errorf("%q: %+v", record, k)
			}
		}
	})
}

// The log is a pipe here, which waits as the device does.
func TestWatch(t *testing.T) {
	device := filepath.Join(t.TempDir(), "kmsg")
	if err := unix.Mkfifo(device, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ctx, stop := context.WithCancel(t.Context())
	kills, ended := make(chan Kill), make(chan error)
	go func() { ended <- Watch(ctx, device, func(k Kill) { kills <- k }) }()
	if _, err := log.WriteString("3,2,3,-;Out of memory: Killed process 78 (stress) total-vm:1kB"); err != nil {
		t.Fatal(err)
	}
	select {
	case k := <-kills:
		if (k != Kill{Machine: true, Process: "stress", PID: 78}) {
			t.Errorf("%+v", k)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was told")
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := Watch(t.Context(), device+"x", nil); err == nil {
		t.Error("a log that is not there could be read")
	}
}

// The kernel's own log can be opened and waited for, and be left.
func TestDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("reading the kernel's log needs root")
	}
	if _, err := os.Stat(Device); err != nil {
		t.Skip("there is no log of the kernel here:", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- Watch(ctx, Device, func(Kill) {}) }()
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// memoryGroup makes a cgroup that may have 8 MiB.
func memoryGroup(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a cgroup needs root")
	}
	dir, limit := "/sys/fs/cgroup/memory/bosun-kmsg-test", "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		dir, limit = "/sys/fs/cgroup/bosun-kmsg-test", "memory.max"
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("there is no memory controller here:", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, limit), []byte("8388608"), 0); err != nil {
		t.Skip("memory cannot be limited here:", err)
	}
	return dir
}

// A process that takes more than its cgroup may have is told of, by the real kernel.
func TestRealKill(t *testing.T) {
	dir := memoryGroup(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	kills, ended := make(chan Kill, 1), make(chan error)
	go func() { // the end of the log is where it is when Watch opens it, so that the eater waits
		ended <- Watch(ctx, Device, func(k Kill) {
			if strings.HasSuffix(k.Cgroup, filepath.Base(dir)) {
				kills <- k
				stop()
			}
		})
	}()
	eater := exec.Command("sh", "-c", "echo $$ > "+dir+"/cgroup.procs && while :; do tail /dev/zero; done")
	if err := eater.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := eater.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = eater.Wait() // it was killed
	for left := true; left; {
		procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			t.Fatal(err)
		}
		left = len(procs) > 0
		for _, pid := range strings.Fields(string(procs)) {
			if n, err := strconv.Atoi(pid); err == nil {
				_ = unix.Kill(n, unix.SIGKILL) // it may have ended
			}
		}
	}
	select {
	case k := <-kills:
		if k.Machine || k.PID <= 0 || k.Process != "tail" && k.Process != "sh" {
			t.Errorf("%+v", k)
		}
	default:
		t.Error("nothing was told")
	}
}
