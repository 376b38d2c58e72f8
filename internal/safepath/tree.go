package safepath

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxDepth is how many directories RemoveAll and Walk hold open at once.
const maxDepth = 128

// RemoveAll removes name and everything beneath it. It follows no symbolic link, and stops with ErrMounted at the
// first mount point, having removed other things maybe, but nothing behind a mount. It is no error if nothing is
// there, so it can be repeated after a crash. Depth does not matter. A done ctx ends it early.
func (r *Root) RemoveAll(ctx context.Context, name string) error {
	dir, base, err := r.parent("remove", name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	rm := remover{}
	if err := rm.remove(ctx, dir, base, r.Join(name), 0); err != nil {
		return fmt.Errorf("remove %s: %w", r.Join(name), err)
	}
	return nil
}

// RemoveContents empties the directory name like RemoveAll, but keeps the directory itself.
func (r *Root) RemoveContents(ctx context.Context, name string) error {
	f, err := r.OneFilesystem().open("remove", name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	rm := remover{top: f}
	if err := rm.empty(ctx, f, 1); err != nil {
		return fmt.Errorf("empty %s: %w", r.Join(name), err)
	}
	return nil
}

// remover takes a tree away from the top down. A directory deeper than maxDepth is first moved up into the top of
// the tree, so that a deep tree costs neither descriptors nor stack.
type remover struct {
	top   *os.File
	moved int
	gone  int // entries removed or moved: progress
}

func (rm *remover) remove(ctx context.Context, dir *os.File, base, path string, depth int) error {
	err := unix.Unlinkat(int(dir.Fd()), base, 0)
	switch err {
	case nil, unix.ENOENT:
		rm.gone++
		return nil
	case unix.EISDIR, unix.EPERM: // EPERM is what POSIX says for directories
	default:
		return removeError(path, err)
	}
	if depth >= maxDepth {
		return rm.raise(dir, base, path)
	}
	fd, openErr := openBeneath(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, NoLinks, true)
	switch {
	case openErr == unix.ENOENT:
		return nil
	case openErr == unix.ENOTDIR || openErr == unix.ELOOP:
		return removeError(path, err) // not a directory after all: say why unlinking failed
	case openErr != nil:
		return removeError(path, openErr)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if rm.top == nil {
		rm.top = f
	}
	return rm.drain(ctx, dir, f, base, path, depth)
}

// drain empties the open directory f and removes it, again and again as long as somebody adds to it while we gain.
func (rm *remover) drain(ctx context.Context, dir, f *os.File, base, path string, depth int) error {
	for {
		before := rm.gone
		if err := rm.empty(ctx, f, depth+1); err != nil {
			return err
		}
		err := unix.Unlinkat(int(dir.Fd()), base, unix.AT_REMOVEDIR)
		switch {
		case err == nil || err == unix.ENOENT:
			rm.gone++
			return nil
		case err == unix.ENOTEMPTY && rm.gone > before:
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
		default:
			return removeError(path, err)
		}
	}
}

func (rm *remover) empty(ctx context.Context, f *os.File, depth int) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		names, err := f.Readdirnames(512)
		for _, name := range names {
			if err := rm.remove(ctx, f, name, filepath.Join(f.Name(), name), depth); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// raise moves a directory up into the top of the tree, where a later round finds it.
func (rm *remover) raise(dir *os.File, base, path string) error {
	for {
		rm.moved++
		err := unix.Renameat2(int(dir.Fd()), base, int(rm.top.Fd()), tempPrefix+"deep-"+strconv.Itoa(rm.moved), unix.RENAME_NOREPLACE)
		switch err {
		case nil, unix.ENOENT:
			rm.gone++
			return nil
		case unix.EEXIST:
		default:
			return removeError(path, err)
		}
	}
}

func removeError(path string, err error) error {
	if err == unix.EBUSY || err == unix.EXDEV {
		err = fmt.Errorf("%w (%w)", ErrMounted, err)
	}
	return &fs.PathError{Op: "remove", Path: path, Err: err}
}

// Entry is one thing Walk meets.
type Entry struct {
	// Name is relative to the directory Walk began at, which is itself ".".
	Name string
	// File is an O_PATH handle, open during the call only; a symbolic link is opened itself.
	File *os.File
	Info fs.FileInfo
}

// Walk calls visit for the directory name and everything beneath it, each directory before its contents. It follows
// no symbolic link and does not enter mount points (they are left out). It goes at most 128 directories deep and
// fails beyond. Entries that vanish meanwhile are left out.
func (r *Root) Walk(ctx context.Context, name string, visit func(Entry) error) error {
	f, err := r.Handle(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return walk(ctx, f, ".", 0, visit)
}

func walk(ctx context.Context, h *os.File, rel string, depth int, visit func(Entry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := h.Stat()
	if err != nil {
		return err
	}
	if err := visit(Entry{Name: rel, File: h, Info: info}); err != nil {
		return err
	}
	if !info.IsDir() {
		return nil
	}
	if depth == maxDepth {
		return &fs.PathError{Op: "walk", Path: h.Name(), Err: fmt.Errorf("deeper than %d directories", maxDepth)}
	}
	fd, err := openBeneath(h, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0, NoLinks, true)
	if err != nil {
		return &fs.PathError{Op: "walk", Path: h.Name(), Err: err}
	}
	dir := os.NewFile(uintptr(fd), h.Name())
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(512)
		for _, base := range names {
			if err := walkChild(ctx, dir, base, filepath.Join(rel, base), depth+1, visit); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func walkChild(ctx context.Context, dir *os.File, base, rel string, depth int, visit func(Entry) error) error {
	fd, err := openBeneath(dir, base, unix.O_PATH|unix.O_NOFOLLOW, 0, NoLinks, true)
	if err == unix.ENOENT || err == unix.EXDEV {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: "walk", Path: filepath.Join(dir.Name(), base), Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(dir.Name(), base))
	defer f.Close()
	return walk(ctx, f, rel, depth, visit)
}
