package volume_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/testbed/csidriver"
)

// A driver tells how full its volume is (behaviour 196).
func TestDriverUsage(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{Stats: true})
	p := claimingPod("u1")
	b.setup(p)
	u, err := b.v.DriverUsage(t.Context(), p.UID, "pv")
	if err != nil {
		t.Fatal(err)
	}
	if u.Bytes == nil || *u.Bytes != (csi.Count{Total: 1000, Used: 300, Available: 700}) || u.Inodes == nil || *u.Inodes != (csi.Count{Total: 10, Used: 3, Available: 7}) {
		t.Errorf("bytes %+v, inodes %+v", u.Bytes, u.Inodes)
	}
	for _, name := range []string{"other", "../../u1/volumes", ""} {
		if u, err := b.v.DriverUsage(t.Context(), p.UID, name); u.Bytes != nil || name != "other" && err == nil {
			t.Errorf("%q: %+v, %v", name, u, err)
		}
	}
	b.teardown(p.UID)
	b.unstage()
	if u, err := b.v.DriverUsage(t.Context(), p.UID, "pv"); u.Bytes != nil || errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("of a volume that is gone: %+v, %v", u, err)
	}
}

// Not every driver can.
func TestDriverWithoutUsage(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	p := claimingPod("u1")
	b.setup(p)
	if u, err := b.v.DriverUsage(t.Context(), p.UID, "pv"); !errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("%+v, %v", u, err)
	}
}

// A local volume is as full as the file system that it is on.
func TestLocalUsage(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	data := t.TempDir()
	if err := unix.Mount("tmpfs", data, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(data, unix.MNT_DETACH) })
	b.holds(v1.PersistentVolumeSource{Local: &v1.LocalVolumeSource{Path: data}})
	p := claimingPod("u")
	b.setup(p)
	if err := os.WriteFile(filepath.Join(data, "f"), make([]byte, 256<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := b.v.DriverUsage(t.Context(), p.UID, "pv")
	if err != nil {
		t.Fatal(err)
	}
	if u.Bytes == nil || *u.Bytes != (csi.Count{Total: 1 << 20, Used: 256 << 10, Available: 768 << 10}) || u.Inodes == nil || u.Inodes.Used != 2 {
		t.Errorf("bytes %+v, inodes %+v", u.Bytes, u.Inodes)
	}
	b.teardown(p.UID)
}
