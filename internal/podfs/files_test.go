package podfs

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// remover stands for package volume.
type remover struct {
	root string
	fail error
}

func (r remover) RemovePodDir(_ context.Context, uid types.UID) error {
	if r.fail != nil {
		return r.fail
	}
	return os.RemoveAll(filepath.Join(r.root, "pods", string(uid)))
}

// world is a machine with its state, logs and links in one temporary directory.
func world(t *testing.T) (f *Files, dir string) {
	t.Helper()
	dir = t.TempDir()
	root := filepath.Join(dir, "state")
	return New(Config{RootDir: root, PodLogsDir: filepath.Join(dir, "logs"), LinksDir: filepath.Join(dir, "links"), Volumes: remover{root: root}}), dir
}

func podOf(names ...string) *v1.Pod {
	p := &v1.Pod{}
	p.UID, p.Namespace, p.Name = "uid-1", "default", "web"
	for _, n := range names {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: n})
	}
	return p
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestMake(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	f, dir := world(t)
	p := podOf("app", "side")
	p.Spec.InitContainers = []v1.Container{{Name: "init"}}
	for range 2 {
		if got, err := f.Make(t.Context(), p); err != nil || len(got) != 0 {
			t.Fatalf("Make = %v, %v", got, err)
		}
	}
	for path, want := range map[string]fs.FileMode{
		"state/pods/uid-1": 0o750, "state/pods/uid-1/containers": 0o750, "state/pods/uid-1/plugins": 0o750, "state/pods/uid-1/volumes": 0o750,
		"logs/default_web_uid-1": 0o755, "logs/default_web_uid-1/app": 0o755, "logs/default_web_uid-1/init": 0o755,
	} {
		if got := mode(t, filepath.Join(dir, path)); got != want {
			t.Errorf("%s has mode %v, want %v", path, got, want)
		}
	}
	logs := filepath.Join(dir, "logs/default_web_uid-1")
	for _, name := range []string{"app/0.log", "app/2.log", "app/10.log.20260102-150405.gz", "app/99.txt", "app/x.log", "app/77.logs", "side/3.log", "gone/7.log"} {
		write(t, filepath.Join(logs, name), "")
	}
	got, err := f.Make(t.Context(), p)
	if want := map[string]uint32{"app": 10, "side": 3}; err != nil || !maps.Equal(got, want) {
		t.Errorf("attempts %v, %v, want %v", got, err, want)
	}
}

