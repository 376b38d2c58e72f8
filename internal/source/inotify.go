package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The masks of watches: everything about the entries of the directory with manifests, and only the coming and going
// of entries for a directory above it.
const (
	aboveMask = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	fullMask  = aboveMask | unix.IN_MODIFY | unix.IN_CLOSE_WRITE
)

// event is one message of the kernel. name is empty when it is about the watched directory itself.
type event struct {
	wd   int
	mask uint32
	name string
}

// inotify is the kernel's watch over directories. It is used directly, not through fsnotify, because that does not
// tell when a file was closed after writing, which is the moment at which a manifest is complete.
//
// One goroutine uses all of it but wait, which another one runs.
type inotify struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
	buf  []byte
	// readable gets a token when there is something to drain; the next one comes only after rearm.
	readable chan struct{}
	armed    chan struct{}
}

func newInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("start inotify: %w", err)
	}
	file := os.NewFile(uintptr(fd), "inotify")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start inotify: %w", err), file.Close())
	}
	return &inotify{file: file, raw: raw, fd: fd, buf: make([]byte, 64<<10), readable: make(chan struct{}), armed: make(chan struct{}, 1)}, nil
}

// wait sends tokens until done is closed or the descriptor is.
func (n *inotify) wait(done <-chan struct{}) {
	for {
		err := n.raw.Read(func(fd uintptr) bool {
			pending, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
			return err != nil || pending > 0
		})
		if err != nil {
			return
		}
		select {
		case n.readable <- struct{}{}:
		case <-done:
			return
		}
		select {
		case <-n.armed:
		case <-done:
			return
		}
	}
}

// rearm asks for the next token.
func (n *inotify) rearm() {
	select {
	case n.armed <- struct{}{}:
	default:
	}
}

func (n *inotify) close() error { return n.file.Close() }

// watch adds a directory; watching a directory that is watched already replaces its mask.
func (n *inotify) watch(dir string, mask uint32) (int, error) {
	wd, err := unix.InotifyAddWatch(n.fd, dir, mask)
	if err != nil {
		return -1, fmt.Errorf("watch %s: %w", dir, err)
	}
	return wd, nil
}

func (n *inotify) unwatch(wd int) {
	_, _ = unix.InotifyRmWatch(n.fd, uint32(wd)) // it may be gone with its directory
}

// drain returns what the kernel has to say now, without waiting.
func (n *inotify) drain() []event {
	var out []event
	for {
		got, err := unix.Read(n.fd, n.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || got <= 0 {
			return out
		}
		out = append(out, parseEvents(n.buf[:got])...)
	}
}

// parseEvents reads the kernel's struct inotify_event: watch, mask, cookie, length of the name, the name with zeros.
func parseEvents(buf []byte) []event {
	var out []event
	for len(buf) >= unix.SizeofInotifyEvent {
		e := event{wd: int(int32(binary.NativeEndian.Uint32(buf))), mask: binary.NativeEndian.Uint32(buf[4:])}
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		if end > len(buf) {
			return out
		}
		e.name = strings.TrimRight(string(buf[unix.SizeofInotifyEvent:end]), "\x00")
		out = append(out, e)
		buf = buf[end:]
	}
	return out
}
