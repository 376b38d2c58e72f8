package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/translate"
)

// emptyDir is a directory that lives as long as its pod: on disk, in memory or in huge pages (behaviour 175).
type emptyDir struct {
	// memory is what the node can give to pods, in bytes; 0 if that is not known.
	memory int64
}

func (emptyDir) dir() string { return "kubernetes.io~empty-dir" }

func (emptyDir) holds(v *v1.Volume) bool {
	return v.EmptyDir != nil || v.VolumeSource == v1.VolumeSource{}
}

func (emptyDir) shown(*request) translate.Volume { return translate.Volume{Relabel: true} }

func (e emptyDir) setup(ctx context.Context, r *request) error {
	source := r.volume.EmptyDir
	if source == nil {
		source = &v1.EmptyDirVolumeSource{}
	}
	made, err := makeVolumeDir(r.place, openMode)
	if err != nil {
		return err
	}
	mounted := false
	switch medium := source.Medium; {
	case medium == v1.StorageMediumDefault:
	case medium == v1.StorageMediumMemory:
		mounted, err = mountMemory(r.place, memorySize(r.pod, source.SizeLimit, e.memory), memoryMode)
	case medium == v1.StorageMediumHugePages || strings.HasPrefix(string(medium), string(v1.StorageMediumHugePagesPrefix)):
		mounted, err = mountHugePages(r, medium)
	default:
		err = fmt.Errorf("%s.medium %q: must be empty, Memory, HugePages or HugePages-<size>", r.field, medium)
	}
	if err != nil {
		return err
	}
	if !made && !mounted && isReady(r.place) {
		return nil // containers may be using it
	}
	if err := own(ctx, r.place.pod, r.place.path(), r.ownership()); err != nil {
		return err
	}
	return setReady(r.place)
}

func (emptyDir) teardown(ctx context.Context, p place) error { return removeVolumeDir(ctx, p) }

// makeVolumeDir makes the directory of a volume; made is false if it was there.
func makeVolumeDir(p place, mode fs.FileMode) (made bool, err error) {
	err = p.pod.Mkdir(p.path(), mode)
	if err == nil {
		// Whatever the file says was about an earlier volume of this name.
		return true, p.pod.Remove(p.ready())
	}
	if !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	if isReady(p) {
		return false, nil
	}
	// An earlier call may have been cut before it set the mode.
	h, err := p.pod.Handle(p.path())
	if err != nil {
		return false, err
	}
	defer h.Close()
	return false, safepath.Chmod(h, mode)
}

// removeVolumeDir unmounts the directory of a volume, and removes it with what it holds.
func removeVolumeDir(ctx context.Context, p place) error {
	if err := p.pod.RemoveAll(ctx, filepath.Dir(p.ready())); err != nil {
		return err
	}
	if err := mount.Unmount(p.host(), false); err != nil {
		return err
	}
	return p.pod.RemoveAll(ctx, p.path())
}

func isReady(p place) bool {
	_, err := p.pod.Lstat(p.ready())
	return err == nil
}

func setReady(p place) error {
	if err := p.pod.MkdirAll(filepath.Dir(p.ready()), dirMode); err != nil {
		return err
	}
	f, err := p.pod.Create(p.ready(), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// mountMemory mounts a memory filesystem of at most size bytes (0: the kernel's default) unless one is there.
func mountMemory(p place, size int64, mode fs.FileMode) (mounted bool, err error) {
	return mountOnce(p, func(dir *os.File) error {
		_, err := mount.MountTmpfs(dir, mount.Tmpfs{Size: size, Mode: mode})
		return err
	})
}

// mountOnce mounts on the volume's directory unless something is mounted there.
func mountOnce(p place, mountOn func(dir *os.File) error) (mounted bool, err error) {
	there, err := mount.IsMountPoint(p.host())
	if err != nil || there {
		return false, err
	}
	dir, err := p.pod.Handle(p.path())
	if err != nil {
		return false, err
	}
	defer dir.Close() // an open handle would keep the mount busy
	return true, mountOn(dir)
}

func mountHugePages(r *request, medium v1.StorageMedium) (mounted bool, err error) {
	size, err := pageSize(r.pod, medium)
	if err != nil {
		return false, fmt.Errorf("%s.medium %q: %w", r.field, medium, err)
	}
	return mountOnce(r.place, func(dir *os.File) error { return mount.MountHugetlbfs(dir, size.Value(), openMode) })
}

// memorySize bounds a memory volume: the smallest of its own limit, the pod's memory limit and what the node can give.
func memorySize(pod *v1.Pod, sizeLimit *resource.Quantity, node int64) int64 {
	size := node
	smaller := func(v int64) {
		if v > 0 && (size == 0 || v < size) {
			size = v
		}
	}
	if sizeLimit != nil {
		smaller(sizeLimit.Value())
	}
	if qos.Limited(pod, v1.ResourceMemory) {
		limits := qos.LimitsBare(pod)
		smaller(limits.Memory().Value())
	}
	return size
}

// pageSize finds the page size of a huge page volume: the one its medium names, or the only one the pod asks for.
func pageSize(pod *v1.Pod, medium v1.StorageMedium) (resource.Quantity, error) {
	asked := map[string]bool{}
	for _, list := range []v1.ResourceList{qos.LimitsBare(pod), qos.RequestsBare(pod)} {
		for name := range list {
			if size, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix); ok {
				asked[size] = true
			}
		}
	}
	sizes := strings.Join(slices.Sorted(maps.Keys(asked)), ", ")
	if text, named := strings.CutPrefix(string(medium), string(v1.StorageMediumHugePagesPrefix)); named {
		size, err := resource.ParseQuantity(text)
		if err != nil || size.Sign() <= 0 {
			return size, fmt.Errorf("%q is not a page size such as 2Mi", text)
		}
		for a := range asked {
			if q, err := resource.ParseQuantity(a); err == nil && q.Cmp(size) == 0 {
				return size, nil
			}
		}
		return size, fmt.Errorf("no container asks for %s%s; asked for: %s", v1.ResourceHugePagesPrefix, text, orNone(sizes))
	}
	if len(asked) != 1 {
		return resource.Quantity{}, fmt.Errorf("the containers must ask for huge pages of exactly one size (or name it: HugePages-2Mi); asked for: %s", orNone(sizes))
	}
	return resource.ParseQuantity(sizes)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
