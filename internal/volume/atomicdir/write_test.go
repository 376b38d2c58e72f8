package atomicdir

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/safepath"
)

func open(t *testing.T) (*safepath.Root, string) {
	t.Helper()
	dir := t.TempDir()
	r, err := safepath.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, dir
}

func put(t *testing.T, r *safepath.Root, files content.Files) bool {
	t.Helper()
	changed, err := Write(t.Context(), r, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// text makes files of mode 0644.
func text(pairs ...string) content.Files {
	files := content.Files{}
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = content.File{Data: []byte(pairs[i+1]), Mode: 0o644}
	}
	return files
}

// visible is what a user sees: names that do not begin with "..", and their content.
func visible(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		top := filepath.Join(dir, e.Name())
		real, err := filepath.EvalSymlinks(top)
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(real, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			out = append(out, e.Name()+strings.TrimPrefix(p, real)+"="+string(data))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestWrite(t *testing.T) {
	r, dir := open(t)
	for _, step := range []struct {
		files   content.Files
		changed bool
		want    string
	}{
		{text("a", "1", "d/x", "2", "d/e/y", "3"), true, "a=1 d/e/y=3 d/x=2"},
		{text("a", "1", "d/x", "2", "d/e/y", "3"), false, "a=1 d/e/y=3 d/x=2"},
		{text("a", "one", "d/x", "2"), true, "a=one d/x=2"},
		{text("d", "now a file"), true, "d=now a file"},
		{content.Files{"d": {Data: []byte("now a file"), Mode: 0o400}}, true, "d=now a file"},
		{content.Files{}, true, ""},
		{content.Files{}, false, ""},
	} {
		if changed := put(t, r, step.files); changed != step.changed {
			t.Errorf("%v: changed = %v", step.files, changed)
		}
		if got := visible(t, dir); got != step.want {
			t.Errorf("%v: visible %q, want %q", step.files, got, step.want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 { // ..data and the directory it points to
		t.Errorf("left over: %v", entries)
	}
}

func TestLayout(t *testing.T) {
	r, dir := open(t)
	put(t, r, text("key", "v"))
	if to, err := os.Readlink(filepath.Join(dir, "key")); to != "..data/key" || err != nil {
		t.Errorf("key -> %q, %v", to, err)
	}
	to, err := os.Readlink(filepath.Join(dir, "..data"))
	if err != nil || !strings.HasPrefix(to, "..20") || strings.Contains(to, "/") {
		t.Errorf("..data -> %q, %v", to, err)
	}
	if info, err := os.Stat(filepath.Join(dir, to, "key")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestGroupAndOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: chown")
	}
	r, dir := open(t)
	gid, uid := int64(1234), int64(4321)
	files := content.Files{"d/token": {Data: []byte("x"), Mode: 0o600, UID: &uid}}
	for _, want := range []bool{true, false} {
		if changed, err := Write(t.Context(), r, files, &gid); err != nil || changed != want {
			t.Fatalf("changed = %v, %v", changed, err)
		}
	}
	h, err := r.With(safepath.LinksBeneath).Handle("d/token")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	info, _ := h.Stat()
	if info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, want 0640", info.Mode())
	}
	root, _ := os.Stat(dir)
	if root.Mode()&fs.ModeSetgid == 0 || root.Mode().Perm() != 0o755 {
		t.Errorf("root has mode %v", root.Mode())
	}
}

// TestCrash puts the directory into each state a crash can leave, and more.
func TestCrash(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"half a new state":    func(d string) error { return os.MkdirAll(filepath.Join(d, "..2020_half", "sub"), 0o755) },
		"a link not renamed":  func(d string) error { return os.Symlink("..2020_x", filepath.Join(d, ".bosun-new-1234")) },
		"no user's link yet":  func(d string) error { return os.Remove(filepath.Join(d, "a")) },
		"an old user's link":  func(d string) error { return os.Symlink("..data/gone", filepath.Join(d, "gone")) },
		"..data leads astray": func(d string) error { return relink(d, "/etc") },
		"..data dangles":      func(d string) error { return relink(d, "..2020_gone") },
		"..data is a file": func(d string) error {
			return os.Rename(filepath.Join(d, "a"), filepath.Join(d, "..data"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := open(t)
			put(t, r, text("a", "1"))
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			put(t, r, text("a", "1"))
			if got := visible(t, dir); got != "a=1" {
				t.Errorf("visible %q", got)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 3 {
				t.Errorf("left over: %v", entries)
			}
		})
	}
}

func relink(dir, to string) error {
	data := filepath.Join(dir, "..data")
	if err := os.Remove(data); err != nil {
		return err
	}
	return os.Symlink(to, data)
}

// TestReadersSeeOneState reads two files through one open ..data directory while they change together.
func TestReadersSeeOneState(t *testing.T) {
	r, dir := open(t)
	put(t, r, text("a", "0", "b", "0"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			state, err := os.OpenRoot(filepath.Join(dir, "..data"))
			if err != nil {
				continue
			}
			a, errA := state.ReadFile("a")
			b, errB := state.ReadFile("b")
			state.Close()
			if errA == nil && errB == nil && string(a) != string(b) {
				t.Errorf("a = %s, b = %s", a, b)
			}
			if _, err := os.ReadFile(filepath.Join(dir, "a")); err != nil && !os.IsNotExist(err) {
				t.Error(err)
			}
		}
	})
	for i := 0; ctx.Err() == nil; i++ {
		n := string(rune('0' + i%10))
		put(t, r, text("a", n, "b", n))
	}
	wg.Wait()
}

func TestWriteRefusesBadPaths(t *testing.T) {
	for _, bad := range []content.Files{
		text("../x", ""), text("/x", ""), text("..data", ""), text("a/../../b", ""), text("a", "", "a/b", ""), text("", ""), text("a\x00", ""), text("a//b", ""),
	} {
		r, dir := open(t)
		if _, err := Write(t.Context(), r, bad, nil); err == nil {
			t.Errorf("Write(%v) passed", bad)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("Write(%v) left %v", bad, entries)
		}
	}
}
