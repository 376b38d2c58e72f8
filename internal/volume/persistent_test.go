package volume_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/testbed/csidriver"
)

// holds makes the claim's volume one of another kind.
func (b *csiBed) holds(source v1.PersistentVolumeSource) *v1.PersistentVolume {
	pv := b.api.volumes["pv"]
	pv.Spec.PersistentVolumeSource = source
	return pv
}

func (b *csiBed) refused(p *v1.Pod, want string) {
	b.t.Helper()
	if _, err := b.v.Setup(b.t.Context(), p, "v"); err == nil || !strings.Contains(err.Error(), want) {
		b.t.Errorf("error %v, want %s", err, want)
	}
}

func TestLocalVolume(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	data := t.TempDir()
	b.holds(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: data}})
	p := claimingPod("u")
	group := int64(4321)
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: &group}
	p.Spec.Volumes = append(p.Spec.Volumes, p.Spec.Volumes[0]) // twice the same claim
	p.Spec.Volumes[1].Name = "w"
	at := b.setup(p)
	if want := filepath.Join(b.root, "pods/u/volumes/kubernetes.io~local-volume/pv"); at.HostPath != want {
		t.Errorf("it is at %s", at.HostPath)
	}
	if _, err := b.v.Setup(t.Context(), p, "w"); err != nil {
		t.Fatal(err)
	}
	if n := len(mountsBelow(t, b.root)); n != 1 {
		t.Errorf("%d mounts, want one", n)
	}
	if err := os.WriteFile(filepath.Join(at.HostPath, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(data, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := info.Sys().(*syscall.Stat_t); st.Gid != 4321 {
		t.Errorf("the group of a new file is %d", st.Gid)
	}
	b.again()
	b.setup(p)
	b.teardown("u")
	if err := b.v.RemovePodDir(t.Context(), "u"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(data, "f")); err != nil {
		t.Error("the data has gone with the pod")
	}
	b.holds(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: filepath.Join(data, "none")}})
	b.refused(p, `MountVolume.NewMounter initialization failed for volume "pv" : path "`+data+`/none" does not exist`)
	b.holds(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: filepath.Join(data, "f")}})
	b.refused(p, "is not a directory")
}

func TestLocalDevice(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	block := v1.PersistentVolumeBlock
	b.holds(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: t.TempDir()}}).Spec.VolumeMode = &block
	p := claimingPod("u")
	p.Spec.Containers[0].VolumeMounts, p.Spec.Containers[0].VolumeDevices = nil, []v1.VolumeDevice{{Name: "v", DevicePath: "/dev/x"}}
	b.refused(p, "is not a block device")
	device := filepath.Join(t.TempDir(), "disk")
	if err := syscall.Mknod(device, syscall.S_IFBLK|0o600, 7<<8); err != nil {
		t.Skip("device nodes cannot be made here: ", err)
	}
	b.holds(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: device}})
	if at := b.setup(p); at.Device != device || at.HostPath != "" {
		t.Errorf("it is %+v", at)
	}
}

func TestHostPathBehindAClaim(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	data := t.TempDir()
	directory := v1.HostPathDirectory
	pv := b.holds(v1.PersistentVolumeSource{HostPath: &v1.HostPathVolumeSource{Path: data, Type: &directory}})
	pv.Annotations = map[string]string{"pv.beta.kubernetes.io/gid": "77"}
	p := claimingPod("u")
	at := b.setup(p)
	if at.HostPath != data || at.Group == nil || *at.Group != 77 {
		t.Errorf("it is at %s, of group %v", at.HostPath, at.Group)
	}
	if sub, err := b.v.Subpath(t.Context(), p, "app", 0, "deep/er"); err != nil || !strings.HasPrefix(sub, b.root) {
		t.Errorf("subpath %s, %v", sub, err)
	}
	if _, err := os.Stat(filepath.Join(data, "deep/er")); err != nil {
		t.Error(err)
	}
}

