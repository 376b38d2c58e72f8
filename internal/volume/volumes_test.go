package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/translate"
)

const uid types.UID = "uid-1"

// world is a state directory of its own; what is mounted in it is gone after the test.
func world(t *testing.T) (*Volumes, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts and owners")
	}
	root := filepath.Join(t.TempDir(), "state")
	t.Cleanup(func() {
		table, err := mount.Read()
		if err != nil {
			t.Error(err)
		}
		for _, m := range table.Under(root) {
			if err := mount.Unmount(m.Point, true); err != nil {
				t.Error(err)
			}
		}
	})
	return New(Config{RootDir: root, Allocatable: v1.ResourceList{v1.ResourceMemory: resource.MustParse("64Mi"), v1.ResourceCPU: resource.MustParse("2")}}), root
}

func podWith(sources ...v1.VolumeSource) *v1.Pod {
	p := &v1.Pod{}
	p.UID, p.Namespace, p.Name = uid, "default", "web"
	p.Labels = map[string]string{"app": "web"}
	for i, s := range sources {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: "v" + string(rune('0'+i)), VolumeSource: s})
	}
	p.Spec.Containers = []v1.Container{{Name: "app"}}
	return p
}

func empty(medium v1.StorageMedium, size string) v1.VolumeSource {
	s := &v1.EmptyDirVolumeSource{Medium: medium}
	if size != "" {
		q := resource.MustParse(size)
		s.SizeLimit = &q
	}
	return v1.VolumeSource{EmptyDir: s}
}

func group(p *v1.Pod, gid int64) *v1.Pod {
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: &gid}
	return p
}

