package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStrays(t *testing.T) {
	kernel := func(pid int) bool { return pid == 2 || pid == 40 }
	for name, c := range map[string]struct{ top, want []int }{
		"nobody":                   {nil, nil},
		"the first and the kernel": {[]int{1, 2, 40}, nil},
		"unseen":                   {[]int{0, 0}, nil},
		"others":                   {[]int{1, 2, 7, 40, 41}, []int{7, 41}},
	} {
		if got := Strays(c.top, kernel); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestKernelThread(t *testing.T) {
	for stat, want := range map[string]bool{
		"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0":          true,
		"812 (sh) S 1 812 812 0 -1 4194304 100 0":        false,
		"9 (a) b (c)) R 1 9 9 0 -1 4194304 100 0":        false,
		"10 (kworker/0:1 (x)) I 2 0 0 0 -1 69238880 0 0": true,
		"11 (short) S 1":               true,
		"":                             true,
		"12 (odd) S 1 12 12 0 -1 many": true,
	} {
		if got := kernelThread(stat); got != want {
			t.Errorf("%q: %v, want %v", stat, got, want)
		}
	}
	h := &Home{proc: "/proc"}
	if h.kernel(os.Getpid()) {
		t.Error("this test is taken for the kernel")
	}
	if !h.kernel(1 << 30) {
		t.Error("a process that is not there would be moved")
	}
}

func TestHomePaths(t *testing.T) {
	for path, wrong := range map[string]string{"": "below the top", "/": "below the top", "/a/../b": "must not contain '..'"} {
		if _, err := newHome(path, layout{}); err == nil || !strings.Contains(err.Error(), wrong) || !strings.Contains(err.Error(), fmt.Sprintf("%q", path)) {
			t.Errorf("%q: %v", path, err)
		}
	}
	top := t.TempDir()
	if err := os.WriteFile(filepath.Join(top, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := layout{all: []hierarchy{{dir: top, controllers: []string{"memory"}}}}
	if _, err := newHome("/file/x", l); err == nil || !strings.Contains(err.Error(), "make cgroup /file/x") {
		t.Errorf("below a file: %v", err)
	}
}

// A process of this test's own goes into a cgroup of this test's own, stays there, and is fetched back.
func TestRealHome(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: cgroups")
	}
	l, err := findLayout()
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/bosun-unit-home-%d/inner", os.Getpid())
	t.Cleanup(func() {
		for _, h := range l.limiting() {
			_ = unix.Rmdir(filepath.Join(h.dir, path)) // it may not be there
			if err := unix.Rmdir(filepath.Dir(filepath.Join(h.dir, path))); err != nil && err != unix.ENOENT {
				t.Errorf("%s stays: %v", h.dir, err)
			}
		}
	})
	h, err := newHome(path, l)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	pid := cmd.Process.Pid
	for i, want := range []bool{true, false} {
		if moved, err := h.Take(pid); err != nil || moved != want {
			t.Errorf("take %d: moved %v, %v", i, moved, err)
		}
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || strings.Count(string(text), path+"\n") != len(h.in) {
		t.Errorf("it is in\n%s%v", text, err)
	}
	if err := writeFile(h.in[0].dir, "cgroup.procs", fmt.Sprint(pid)); err != nil { // somebody takes it out
		t.Fatal(err)
	}
	if moved, err := h.Take(pid); err != nil || !moved {
		t.Errorf("taken back: %v, %v", moved, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, err := h.Take(pid); err != nil {
		t.Errorf("a process that has ended: %v", err)
	}
	if err := unix.Rmdir(h.dir(&h.in[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Take(pid); err != nil {
		t.Errorf("a cgroup that was removed: %v", err)
	}
	if _, err := os.Stat(h.dir(&h.in[0])); err != nil {
		t.Errorf("it is not made again: %v", err)
	}
}

// On cgroup v2 the cgroups above pass their controllers on, so that there are numbers of it.
func TestHomeV2(t *testing.T) {
	tree, root := fakeV2(t, Config{}, "cpu memory pids")
	if err := os.Mkdir(filepath.Join(root, "outer"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"cgroup.controllers", "cgroup.subtree_control"} {
		text := ""
		if f == "cgroup.controllers" {
			text = "cpu memory pids"
		}
		if err := os.WriteFile(filepath.Join(root, "outer", f), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newHome("/outer/inner", tree.layout); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, filepath.Join(root, "outer")} {
		if got := content(t, dir, "cgroup.subtree_control"); got != "+cpu +memory +pids" {
			t.Errorf("%s passes on %q", dir, got)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "outer", "inner", "cgroup.procs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "cgroup.procs"), fmt.Appendf(nil, "1\n%d\n", os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &Home{path: "/outer/inner", name: Name{"outer", "inner"}, in: tree.limiting, proc: "/proc"}
	if moved, err := h.TakeStrays(); err != nil || moved != 1 {
		t.Errorf("moved %d, %v", moved, err)
	}
	if got := content(t, root, "outer", "inner", "cgroup.procs"); got != fmt.Sprint(os.Getpid()) {
		t.Errorf("the cgroup has %q", got)
	}
}
