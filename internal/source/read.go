package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/manifest"
)

// stamp tells one version of a file from another without reading it.
type stamp struct {
	device, inode  uint64
	size           int64
	links          uint64
	changed, wrote syscall.Timespec
}

// sameVersion compares all but the number of links, which says nothing about the content. Nothing is like no stamp.
func (s stamp) sameVersion(o stamp) bool {
	s.links = o.links
	return s == o && o != stamp{}
}

func stampOf(info fs.FileInfo) stamp {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{size: info.Size()}
	}
	return stamp{device: st.Dev, inode: st.Ino, size: st.Size, links: uint64(st.Nlink), changed: st.Ctim, wrote: st.Mtim}
}

// look describes a name without following it.
func look(path string) (st stamp, isLink bool, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return stamp{}, false, err
	}
	return stampOf(info), info.Mode()&fs.ModeSymlink != 0, nil
}

// want queues a file for reading.
func (f *File) want(origin string) {
	f.file(origin).due = time.Time{}
	if !slices.Contains(f.queue, origin) {
		f.queue = append(f.queue, origin)
	}
}

func (f *File) unwant(origin string) {
	f.file(origin).due = time.Time{}
	f.queue = slices.DeleteFunc(f.queue, func(o string) bool { return o == origin })
}

// answer is what reading a file gave.
type answer struct {
	origin string
	stamp  stamp
	data   []byte
	err    error
}

// readSome reads files from the queue for a while, and takes over what was not disturbed by a writer meanwhile: a write
// that was under way during the reading has been announced when the reading is over.
func (f *File) readSome(now time.Time) {
	began := time.Now()
	var answers []answer
	for len(f.queue) > 0 && time.Since(began) < readingTurn {
		origin := f.queue[0]
		f.queue = f.queue[1:]
		answers = append(answers, readFile(origin, f.file(origin).closed))
	}
	f.take(f.drain(), now)
	for _, a := range answers {
		one := f.files[a.origin]
		if one == nil || one.writing || !one.due.IsZero() || slices.Contains(f.queue, a.origin) {
			continue // an event has overtaken it, and says what comes next
		}
		f.accept(one, a, now)
	}
}

func (f *File) accept(one *file, a answer, now time.Time) {
	awaited := one.awaited
	one.awaited = false
	switch {
	case errors.Is(a.err, errWriting):
		one.writing, one.resting, one.restingAt, one.awaited = true, a.stamp, now, awaited || !f.shelf.ready
	case errors.Is(a.err, errChanging):
		one.doubt, one.due, one.awaited = a.stamp, now.Add(Settle), awaited || !f.shelf.ready
	case errors.Is(a.err, fs.ErrNotExist), errors.Is(a.err, errNoFile) && f.where.kind != single:
		f.vanished(a.origin, now)
	case a.err != nil:
		one.failed, one.read = true, stamp{}
		f.shelf.unreadable(a.origin, a.err, now)
	default:
		one.failed, one.read = false, a.stamp
		f.shelf.put(a.origin, a.data, false, now)
	}
}

var (
	errNoFile   = errors.New("is no regular file")
	errChanging = errors.New("changes while it is read")
	errWriting  = errors.New("is open for writing")
)

// readFile reads a manifest. What is no regular file is not read: opening a pipe must not wait for its writer. Unless its
// writer is known to be done, a file that is open for writing is not read either.
func readFile(path string, closed bool) answer {
	a := answer{origin: path}
	var file *os.File
	if file, a.err = os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0); a.err != nil {
		return a
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		a.err = errors.Join(err, errNoFile)
		return a
	}
	if a.stamp = stampOf(info); !closed && hasWriter(file) {
		a.err = errWriting
		return a
	}
	if a.data, a.err = io.ReadAll(io.LimitReader(file, manifest.MaxBytes+1)); a.err != nil {
		return a
	}
	after, err := file.Stat()
	if err != nil {
		a.err = fmt.Errorf("look at %s: %w", path, err)
		return a
	}
	if a.stamp = stampOf(after); !a.stamp.sameVersion(stampOf(info)) {
		a.err = errChanging
	}
	return a
}

// hasWriter tells whether somebody has a file open for writing: the kernel then grants no lease for reading. Where it
// grants none at all, as on a network, the answer is no. The lease is given back at once; a writer who comes between
// waits that long.
func hasWriter(file *os.File) bool {
	fd := file.Fd()
	if _, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK); err != nil {
		return errors.Is(err, unix.EAGAIN)
	}
	_, _ = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK) // closing gives it back as well
	return false
}

// recheck looks again at the files whose time has come.
func (f *File) recheck(now time.Time) {
	for origin, one := range f.files {
		if one.due.IsZero() || now.Before(one.due) {
			continue
		}
		info, err := os.Stat(origin)
		gone := err != nil || info.IsDir()
		switch {
		case gone && one.doubt == stamp{}:
			f.shelf.drop(origin)
			delete(f.files, origin)
		case gone:
			f.vanished(origin, now)
		case one.writing:
			one.due = time.Time{}
		case one.doubt.sameVersion(stampOf(info)):
			f.want(origin)
		default:
			one.doubt, one.due = stampOf(info), now.Add(Settle)
		}
	}
}
