package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/safepath"
)

// subpath asks for a part of the first volume for a container that is given such a mount.
func subpath(t *testing.T, v *Volumes, p *v1.Pod, container string, index int, path string, readOnly bool) (string, error) {
	t.Helper()
	i := slices.IndexFunc(p.Spec.Containers, func(c v1.Container) bool { return c.Name == container })
	if i < 0 {
		i = len(p.Spec.Containers)
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: container})
	}
	c := &p.Spec.Containers[i]
	for len(c.VolumeMounts) <= index {
		c.VolumeMounts = append(c.VolumeMounts, v1.VolumeMount{Name: "v0"})
	}
	c.VolumeMounts[index].ReadOnly = readOnly
	return v.Subpath(t.Context(), p, container, index, path)
}

func TestSubpath(t *testing.T) {
	v, root := world(t)
	p := podWith(empty("", ""))
	m := setup(t, v, p, "v0")
	if err := os.Chmod(m.HostPath, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m.HostPath, "file"), "content")
	sub := func(container string, index int, path string, readOnly bool) string {
		t.Helper()
		got, err := subpath(t, v, p, container, index, path, readOnly)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	dir := sub("app", 0, "a/b", false)
	if want := filepath.Join(root, "pods/uid-1/volume-subpaths/v0/app/0"); dir != want {
		t.Errorf("path %s, want %s", dir, want)
	}
	for _, made := range []string{"a", "a/b"} {
		if got := mode(t, filepath.Join(m.HostPath, made)); got != fs.ModeDir|fs.ModeSticky|0o777 {
			t.Errorf("%s was made with mode %v, want the volume's", made, got)
		}
	}
	write(t, filepath.Join(dir, "x"), "")
	if !exists(filepath.Join(m.HostPath, "a/b/x")) {
		t.Error("not the same directory")
	}
	file := sub("app", 1, "file", true)
	if got, err := os.ReadFile(file); err != nil || string(got) != "content" {
		t.Errorf("file: %q, %v", got, err)
	}
	if err := os.WriteFile(file, nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("read-only file: %v", err)
	}
	sub("side", 0, "a", false)
	if err := v.TeardownSubpaths(t.Context(), uid, "app"); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(root, "pods/uid-1/volume-subpaths/v0")
	if exists(filepath.Join(base, "app")) || !exists(filepath.Join(base, "side/0/b")) {
		t.Error("not just the subpaths of one container were torn down")
	}
	for range 2 {
		if err := v.TeardownSubpaths(t.Context(), uid, ""); err != nil {
			t.Fatal(err)
		}
	}
	if exists(base) || !exists(filepath.Join(m.HostPath, "a/b/x")) {
		t.Error("subpaths are left, or data is gone")
	}
}

func TestSubpathAgain(t *testing.T) {
	v, _ := world(t)
	p := podWith(empty("", ""))
	m := setup(t, v, p, "v0")
	bind := func(readOnly bool) string {
		t.Helper()
		path, err := subpath(t, v, p, "app", 0, "x", readOnly)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	count := func(path string) int {
		t.Helper()
		table, err := mount.Read()
		if err != nil {
			t.Fatal(err)
		}
		return len(table.Under(path))
	}
	path := bind(false)
	bind(false)
	if n := count(path); n != 1 {
		t.Errorf("mounted %d times", n)
	}
	bind(true)
	if err := os.WriteFile(filepath.Join(path, "f"), nil, 0o644); !errors.Is(err, unix.EROFS) || count(path) != 1 {
		t.Errorf("not read-only now: %v, mounted %d times", err, count(path))
	}
	// The directory gives way to a file, as when an application replaces it.
	if err := os.Rename(filepath.Join(m.HostPath, "x"), filepath.Join(m.HostPath, "old")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m.HostPath, "x"), "file now")
	bind(false)
	if got, err := os.ReadFile(path); err != nil || string(got) != "file now" || count(path) != 1 {
		t.Errorf("after replacement: %q, %v, mounted %d times", got, err, count(path))
	}
}

