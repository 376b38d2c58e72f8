package volume

import (
	"bytes"
	"context"
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

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/mount"
)

// shelf is the objects of a cluster.
type shelf struct{ facts content.Facts }

func (s *shelf) content(_ context.Context, p *v1.Pod, v *v1.Volume) (content.Files, error) {
	return content.Of(p, v, s.facts)
}

// member is world with an API server that has a config map, a secret and a token.
func member(t *testing.T) (*Volumes, *shelf, string) {
	t.Helper()
	_, root := world(t)
	s := &shelf{facts: content.Facts{
		Facts: environ.Facts{
			ConfigMaps: map[string]*v1.ConfigMap{"m": {Data: map[string]string{"a": "1", "b": "2"}}},
			Secrets:    map[string]*v1.Secret{"s": {Data: map[string][]byte{"word": []byte("hush")}}},
		},
		Tokens: map[content.Token]string{{Account: "default", Seconds: 3600}: "token-1"},
	}}
	return New(Config{RootDir: root, Allocatable: v1.ResourceList{v1.ResourceMemory: resource.MustParse("64Mi")}, Content: s.content}), s, root
}

var (
	configMapVolume = v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "m"}}}
	secretVolume    = v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: "s"}}
	accessVolume    = v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token"}},
		{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "m"}}},
	}}}
)

func text(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// Behaviour 177: where the volumes are, what is in memory, and how they go.
func TestVolumesOfObjects(t *testing.T) {
	v, _, root := member(t)
	p := podWith(configMapVolume, secretVolume, accessVolume)
	for i, c := range []struct {
		dir, file, want string
		memory          bool
	}{
		{"kubernetes.io~configmap", "b", "2", false},
		{"kubernetes.io~secret", "word", "hush", true},
		{"kubernetes.io~projected", "token", "token-1", true},
	} {
		name := p.Spec.Volumes[i].Name
		m := setup(t, v, p, name)
		if want := filepath.Join(root, "pods/uid-1/volumes", c.dir, name); m.HostPath != want || !m.ReadOnly || !m.Relabel {
			t.Errorf("%+v, want %s", m, want)
		}
		if got := text(t, filepath.Join(m.HostPath, c.file)); got != c.want {
			t.Errorf("%s = %q", c.file, got)
		}
		if mounted, err := mount.IsMountPoint(m.HostPath); mounted != c.memory || err != nil {
			t.Errorf("%s is mounted: %v, %v", name, mounted, err)
		}
		if got := mode(t, filepath.Join(m.HostPath, "..data", c.file)); got != 0o644 {
			t.Errorf("%s has mode %v", c.file, got)
		}
	}
	if got, err := v.Found(uid); err != nil || !slices.Equal(got, []string{"v0", "v1", "v2"}) {
		t.Errorf("Found = %v, %v", got, err)
	}
	for range 2 {
		if err := v.TearDown(t.Context(), uid); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := v.Found(uid); err != nil || len(got) != 0 {
		t.Errorf("Found = %v, %v", got, err)
	}
	if err := v.RemovePodDir(t.Context(), uid); err != nil {
		t.Error(err)
	}
}

// TestTopsOfVolumes: the top of each kind of volume as the upstream kubelet 1.37.1 makes it.
func TestTopsOfVolumes(t *testing.T) {
	for _, c := range []struct {
		name   string
		source v1.VolumeSource
		want   fs.FileMode
	}{
		{"emptyDir", empty("", ""), 0o777},
		{"emptyDir in memory", empty(v1.StorageMediumMemory, ""), 0o777 | fs.ModeSticky},
		{"configMap", configMapVolume, 0o777},
		{"secret", secretVolume, 0o777 | fs.ModeSticky},
		{"projected", accessVolume, 0o777 | fs.ModeSticky},
		{"downwardAPI", v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{}}, 0o777 | fs.ModeSticky},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, _, _ := member(t)
			m := setup(t, v, podWith(c.source), "v0")
			if got := mode(t, m.HostPath); got != fs.ModeDir|c.want || gidOf(t, m.HostPath) != 0 {
				t.Errorf("mode %v, group %d, want %v", got, gidOf(t, m.HostPath), c.want)
			}
			other, _, _ := member(t)
			m = setup(t, other, group(podWith(c.source), 2000), "v0")
			if got := mode(t, m.HostPath); got != fs.ModeDir|fs.ModeSetgid|c.want || gidOf(t, m.HostPath) != 2000 {
				t.Errorf("with fsGroup: mode %v, group %d, want %v", got, gidOf(t, m.HostPath), c.want|fs.ModeSetgid)
			}
		})
	}
}

