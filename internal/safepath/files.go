package safepath

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenFile opens an existing regular file beneath the root. flag is os.O_RDONLY, os.O_WRONLY, os.O_RDWR, with
// os.O_APPEND or os.O_TRUNC. Anything but a regular file is ErrNotRegular and is never opened: a pipe would block,
// and opening a device can have effects.
func (r *Root) OpenFile(name string, flag int) (*os.File, error) {
	h, err := r.Handle(name)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	info, err := h.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: h.Name(), Err: ErrNotRegular}
	}
	fd, err := retry(func() (int, error) {
		return unix.Open(ProcPath(h), flag|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	})
	runtime.KeepAlive(h)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: h.Name(), Err: err}
	}
	return os.NewFile(uintptr(fd), h.Name()), nil
}

// Create makes a new regular file, opened for reading and writing, with exactly these permission bits. It is an
// error (fs.ErrExist) if anything of that name is there, a dangling symbolic link included.
func (r *Root) Create(name string, mode fs.FileMode) (*os.File, error) {
	dir, base, err := r.parent("create", name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	fd, err := openBeneath(dir, base, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, mode.Perm(), NoLinks, r.oneFS)
	if err != nil {
		return nil, r.fail("create", name, err)
	}
	f := os.NewFile(uintptr(fd), r.Join(name))
	// The process's umask took bits away.
	if err := f.Chmod(mode); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFile reads a regular file of at most limit bytes; a larger one is ErrTooLarge.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := r.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("%w of %d bytes", ErrTooLarge, limit)}
	}
	return data, nil
}

// tempPrefix marks files that are not in place yet. A crash may leave one; it is overwritten by nobody and goes with
// its directory.
const tempPrefix = ".bosun-new-"

// Replace puts a file with this content in the place of name at once: a reader sees the old file or the new one.
// It does not wait for the disk.
func (r *Root) Replace(name string, data []byte, mode fs.FileMode) error {
	temp := filepath.Join(filepath.Dir(name), tempPrefix+randomHex())
	f, err := r.Create(temp, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = r.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, r.Remove(temp))
	}
	return nil
}

// ReplaceLink puts a symbolic link to target in the place of name at once.
func (r *Root) ReplaceLink(target, name string) error {
	temp := filepath.Join(filepath.Dir(name), tempPrefix+randomHex())
	if err := r.Symlink(target, temp); err != nil {
		return err
	}
	if err := r.Rename(temp, name); err != nil {
		return errors.Join(err, r.Remove(temp))
	}
	return nil
}

func randomHex() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, see its documentation
	return hex.EncodeToString(b[:])
}

// Symlink makes a symbolic link at name. The target is not looked at.
func (r *Root) Symlink(target, name string) error {
	return r.at("symlink", name, func(dir int, base string) error { return unix.Symlinkat(target, dir, base) })
}

// Readlink returns what the symbolic link at name says.
func (r *Root) Readlink(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n := 0
	err := r.at("readlink", name, func(dir int, base string) (err error) {
		n, err = unix.Readlinkat(dir, base, buf)
		return err
	})
	return string(buf[:max(n, 0)]), err
}

// Remove removes a file, a link or an empty directory. It is no error if nothing is there.
func (r *Root) Remove(name string) error {
	err := r.at("remove", name, func(dir int, base string) error {
		err := unix.Unlinkat(dir, base, 0)
		if err == unix.EISDIR || err == unix.EPERM {
			err = unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
		}
		if err == unix.EBUSY {
			err = fmt.Errorf("%w (%w)", ErrMounted, err)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Rename moves from to to, replacing what is there as rename(2) does.
func (r *Root) Rename(from, to string) error {
	src, srcBase, err := r.parent("rename", from)
	if err != nil {
		return err
	}
	defer src.Close()
	return r.at("rename", to, func(dir int, base string) error {
		return unix.Renameat(int(src.Fd()), srcBase, dir, base)
	})
}

// at runs a call on the open parent directory of name.
func (r *Root) at(op, name string, call func(dir int, base string) error) error {
	dir, base, err := r.parent(op, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := call(int(dir.Fd()), base); err != nil {
		return r.fail(op, name, err)
	}
	return nil
}

// ReadDir lists the names in a directory, in no order.
func (r *Root) ReadDir(name string) ([]string, error) {
	f, err := r.open("read directory", name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// Mkdir makes one directory with exactly these permission bits (a set-group-ID bit inherited from the parent stays).
// It is an error if something is there.
func (r *Root) Mkdir(name string, mode fs.FileMode) error {
	dir, base, err := r.parent("mkdir", name)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := r.makeIn(dir, name, base, mode)
	if err != nil {
		return err
	}
	return f.Close()
}

// MkdirAll makes a directory and those above it that are missing. Those it makes get exactly these permission bits,
// those that are there stay as they are.
func (r *Root) MkdirAll(name string, mode fs.FileMode) error {
	f, err := r.mkdirAll(name, mode)
	if err != nil {
		return err
	}
	return f.Close()
}

// MakeSub is MkdirAll, and opens the directory it made as Sub does.
func (r *Root) MakeSub(name string, mode fs.FileMode) (*Root, error) {
	f, err := r.mkdirAll(name, mode)
	if err != nil {
		return nil, err
	}
	return &Root{dir: f, name: f.Name(), links: r.links, oneFS: r.oneFS}, nil
}

func (r *Root) mkdirAll(name string, mode fs.FileMode) (*os.File, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY
	f, err := r.open("mkdir", name, flags, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	cur, err := r.open("mkdir", ".", flags, 0)
	if err != nil {
		return nil, err
	}
	path := ""
	for part := range strings.SplitSeq(filepath.Clean(name), "/") {
		path = filepath.Join(path, part)
		// From the root each time, so that a link beneath it may still lead elsewhere beneath it.
		next, err := r.open("mkdir", path, flags, 0)
		if errors.Is(err, fs.ErrNotExist) {
			next, err = r.makeIn(cur, path, part, mode)
			if errors.Is(err, fs.ErrExist) { // made by somebody else meanwhile
				next, err = r.open("mkdir", path, flags, 0)
			}
		}
		cur.Close()
		if err != nil {
			return nil, err
		}
		cur = next
	}
	return cur, nil
}

// makeIn makes the directory base in dir and opens it. name is for messages.
func (r *Root) makeIn(dir *os.File, name, base string, mode fs.FileMode) (*os.File, error) {
	if err := unix.Mkdirat(int(dir.Fd()), base, unixMode(mode.Perm())); err != nil {
		return nil, r.fail("mkdir", name, err)
	}
	fd, err := openBeneath(dir, base, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, NoLinks, r.oneFS)
	if err != nil {
		return nil, r.fail("mkdir", name, err)
	}
	f := os.NewFile(uintptr(fd), r.Join(name))
	info, err := f.Stat()
	if err == nil {
		want := mode&(fs.ModePerm|fs.ModeSticky|fs.ModeSetgid) | info.Mode()&fs.ModeSetgid
		if info.Mode()&(fs.ModePerm|fs.ModeSticky|fs.ModeSetgid) != want {
			err = Chmod(f, want)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
