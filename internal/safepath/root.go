package safepath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What can be wrong with a path, besides the usual errors of the kernel (which stay reachable with errors.Is).
var (
	// ErrUnsafe means the path leaves its root or meets a symbolic link where none is allowed.
	ErrUnsafe = errors.New("the path leaves its directory or goes through a symbolic link")
	// ErrMounted means something is mounted where the operation may not cross or remove a mount.
	ErrMounted = errors.New("something is mounted there")
	// ErrTooLarge means a file is larger than the caller's limit.
	ErrTooLarge = errors.New("the file is larger than the limit")
	// ErrNotRegular means that a regular file was expected.
	ErrNotRegular = errors.New("not a regular file")
)

// Links says what happens to symbolic links met while a name is resolved.
type Links uint8

const (
	// NoLinks makes every symbolic link an error.
	NoLinks Links = iota
	// LinksBeneath follows links as long as they stay beneath the root; absolute links are errors.
	LinksBeneath
	// LinksAsRoot resolves links as if the root were "/", as chroot would.
	LinksAsRoot
)

// Root is an open directory below which names are resolved safely. Its methods may be used by several goroutines.
type Root struct {
	dir   *os.File
	name  string
	links Links
	oneFS bool
}

// Open opens a directory chosen by the operator, not by a tenant: symbolic links in dir itself are followed.
// The caller closes the Root.
func Open(dir string) (*Root, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open directory", Path: dir, Err: err}
	}
	return &Root{dir: os.NewFile(uintptr(fd), dir), name: dir}, nil
}

// Make is Open, and makes the directory and those above it if they are missing. Symbolic links on the way are followed
// wherever they lead, as the operator made them. dir must be absolute.
func Make(dir string, mode fs.FileMode) (*Root, error) {
	if !filepath.IsAbs(dir) {
		return nil, &fs.PathError{Op: "open directory", Path: dir, Err: errors.New("must be an absolute path")}
	}
	top, err := Open("/")
	if err != nil {
		return nil, err
	}
	defer top.Close()
	r, err := top.With(LinksAsRoot).MakeSub("."+filepath.Clean(dir), mode)
	if err != nil {
		return nil, err
	}
	r.name, r.links = filepath.Clean(dir), NoLinks
	return r, nil
}

// Close closes the directory. Views made by With and OneFilesystem share it and end with it.
func (r *Root) Close() error { return r.dir.Close() }

// Join is the path of name below the root, for messages and for what the runtime is told.
func (r *Root) Join(name string) string { return filepath.Join(r.name, name) }

// With returns a view of the same open directory that treats symbolic links otherwise. It is not closed by itself.
func (r *Root) With(l Links) *Root {
	view := *r
	view.links = l
	return &view
}

// OneFilesystem returns a view of the same open directory that refuses to cross mount points, bind mounts included.
func (r *Root) OneFilesystem() *Root {
	view := *r
	view.oneFS = true
	return &view
}