func TestSubpathOfHostPath(t *testing.T) {
	v, _ := world(t)
	host := t.TempDir()
	if err := os.Mkdir(filepath.Join(host, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(host, "real"), filepath.Join(host, "link")); err != nil { // a link of the host: fine
		t.Fatal(err)
	}
	p := podWith(v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: filepath.Join(host, "link")}})
	setup(t, v, p, "v0")
	path, err := subpath(t, v, p, "app", 0, "sub", false)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(path, "f"), "")
	if !exists(filepath.Join(host, "real/sub/f")) {
		t.Error("not in the host's directory")
	}
}

func TestSubpathEscapes(t *testing.T) {
	v, _ := world(t)
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "secret")
	p := podWith(empty("", ""))
	m := setup(t, v, p, "v0")
	for name, target := range map[string]string{
		"absolute": secret, "up": "../../../../../..", "proc": "/proc/self/root", "dir": filepath.Dir(secret), "dangling": "/tmp/bosun-must-not-appear",
	} {
		if err := os.Symlink(target, filepath.Join(m.HostPath, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"absolute", "up", "up/etc", "proc", "proc/etc", "dir/secret", "dangling", "dangling/new", "../x", "/etc", "a/../../x"} {
		if got, err := subpath(t, v, p, "app", 0, path, false); !errors.Is(err, safepath.ErrUnsafe) {
			t.Errorf("Subpath(%q) = %s, %v, want ErrUnsafe", path, got, err)
		}
	}
	if exists("/tmp/bosun-must-not-appear") {
		t.Error("made a directory outside")
	}
	for _, bad := range []string{"../app", "", "a/b"} {
		if _, err := subpath(t, v, p, bad, 0, "x", false); err == nil {
			t.Errorf("container %q passed", bad)
		}
	}
}

// TestSubpathRace is CVE-2021-25741 and CVE-2017-1002101: a container swaps a directory of its volume for a link to the
// host while the agent prepares the subpath.
func TestSubpathRace(t *testing.T) {
	v, _ := world(t)
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret"), "")
	p := podWith(empty("", ""))
	m := setup(t, v, p, "v0")
	x, y := filepath.Join(m.HostPath, "x"), filepath.Join(m.HostPath, "y")
	if err := os.Mkdir(x, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, y); err != nil {
		t.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, x, unix.AT_FDCWD, y, unix.RENAME_EXCHANGE)
			}
		}
	}()
	got, refused := 0, 0
	for end := time.Now().Add(400 * time.Millisecond); time.Now().Before(end); {
		for _, sub := range []string{"x", "x/new"} {
			path, err := subpath(t, v, p, "app", 0, sub, false)
			if err != nil {
				refused++
				continue
			}
			got++
			if exists(filepath.Join(path, "secret")) {
				t.Fatal("the host's directory is mounted")
			}
		}
	}
	close(quit)
	<-done
	if got == 0 || refused == 0 {
		t.Fatalf("the race was not run: %d got through, %d refused", got, refused)
	}
	if exists(filepath.Join(outside, "new")) {
		t.Error("made a directory outside")
	}
}