func setup(t *testing.T, v *Volumes, p *v1.Pod, name string) translate.Volume {
	t.Helper()
	m, err := v.Setup(t.Context(), p, name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func gidOf(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Gid
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEmptyDirOnDisk(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	v, root := world(t)
	p := podWith(empty("", ""), v1.VolumeSource{})
	m := setup(t, v, p, "v0")
	want := filepath.Join(root, "pods", "uid-1", "volumes", "kubernetes.io~empty-dir", "v0")
	if m.HostPath != want || m.ReadOnly || !m.Relabel {
		t.Errorf("%+v, want path %s", m, want)
	}
	if got := mode(t, want); got != fs.ModeDir|0o777 {
		t.Errorf("mode %v, want 0777", got)
	}
	for dir, want := range map[string]fs.FileMode{"pods/uid-1": 0o750, "pods/uid-1/volumes": 0o750, "pods/uid-1/volumes/kubernetes.io~empty-dir": 0o755} {
		if got := mode(t, filepath.Join(root, dir)).Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", dir, got, want)
		}
	}
	write(t, filepath.Join(want, "data"), "kept")
	if err := os.Chmod(want, 0o700); err != nil { // a container may do that
		t.Fatal(err)
	}
	setup(t, v, p, "v0")
	if got := mode(t, want).Perm(); got != 0o700 || !exists(filepath.Join(want, "data")) {
		t.Errorf("second Setup changed the volume: mode %v", got)
	}
	setup(t, v, p, "v1") // no source at all is an emptyDir
	if got, err := v.Found(uid); err != nil || !slices.Equal(got, []string{"v0", "v1"}) {
		t.Errorf("Found = %v, %v", got, err)
	}
	for range 2 {
		if err := v.Teardown(t.Context(), uid, "v0"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := v.Found(uid); exists(want) || err != nil || !slices.Equal(got, []string{"v1"}) {
		t.Errorf("after Teardown: Found = %v, %v", got, err)
	}
}

func TestEmptyDirCutBeforeItsMode(t *testing.T) {
	v, root := world(t)
	dir := filepath.Join(root, "pods/uid-1/volumes/kubernetes.io~empty-dir/v0")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	setup(t, v, group(podWith(empty("", "")), 2000), "v0")
	if got := mode(t, dir); got != fs.ModeDir|fs.ModeSetgid|0o777 || gidOf(t, dir) != 2000 {
		t.Errorf("mode %v, group %d", got, gidOf(t, dir))
	}
}

func TestEmptyDirInMemory(t *testing.T) {
	limited := podWith(empty(v1.StorageMediumMemory, "32Mi"))
	limited.Spec.Containers[0].Resources.Limits = v1.ResourceList{v1.ResourceMemory: resource.MustParse("8Mi")}
	half := podWith(empty(v1.StorageMediumMemory, ""))
	half.Spec.Containers = append(half.Spec.Containers, limited.Spec.Containers[0])
	for name, c := range map[string]struct {
		pod  *v1.Pod
		want string
	}{
		"sizeLimit":                    {podWith(empty(v1.StorageMediumMemory, "16Mi")), "size=16384k"},
		"pod limit":                    {limited, "size=8192k"},
		"node":                         {podWith(empty(v1.StorageMediumMemory, "")), "size=65536k"},
		"larger than the node":         {podWith(empty(v1.StorageMediumMemory, "1Gi")), "size=65536k"},
		"only one container has limit": {half, "size=65536k"},
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := world(t)
			m := setup(t, v, c.pod, "v0")
			table, err := mount.Read()
			if err != nil {
				t.Fatal(err)
			}
			at, ok := table.At(m.HostPath)
			if !ok || at.FSType != "tmpfs" || !strings.Contains(at.FSOptions, c.want) {
				t.Errorf("mounted %+v, want %s", at, c.want)
			}
			if got := mode(t, m.HostPath); got.Perm() != 0o777 {
				t.Errorf("mode %v", got)
			}
		})
	}
}

func TestEmptyDirInMemoryIsIdempotentAndSurvivesReboot(t *testing.T) {
	v, _ := world(t)
	p := group(podWith(empty(v1.StorageMediumMemory, "")), 2000)
	m := setup(t, v, p, "v0")
	write(t, filepath.Join(m.HostPath, "data"), "kept")
	setup(t, v, p, "v0")
	if !exists(filepath.Join(m.HostPath, "data")) {
		t.Fatal("second Setup mounted over the first")
	}
	if err := mount.Unmount(m.HostPath, true); err != nil { // as a reboot does
		t.Fatal(err)
	}
	setup(t, v, p, "v0")
	if mounted, err := mount.IsMountPoint(m.HostPath); !mounted || err != nil {
		t.Errorf("not mounted again: %v", err)
	}
	if got := mode(t, m.HostPath); got != fs.ModeDir|fs.ModeSetgid|fs.ModeSticky|0o777 || gidOf(t, m.HostPath) != 2000 {
		t.Errorf("after reboot: mode %v, group %d", got, gidOf(t, m.HostPath))
	}
	for range 2 {
		if err := v.Teardown(t.Context(), uid, "v0"); err != nil {
			t.Fatal(err)
		}
	}
	if exists(m.HostPath) {
		t.Error("still there")
	}
}

func TestEmptyDirInHugePages(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/mm/hugepages/hugepages-2048kB"); err != nil {
		t.Skip("this kernel has no huge pages of 2 MiB")
	}
	for _, medium := range []v1.StorageMedium{"HugePages", "HugePages-2Mi"} {
		v, _ := world(t)
		p := podWith(empty(medium, ""))
		p.Spec.Containers[0].Resources.Limits = v1.ResourceList{"hugepages-2Mi": resource.MustParse("4Mi")}
		m := setup(t, v, p, "v0")
		table, _ := mount.Read()
		if at, ok := table.At(m.HostPath); !ok || at.FSType != "hugetlbfs" || !strings.Contains(at.FSOptions, "pagesize=2M") {
			t.Errorf("%s: mounted %+v", medium, at)
		}
		if got := mode(t, m.HostPath).Perm(); got != 0o777 {
			t.Errorf("mode %v", got)
		}
		if err := v.Teardown(t.Context(), uid, "v0"); err != nil {
			t.Error(err)
		}
	}
}

func TestPageSize(t *testing.T) {
	asking := func(sizes ...string) *v1.Pod {
		p := podWith()
		p.Spec.Containers[0].Resources.Limits = v1.ResourceList{}
		for _, s := range sizes {
			p.Spec.Containers[0].Resources.Limits[v1.ResourceName("hugepages-"+s)] = resource.MustParse(s)
		}
		return p
	}
	for _, c := range []struct {
		medium v1.StorageMedium
		pod    *v1.Pod
		want   int64 // 0: an error
	}{
		{"HugePages", asking("2Mi"), 2 << 20},
		{"HugePages", asking(), 0},
		{"HugePages", asking("2Mi", "1Gi"), 0},
		{"HugePages-1Gi", asking("2Mi", "1Gi"), 1 << 30},
		{"HugePages-2048Ki", asking("2Mi"), 2 << 20},
		{"HugePages-1Gi", asking("2Mi"), 0},
		{"HugePages-x", asking("2Mi"), 0},
	} {
		got, err := pageSize(c.pod, c.medium)
		if (err != nil) != (c.want == 0) || err == nil && got.Value() != c.want {
			t.Errorf("%s: %v, %v, want %d", c.medium, got, err, c.want)
		}
	}
}

func TestSetupErrors(t *testing.T) {
	v, root := world(t)
	claim := v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}
	token := v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{ServiceAccountToken: &v1.ServiceAccountTokenProjection{}}}}}
	escape := v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{Items: []v1.DownwardAPIVolumeFile{{Path: "../../x", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}}
	for _, c := range []struct {
		source      v1.VolumeSource
		unsupported bool
		words       []string
	}{
		{claim, true, []string{"default/web", `"v0"`, "spec.volumes[0].persistentVolumeClaim", "emptyDir", "hostPath"}},
		{token, true, []string{"spec.volumes[0].projected.sources[0].serviceAccountToken", "downwardAPI"}},
		{empty("Tape", ""), false, []string{"spec.volumes[0].emptyDir.medium", `"Tape"`, "Memory"}},
		{empty("HugePages", ""), false, []string{"exactly one size", "none"}},
		{escape, false, []string{"spec.volumes[0].downwardAPI", "../../x"}},
	} {
		_, err := v.Setup(t.Context(), podWith(c.source), "v0")
		if err == nil || errors.Is(err, fault.ErrUnsupported) != c.unsupported {
			t.Errorf("error %v", err)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error %q does not name %q", err, w)
			}
		}
		var typed *SetupError
		if !errors.As(err, &typed) || typed.Volume != "v0" || typed.Pod != "default/web" {
			t.Errorf("%v is no SetupError of the volume", err)
		}
	}
	if _, err := v.Setup(t.Context(), podWith(), "other"); err == nil {
		t.Error("a volume the pod does not have")
	}
	p := podWith(empty("", ""))
	for _, bad := range []types.UID{"../../etc", "", "a/b"} {
		p.UID = bad
		if _, err := v.Setup(t.Context(), p, "v0"); err == nil || !strings.Contains(err.Error(), "metadata.uid") {
			t.Errorf("uid %q: %v", bad, err)
		}
		if err := v.Teardown(t.Context(), bad, "v0"); err == nil {
			t.Errorf("Teardown of uid %q passed", bad)
		}
		if err := v.RemovePodDir(t.Context(), bad); err == nil {
			t.Errorf("RemovePodDir of uid %q passed", bad)
		}
	}
	if exists(filepath.Join(root, "etc")) {
		t.Error("made something outside")
	}
}

