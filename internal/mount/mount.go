package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/safepath"
)

// Tmpfs says how a memory filesystem is made.
type Tmpfs struct {
	// Size is the most it may hold, in bytes; 0 is the kernel's default, half of the memory.
	Size int64
	// Mode are the permission bits of its root.
	Mode fs.FileMode
}

// MountTmpfs mounts a memory filesystem on an open directory. Its pages are kept out of swap where the kernel can do
// that (Linux 6.3); noswap tells whether it did.
func MountTmpfs(dir *os.File, o Tmpfs) (noswap bool, err error) {
	data := []string{modeOption(o.Mode)}
	if o.Size > 0 {
		data = append(data, "size="+strconv.FormatInt(o.Size, 10))
	}
	err = mountOn(dir, "tmpfs", append(data[:len(data):len(data)], "noswap"))
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, unix.EINVAL) {
		return false, err
	}
	return false, mountOn(dir, "tmpfs", data)
}

// KeptOutOfSwap tells whether the kernel keeps memory filesystems out of swap where it is asked to (Linux 6.3, some older ones of
// distributions). Nothing is mounted.
func KeptOutOfSwap() (bool, error) {
	fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return false, fmt.Errorf("open the file system tmpfs: %w", err)
	}
	err = unix.FsconfigSetFlag(fd, "noswap")
	if e := unix.Close(fd); e != nil {
		return false, fmt.Errorf("close the file system tmpfs: %w", e)
	}
	if errors.Is(err, unix.EINVAL) {
		return false, nil
	}
	return err == nil, err
}

// MountHugetlbfs mounts a filesystem of huge pages of one size, in bytes, on an open directory.
func MountHugetlbfs(dir *os.File, pageSize int64, mode fs.FileMode) error {
	return mountOn(dir, "hugetlbfs", []string{
		"pagesize=" + strconv.FormatInt(pageSize/1024, 10) + "K", modeOption(mode),
	})
}

// modeOption gives the root of a filesystem its permission bits and the sticky bit.
func modeOption(m fs.FileMode) string {
	bits := uint64(m.Perm())
	if m&fs.ModeSticky != 0 {
		bits |= unix.S_ISVTX
	}
	return "mode=" + strconv.FormatUint(bits, 8)
}

func mountOn(dir *os.File, fstype string, options []string) error {
	data := strings.Join(options, ",")
	err := unix.Mount(fstype, safepath.ProcPath(dir), fstype, 0, data)
	runtime.KeepAlive(dir)
	if err != nil {
		return &fs.PathError{Op: "mount " + fstype + " (" + data + ") on", Path: dir.Name(), Err: err}
	}
	return nil
}

// Propagation says whether mounts made later beneath a bind mount and beneath its source show up in each other.
type Propagation uint8

// The kinds of propagation. AsSource keeps what the source's mount has.
const (
	AsSource Propagation = iota
	Private
	Slave
	Shared
)

// Bind says how a bind mount is made.
type Bind struct {
	ReadOnly bool
	// Recursive takes along what is mounted beneath the source.
	Recursive   bool
	Propagation Propagation
}

// MountBind shows the open file or directory source at the open file or directory target.
func MountBind(source, target *os.File, o Bind) error {
	if err := bind(source, target, o); err != nil {
		return fmt.Errorf("bind %s to %s: %w", source.Name(), target.Name(), err)
	}
	return nil
}

func bind(source, target *os.File, o Bind) error {
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH)
	if o.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	fd, err := unix.OpenTree(int(source.Fd()), "", flags)
	runtime.KeepAlive(source)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	tree := os.NewFile(uintptr(fd), source.Name())
	defer tree.Close() // takes a tree that was not attached away again
	setErr := setAttributes(tree, o)
	if setErr != nil && !errors.Is(setErr, unix.ENOSYS) {
		return setErr
	}
	err = unix.MoveMount(fd, "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	runtime.KeepAlive(target)
	if err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	if setErr != nil {
		return setAttached(tree, o)
	}
	return nil
}

func (p Propagation) flag() uint64 {
	switch p {
	case AsSource:
		return 0
	case Private:
		return unix.MS_PRIVATE
	case Slave:
		return unix.MS_SLAVE
	case Shared:
		return unix.MS_SHARED
	}
	return 0
}

// setAttributes sets the flags of a detached tree (Linux 5.12).
func setAttributes(tree *os.File, o Bind) error {
	attr := unix.MountAttr{Propagation: o.Propagation.flag()}
	if o.ReadOnly {
		attr.Attr_set = unix.MOUNT_ATTR_RDONLY
	}
	if attr == (unix.MountAttr{}) {
		return nil
	}
	flags := uint(unix.AT_EMPTY_PATH)
	if o.Recursive {
		flags |= unix.AT_RECURSIVE
	}
	if err := unix.MountSetattr(int(tree.Fd()), "", flags, &attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// setAttached does the same the old way, on the mount just attached. Mounts taken along keep their own flags.
func setAttached(tree *os.File, o Bind) error {
	path := safepath.ProcPath(tree)
	if o.ReadOnly {
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(tree.Fd()), &st); err != nil {
			return fmt.Errorf("statfs: %w", err)
		}
		keep := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME | unix.MS_RELATIME)
		if err := unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|keep, ""); err != nil {
			return fmt.Errorf("remount read-only: %w", err)
		}
	}
	if p := o.Propagation.flag(); p != 0 {
		if err := unix.Mount("", path, "", uintptr(p), ""); err != nil {
			return fmt.Errorf("set propagation: %w", err)
		}
	}
	runtime.KeepAlive(tree)
	return nil
}

// Unmount takes away everything mounted at path, also several mounts on top of each other. It follows no symbolic
// link in the last element, and it is no error if nothing is mounted. A mount in use is an error, unless lazy is set:
// then it vanishes from sight at once and ends when its last user does.
func Unmount(path string, lazy bool) error {
	for {
		err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		if err == unix.EBUSY && lazy {
			err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		switch err {
		case nil, unix.EINTR:
		case unix.ENOENT:
			return nil
		case unix.EINVAL: // not a mount point, or one that cannot be taken away
			if mounted, statErr := IsMountPoint(path); statErr == nil && !mounted {
				return nil
			}
			return &fs.PathError{Op: "unmount", Path: path, Err: err}
		default:
			return &fs.PathError{Op: "unmount", Path: path, Err: err}
		}
	}
}
