package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// world makes a directory with these files, by path below it.
func world(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// expect holds text against what must be in it; an empty want stands for an empty text.
func expect(t *testing.T, what, text, want string) {
	t.Helper()
	if want == "" && text != "" || !strings.Contains(text, want) {
		t.Errorf("%s %q, want %q", what, text, want)
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

const (
	swapHeader = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	swapSDA    = "/dev/sda2                               partition\t8388604\t\t0\t\t-2\n"
	swapZRAM   = "/dev/zram0                              partition\t4194300\t\t0\t\t100\n"
)

func TestCheckSwap(t *testing.T) {
	for _, c := range []struct {
		title string
		files map[string]string
		fail  bool
		want  string
	}{
		{"214 no swap", map[string]string{"proc/swaps": swapHeader}, true, ""},
		{"214 kernel without swap", nil, true, ""},
		{"214 empty file", map[string]string{"proc/swaps": ""}, true, ""},
		{"214 partition", map[string]string{"proc/swaps": swapHeader + swapSDA}, true, "swap is on (/dev/sda2), and failSwapOn is true: set failSwapOn: false"},
		{"214 says how to switch it off", map[string]string{"proc/swaps": swapHeader + swapSDA}, true, "swapoff -a"},
		{"214 compressed memory counts", map[string]string{"proc/swaps": swapHeader + swapZRAM}, true, "/dev/zram0"},
		{"214 several", map[string]string{"proc/swaps": swapHeader + `/my\040swap file 1 0 -2` + "\n\n" + swapSDA}, true, "(/my swap, /dev/sda2)"},
		{"214 allowed", map[string]string{"proc/swaps": swapHeader + swapSDA}, false, ""},
		{"214 unreadable", map[string]string{"proc/swaps/x": ""}, true, "find out whether swap is on"},
	} {
		t.Run(c.title, func(t *testing.T) { expect(t, "error", textOf(CheckSwap(world(t, c.files), c.fail)), c.want) })
	}
}

func TestCheckCgroup(t *testing.T) {
	for _, c := range []struct {
		title         string
		v2, fail      bool
		warning, want string
	}{
		{"301 v2", true, true, "", ""},
		{"301 v2, v1 allowed", true, false, "", ""},
		{"301 v1 refused", false, true, "", "failCgroupV1 is true: boot with systemd.unified_cgroup_hierarchy=1 for cgroup v2, or set failCgroupV1: false"},
		{"301 v1 allowed", false, false, "this machine uses cgroup v1", ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			warning, err := judgeCgroup(c.v2, c.fail)
			expect(t, "warning", warning, c.warning)
			expect(t, "error", textOf(err), c.want)
		})
	}
	t.Run("301 no cgroups", func(t *testing.T) {
		_, err := CheckCgroup(t.TempDir(), false)
		expect(t, "error", textOf(err), "find out the version of cgroups")
	})
	t.Run("301 not a cgroup file system", func(t *testing.T) {
		v2, err := CgroupV2(world(t, map[string]string{"sys/fs/cgroup/cgroup.controllers": "cpu"}))
		if v2 || err != nil {
			t.Errorf("got %v, %v", v2, err)
		}
	})
	t.Run("301 this machine", func(t *testing.T) { // the kernel has this file in the root of v2 only
		_, missing := os.Stat("/sys/fs/cgroup/cgroup.controllers")
		if v2, err := CgroupV2("/"); err != nil || v2 != (missing == nil) {
			t.Errorf("got %v, %v", v2, err)
		}
	})
}

// kernelFiles are the settings as a node wants them.
func kernelFiles() map[string]string {
	return map[string]string{
		"proc/sys/vm/overcommit_memory": "1\n", "proc/sys/vm/panic_on_oom": "0\n", "proc/sys/kernel/panic": "10\n",
		"proc/sys/kernel/panic_on_oops": "1\n", "proc/sys/kernel/keys/root_maxkeys": "1000000\n", "proc/sys/kernel/keys/root_maxbytes": "25000000\n",
	}
}

func with(files map[string]string, pairs ...string) map[string]string {
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = pairs[i+1]
	}
	return files
}

// prepareKernel is what Prepare does to kernel settings, on a machine where all else is well.
func prepareKernel(t *testing.T, root string, mode KernelMode) (warning string, err error) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, "sys/fs/cgroup"), 0o755); err != nil {
		t.Fatal(err)
	}
	warnings, err := Prepare(Settings{Root: root, Kernel: mode})
	if len(warnings) == 0 || !strings.Contains(warnings[0], "cgroup") { // a directory is no cgroup v2
		t.Fatalf("warnings %q, want one about cgroups first", warnings)
	}
	return strings.Join(warnings[1:], "\n"), err
}

