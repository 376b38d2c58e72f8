package signals

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/evict"
)

// disk reads the file system of a directory.
func disk(dir string, out evict.Readings, space, inodes evict.Signal) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	unit := s.Frsize
	if unit == 0 {
		unit = s.Bsize
	}
	out.Of[space] = evict.Reading{Available: int64(s.Bavail) * unit, Capacity: int64(s.Blocks) * unit}
	out.Of[inodes] = evict.Reading{Available: int64(s.Ffree), Capacity: int64(s.Files)}
	return nil
}

// where is a directory on the file system of images, and how that lies to others. The runtime is asked until it has answered
// once (behaviour 257).
func (r *Reader) where(ctx context.Context) (images string, _ evict.Layout, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.layout != evict.Unknown {
		return r.images, r.layout, nil
	}
	images, containers, err := r.cfg.ImageFS(ctx)
	if err != nil || images == "" {
		return "", evict.Unknown, err
	}
	layout, err := layoutOf(r.cfg.RootDir, images, containers)
	if err != nil {
		return "", evict.Unknown, err
	}
	r.images, r.layout = images, layout
	return images, layout, nil
}

// layoutOf tells how the file systems lie that hold the node's state, the images, and what containers write; the latter is
// with the images unless the runtime says otherwise.
func layoutOf(node, images, containers string) (evict.Layout, error) {
	if containers == "" {
		containers = images
	}
	var at [3]device
	for i, dir := range []string{node, images, containers} {
		var err error
		if at[i], err = deviceOf(dir); err != nil {
			return evict.Unknown, err
		}
	}
	switch {
	case at[0].same(at[1]):
		return evict.One, nil
	case at[0].same(at[2]):
		return evict.Split, nil
	}
	return evict.Dedicated, nil
}

// device tells file systems apart.
type device struct {
	number uint64
	// source is what is mounted, such as /dev/sda1. Parts of one file system may have numbers of their own, as on btrfs.
	source string
}

func (d device) same(o device) bool {
	return d.number == o.number || d.source == o.source && strings.HasPrefix(d.source, "/")
}

func deviceOf(dir string) (device, error) {
	var s unix.Stat_t
	if err := unix.Stat(dir, &s); err != nil {
		return device{}, fmt.Errorf("look at %s: %w", dir, err)
	}
	d := device{number: s.Dev}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return d, nil // its number has to do
	}
	mounts, err := mountinfo.GetMounts(mountinfo.ParentsFilter(real))
	if err != nil {
		return d, nil
	}
	longest := -1
	for _, m := range mounts {
		if len(m.Mountpoint) >= longest { // of two on one place the later one counts
			longest, d.source = len(m.Mountpoint), m.Source
		}
	}
	return d, nil
}