func TestNamesThatArePathsAreRefused(t *testing.T) {
	f, dir := world(t)
	for field, spoil := range map[string]func(p *v1.Pod){
		"metadata.uid":       func(p *v1.Pod) { p.UID = "../../x" },
		"metadata.name":      func(p *v1.Pod) { p.Name = "a/b" },
		"metadata.namespace": func(p *v1.Pod) { p.Namespace = ".." },
		"container name":     func(p *v1.Pod) { p.Spec.Containers[0].Name = "../app" },
	} {
		p := podOf("app")
		spoil(p)
		if _, err := f.Make(t.Context(), p); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := f.Termination(t.Context(), podOf(), "../../x", 0); err == nil {
		t.Error("Termination took a path")
	}
	if err := f.RemoveLogs(t.Context(), "..", "web", "uid"); err == nil {
		t.Error("RemoveLogs took a path")
	}
	if err := f.Link(t.Context(), podOf(), "app", "../id", "/x"); err == nil {
		t.Error("Link took a path")
	}
	if exists(filepath.Join(dir, "x")) {
		t.Error("made something outside")
	}
}

func TestHosts(t *testing.T) {
	f, dir := world(t)
	path, err := f.Hosts(t.Context(), podOf(), []byte("127.0.0.1 localhost\n"))
	if want := filepath.Join(dir, "state/pods/uid-1/etc-hosts"); err != nil || path != want {
		t.Fatalf("Hosts = %s, %v, want %s", path, err, want)
	}
	if got := mode(t, path); got != 0o644 {
		t.Errorf("mode %v", got)
	}
	first, _ := os.Stat(path)
	if _, err := f.Hosts(t.Context(), podOf(), []byte("127.0.0.1 localhost\n")); err != nil {
		t.Fatal(err)
	}
	if now, _ := os.Stat(path); !os.SameFile(first, now) {
		t.Error("replaced without a change")
	}
	for _, content := range []string{"127.0.0.1 localhost\n10.0.0.1 web\n", "", "x"} {
		if _, err := f.Hosts(t.Context(), podOf(), []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != content {
			t.Errorf("content %q, want %q", got, content)
		}
	}
	if now, _ := os.Stat(path); os.SameFile(first, now) {
		t.Error("a new content was written into the file that containers have open")
	}
}

func TestForget(t *testing.T) {
	f, dir := world(t)
	p := podOf("app")
	if _, err := f.Make(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "logs/default_web_uid-1/app/0.log")
	write(t, log, "")
	other := filepath.Join(dir, "logs/default_web_uid-2/app/0.log")
	write(t, other, "")
	for id, target := range map[string]string{"one": log, "two": other} {
		if err := f.Link(t.Context(), p, "app", id, target); err != nil {
			t.Fatal(err)
		}
	}
	mounted := errors.New("still mounted")
	f.volumes = remover{fail: mounted}
	if err := f.Forget(t.Context(), p); !errors.Is(err, mounted) || !exists(log) {
		t.Errorf("Forget = %v; the logs must wait for the volumes", err)
	}
	f.volumes = remover{root: filepath.Join(dir, "state")}
	for range 2 {
		if err := f.Forget(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{
		"state/pods/uid-1": false, "logs/default_web_uid-1": false, "links/web_default_app-one.log": false,
		"logs/default_web_uid-2": true, "links/web_default_app-two.log": true,
	} {
		if exists(filepath.Join(dir, path)) != want {
			t.Errorf("%s exists: %v", path, !want)
		}
	}
}

func TestLinks(t *testing.T) {
	f, dir := world(t)
	p := podOf("app")
	links := filepath.Join(dir, "links")
	log := filepath.Join(dir, "logs/default_web_uid-1/app/0.log")
	write(t, log, "hello")
	for range 2 {
		if err := f.Link(t.Context(), p, "app", "id1", log); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(links, "web_default_app-id1.log")); err != nil || string(got) != "hello" {
		t.Errorf("through the link: %q, %v", got, err)
	}
	if err := f.Link(t.Context(), p, "app", "id2", filepath.Join(dir, "logs/default_web_uid-1/app/1.log")); err != nil { // no such log
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere/of/ours", filepath.Join(links, "foreign.log")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(links, "file.log"), "")
	if n, err := f.SweepLinks(t.Context()); n != 1 || err != nil {
		t.Errorf("SweepLinks = %d, %v, want 1", n, err)
	}
	for name, want := range map[string]bool{"web_default_app-id1.log": true, "web_default_app-id2.log": false, "foreign.log": true, "file.log": true} {
		if exists(filepath.Join(links, name)) != want {
			t.Errorf("%s exists: %v", name, !want)
		}
	}
	for range 2 {
		if err := f.Unlink(t.Context(), p, "app", "id1"); err != nil {
			t.Fatal(err)
		}
	}
	if exists(filepath.Join(links, "web_default_app-id1.log")) || !exists(log) {
		t.Error("Unlink removed the wrong thing")
	}
}

func TestLinkNamesFit(t *testing.T) {
	p := podOf()
	p.Name, p.Namespace = strings.Repeat("n", 253), strings.Repeat("s", 63)
	id := strings.Repeat("0123456789abcdef", 4)
	name, err := linkName(p, strings.Repeat("c", 63), id)
	if err != nil || len(name) != 255 || !strings.HasSuffix(name, "-"+id+".log") || !strings.HasPrefix(name, "nnn") {
		t.Errorf("%d bytes, %v: %s", len(name), err, name)
	}
}

func TestLogDirs(t *testing.T) {
	f, dir := world(t)
	if got, err := f.LogDirs(); len(got) != 0 || err != nil {
		t.Errorf("nothing there: %v, %v", got, err)
	}
	for _, d := range []string{"default_web_uid-1", "kube-system_a.b_u_2", "lost+found", "a_b", "__x"} {
		if err := os.MkdirAll(filepath.Join(dir, "logs", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.LogDirs()
	slices.SortFunc(got, func(a, b LogDir) int { return strings.Compare(a.Namespace, b.Namespace) })
	if want := []LogDir{{"default", "web", "uid-1"}, {"kube-system", "a.b", "u_2"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("LogDirs = %v, %v", got, err)
	}
}