// Behaviours 178, 179: an update is seen in place and at once, a subPath mount keeps what it showed.
func TestVolumeOfObjectsIsUpdated(t *testing.T) {
	v, objects, _ := member(t)
	p := podWith(configMapVolume)
	p.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "v0", MountPath: "/b", SubPath: "b"}}
	m := setup(t, v, p, "v0")
	sub, err := v.Subpath(t.Context(), p, "app", 0, "b")
	if err != nil {
		t.Fatal(err)
	}
	before, _ := os.Readlink(filepath.Join(m.HostPath, "..data"))
	setup(t, v, p, "v0")
	if after, _ := os.Readlink(filepath.Join(m.HostPath, "..data")); after != before {
		t.Error("written again without a change")
	}
	objects.facts.ConfigMaps["m"] = &v1.ConfigMap{Data: map[string]string{"b": "new", "c": "3"}}
	setup(t, v, p, "v0")
	if got := text(t, filepath.Join(m.HostPath, "b")) + text(t, filepath.Join(m.HostPath, "c")); got != "new3" || exists(filepath.Join(m.HostPath, "a")) {
		t.Errorf("after the update: %q, a is there: %v", got, exists(filepath.Join(m.HostPath, "a")))
	}
	if got := text(t, sub); got != "2" {
		t.Errorf("the subPath shows %q", got)
	}
	delete(objects.facts.ConfigMaps, "m")
	_, err = v.Setup(t.Context(), p, "v0")
	var failed *SetupError
	if !errors.As(err, &failed) || failed.Err.Error() != `configmap "m" not found` {
		t.Errorf("error %v", err)
	}
	if got := text(t, filepath.Join(m.HostPath, "b")); got != "new" {
		t.Errorf("after the object has gone: %q", got)
	}
}

func TestMissingObjectLeavesNothing(t *testing.T) {
	v, objects, _ := member(t)
	objects.facts.Secrets = nil
	if _, err := v.Setup(t.Context(), podWith(secretVolume), "v0"); err == nil {
		t.Fatal("no error")
	}
	if got, err := v.Found(uid); err != nil || len(got) != 0 {
		t.Errorf("Found = %v, %v", got, err)
	}
}

// Behaviours 177, 181: fsGroup lets the group read, and the token's owner is who all containers run as.
func TestOwnersOfVolumesOfObjects(t *testing.T) {
	v, objects, _ := member(t)
	p := group(podWith(secretVolume, accessVolume, configMapVolume), 3000)
	user, strict := int64(1000), int32(0o400)
	p.Spec.SecurityContext.RunAsUser = &user
	secret := *secretVolume.Secret
	secret.DefaultMode = &strict
	p.Spec.Volumes[0].Secret = &secret
	for _, c := range []struct {
		volume, file string
		mode         fs.FileMode
		uid          uint32
	}{{"v0", "word", 0o440, 0}, {"v1", "token", 0o640, 1000}, {"v1", "a", 0o644, 0}, {"v2", "a", 0o644, 0}} {
		m := setup(t, v, p, c.volume)
		file := filepath.Join(m.HostPath, "..data", c.file)
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); info.Mode() != c.mode || st.Uid != c.uid || st.Gid != 3000 {
			t.Errorf("%s/%s: mode %v, owner %d:%d, want %v, %d:3000", c.volume, c.file, info.Mode(), st.Uid, st.Gid, c.mode, c.uid)
		}
	}
	// A token that has been renewed, only.
	objects.facts.Tokens[content.Token{Account: "default", Seconds: 3600}] = "token-2"
	m := setup(t, v, p, "v1")
	if got := text(t, filepath.Join(m.HostPath, "token")); got != "token-2" {
		t.Errorf("token %q", got)
	}
}

// A bad day of the cluster: the largest secret there can be, changed.
func TestLargeSecret(t *testing.T) {
	v, objects, _ := member(t)
	p := podWith(secretVolume)
	for _, fill := range []byte{'a', 'b'} {
		large := bytes.Repeat([]byte{fill}, 1<<20)
		objects.facts.Secrets["s"] = &v1.Secret{Data: map[string][]byte{"large": large}}
		m := setup(t, v, p, "v0")
		if got := text(t, filepath.Join(m.HostPath, "large")); got != string(large) {
			t.Errorf("%d bytes of %q", len(got), got[:1])
		}
	}
}

// Whatever the mount table has lost (a reboot, a stray umount) comes back.
func TestVolumeOfObjectsSurvivesReboot(t *testing.T) {
	v, _, _ := member(t)
	p := podWith(secretVolume)
	m := setup(t, v, p, "v0")
	if err := mount.Unmount(m.HostPath, true); err != nil {
		t.Fatal(err)
	}
	setup(t, v, p, "v0")
	if mounted, err := mount.IsMountPoint(m.HostPath); !mounted || err != nil || text(t, filepath.Join(m.HostPath, "word")) != "hush" {
		t.Errorf("mounted %v, %v", mounted, err)
	}
}

func TestObjectsNeedAnAPIServer(t *testing.T) {
	v, _ := world(t)
	for field, source := range map[string]v1.VolumeSource{
		"spec.volumes[0].configMap": configMapVolume, "spec.volumes[0].secret": secretVolume,
		"spec.volumes[0].projected.sources[0].serviceAccountToken": accessVolume,
	} {
		_, err := v.Setup(t.Context(), podWith(source), "v0")
		if !errors.Is(err, fault.ErrUnsupported) || !strings.Contains(err.Error(), field+" needs a Kubernetes API server; what works: emptyDir") {
			t.Errorf("%s: %v", field, err)
		}
	}
}
