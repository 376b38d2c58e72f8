package boxruntime

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// dummy starts a process that runs until its input ends, and returns when it runs.
func dummy(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "echo up; read line")
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
		_ = in.Close()
		_ = cmd.Wait() // fails when the test has reaped it
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("the dummy says %q, %v", line, err)
	}
	return cmd
}

func startOf(t *testing.T, pid int) uint64 {
	t.Helper()
	s, err := readStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return s.start
}

// A record leads to its process only if number, start and boot agree: a number that was given to another process, or a
// record from before a reboot, must never lead to a stranger.
func TestRecordFindsItsProcessOnly(t *testing.T) {
	cmd := dummy(t)
	pid := cmd.Process.Pid
	start := startOf(t, pid)
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		record record
		found  bool
	}{
		"its own":         {record{PID: pid, Start: start, Boot: boot}, true},
		"number reused":   {record{PID: pid, Start: start - 1, Boot: boot}, false},
		"before a reboot": {record{PID: pid, Start: start, Boot: "another"}, false},
		"no start":        {record{PID: pid, Boot: boot}, false},
		"no record":       {record{}, false},
	} {
		p, err := test.record.find(t.Context(), boot)
		if test.found != (err == nil) || !test.found && !errors.Is(err, errNoProcess) {
			t.Errorf("%s: %v, want found: %t", name, err, test.found)
		}
		if err == nil {
			p.close()
		}
	}

	own := record{PID: pid, Start: start, Boot: boot}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p, err := openProcess(pid, start)
	if err == nil { // it may be gone by now
		if err := p.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.close()
	}
	// Dead, but not reaped: still no process to keep, and afterwards no zombie.
	if p, err := own.find(t.Context(), boot); !errors.Is(err, errNoProcess) {
		t.Errorf("a dead process was found: %+v, %v", p, err)
	}
	if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "stat")); err == nil {
		t.Error("a zombie is left")
	}
}

func TestProcessWaitEndsWithContextAndWithProcess(t *testing.T) {
	cmd := dummy(t)
	p, err := openProcess(cmd.Process.Pid, startOf(t, cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { waited <- p.wait(ctx) }()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("wait ended with %v, want the context's error", err)
	}
	if p.ended() {
		t.Error("the process is said to have ended")
	}
	if err := p.end(t.Context(), time.Minute); err != nil {
		t.Errorf("end after a cancelled wait: %v", err)
	}
	if !p.ended() {
		t.Error("the process is said to run")
	}
	if err := p.signal(unix.SIGTERM); err != nil {
		t.Errorf("a signal to a process that ended: %v, want success", err)
	}
}

func TestProcessThatIgnoresTermIsKilled(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "trap '' TERM; echo up; while :; do read line; done")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	p, err := openProcess(cmd.Process.Pid, startOf(t, cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.end(t.Context(), time.Millisecond); err != nil {
		t.Error(err)
	}
	if !p.ended() {
		t.Error("the process still runs")
	}
}

func TestReapSaysHow(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3":      "ended with exit code 3",
		"kill -9 $$":  "was ended by signal SIGKILL",
		"kill -15 $$": "was ended by signal SIGTERM",
	} {
		cmd := exec.Command("/bin/sh", "-c", script)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p, err := openProcess(cmd.Process.Pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := p.reap(); got != want {
			t.Errorf("%s: %s, want %s", script, got, want)
		}
		if got := p.reap(); !strings.Contains(got, "not known") {
			t.Errorf("%s, asked again: %s", script, got)
		}
		p.close()
	}
}

func TestRecordFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "containerd.json")
	if r := readRecord(file); r != (record{}) {
		t.Errorf("no file gave %+v", r)
	}
	b := &Box{cfg: Config{RunDir: filepath.Dir(file)}, fingerprint: "f", logStart: 12}
	if err := b.writeRecord(&process{pid: 7, start: 99}, "boot"); err != nil {
		t.Fatal(err)
	}
	want := record{Version: 1, PID: 7, Start: 99, Boot: "boot", Config: "f", Log: 12}
	if r := readRecord(file); r != want {
		t.Errorf("read %+v, want %+v", r, want)
	}
	for _, bad := range []string{"", "{", `{"version":2,"pid":7}`} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := readRecord(file); r != (record{}) {
			t.Errorf("%q gave %+v, want no record", bad, r)
		}
	}
}

func TestLockIsHeldByOne(t *testing.T) {
	c := Config{Root: "/r", RunDir: t.TempDir()}
	unlock, err := lock(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(c); err == nil || !strings.Contains(err.Error(), "another Bosun") {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	again, err := lock(c)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func row(pid, parent int, args ...string) running {
	return running{pid: pid, stat: stat{state: 'S', parent: parent, start: uint64(pid)}, args: args}
}

func TestFindingInTheProcessTable(t *testing.T) {
	shim := func(pid int, socket string) running {
		return row(pid, 1, "/opt/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-id", "x", "-address", socket)
	}
	nested, nestedShim := row(9, 1, "/opt/bin/containerd", "--config", "/r/config.toml"), shim(40, "/run/x.sock")
	nested.inside, nestedShim.inside = true, true
	table := []running{
		row(1, 0, "init"), nested, nestedShim, row(41, 40, "/pause"),
		row(10, 1, "/opt/bin/containerd", "--config", "/r/config.toml"),
		row(11, 1, "/usr/bin/containerd"),
		row(12, 1, "vi", "--config", "/r/config.toml"),
		shim(20, "/run/x.sock"), row(21, 20, "/pause"), row(22, 20, "nginx"), row(23, 22, "nginx worker"),
		shim(30, "/run/other.sock"), row(31, 30, "/pause"),
	}
	if r, ok := ourContainerd(table, "/r/config.toml"); !ok || r.pid != 10 {
		t.Errorf("found %+v, %t; want process 10", r, ok)
	}
	if r, ok := ourContainerd(table, "/other/config.toml"); ok {
		t.Errorf("found %+v for a root without containerd", r)
	}
	var pids []int
	for _, r := range podProcesses(table, "/run/x.sock") {
		pids = append(pids, r.pid)
	}
	if diff := cmp.Diff([]int{21, 23, 22, 20}, pids); diff != "" {
		t.Errorf("processes of pods, children first: %s", diff)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("7 (a) b) c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2")
	f.Add("7 ()")
	f.Fuzz(func(t *testing.T, line string) {
		s, err := parseStat(line)
		if err == nil && s.state == 0 {
			t.Errorf("%q gave %+v", line, s)
		}
	})
}

func TestParseStat(t *testing.T) {
	s, err := parseStat("7 (a) b) c) Z 3 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2")
	if want := (stat{"a) b) c", 'Z', 3, 12345}); err != nil || s != want {
		t.Errorf("got %+v, %v; want %+v", s, err, want)
	}
	own, err := readStat(os.Getpid())
	if err != nil || own.start == 0 || own.parent != os.Getppid() {
		t.Errorf("this process: %+v, %v", own, err)
	}
}