func TestRemovePodDir(t *testing.T) {
	v, root := world(t)
	pod := filepath.Join(root, "pods/uid-1")
	if err := v.RemovePodDir(t.Context(), uid); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	p := podWith(empty("", ""), empty(v1.StorageMediumMemory, ""))
	disk, memory := setup(t, v, p, "v0"), setup(t, v, p, "v1")
	write(t, filepath.Join(disk.HostPath, "data"), "")
	write(t, filepath.Join(memory.HostPath, "data"), "")
	sub, err := subpath(t, v, p, "app", 0, "s", false)
	if err != nil {
		t.Fatal(err)
	}
	err = v.RemovePodDir(t.Context(), uid)
	if !errors.Is(err, safepath.ErrMounted) || !strings.Contains(err.Error(), memory.HostPath) || !strings.Contains(err.Error(), sub) {
		t.Errorf("RemovePodDir = %v, want ErrMounted that names both mounts", err)
	}
	if !exists(filepath.Join(disk.HostPath, "data")) || !exists(filepath.Join(memory.HostPath, "data")) {
		t.Error("data is gone")
	}
	if err := v.TeardownSubpaths(t.Context(), uid, ""); err != nil {
		t.Fatal(err)
	}
	if err := v.Teardown(t.Context(), uid, "v1"); err != nil {
		t.Fatal(err)
	}
	if uids, err := v.Pods(); err != nil || !slices.Equal(uids, []types.UID{uid}) {
		t.Errorf("Pods = %v, %v", uids, err)
	}
	for range 2 {
		if err := v.RemovePodDir(t.Context(), uid); err != nil {
			t.Fatal(err)
		}
	}
	if uids, err := v.Pods(); exists(pod) || err != nil || len(uids) != 0 {
		t.Errorf("left: %v, %v", uids, err)
	}
}

func TestRemovePodDirKeepsDataOfUnknownKinds(t *testing.T) {
	v, root := world(t)
	csi := filepath.Join(root, "pods/uid-1/volumes/kubernetes.io~csi/pv/mount")
	if err := os.MkdirAll(csi, 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(csi, "data")
	write(t, data, "precious")
	if err := v.RemovePodDir(t.Context(), uid); err == nil || !strings.Contains(err.Error(), data) || !exists(data) {
		t.Errorf("RemovePodDir = %v", err)
	}
	if got, err := v.Found(uid); err != nil || !slices.Equal(got, []string{"pv"}) {
		t.Errorf("Found = %v, %v", got, err)
	}
	if err := v.Teardown(t.Context(), uid, "pv"); !errors.Is(err, fault.ErrUnsupported) || !exists(data) {
		t.Errorf("Teardown = %v", err)
	}
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	if err := v.RemovePodDir(t.Context(), uid); err != nil || exists(filepath.Join(root, "pods/uid-1")) {
		t.Errorf("empty directories were not removed: %v", err)
	}
}

// TestRemovePodDirThroughALinkedRoot: the state directory is often a link, but the mount table is not.
func TestRemovePodDirThroughALinkedRoot(t *testing.T) {
	_, root := world(t)
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	linked := root + "-link"
	if err := os.Symlink(root, linked); err != nil {
		t.Fatal(err)
	}
	v := New(Config{RootDir: linked})
	m := setup(t, v, podWith(empty(v1.StorageMediumMemory, "1Mi")), "v0")
	if !strings.HasPrefix(m.HostPath, linked+"/") {
		t.Errorf("path %s", m.HostPath)
	}
	if err := v.RemovePodDir(t.Context(), uid); !errors.Is(err, safepath.ErrMounted) {
		t.Errorf("RemovePodDir = %v, want ErrMounted", err)
	}
}

func TestSubpathOfNoMount(t *testing.T) {
	v, _ := world(t)
	p := podWith(empty("", ""))
	for container, index := range map[string]int{"app": 0, "other": 0} {
		if _, err := v.Subpath(t.Context(), p, container, index, "x"); err == nil || !strings.Contains(err.Error(), "no such mount") {
			t.Errorf("%s %d: %v", container, index, err)
		}
	}
}

func BenchmarkSetupTeardown(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	v := New(Config{RootDir: b.TempDir()})
	p := podWith(empty("", ""))
	for range b.N {
		if _, err := v.Setup(b.Context(), p, "v0"); err != nil {
			b.Fatal(err)
		}
		if err := v.Teardown(b.Context(), uid, "v0"); err != nil {
			b.Fatal(err)
		}
	}
}
