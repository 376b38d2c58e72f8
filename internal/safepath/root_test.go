package safepath

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// world makes <tmp>/root and <tmp>/outside with a file secret in it, and opens root.
func world(t *testing.T) (r *Root, root, outside string) {
	t.Helper()
	tmp := t.TempDir()
	root, outside = filepath.Join(tmp, "root"), filepath.Join(tmp, "outside")
	for _, d := range []string{root, outside} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(outside, "secret"), "secret")
	r, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, root, outside
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestNamesThatEscapeAreRefused(t *testing.T) {
	r, root, outside := world(t)
	link(t, outside, filepath.Join(root, "abs"))
	link(t, "../outside", filepath.Join(root, "rel"))
	link(t, "..", filepath.Join(root, "up"))
	for _, l := range []Links{NoLinks, LinksBeneath} {
		r := r.With(l)
		for _, name := range []string{"../outside/secret", "/etc/passwd", "", "a/../../outside", "abs/secret", "rel/secret", "up/outside/secret", "x\x00y"} {
			if _, err := r.ReadFile(name, 100); !errors.Is(err, ErrUnsafe) {
				t.Errorf("links %d: ReadFile(%q) = %v, want ErrUnsafe", l, name, err)
			}
			if f, err := r.Create(name, 0o600); !errors.Is(err, ErrUnsafe) {
				t.Errorf("links %d: Create(%q) = %v, %v, want ErrUnsafe", l, name, f, err)
			}
			if err := r.MkdirAll(name, 0o700); !errors.Is(err, ErrUnsafe) {
				t.Errorf("links %d: MkdirAll(%q) = %v, want ErrUnsafe", l, name, err)
			}
		}
	}
}

func TestMake(t *testing.T) {
	_, root, _ := world(t)
	link(t, root, filepath.Join(root, "link"))
	for _, dir := range []string{root + "/link/a/b/", root + "/a/b", "/"} {
		r, err := Make(dir, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if r.name != filepath.Clean(dir) || r.links != NoLinks {
			t.Errorf("name %s, links %d", r.name, r.links)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "a/b")); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Make("relative", 0o755); err == nil {
		t.Error("a relative path passed")
	}
}

func TestMagicLinksAreRefused(t *testing.T) {
	r, err := Open("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, l := range []Links{NoLinks, LinksBeneath, LinksAsRoot} {
		if h, err := r.With(l).Handle("cwd/."); !errors.Is(err, ErrUnsafe) {
			t.Errorf("links %d: Handle(cwd) = %v, %v, want ErrUnsafe", l, h, err)
		}
	}
}

func TestLinksBeneathFollowsLinksThatStay(t *testing.T) {
	r, root, _ := world(t)
	if err := os.MkdirAll(filepath.Join(root, "..2024"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "..2024", "key"), "value")
	link(t, "..2024", filepath.Join(root, "..data"))
	link(t, "..data/key", filepath.Join(root, "key"))
	if _, err := r.ReadFile("key", 10); !errors.Is(err, ErrUnsafe) {
		t.Errorf("NoLinks read through a link: %v", err)
	}
	got, err := r.With(LinksBeneath).ReadFile("key", 10)
	if err != nil || string(got) != "value" {
		t.Errorf("LinksBeneath = %q, %v", got, err)
	}
}

func TestLinksAsRoot(t *testing.T) {
	r, root, _ := world(t)
	if err := os.Mkdir(filepath.Join(root, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "run", "x"), "inside")
	link(t, "/run", filepath.Join(root, "var-run"))
	link(t, "../../../../outside", filepath.Join(root, "up"))
	got, err := r.With(LinksAsRoot).ReadFile("var-run/x", 10)
	if err != nil || string(got) != "inside" {
		t.Errorf("ReadFile = %q, %v", got, err)
	}
	if _, err := r.With(LinksAsRoot).ReadFile("up/secret", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link upwards left the root: %v", err)
	}
}

func TestReadFile(t *testing.T) {
	r, root, _ := world(t)
	write(t, filepath.Join(root, "f"), "12345")
	if got, err := r.ReadFile("f", 5); err != nil || string(got) != "12345" {
		t.Errorf("ReadFile = %q, %v", got, err)
	}
	if _, err := r.ReadFile("f", 4); !errors.Is(err, ErrTooLarge) {
		t.Errorf("limit: %v, want ErrTooLarge", err)
	}
	if err := unix.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pipe", "."} { // opening the pipe would block for ever
		if _, err := r.ReadFile(name, 10); !errors.Is(err, ErrNotRegular) {
			t.Errorf("ReadFile(%q) = %v, want ErrNotRegular", name, err)
		}
	}
}

func TestModesDoNotDependOnUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	r, root, _ := world(t)
	if err := r.MkdirAll("a/b", 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := r.Create("a/b/f", 0o666)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := r.Replace("a/g", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"a": 0o777, "a/b": 0o777, "a/b/f": 0o666, "a/g": 0o644} {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
}

func TestMkdirAllKeepsWhatIsThere(t *testing.T) {
	r, root, _ := world(t)
	if err := os.Mkdir(filepath.Join(root, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.MkdirAll("a/b/c", 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if info, _ := os.Stat(filepath.Join(root, "a")); info.Mode().Perm() != 0o700 {
		t.Errorf("mode of a directory that was there became %v", info.Mode())
	}
	write(t, filepath.Join(root, "file"), "")
	if err := r.MkdirAll("file/x", 0o750); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("MkdirAll below a file = %v, want ENOTDIR", err)
	}
}

func TestMkdirAllInheritsSetgid(t *testing.T) {
	r, root, _ := world(t)
	if err := os.Chmod(root, 0o775|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if err := r.MkdirAll("a", 0o755); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(filepath.Join(root, "a")); info.Mode()&fs.ModeSetgid == 0 || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, want 0755 and set-group-ID", info.Mode())
	}
}

func TestCreateRefusesWhatExists(t *testing.T) {
	r, root, outside := world(t)
	link(t, filepath.Join(outside, "new"), filepath.Join(root, "dangling"))
	write(t, filepath.Join(root, "there"), "")
	for _, name := range []string{"dangling", "there"} {
		if _, err := r.Create(name, 0o600); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create(%q) = %v, want ErrExist", name, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(outside, "new")); err == nil {
		t.Error("Create wrote through a dangling link")
	}
}

func TestReplace(t *testing.T) {
	r, root, outside := world(t)
	link(t, filepath.Join(outside, "secret"), filepath.Join(root, "f"))
	if err := r.Replace("f", []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(outside, "secret")); string(got) != "secret" {
		t.Errorf("Replace wrote through a link: %q", got)
	}
	if got, _ := r.ReadFile("f", 10); string(got) != "new" {
		t.Errorf("content %q", got)
	}
	if err := r.ReplaceLink("f", "l"); err != nil {
		t.Fatal(err)
	}
	if err := r.ReplaceLink("g", "l"); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Readlink("l"); got != "g" || err != nil {
		t.Errorf("Readlink = %q, %v", got, err)
	}
	names, _ := r.ReadDir(".")
	for _, n := range names {
		if strings.HasPrefix(n, tempPrefix) {
			t.Errorf("left %s behind", n)
		}
	}
	if err := r.Remove("l"); err != nil {
		t.Error(err)
	}
	if err := r.Remove("l"); err != nil {
		t.Errorf("second Remove: %v", err)
	}
}

func TestComponent(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", "/", "a\x00", strings.Repeat("a", 256)} {
		if Component(bad) == nil {
			t.Errorf("Component(%q) passed", bad)
		}
	}
	for _, good := range []string{"a", "..data", "0d1b-x", strings.Repeat("a", 255)} {
		if err := Component(good); err != nil {
			t.Errorf("Component(%q): %v", good, err)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"a", "../x", "a/../../x", "/etc/passwd", "a//b/./c", "..", "l/passwd"} {
		f.Add(s)
	}
	tmp := f.TempDir()
	root := filepath.Join(tmp, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		f.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(root, "l")); err != nil {
		f.Fatal(err)
	}
	r, err := Open(root)
	if err != nil {
		f.Fatal(err)
	}
	defer r.Close()
	f.Fuzz(func(t *testing.T, name string) {
		h, err := r.With(LinksBeneath).Handle(name)
		if err != nil {
			return
		}
		defer h.Close()
		real, err := os.Readlink(ProcPath(h))
		if err != nil || real != root && !strings.HasPrefix(real, root+"/") {
			t.Errorf("%q reached %s (%v)", name, real, err)
		}
	})
}

// swap exchanges dir and a link to outside, over and over, until the returned function is called.
func swap(t *testing.T, root, dir, outside string) (stop func()) {
	t.Helper()
	path, other := filepath.Join(root, dir), filepath.Join(root, dir+".other")
	link(t, outside, other)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
			}
		}
	}()
	return func() { close(quit); <-done }
}

// TestSymlinkSwapRace holds every verb against a container that keeps swapping a directory on the path for a
// symbolic link to the outside: the classes of CVE-2017-1002101 (write and read through a link) and CVE-2021-25741
// (swap between check and use).
func TestSymlinkSwapRace(t *testing.T) {
	r, root, outside := world(t)
	if err := os.MkdirAll(filepath.Join(root, "v", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "v", "secret"), "public")
	write(t, filepath.Join(root, "v", "sub", "f"), "")
	if err := os.Mkdir(filepath.Join(outside, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	stop := swap(t, root, "v", outside)
	got, lost := 0, 0
	count := func(err error) {
		if err == nil {
			got++
		} else {
			lost++
		}
	}
	for end := time.Now().Add(400 * time.Millisecond); time.Now().Before(end); {
		for _, r := range []*Root{r, r.With(LinksBeneath)} {
			data, err := r.ReadFile("v/secret", 100)
			if err == nil && string(data) != "public" {
				t.Fatal("read the secret outside")
			}
			count(err)
			count(r.MkdirAll("v/made/deep", 0o755))
			count(r.RemoveAll(t.Context(), "v/made"))
			if f, err := r.Create("v/new", 0o644); err == nil {
				f.Close()
				count(r.Remove("v/new"))
			}
			count(r.Replace("v/replaced", nil, 0o644))
			count(r.RemoveAll(t.Context(), "v/replaced"))
			if h, err := r.Handle("v/sub"); err == nil {
				real, _ := os.Readlink(ProcPath(h))
				if strings.HasPrefix(real, outside) {
					t.Fatalf("handle on %s", real)
				}
				h.Close()
			}
		}
	}
	stop()
	if got == 0 || lost == 0 {
		t.Fatalf("the race was not run: %d calls got through, %d were refused", got, lost)
	}
	names, _ := os.ReadDir(outside)
	for _, n := range names {
		if n.Name() != "secret" && n.Name() != "sub" {
			t.Errorf("wrote %s outside", n.Name())
		}
	}
	if len(names) != 2 {
		t.Errorf("outside holds %v now", names)
	}
}
