package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Mount is one line of the mount table.
type Mount struct {
	// Point is where it is mounted, Root which directory of the filesystem is seen there.
	Point, Root string
	// FSType and Source are as in mount(8): "tmpfs", "/dev/sda1".
	FSType, Source string
	// Options are those of the mount ("ro,nosuid"), FSOptions those of the filesystem ("size=65536k").
	Options, FSOptions string
}

// Table is a snapshot of the mount table, oldest mount first.
type Table []Mount

// Read takes a snapshot of the mount table.
func Read() (Table, error) {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	t := make(Table, len(infos))
	for i, m := range infos {
		t[i] = Mount{Point: m.Mountpoint, Root: m.Root, FSType: m.FSType, Source: m.Source, Options: m.Options, FSOptions: m.VFSOptions}
	}
	return t, nil
}

// Under are the mounts at dir and beneath it, newest first: the order to unmount them in.
func (t Table) Under(dir string) Table {
	var out Table
	for _, m := range slices.Backward(t) {
		if m.Point == dir || strings.HasPrefix(m.Point, strings.TrimSuffix(dir, "/")+"/") {
			out = append(out, m)
		}
	}
	return out
}

// At is the newest mount exactly at path.
func (t Table) At(path string) (Mount, bool) {
	for _, m := range slices.Backward(t) {
		if m.Point == path {
			return m, true
		}
	}
	return Mount{}, false
}

// IsMountPoint tells whether something is mounted at path, a bind mount or a mounted file too, without reading the
// table. A symbolic link and a path that does not exist are none.
func IsMountPoint(path string) (bool, error) {
	var st unix.Statx_t
	// DONT_SYNC: a network filesystem whose server is away must not hang the agent.
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, 0, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	return mountinfo.Mounted(path) // Linux before 5.8
}