// mount(8) is asked as the volume says, and what it mounted is let go with the pod.
func TestNFS(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	data, dir := t.TempDir(), t.TempDir()
	b.cfg.MountProgram = filepath.Join(dir, "mount")
	script := "#!/bin/sh\necho \"$@\" >> " + dir + "/asked\nfor at; do :; done\nexec mount --bind " + data + " \"$at\"\n"
	if err := os.WriteFile(b.cfg.MountProgram, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	b.again()
	pv := b.holds(v1.PersistentVolumeSource{NFS: &v1.NFSVolumeSource{Server: "fd00::1", Path: "/export"}})
	pv.Spec.MountOptions = []string{"nfsvers=4.2", "hard"}
	p := claimingPod("u")
	p.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = true
	at := b.setup(p)
	b.setup(p)
	if !at.ReadOnly {
		t.Error("it may be written to")
	}
	own := claimingPod("w")
	own.Spec.Volumes[0].VolumeSource = v1.VolumeSource{NFS: &v1.NFSVolumeSource{Server: "10.0.0.1", Path: "/"}}
	if other := b.setup(own); other.HostPath != filepath.Join(b.root, "pods/w/volumes/kubernetes.io~nfs/v") || other.ReadOnly {
		t.Errorf("it is at %+v", other)
	}
	want := "-t nfs -o nfsvers=4.2,hard,ro [fd00::1]:/export " + at.HostPath + "\n-t nfs 10.0.0.1:/ " + b.root + "/pods/w/volumes/kubernetes.io~nfs/v\n"
	if asked, err := os.ReadFile(filepath.Join(dir, "asked")); err != nil || string(asked) != want {
		t.Errorf("asked\n%s%v, want\n%s", asked, err, want)
	}
	b.teardown("u")
	b.teardown("w")
	b.cfg.MountProgram = "/bin/false"
	b.again()
	b.refused(own, `MountVolume.SetUp failed for volume "v" : mount failed: exit status 1`)
	b.cfg.MountProgram = "no-such-program"
	b.again()
	b.refused(own, "executable file not found")
}

// A device comes and goes as a volume with files does, with the layout of devices (behaviour 187).
func TestCSIDevice(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	disk := filepath.Join(t.TempDir(), "disk")
	if err := syscall.Mknod(disk, syscall.S_IFBLK|0o600, 7<<8); err != nil {
		t.Skip("device nodes cannot be made here: ", err)
	}
	block := v1.PersistentVolumeBlock
	pv := b.api.volumes["pv"]
	pv.Spec.VolumeMode = &block
	pv.Spec.CSI.VolumeAttributes["device"] = disk
	p := claimingPod("u")
	p.Spec.Containers[0].VolumeMounts, p.Spec.Containers[0].VolumeDevices = nil, []v1.VolumeDevice{{Name: "v", DevicePath: "/dev/x"}}
	plugins := filepath.Join(b.root, "plugins/kubernetes.io/csi/volumeDevices")
	at := b.setup(p)
	if want := filepath.Join(plugins, "publish/pv/u"); at.Device != want || at.HostPath != "" {
		t.Errorf("it is %+v", at)
	}
	if info, err := os.Stat(at.Device); err != nil || info.Mode()&os.ModeDevice == 0 {
		t.Errorf("%v, %v", info, err)
	}
	if link, err := os.Readlink(filepath.Join(b.root, "pods/u/volumeDevices/kubernetes.io~csi/pv")); err != nil || link != at.Device {
		t.Errorf("link to %s, %v", link, err)
	}
	if _, err := os.Stat(filepath.Join(plugins, "pv/data/vol_data.json")); err != nil {
		t.Error(err)
	}
	b.again()
	b.setup(p)
	if n := b.unstage(); n != 0 {
		t.Error("a device that a pod uses was unstaged")
	}
	b.teardown("u")
	if err := b.v.RemovePodDir(t.Context(), "u"); err != nil {
		t.Error(err)
	}
	b.again()
	if n := b.unstage(); n != 1 {
		t.Errorf("%d devices to unstage, want 1", n)
	}
	b.called(stage, publish, unpublish, unstage)
	for _, dir := range []string{"pv", "staging/pv", "publish/pv"} {
		if _, err := os.Lstat(filepath.Join(plugins, dir)); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}

// A volume that was given more than its claim has grows on the node, once, while its pod goes on (behaviour 185).
func TestCSIVolumeGrows(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{Expand: true})
	size := func(text string) v1.ResourceList {
		return v1.ResourceList{v1.ResourceStorage: resource.MustParse(text)}
	}
	p := claimingPod("u")
	b.api.claims["data"].Status.Capacity, b.api.volumes["pv"].Spec.Capacity = size("1Gi"), size("1Gi")
	b.setup(p)
	b.api.volumes["pv"].Spec.Capacity = size("2Gi")
	b.api.volumes["pv"].Spec.CSI.NodeExpandSecretRef = &v1.SecretReference{Namespace: "ops", Name: "s"}
	b.refused(p, `NodeExpandVolume.NodeExpandVolume failed for volume "pv" : failed to find the secret s`)
	b.api.secrets["ops/s"] = &v1.Secret{Data: map[string][]byte{"key": []byte("hidden")}}
	b.setup(p)
	b.setup(p)
	b.called(stage, publish, "NodeExpandVolume")
	r, _ := b.driver.Calls("NodeExpandVolume")[0].Request.(*pb.NodeExpandVolumeRequest)
	if r.CapacityRange.RequiredBytes != 2<<30 || !strings.HasSuffix(r.VolumePath, "/mount") || !strings.HasSuffix(r.StagingTargetPath, "/globalmount") || r.Secrets["key"] != "hidden" {
		t.Errorf("asked to grow with %v %s %s", r.CapacityRange, r.VolumePath, r.StagingTargetPath)
	}
	if len(b.api.grown) != 1 || b.api.grown[0] != "data=2Gi" {
		t.Errorf("the claim was told %v", b.api.grown)
	}
}
