package mount

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnder(t *testing.T) {
	table := Table{{Point: "/"}, {Point: "/a"}, {Point: "/a/b", FSType: "old"}, {Point: "/ab"}, {Point: "/a/b/c"}, {Point: "/a/b", FSType: "new"}}
	var got []string
	for _, m := range table.Under("/a") {
		got = append(got, m.Point+m.FSType)
	}
	if want := "/a/bnew /a/b/c /a/bold /a"; strings.Join(got, " ") != want {
		t.Errorf("Under(/a) = %v, want %s", got, want)
	}
	if len(table.Under("/")) != len(table) || len(table.Under("/x")) != 0 {
		t.Error("Under of the top or of nothing")
	}
	if m, ok := table.At("/a/b"); !ok || m.FSType != "new" {
		t.Errorf("At = %v, %v", m, ok)
	}
	if _, ok := table.At("/b"); ok {
		t.Error("At of nothing")
	}
}

// place makes a directory and opens it; whatever is mounted there is gone after the test.
func place(t *testing.T, name string) (string, *os.File) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	dir := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unmount(dir, true); err != nil {
			t.Error(err)
		}
	})
	return dir, open(t, dir)
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { f.Close() })
	return f
}

func mounted(t *testing.T, path string) bool {
	t.Helper()
	m, err := IsMountPoint(path)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTmpfs(t *testing.T) {
	dir, f := place(t, "with space")
	if mounted(t, dir) {
		t.Error("mounted before it was")
	}
	noswap, err := MountTmpfs(f, Tmpfs{Size: 1 << 20, Mode: 0o777})
	if kept, e := KeptOutOfSwap(); e != nil || kept != noswap {
		t.Errorf("kept out of swap: %v (%v), but mounted with noswap: %v", kept, e, noswap)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !mounted(t, dir) {
		t.Error("not mounted")
	}
	table, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	m, ok := table.At(dir)
	if !ok || m.FSType != "tmpfs" || !strings.Contains(m.FSOptions, "size=1024k") || strings.Contains(m.FSOptions, "noswap") != noswap {
		t.Errorf("table says %+v, noswap %v", m, noswap)
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o777 {
		t.Errorf("mode %v", info.Mode())
	}
	top := open(t, dir)
	if _, err := MountTmpfs(top, Tmpfs{}); err != nil { // a second one on top
		t.Fatal(err)
	}
	top.Close() // an open handle keeps a mount busy
	for range 2 {
		if err := Unmount(dir, false); err != nil {
			t.Fatal(err)
		}
	}
	if mounted(t, dir) {
		t.Error("still mounted")
	}
}

func TestHugetlbfs(t *testing.T) {
	dir, f := place(t, "huge")
	if _, err := os.Stat("/sys/kernel/mm/hugepages/hugepages-2048kB"); err != nil {
		t.Skip("this kernel has no huge pages of 2 MiB")
	}
	if err := MountHugetlbfs(f, 2<<20, 0o777); err != nil {
		t.Fatal(err)
	}
	table, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := table.At(dir); !ok || m.FSType != "hugetlbfs" || !strings.Contains(m.FSOptions, "pagesize=2M") {
		t.Errorf("table says %+v", m)
	}
	if err := MountHugetlbfs(f, 3<<20, 0o777); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("odd page size: %v", err)
	}
}

func TestBind(t *testing.T) {
	for name, how := range map[string]func(s, d *os.File, o Bind) error{"detached": MountBind, "old kernel": oldBind} {
		t.Run(name, func(t *testing.T) {
			src, s := place(t, "src")
			dst, d := place(t, "dst")
			write(t, filepath.Join(src, "f"), "hello")
			if err := how(s, d, Bind{ReadOnly: true, Propagation: Private}); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dst, "f")); err != nil || string(got) != "hello" {
				t.Errorf("read %q, %v", got, err)
			}
			if err := os.WriteFile(filepath.Join(dst, "g"), nil, 0o644); !errors.Is(err, unix.EROFS) {
				t.Errorf("write = %v, want EROFS", err)
			}
			write(t, filepath.Join(src, "g"), "the source stays writable")
			if !mounted(t, dst) || mounted(t, src) {
				t.Error("the mount is not where it should be")
			}
			if err := Unmount(dst, false); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// oldBind is MountBind as Linux before 5.12 makes it do.
func oldBind(source, target *os.File, o Bind) error {
	if err := bind(source, target, Bind{Recursive: o.Recursive}); err != nil {
		return err
	}
	fd, err := unix.Open(target.Name(), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	attached := os.NewFile(uintptr(fd), target.Name())
	defer attached.Close()
	return setAttached(attached, o)
}

func TestBindOfAFile(t *testing.T) {
	src, _ := place(t, "src")
	write(t, filepath.Join(src, "a"), "a")
	write(t, filepath.Join(src, "b"), "b")
	at := filepath.Join(src, "b")
	t.Cleanup(func() { _ = Unmount(at, true) })
	if err := MountBind(open(t, filepath.Join(src, "a")), open(t, at), Bind{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(at); string(got) != "a" || !mounted(t, at) {
		t.Errorf("read %q", got)
	}
	if err := Unmount(at, false); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(at); string(got) != "b" {
		t.Errorf("after unmount read %q", got)
	}
	if err := MountBind(open(t, src), open(t, at), Bind{}); err == nil || !strings.Contains(err.Error(), at) {
		t.Errorf("directory on a file: %v", err)
	}
}

func TestBindRecursive(t *testing.T) {
	src, s := place(t, "src")
	dst, d := place(t, "dst")
	sub := filepath.Join(src, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := MountTmpfs(open(t, sub), Tmpfs{Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Unmount(sub, true) })
	write(t, filepath.Join(sub, "f"), "")
	if err := MountBind(s, d, Bind{Recursive: true, ReadOnly: true, Propagation: Private}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Unmount(filepath.Join(dst, "sub"), true) })
	if _, err := os.Stat(filepath.Join(dst, "sub", "f")); err != nil {
		t.Errorf("what is mounted beneath was not taken along: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dst, "sub", "g"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("write beneath = %v, want EROFS", err)
	}
}

func TestUnmount(t *testing.T) {
	dir, f := place(t, "dir")
	if err := Unmount(dir, false); err != nil {
		t.Errorf("nothing mounted: %v", err)
	}
	if err := Unmount(filepath.Join(dir, "nothing", "here"), false); err != nil {
		t.Errorf("no such path: %v", err)
	}
	if _, err := MountTmpfs(f, Tmpfs{Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(dir), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := Unmount(link, true); err != nil || !mounted(t, dir) {
		t.Errorf("Unmount followed a link, or failed: %v", err)
	}
	busy, err := os.Create(filepath.Join(dir, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if err := Unmount(dir, false); !errors.Is(err, unix.EBUSY) {
		t.Errorf("busy: %v, want EBUSY", err)
	}
	if err := Unmount(dir, true); err != nil || mounted(t, dir) {
		t.Errorf("lazy: %v", err)
	}
}

func TestIsMountPointOfNothing(t *testing.T) {
	if m, err := IsMountPoint(filepath.Join(t.TempDir(), "no")); m || err != nil {
		t.Errorf("%v, %v", m, err)
	}
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "")
	if _, err := IsMountPoint(filepath.Join(file, "x")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a file: %v", err)
	}
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}