func TestDownwardAPI(t *testing.T) {
	v, _ := world(t)
	readable := int32(0o400)
	items := []v1.DownwardAPIVolumeFile{
		{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
		{Path: "res/cpu", ResourceFieldRef: &v1.ResourceFieldSelector{ContainerName: "app", Resource: "limits.cpu"}, Mode: &readable},
	}
	for name, source := range map[string]v1.VolumeSource{
		"downwardAPI": {DownwardAPI: &v1.DownwardAPIVolumeSource{Items: items}},
		"projected": {Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{DownwardAPI: &v1.DownwardAPIProjection{Items: []v1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}},
			{DownwardAPI: &v1.DownwardAPIProjection{Items: items}}, // later holds
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := podWith(source)
			m := setup(t, v, p, "v0")
			if !m.ReadOnly {
				t.Error("not read-only")
			}
			read := func(file, want string) {
				t.Helper()
				if got, err := os.ReadFile(filepath.Join(m.HostPath, file)); err != nil || string(got) != want {
					t.Errorf("%s = %q, %v, want %q", file, got, err, want)
				}
			}
			read("labels", `app="web"`)
			read("res/cpu", "2") // the node's
			if got := mode(t, filepath.Join(m.HostPath, "..data/res/cpu")).Perm(); got != 0o400 {
				t.Errorf("mode %v", got)
			}
			if mounted, err := mount.IsMountPoint(m.HostPath); !mounted || err != nil {
				t.Errorf("not in memory: %v", err)
			}
			before, _ := os.Readlink(filepath.Join(m.HostPath, "..data"))
			setup(t, v, p, "v0")
			if after, _ := os.Readlink(filepath.Join(m.HostPath, "..data")); after != before {
				t.Error("rewritten without a change")
			}
			p.Labels["app"] = "new"
			setup(t, v, p, "v0")
			read("labels", `app="new"`)
			if _, err := subpath(t, v, p, "app", 0, "labels", true); err != nil { // through two links
				t.Error(err)
			}
			if _, err := subpath(t, v, p, "app", 1, "missing", true); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("missing key: %v", err)
			}
			for range 2 {
				if err := v.TearDown(t.Context(), uid); err != nil {
					t.Fatal(err)
				}
			}
			if exists(m.HostPath) {
				t.Error("still there")
			}
		})
	}
}

func TestRead(t *testing.T) {
	v, _ := world(t)
	p := podWith(empty("", ""))
	m := setup(t, v, p, "v0")
	write(t, filepath.Join(m.HostPath, "env"), "A='1'")
	if err := os.Symlink("env", filepath.Join(m.HostPath, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(m.HostPath, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.HostPath, "large"), make([]byte, maxEnvFile+1), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"env", "link"} {
		if got, err := v.Read(t.Context(), p, "v0", path); err != nil || string(got) != "A='1'" {
			t.Errorf("Read(%s) = %q, %v", path, got, err)
		}
	}
	for path, want := range map[string]error{"out": safepath.ErrUnsafe, "../x": safepath.ErrUnsafe, "large": safepath.ErrTooLarge, "none": fs.ErrNotExist} {
		if _, err := v.Read(t.Context(), p, "v0", path); !errors.Is(err, want) {
			t.Errorf("Read(%s) = %v, want %v", path, err, want)
		}
	}
	if _, err := v.Read(t.Context(), p, "other", "env"); err == nil {
		t.Error("read from a volume the pod does not have")
	}
}
