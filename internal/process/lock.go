package process

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrContended means that another process wants the lock.
var ErrContended = errors.New("another process wants the lock file")

// A Lock keeps a second agent away (--lock-file). It is an advisory lock (flock) on a file, and ends with the process.
type Lock struct {
	path string
	file *os.File
	// events tells of others who open the file; nil if nobody asked.
	events *os.File
}

// LockOptions say how a lock is taken.
type LockOptions struct {
	// ExitOnContention is --exit-on-lock-contention: Watch ends when another process opens the file.
	ExitOnContention bool
	// Waiting is called once if another process has the lock. It may be nil.
	Waiting func()
}

// Acquire takes the lock and waits, for as long as the context lets it, until it is free. The file is made if it is
// missing; its directory must exist.
func Acquire(ctx context.Context, path string, o LockOptions) (*Lock, error) {
	for {
		l, err := open(path, o.ExitOnContention)
		if err == nil {
			err = l.take(ctx, o.Waiting)
		}
		if err == nil && l.inPlace() {
			return l, nil
		}
		if l != nil {
			l.close()
		}
		if err != nil {
			return nil, fmt.Errorf("take the lock file %s: %w", path, err)
		}
		o.Waiting = nil // the file was removed while we waited: once more with the new one
	}
}

// open opens the file. The watch begins before the lock is held, so that nobody who comes after is missed, and after
// the file was opened, which it would tell of as well.
func open(path string, watched bool) (*Lock, error) {
	// A fifo would block, a link lead elsewhere: /run/lock can be written by everybody.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if errors.Is(err, unix.ELOOP) {
		return nil, errors.New("must not be a symbolic link")
	}
	if err != nil {
		return nil, err
	}
	l := &Lock{path: path, file: f}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("must be a regular file")
	}
	if err != nil {
		l.close()
		return nil, err
	}
	if !watched {
		return l, nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		l.events = os.NewFile(uintptr(fd), "inotify of "+path)
		// A removed file changes its number of links.
		_, err = unix.InotifyAddWatch(fd, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.IN_OPEN|unix.IN_ATTRIB|unix.IN_MOVE_SELF)
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("watch for others: %w", err)
	}
	return l, nil
}

func (l *Lock) close() {
	l.file.Close()
	if l.events != nil {
		l.events.Close()
	}
}

// Release gives the lock back. The file stays, as others may be waiting for it.
func (l *Lock) Release() { l.close() }

// take takes the lock.
func (l *Lock) take(ctx context.Context, waiting func()) error {
	err := flock(l.file, unix.LOCK_EX|unix.LOCK_NB)
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return err
	}
	if waiting != nil {
		waiting()
	}
	if err := l.wait(ctx); err != nil {
		return err
	}
	if l.events == nil {
		return nil
	}
	// Who opened the file while another had it waits just like us, or has given up.
	return l.drain()
}

// wait blocks until the lock is ours. The kernel offers no way to break off: after the context ended, a goroutine goes
// on until the lock comes free or the process ends, which is next when the agent was told to stop before it began.
func (l *Lock) wait(ctx context.Context) error {
	fd, err := unix.FcntlInt(l.file.Fd(), unix.F_DUPFD_CLOEXEC, 0) // of its own, to outlive the lock
	if err != nil {
		return err
	}
	ours := os.NewFile(uintptr(fd), l.path)
	done := make(chan error, 1)
	go func() {
		done <- flock(ours, unix.LOCK_EX)
		ours.Close()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// inPlace tells whether the file that is locked is still the one others would find.
func (l *Lock) inPlace() bool {
	ours, err := l.file.Stat()
	if err != nil {
		return false
	}
	found, err := os.Lstat(l.path)
	return err == nil && os.SameFile(ours, found)
}

// Watch blocks until the context ends, then it returns nil; or until another process wants the lock, which it tells by
// opening the file: ErrContended. The same if the file is removed or renamed, since others would then lock a new one.
// Without ExitOnContention it only waits for the context.
func (l *Lock) Watch(ctx context.Context) error {
	if l.events == nil {
		<-ctx.Done()
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = l.events.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		opened, err := l.read()
		if errors.Is(err, os.ErrDeadlineExceeded) { // that of an earlier Watch, unless the context has ended by now
			err = l.events.SetReadDeadline(time.Time{})
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("watch the lock file %s: %w", l.path, err)
		case opened:
			return fmt.Errorf("%w %s", ErrContended, l.path)
		case !l.inPlace():
			return fmt.Errorf("%w %s: it was removed or renamed", ErrContended, l.path)
		}
	}
}

// While runs the agent as long as nobody else wants the lock: the context of run ends with ErrContended as its cause
// then. It returns when run has returned.
func (l *Lock) While(ctx context.Context, run func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan error, 1)
	go func() {
		err := l.Watch(ctx)
		if err != nil {
			cancel(err)
		}
		watched <- err
	}()
	err := run(ctx)
	cancel(nil)
	return errors.Join(err, <-watched)
}

// drain forgets what has happened up to now.
func (l *Lock) drain() error {
	conn, err := l.events.SyscallConn()
	if err != nil {
		return err
	}
	var buf [4096]byte
	var failed error
	err = conn.Read(func(fd uintptr) bool {
		for failed == nil || failed == unix.EINTR {
			_, failed = unix.Read(int(fd), buf[:])
		}
		return true
	})
	if failed == unix.EAGAIN { // nothing left
		failed = nil
	}
	return errors.Join(err, failed)
}

// read waits for events of the file, and tells whether it was opened among them.
func (l *Lock) read() (opened bool, err error) {
	var buf [4096]byte
	n, err := l.events.Read(buf[:])
	if err != nil {
		return false, err
	}
	if n < unix.SizeofInotifyEvent {
		return false, fmt.Errorf("%w: short event", io.ErrUnexpectedEOF)
	}
	return openedIn(buf[:n]), nil
}

// openedIn looks through inotify events: number of the watch, mask, cookie, length of a name, and the name.
func openedIn(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		mask, name := binary.NativeEndian.Uint32(events[4:]), binary.NativeEndian.Uint32(events[12:])
		if mask&(unix.IN_OPEN|unix.IN_Q_OVERFLOW) != 0 {
			return true
		}
		events = events[min(uint64(len(events)), unix.SizeofInotifyEvent+uint64(name)):]
	}
	return false
}