// Sub opens the directory name beneath the root as a root of its own, with the same rules. The caller closes it.
func (r *Root) Sub(name string) (*Root, error) {
	f, err := r.open("open directory", name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Root{dir: f, name: f.Name(), links: r.links, oneFS: r.oneFS}, nil
}

// Handle opens what name refers to without opening it for input or output (O_PATH): for Stat, Chmod, Chown, bind
// mounts and ProcPath. Under NoLinks a symbolic link as the last element is an error. The caller closes the file.
func (r *Root) Handle(name string) (*os.File, error) {
	return r.open("open", name, unix.O_PATH, 0)
}

// Lstat describes name; a symbolic link as last element is described itself.
func (r *Root) Lstat(name string) (fs.FileInfo, error) {
	f, err := r.open("stat", name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// Component refuses a name that is not exactly one ordinary path element.
func Component(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("%q is not a file name: %w", name, ErrUnsafe)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("%q holds a slash or a zero byte: %w", name, ErrUnsafe)
	case len(name) > 255:
		return fmt.Errorf("%.20q… is longer than 255 bytes: %w", name, unix.ENAMETOOLONG)
	}
	return nil
}

// ProcPath is a path that reaches exactly the file f has open, for system calls that take no descriptor. It is
// valid while f is open, in this process only.
func ProcPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// Chmod sets the permission bits of what an O_PATH handle refers to. It never follows a symbolic link.
func Chmod(f *os.File, mode fs.FileMode) error {
	err := unix.Chmod(ProcPath(f), unixMode(mode))
	runtime.KeepAlive(f)
	if err != nil {
		return &fs.PathError{Op: "chmod", Path: f.Name(), Err: err}
	}
	return nil
}

// Chown sets the owner of what an O_PATH handle refers to, a symbolic link itself included; -1 keeps a value.
func Chown(f *os.File, uid, gid int) error {
	err := unix.Fchownat(int(f.Fd()), "", uid, gid, unix.AT_EMPTY_PATH)
	runtime.KeepAlive(f)
	if err != nil {
		return &fs.PathError{Op: "chown", Path: f.Name(), Err: err}
	}
	return nil
}

// unixMode turns Go's permission bits into the kernel's.
func unixMode(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		bits |= unix.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		bits |= unix.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		bits |= unix.S_ISVTX
	}
	return bits
}

// check refuses names that are not plainly relative. The kernel would catch an escape too; refusing ".." outright
// also keeps it from meaning something surprising after a link.
func check(name string) error {
	if name == "" || filepath.IsAbs(name) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("must be a relative path: %w", ErrUnsafe)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return fmt.Errorf("must not contain '..': %w", ErrUnsafe)
		}
	}
	return nil
}

func (r *Root) open(op, name string, flags int, mode fs.FileMode) (*os.File, error) {
	if err := check(name); err != nil {
		return nil, &fs.PathError{Op: op, Path: r.Join(name), Err: err}
	}
	fd, err := openBeneath(r.dir, name, flags, mode, r.links, r.oneFS)
	if err != nil {
		return nil, r.fail(op, name, err)
	}
	return os.NewFile(uintptr(fd), r.Join(name)), nil
}

// fail words an error of the kernel. EXDEV and ELOOP are how openat2 says that its rules were broken.
func (r *Root) fail(op, name string, err error) error {
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV) && !r.oneFS:
		err = fmt.Errorf("%w (%w)", ErrUnsafe, err)
	case errors.Is(err, unix.EXDEV):
		err = fmt.Errorf("%w (%w)", ErrMounted, err)
	}
	return &fs.PathError{Op: op, Path: r.Join(name), Err: err}
}

func openBeneath(dir *os.File, name string, flags int, mode fs.FileMode, links Links, oneFS bool) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(unixMode(mode))
	}
	switch links {
	case NoLinks:
		how.Resolve |= unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
	case LinksBeneath:
		how.Resolve |= unix.RESOLVE_BENEATH
	case LinksAsRoot:
		how.Resolve |= unix.RESOLVE_IN_ROOT
	}
	if oneFS {
		how.Resolve |= unix.RESOLVE_NO_XDEV
	}
	fd, err := retry(func() (int, error) { return unix.Openat2(int(dir.Fd()), name, &how) })
	runtime.KeepAlive(dir)
	return fd, err
}

// maxRetries bounds the answer to EAGAIN: openat2 gives it when a rename somewhere made a ".." in a link unsure.
const maxRetries = 128

func retry(call func() (int, error)) (int, error) {
	var fd int
	var err error
	for range maxRetries {
		fd, err = call()
		if err != unix.EINTR && err != unix.EAGAIN {
			break
		}
	}
	return fd, err
}

// parent opens the directory that holds the last element of name, and returns that element.
func (r *Root) parent(op, name string) (*os.File, string, error) {
	if err := check(name); err != nil {
		return nil, "", &fs.PathError{Op: op, Path: r.Join(name), Err: err}
	}
	name = filepath.Clean(name)
	if name == "." {
		return nil, "", &fs.PathError{Op: op, Path: r.name, Err: unix.EINVAL}
	}
	dir, base := filepath.Split(name)
	if dir == "" {
		dir = "."
	}
	f, err := r.open(op, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, "", err
	}
	return f, base, nil
}