func TestPrepareKernel(t *testing.T) {
	const panics, keys = "proc/sys/kernel/panic", "proc/sys/kernel/keys/root_maxkeys"
	without := kernelFiles()
	delete(without, keys)
	for _, c := range []struct {
		title string
		files map[string]string
		mode  KernelMode
		want  string // of the error
		after map[string]string
	}{
		{"213 as wanted", kernelFiles(), SetKernel, "", map[string]string{panics: "10\n"}}, // not even written
		{"213 written", with(kernelFiles(), panics, "0\n", keys, "200\n"), SetKernel, "", map[string]string{panics: "10", keys: "1000000"}},
		{"213 not in this kernel", without, SetKernel, "", nil},
		{"213 checked, as wanted", kernelFiles(), CheckKernel, "", nil},
		{"213 checked, not in this kernel", without, CheckKernel, "", nil},
		{"213 checked", with(kernelFiles(), panics, "0\n"), CheckKernel, "kernel.panic is 0 instead of 10; run `sysctl -w kernel.panic=10`", map[string]string{panics: "0\n"}},
		{"213 checked, several", with(kernelFiles(), panics, "0\n", keys, "200\n"), CheckKernel, "run `sysctl -w kernel.panic=10 kernel.keys.root_maxkeys=1000000`", nil},
		{"213 left alone", with(kernelFiles(), panics, "0\n"), LeaveKernel, "", map[string]string{panics: "0\n"}},
		{"213 unreadable", map[string]string{panics + "/x": ""}, SetKernel, "read the kernel setting kernel.panic", nil},
		{"213 checked, unreadable", map[string]string{panics + "/x": ""}, CheckKernel, "read the kernel setting kernel.panic", nil},
	} {
		t.Run(c.title, func(t *testing.T) {
			root := world(t, c.files)
			warning, err := prepareKernel(t, root, c.mode)
			expect(t, "warning", warning, "")
			expect(t, "error", textOf(err), c.want)
			for name, want := range c.after {
				if got := read(t, root, name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if _, err := os.Stat(filepath.Join(root, keys)); c.files[keys] == "" && err == nil {
				t.Error("a setting the kernel does not have was made")
			}
		})
	}
}

// readOnlySysctl is one that the kernel lets nobody write to, not even root.
const readOnlySysctl = "/proc/sys/kernel/cap_last_cap"

// immutable puts something in the place of a file that nobody may write to. It returns what can be read there.
func immutable(t *testing.T, path string) string {
	t.Helper()
	if err := errors.Join(os.Remove(path), os.Symlink(readOnlySysctl, path)); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(read(t, path))
}

func TestKernelRefusesToBeSet(t *testing.T) {
	root := world(t, with(kernelFiles(), "proc/sys/vm/overcommit_memory", "0\n", "proc/sys/kernel/panic", "0\n"))
	is := immutable(t, filepath.Join(root, "proc/sys/kernel/panic"))
	warning, err := prepareKernel(t, root, SetKernel)
	if err != nil {
		t.Error(err)
	}
	expect(t, "warning", warning, "may not set kernel settings that a node wants: kernel.panic=10 (it is "+is+")")
	if strings.Contains(warning, "overcommit") {
		t.Errorf("%q names a setting that could be set", warning)
	}
	if got := read(t, root, "proc/sys/vm/overcommit_memory"); got != "1" {
		t.Errorf("the other setting is %q", got)
	}
}

func TestSetOOMScore(t *testing.T) {
	const file = "proc/self/oom_score_adj"
	for _, c := range []struct {
		title, now string
		score      int32
		after      string
	}{
		{"already", "-999\n", -999, "-999\n"}, // not written
		{"lower", "0\n", -999, "-999"},
		{"higher", "-999\n", 5, "5"},
	} {
		t.Run(c.title, func(t *testing.T) {
			root := world(t, map[string]string{file: c.now})
			warning, err := SetOOMScore(root, c.score)
			if warning != "" || err != nil {
				t.Errorf("got %q, %v", warning, err)
			}
			if got := read(t, root, file); got != c.after {
				t.Errorf("file is %q, want %q", got, c.after)
			}
		})
	}
	t.Run("no such file", func(t *testing.T) {
		if _, err := SetOOMScore(t.TempDir(), 1); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "oomScoreAdj") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		root := world(t, map[string]string{file: "0\n"})
		is := immutable(t, filepath.Join(root, file))
		warning, err := SetOOMScore(root, -999)
		if err != nil {
			t.Error(err)
		}
		expect(t, "warning", warning, "its score stays "+is+": lowering it needs CAP_SYS_RESOURCE; as a service, set OOMScoreAdjust=-999")
	})
}

// TestSetOOMScoreOfThisProcess raises it by one, which every process may do, and which does no harm to the tests.
func TestSetOOMScoreOfThisProcess(t *testing.T) {
	var now int32
	for _, r := range strings.TrimSpace(read(t, "/proc/self/oom_score_adj")) {
		if r < '0' || r > '9' {
			t.Skip("the score of the tests is below 0")
		}
		now = now*10 + r - '0'
	}
	if now == 1000 {
		t.Skip("the score of the tests cannot be raised")
	}
	if warning, err := SetOOMScore("/", now+1); warning != "" || err != nil {
		t.Errorf("got %q, %v", warning, err)
	}
}

// fakeLimits are limits of a process with or without the right to raise them.
type fakeLimits struct {
	now   unix.Rlimit
	right bool
	fails error
	sets  int
}

func (f *fakeLimits) get() (unix.Rlimit, error) { return f.now, nil }

func (f *fakeLimits) set(l unix.Rlimit) error {
	f.sets++
	if f.fails != nil {
		return f.fails
	}
	if l.Max > f.now.Max && !f.right {
		return unix.EPERM
	}
	f.now = l
	return nil
}

func TestSetOpenFiles(t *testing.T) {
	for _, c := range []struct {
		title   string
		limits  fakeLimits
		want    int64
		after   unix.Rlimit
		sets    int
		warning string
		err     string
	}{
		{"left alone", fakeLimits{now: unix.Rlimit{Cur: 5, Max: 10}}, 0, unix.Rlimit{Cur: 5, Max: 10}, 0, "", ""},
		{"as it is", fakeLimits{now: unix.Rlimit{Cur: 100, Max: 200}}, 100, unix.Rlimit{Cur: 100, Max: 200}, 0, "", ""},
		{"below the hard limit", fakeLimits{now: unix.Rlimit{Cur: 5, Max: 200}}, 100, unix.Rlimit{Cur: 100, Max: 200}, 1, "", ""},
		{"lower", fakeLimits{now: unix.Rlimit{Cur: 200, Max: 200}}, 100, unix.Rlimit{Cur: 100, Max: 200}, 1, "", ""},
		{"above it", fakeLimits{now: unix.Rlimit{Cur: 5, Max: 10}, right: true}, 100, unix.Rlimit{Cur: 100, Max: 100}, 1, "", ""},
		{"above it, without the right", fakeLimits{now: unix.Rlimit{Cur: 5, Max: 10}}, 100, unix.Rlimit{Cur: 10, Max: 10}, 2,
			"may have 10 files open, not 100 as maxOpenFiles says: more needs CAP_SYS_RESOURCE, and the sysctl fs.nr_open at least as large; as a service, set LimitNOFILE=100", ""},
		{"above it, at the hard limit already", fakeLimits{now: unix.Rlimit{Cur: 10, Max: 10}}, 100, unix.Rlimit{Cur: 10, Max: 10}, 1, "may have 10 files open", ""},
		{"above it, where Go has put it", fakeLimits{now: unix.Rlimit{Cur: 9, Max: 10}}, 100, unix.Rlimit{Cur: 9, Max: 10}, 1, "may have 10 files open", ""},
		{"other error", fakeLimits{now: unix.Rlimit{Cur: 5, Max: 10}, fails: unix.EINVAL}, 100, unix.Rlimit{Cur: 5, Max: 10}, 1, "", "allow 100 open files (maxOpenFiles): invalid argument"},
		{"odd error below the hard limit", fakeLimits{now: unix.Rlimit{Cur: 5, Max: 200}, fails: unix.EPERM}, 100, unix.Rlimit{Cur: 5, Max: 200}, 1, "", "allow 100 open files"},
	} {
		t.Run(c.title, func(t *testing.T) {
			warning, err := setOpenFiles(&c.limits, c.want)
			expect(t, "warning", warning, c.warning)
			expect(t, "error", textOf(err), c.err)
			if c.limits.now != c.after || c.limits.sets != c.sets {
				t.Errorf("limits are %v after %d calls, want %v after %d", c.limits.now, c.limits.sets, c.after, c.sets)
			}
		})
	}
}

// TestSetOpenFilesOfARealProcess starts this test's program with low limits.
func TestSetOpenFilesOfARealProcess(t *testing.T) {
	for want, outcomes := range map[string][]string{
		"150": {"150 150 "},
		"400": {"400 400 ", "299 100 this process may have 300 files open, not 400 as maxOpenFiles says"},
	} {
		cmd := exec.Command("/bin/sh", "-c", `ulimit -S -n 100 && ulimit -H -n 300 && exec "$0" -test.run=^TestLimitedProcess$`, os.Args[0])
		cmd.Env = append(os.Environ(), "BOSUN_TEST_LIMIT="+want)
		out, err := cmd.CombinedOutput()
		fits := func(outcome string) bool { return strings.HasPrefix(string(out), outcome) }
		if err != nil || !slices.ContainsFunc(outcomes, fits) {
			t.Errorf("limits of the process and of what it starts: %s (%v), want one of %q", out, err, outcomes)
		}
	}
}

// TestLimitedProcess is the process that TestSetOpenFilesOfARealProcess starts.
func TestLimitedProcess(t *testing.T) {
	want, err := strconv.ParseInt(os.Getenv("BOSUN_TEST_LIMIT"), 10, 64)
	if err != nil {
		return // a usual run of the tests
	}
	warning, err := setOpenFiles(kernelLimits{}, want)
	if err != nil {
		t.Fatal(err)
	}
	now, err := kernelLimits{}.get()
	if err != nil {
		t.Fatal(err)
	}
	started, err := exec.Command("/bin/sh", "-c", "ulimit -S -n").Output()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%d %s %s\n", now.Cur, strings.TrimSpace(string(started)), warning)
}

func TestPrepare(t *testing.T) {
	const oom, panics = "proc/self/oom_score_adj", "proc/sys/kernel/panic"
	score := int32(-999)
	machine := func(extra ...string) string {
		files := with(kernelFiles(), "proc/swaps", swapHeader, oom, "0\n", panics, "0\n", "sys/fs/cgroup/x", "")
		return world(t, with(files, extra...))
	}
	t.Run("does all", func(t *testing.T) {
		root, l := machine(), &fakeLimits{now: unix.Rlimit{Cur: 5, Max: 10}}
		warnings, err := prepare(Settings{Root: root, MaxOpenFiles: 100, OOMScoreAdj: &score, FailSwapOn: true}, l)
		if err != nil {
			t.Error(err)
		}
		if len(warnings) != 2 || !strings.Contains(warnings[0], "cgroup v1") || !strings.Contains(warnings[1], "files open") {
			t.Errorf("warnings %q", warnings)
		}
		if l.now.Cur != 10 || read(t, root, oom) != "-999" || read(t, root, panics) != "10" {
			t.Errorf("limits %v, OOM score %s, kernel.panic %s", l.now, read(t, root, oom), read(t, root, panics))
		}
	})
	t.Run("says all that is wrong, and then changes nothing", func(t *testing.T) {
		root, l := machine("proc/swaps", swapHeader+swapSDA), &fakeLimits{now: unix.Rlimit{Cur: 5, Max: 10}}
		_, err := prepare(Settings{Root: root, MaxOpenFiles: 100, OOMScoreAdj: &score, FailSwapOn: true, FailCgroupV1: true, Kernel: CheckKernel}, l)
		for _, want := range []string{"failSwapOn", "failCgroupV1", "protectKernelDefaults"} {
			expect(t, "error", textOf(err), want)
		}
		if l.sets > 0 || read(t, root, oom) != "0\n" || read(t, root, panics) != "0\n" {
			t.Error("something was changed")
		}
	})
	t.Run("leaves what it is not asked for", func(t *testing.T) {
		root, l := machine("proc/swaps", swapHeader+swapSDA), &fakeLimits{now: unix.Rlimit{Cur: 5, Max: 10}}
		if _, err := prepare(Settings{Root: root, Kernel: LeaveKernel}, l); err != nil {
			t.Error(err)
		}
		if l.sets > 0 || read(t, root, oom) != "0\n" || read(t, root, panics) != "0\n" {
			t.Error("something was changed")
		}
	})
}

func TestKernelDefaultsAreTheSix(t *testing.T) {
	files := kernelFiles()
	for _, s := range KernelDefaults() {
		if got := strings.TrimSpace(files[s.file("")[len("/"):]]); got != "" && got != s.Value {
			t.Errorf("%s, want %s", s, got)
		}
	}
	if n := len(slices.Compact(KernelDefaults())); n != len(files) {
		t.Errorf("%d settings, want %d", n, len(files))
	}
}

func TestCodeRanges(t *testing.T) {
	maps := "00400000-01151000 r-xp 00000000 fe:00 10002611                           /opt/bosun\n" +
		"01151000-01f57000 r--p 00d51000 fe:00 10002611                           /opt/bosun\n" +
		"01f57000-01ff2000 rw-p 01b57000 fe:00 10002611                           /opt/bosun\n" +
		"7fa1a3220000-7fa1a3320000 r--s 00000000 fe:00 5333585                    /opt/bosun.db\n" +
		"7fa1a3420000-7fa1a3520000 r--p 00000000 00:00 0\n" + "nonsense r-xp 0 0 0 /opt/bosun\n"
	got := codeRanges(maps, "/opt/bosun")
	if want := []pageRange{{0x400000, 0x1151000}, {0x1151000, 0x1f57000}}; !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// The program goes on after its code was given back, and what it had written stays.
func TestForgetCode(t *testing.T) {
	kept := []byte("kept")
	given, err := ForgetCode()
	if err != nil || given == 0 {
		t.Fatalf("gave back %d bytes: %v", given, err)
	}
	if string(kept) != "kept" || strings.Repeat("ab", 2) != "abab" {
		t.Error("memory was lost")
	}
}
