package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/safepath"
)

// DriverUsage asks the CSI driver of a pod's volume, or the file system of a local one, how full it is (behaviour 196). name is that
// of the volume's directory: the persistent volume's, or the volume's own where it lives with the pod. What a driver cannot tell is
// fault.ErrUnsupported. The servers of nfs volumes are not asked: one that is away would hold up all that ask.
func (v *Volumes) DriverUsage(ctx context.Context, uid types.UID, name string) (csi.Usage, error) {
	if err := safepath.Component(name); err != nil {
		return csi.Usage{}, err
	}
	pod, err := v.openPod(uid)
	if err != nil || pod == nil {
		return csi.Usage{}, err
	}
	defer pod.Close()
	p := place{pod: pod, kind: csiDir, name: name}
	d, ok, err := readData(pod, p.path())
	if err != nil {
		return csi.Usage{}, err
	}
	if !ok {
		return localUsage(place{pod: pod, kind: localDir, name: name})
	}
	driver, err := v.csi.drivers.Driver(d.DriverName)
	if err != nil {
		return csi.Usage{}, err
	}
	if !driver.Can.Stats {
		return csi.Usage{}, fmt.Errorf("driver %s does not tell how full volumes are: %w", d.DriverName, fault.ErrUnsupported)
	}
	staged := ""
	if driver.Can.Stage && d.Lifecycle == persistently {
		staged = filepath.Join(v.root, stagingDir(d), csiStaging)
	}
	return driver.Stats(ctx, d.VolumeHandle, staged, filepath.Join(p.host(), csiMount))
}

// localUsage is how full the file system of a local volume is; nothing if there is none.
func localUsage(p place) (csi.Usage, error) {
	dir, err := p.pod.Handle(p.path())
	if errors.Is(err, fs.ErrNotExist) {
		return csi.Usage{}, nil
	}
	if err != nil {
		return csi.Usage{}, err
	}
	defer dir.Close()
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &s); err != nil {
		return csi.Usage{}, fmt.Errorf("read how full %s is: %w", p.host(), err)
	}
	bytes := func(blocks uint64) int64 { return int64(blocks) * s.Bsize }
	return csi.Usage{
		Bytes:  &csi.Count{Total: bytes(s.Blocks), Used: bytes(s.Blocks - s.Bfree), Available: bytes(s.Bavail)},
		Inodes: &csi.Count{Total: int64(s.Files), Used: int64(s.Files - s.Ffree), Available: int64(s.Ffree)},
	}, nil
}
