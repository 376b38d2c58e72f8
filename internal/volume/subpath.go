package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/translate"
)

// subpaths is the directory below a pod's in which parts of volumes are bind mounted.
const subpaths = "volume-subpaths"

// Subpath makes a part of a volume ready to be shown to a container, and returns where it is on the host:
// <pods>/<uid>/volume-subpaths/<volume>/<container>/<index> (behaviour 179). index is that of the mount in the container's
// volumeMounts, and path its subPath with variables replaced. What is returned is a bind mount of what the path leads to
// at this moment, read-only if the mount is, so whatever containers do to the volume later, the runtime shows what was
// checked here. Symbolic links in the volume are followed as long as they stay in it. A directory that is missing is
// made with the mode of the volume's root, unless the agent writes the volume's files itself.
//
// Done again, it keeps a mount that still shows the right thing, and replaces one that does not. TeardownSubpaths
// takes it away.
func (v *Volumes) Subpath(ctx context.Context, p *v1.Pod, container string, index int, path string) (string, error) {
	at, err := v.subpath(ctx, p, container, index, path)
	if err != nil {
		return "", fmt.Errorf("failed to prepare subPath %q for volumeMounts[%d] of container %q: %w", path, index, container, err)
	}
	return at, nil
}

func (v *Volumes) subpath(ctx context.Context, p *v1.Pod, container string, index int, path string) (string, error) {
	c, _ := pod.FindContainer(p, container)
	if c == nil || index < 0 || index >= len(c.VolumeMounts) {
		return "", errors.New("the pod has no such mount")
	}
	if err := safepath.Component(container); err != nil {
		return "", err
	}
	m := &c.VolumeMounts[index]
	k, r, err := v.find(p, m.Name)
	if err != nil {
		return "", fmt.Errorf("volume %q: %w", m.Name, err)
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	volume, err := v.locate(k, r)
	if err != nil {
		return "", fmt.Errorf("volume %q: %w", m.Name, err)
	}
	source, err := openSubpath(volume, path)
	if err != nil {
		return "", err
	}
	defer source.Close()
	dir, err := v.makePod(p.UID)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	rel := filepath.Join(subpaths, m.Name, container, strconv.Itoa(index))
	return dir.Join(rel), bindSubpath(dir, rel, source, m.ReadOnly || volume.ReadOnly)
}

// openSubpath opens what a path in a volume leads to, and makes it if it is missing.
func openSubpath(at translate.Volume, path string) (*os.File, error) {
	volume, err := openVolume(at)
	if err != nil {
		return nil, err
	}
	defer volume.Close()
	source, err := volume.Handle(path)
	if !errors.Is(err, fs.ErrNotExist) || at.ReadOnly {
		return source, err
	}
	root, err := volume.Lstat(".")
	if err != nil {
		return nil, err
	}
	if err := volume.MkdirAll(path, root.Mode()&(fs.ModePerm|fs.ModeSetgid|fs.ModeSticky)); err != nil {
		return nil, err
	}
	return volume.Handle(path)
}

// bindSubpath mounts source at rel below the pod's directory unless it is there already.
func bindSubpath(dir *safepath.Root, rel string, source *os.File, readOnly bool) error {
	info, err := source.Stat()
	if err != nil {
		return err
	}
	path := dir.Join(rel)
	there, err := mount.IsMountPoint(path)
	if err != nil {
		return err
	}
	if there {
		if shows(path, info, readOnly) {
			return nil
		}
		// What was there has been replaced since the container's last start. Nobody uses the mount itself: running
		// containers have their own copy.
		if err := mount.Unmount(path, true); err != nil {
			return err
		}
	}
	target, err := makeTarget(dir, rel, info.IsDir())
	if err != nil {
		return err
	}
	defer target.Close()
	return mount.MountBind(source, target, mount.Bind{ReadOnly: readOnly, Recursive: true})
}

// shows tells whether a mount point shows this file or directory, writable or not.
func shows(path string, want fs.FileInfo, readOnly bool) bool {
	info, err := os.Lstat(path)
	if err != nil || !os.SameFile(info, want) {
		return false
	}
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && (st.Flags&unix.ST_RDONLY != 0) == readOnly
}

// makeTarget makes the empty directory or file to mount on.
func makeTarget(pod *safepath.Root, rel string, dir bool) (*os.File, error) {
	if err := pod.MkdirAll(filepath.Dir(rel), dirMode); err != nil {
		return nil, err
	}
	if info, err := pod.Lstat(rel); err == nil && info.IsDir() != dir {
		if err := pod.Remove(rel); err != nil {
			return nil, err
		}
	}
	var err error
	if dir {
		err = pod.Mkdir(rel, dirMode)
	} else {
		var f *os.File
		if f, err = pod.Create(rel, 0o640); err == nil {
			err = f.Close()
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return pod.Handle(rel)
}

// TeardownSubpaths unmounts and removes the subpaths of one container of a pod, or of all if container is empty. It is
// no error if there are none.
func (v *Volumes) TeardownSubpaths(ctx context.Context, uid types.UID, container string) error {
	pod, err := v.openPod(uid)
	if err != nil {
		return fmt.Errorf("tear down subpaths of pod %s: %w", uid, err)
	}
	if pod == nil {
		return nil
	}
	defer pod.Close()
	if err := teardownSubpaths(ctx, pod, container); err != nil {
		return fmt.Errorf("tear down subpaths of pod %s: %w", uid, err)
	}
	return nil
}

func teardownSubpaths(ctx context.Context, pod *safepath.Root, container string) error {
	volumes, err := list(pod, subpaths)
	if err != nil {
		return err
	}
	for _, volume := range volumes {
		containers, err := list(pod, filepath.Join(subpaths, volume))
		if err != nil {
			return err
		}
		left := len(containers)
		for _, c := range containers {
			if container != "" && c != container {
				continue
			}
			if err := teardownContainer(ctx, pod, filepath.Join(subpaths, volume, c)); err != nil {
				return err
			}
			left--
		}
		if left == 0 {
			if err := pod.Remove(filepath.Join(subpaths, volume)); err != nil {
				return err
			}
		}
	}
	return nil
}

func teardownContainer(ctx context.Context, pod *safepath.Root, dir string) error {
	indexes, err := list(pod, dir)
	if err != nil {
		return err
	}
	for _, index := range indexes {
		if err := ctx.Err(); err != nil {
			return err
		}
		rel := filepath.Join(dir, index)
		// A bind mount holds no data of its own: letting it go while somebody still looks is safe.
		if err := mount.Unmount(pod.Join(rel), true); err != nil {
			return err
		}
		if err := pod.Remove(rel); err != nil { // never with contents
			return err
		}
	}
	return pod.Remove(dir)
}
