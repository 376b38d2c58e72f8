package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/translate"
)

const localDir = "kubernetes.io~local-volume"

// local is a directory of this node as a persistent volume (behaviour 188). Whoever makes such a volume may name any path, so links of the
// host are followed; containers see a bind mount of what the path led to when it was set up.
type local struct{}

func (local) dir() string { return localDir }

func (local) holds(*v1.Volume) bool { return false } // always behind a claim

func (local) shown(r *request) translate.Volume {
	if r.block() {
		return translate.Volume{Device: r.pv.Spec.Local.Path, ReadOnly: r.readOnly}
	}
	return translate.Volume{ReadOnly: r.readOnly, Relabel: !r.readOnly}
}

func (local) teardown(ctx context.Context, p place) error { return leave(ctx, p) }

func (local) setup(ctx context.Context, r *request) error {
	source, err := openLocal(r.pv.Spec.Local.Path)
	if err != nil {
		return failed(r, "MountVolume.NewMounter initialization", err)
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return failed(r, "MountVolume.SetUp", err)
	}
	switch isDevice := info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0; {
	case r.block() && !isDevice:
		return failed(r, "MapVolume.MapPodDevice", fmt.Errorf("%s is not a block device", r.pv.Spec.Local.Path))
	case r.block():
		return nil
	case isDevice:
		return failed(r, "MountVolume.MountDevice", fmt.Errorf(
			"%s is a block device: mount its file system on the node, and name the directory in spec.local.path", r.pv.Spec.Local.Path))
	case !info.IsDir():
		return failed(r, "MountVolume.SetUp", fmt.Errorf("%s is not a directory", r.pv.Spec.Local.Path))
	}
	if _, err := makeVolumeDir(r.place, dirMode); err != nil {
		return err
	}
	mounted, err := mountOnce(r.place, func(dir *os.File) error {
		return mount.MountBind(source, dir, mount.Bind{ReadOnly: r.readOnly, Recursive: true, Propagation: mount.Slave})
	})
	if err != nil {
		return failed(r, "MountVolume.SetUp", err)
	}
	if !mounted && isReady(r.place) || r.readOnly {
		return setReady(r.place)
	}
	if err := own(ctx, r.place.pod, r.place.path(), r.groupOwnership()); err != nil {
		return failed(r, "MountVolume.SetUp", err)
	}
	return setReady(r.place)
}

// groupOwnership is what fsGroup asks of a volume that others may use too: it may be enough that its root is right.
func (r *request) groupOwnership() ownership {
	own := r.ownership()
	if own.gid != nil {
		change := r.pod.Spec.SecurityContext.FSGroupChangePolicy
		own.onRootMismatch = change != nil && *change == v1.FSGroupChangeOnRootMismatch
	}
	own.readOnly = r.readOnly
	return own
}

// openLocal opens what a path of the host leads to.
func openLocal(path string) (*os.File, error) {
	if path == "" || path[0] != '/' {
		return nil, fmt.Errorf("path %q: must be an absolute path", path)
	}
	top, err := safepath.Open("/")
	if err != nil {
		return nil, err
	}
	defer top.Close()
	source, err := top.With(safepath.LinksAsRoot).Handle(inTop(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("path %q does not exist", path)
	}
	return source, err
}

// leave takes the directory of a volume away whose data are others': the mount, and the directory if nothing is in it then.
func leave(ctx context.Context, p place) error {
	if err := mount.Unmount(p.host(), false); err != nil {
		return err
	}
	if err := p.pod.Remove(p.path()); err != nil { // never with contents
		return err
	}
	return p.pod.RemoveAll(ctx, filepath.Dir(p.ready()))
}
