package stats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// use is what a directory takes of its file system.
type use struct{ bytes, inodes uint64 }

// blockSize is the unit in which the kernel says what a file takes, whatever the file system's own is.
const blockSize = 512

// mostLinked bounds how many files with several names are remembered, so that they count once.
const mostLinked = 1 << 20

// level is a directory on the way down.
type level struct {
	dev, ino uint64
	// next is where reading it goes on, and done that it was read to its end.
	next int64
	done bool
	// left are directories in it that were not looked at yet.
	left []string
}

// errMoved means that a directory was moved while it was measured: there is no way back up from it.
var errMoved = errors.New("it was moved meanwhile")

// walker measures a directory. It follows no link, enters no other file system, has one directory open at a time however
// deep it goes, and holds no more names than fit into buf: what is in there is up to whoever fills the volume.
type walker struct {
	dev    uint64
	linked map[uint64]struct{}
	sum    use
	levels []level
	at     int // the open directory
	buf    []byte
}

// measure adds up what a directory and all in it take. The handle is the caller's. With an error it gives what it found
// until then.
func measure(ctx context.Context, dir *os.File) (use, error) {
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return use{}, fmt.Errorf("measure %s: %w", dir.Name(), err)
	}
	w := &walker{at: fd, buf: make([]byte, 16<<10)}
	defer func() { _ = unix.Close(w.at) }() // it was only read
	var s unix.Stat_t
	if err = unix.Fstat(fd, &s); err == nil {
		w.dev = uint64(s.Dev)
		w.count(&s)
		err = w.walk(ctx, &s)
	}
	if err != nil {
		err = fmt.Errorf("measure %s: %w", dir.Name(), err)
	}
	return w.sum, err
}

func (w *walker) walk(ctx context.Context, top *unix.Stat_t) error {
	w.levels = append(w.levels, level{dev: w.dev, ino: top.Ino})
	for len(w.levels) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := &w.levels[len(w.levels)-1]
		var err error
		switch {
		case len(l.left) > 0:
			name := l.left[len(l.left)-1]
			l.left = l.left[:len(l.left)-1]
			w.enter(name)
		case !l.done:
			err = w.read(l)
		default:
			err = w.leave()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enter opens a directory in the open one. If it is gone, or something else by now, nothing happens.
func (w *walker) enter(name string) {
	fd, err := unix.Openat(w.at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	var s unix.Stat_t
	if unix.Fstat(fd, &s) != nil || uint64(s.Dev) != w.dev {
		_ = unix.Close(fd)
		return
	}
	_ = unix.Close(w.at)
	w.at = fd
	w.levels = append(w.levels, level{dev: w.dev, ino: s.Ino})
}

// read counts the next part of the open directory, and notes the directories in it.
func (w *walker) read(l *level) error {
	if _, err := unix.Seek(w.at, l.next, io.SeekStart); err != nil {
		return err
	}
	n, err := unix.ReadDirent(w.at, w.buf)
	if err == unix.EINTR {
		return nil // once more
	}
	if err != nil {
		return err
	}
	if l.done = n <= 0; l.done {
		return nil
	}
	if l.next, err = unix.Seek(w.at, 0, io.SeekCurrent); err != nil {
		return err
	}
	_, _, names := unix.ParseDirent(w.buf[:n], -1, nil)
	for _, name := range names {
		var s unix.Stat_t
		if unix.Fstatat(w.at, name, &s, unix.AT_SYMLINK_NOFOLLOW) != nil || uint64(s.Dev) != w.dev {
			continue
		}
		w.count(&s)
		if s.Mode&unix.S_IFMT == unix.S_IFDIR {
			l.left = append(l.left, name)
		}
	}
	return nil
}

// leave goes back up.
func (w *walker) leave() error {
	w.levels = w.levels[:len(w.levels)-1]
	if len(w.levels) == 0 {
		return nil
	}
	fd, err := unix.Openat(w.at, "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var s unix.Stat_t
	above := w.levels[len(w.levels)-1]
	if err := unix.Fstat(fd, &s); err != nil || uint64(s.Dev) != above.dev || s.Ino != above.ino {
		_ = unix.Close(fd)
		return errMoved
	}
	_ = unix.Close(w.at)
	w.at = fd
	return nil
}

func (w *walker) count(s *unix.Stat_t) {
	if s.Mode&unix.S_IFMT != unix.S_IFDIR && s.Nlink > 1 {
		if _, twice := w.linked[s.Ino]; twice {
			return
		}
		if w.linked == nil {
			w.linked = map[uint64]struct{}{}
		}
		if len(w.linked) < mostLinked {
			w.linked[s.Ino] = struct{}{}
		}
	}
	w.sum.bytes += uint64(s.Blocks) * blockSize
	w.sum.inodes++
}
