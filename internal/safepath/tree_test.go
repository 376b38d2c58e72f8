package safepath

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
}

func TestRemoveAll(t *testing.T) {
	r, root, outside := world(t)
	for i := range 1200 { // more than one batch of names
		if i%10 == 0 {
			if err := os.MkdirAll(filepath.Join(root, "t", "d"+strconv.Itoa(i), "x"), 0o755); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, filepath.Join(root, "t", "f"+strconv.Itoa(i)), "")
		}
		if i == 0 {
			link(t, outside, filepath.Join(root, "t", "link"))
		}
	}
	for range 2 {
		if err := r.RemoveAll(t.Context(), "t"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "t")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("t is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Errorf("RemoveAll followed a link: %v", err)
	}
}

func TestRemoveAllOfAFileAndALink(t *testing.T) {
	r, root, outside := world(t)
	write(t, filepath.Join(root, "f"), "")
	link(t, outside, filepath.Join(root, "l"))
	for _, n := range []string{"f", "l", "nothing", "nothing/at/all"} {
		if err := r.RemoveAll(t.Context(), n); err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	if left, _ := r.ReadDir("."); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if err := r.RemoveAll(t.Context(), "."); err == nil {
		t.Error("removed the root itself")
	}
}

func TestRemoveAllOfADeepTree(t *testing.T) {
	r, root, _ := world(t)
	const depth = 3000
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range depth {
		if err := unix.Mkdirat(fd, "d", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	if err := r.RemoveAll(t.Context(), "d"); err != nil {
		t.Fatal(err)
	}
	if left, _ := r.ReadDir("."); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestRemoveAllStopsAtMounts(t *testing.T) {
	needRoot(t)
	r, root, outside := world(t)
	dir, file := filepath.Join(root, "t", "mnt"), filepath.Join(root, "t", "file")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, file, "")
	mounts := map[string]string{dir: outside, file: filepath.Join(outside, "secret")}
	for at, src := range mounts { // of the same filesystem: a device number would not tell
		if err := unix.Mount(src, at, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	}
	for _, n := range []string{"t/mnt", "t/file", "t"} {
		if err := r.RemoveAll(t.Context(), n); !errors.Is(err, ErrMounted) {
			t.Errorf("RemoveAll(%s) = %v, want ErrMounted", n, err)
		}
	}
	if err := r.Remove("t/file"); !errors.Is(err, ErrMounted) {
		t.Errorf("Remove = %v, want ErrMounted", err)
	}
	if got, _ := os.ReadFile(filepath.Join(outside, "secret")); string(got) != "secret" {
		t.Errorf("what was mounted is damaged: %q", got)
	}
	for at := range mounts {
		if err := unix.Unmount(at, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.RemoveAll(t.Context(), "t"); err != nil {
		t.Error(err)
	}
}

func TestOneFilesystem(t *testing.T) {
	needRoot(t)
	r, root, outside := world(t)
	mnt := filepath.Join(root, "mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(outside, mnt, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mnt, unix.MNT_DETACH) })
	if _, err := r.ReadFile("mnt/secret", 10); err != nil {
		t.Errorf("crossing was not forbidden: %v", err)
	}
	if _, err := r.OneFilesystem().ReadFile("mnt/secret", 10); !errors.Is(err, ErrMounted) {
		t.Errorf("crossed a mount: %v", err)
	}
	var seen []string
	if err := r.Walk(t.Context(), ".", func(e Entry) error { seen = append(seen, e.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(seen, []string{"."}) {
		t.Errorf("Walk saw %v", seen)
	}
}

func TestRemoveContents(t *testing.T) {
	r, root, _ := world(t)
	if err := os.MkdirAll(filepath.Join(root, "v", "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.RemoveContents(t.Context(), "v"); err != nil {
		t.Fatal(err)
	}
	if left, err := r.ReadDir("v"); len(left) != 0 || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestRemoveAllEndsWithItsContext(t *testing.T) {
	r, root, _ := world(t)
	if err := os.MkdirAll(filepath.Join(root, "v", "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.RemoveAll(ctx, "v"); !errors.Is(err, context.Canceled) {
		t.Errorf("RemoveAll = %v", err)
	}
}

func TestRemoveAllWhileTheTreeIsSwapped(t *testing.T) {
	r, root, outside := world(t)
	stop := swap(t, root, mkdir(t, root, "t/v"), outside)
	defer stop()
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		_ = r.RemoveContents(t.Context(), "t/v")
		_ = os.Mkdir(filepath.Join(root, "t", "v", "x"), 0o755)
	}
	if got, _ := os.ReadFile(filepath.Join(outside, "secret")); string(got) != "secret" {
		t.Error("removed something outside")
	}
}

// mkdir makes root/dir and returns dir.
func mkdir(t *testing.T, root, dir string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWalkAndOwnership(t *testing.T) {
	r, root, outside := world(t)
	mkdir(t, root, "v/a")
	write(t, filepath.Join(root, "v", "a", "f"), "")
	link(t, filepath.Join(outside, "secret"), filepath.Join(root, "v", "l"))
	var seen []string
	err := r.Walk(t.Context(), "v", func(e Entry) error {
		seen = append(seen, e.Name)
		if e.Info.Mode()&fs.ModeSymlink != 0 {
			return Chown(e.File, -1, os.Getegid())
		}
		if err := Chown(e.File, -1, os.Getegid()); err != nil {
			return err
		}
		return Chmod(e.File, 0o700)
	})
	slices.Sort(seen)
	if err != nil || !slices.Equal(seen, []string{".", "a", "a/f", "l"}) {
		t.Errorf("saw %v, %v", seen, err)
	}
	if info, _ := os.Stat(filepath.Join(outside, "secret")); info.Mode().Perm() != 0o644 {
		t.Errorf("changed the target of a link: %v", info.Mode())
	}
	if info, _ := os.Stat(filepath.Join(root, "v", "a", "f")); info.Mode().Perm() != 0o700 {
		t.Errorf("f has mode %v", info.Mode())
	}
}
