package signals

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/evict"
)

// stallTriggers ask the kernel to tell, at most once a second, that in a second there were 100 ms in which some program waited
// for memory; or, where only the mighty may ask for that, in two seconds.
var stallTriggers = [...]string{"some 100000 1000000\x00", "some 100000 2000000\x00"}

// renewEvery is how often levels are set anew: how much of what a cgroup uses counts as available changes.
const renewEvery = 10 * time.Second

// Watch calls tell each time the kernel says that programs wait for memory, until ctx ends. least, if it is not nil, says how
// little may be available of the signals for memory: the kernel then also tells when so much is used, on cgroup v1
// (kernelMemcgNotification). Watch returns an error if the kernel offers none of this.
func (r *Reader) Watch(ctx context.Context, least func() map[evict.Signal]int64, tell func()) error {
	w := &watch{tell: tell}
	defer w.close()
	end, err := eventFD()
	if err != nil {
		return err
	}
	w.add(end, unix.POLLIN)
	stall, err := r.stallNotice()
	if err == nil {
		w.add(stall, unix.POLLPRI)
	}
	w.fixed = len(w.polled)
	timeout := -1
	if least != nil && v1Memory(r.memoryRoot()) {
		timeout = int(renewEvery.Milliseconds())
	} else if err != nil {
		return fmt.Errorf("have the kernel tell of memory that runs short: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _, _ = end.Write(one) })
	defer stop()
	for ctx.Err() == nil {
		if timeout > 0 {
			if err := w.renew(r.levels(least())); err != nil {
				return err
			}
		}
		if err := w.wait(ctx, timeout); err != nil {
			return err
		}
	}
	return nil
}

// v1Memory tells whether a directory is a cgroup of v1 that tells of levels.
func v1Memory(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cgroup.event_control"))
	return dir != "" && err == nil
}

// levels are how many bytes cgroups of v1 may use until there is as little left as that, by their directories.
func (r *Reader) levels(least map[evict.Signal]int64) map[string]int64 {
	out := map[string]int64{}
	text, err := os.ReadFile(filepath.Join(r.cfg.Proc, "meminfo"))
	if err != nil {
		return nil
	}
	machine := meminfo(text).total
	for signal, dir := range map[evict.Signal]string{evict.MemoryAvailable: r.memoryRoot(), evict.PodsMemory: r.cfg.Memory()} {
		n, wanted := least[signal]
		if g, ok := groupMemory(dir); ok && wanted && v1Memory(dir) {
			out[dir] = min(g.limit, machine) - n + g.inactive
		}
	}
	return out
}

// watch is what the kernel tells with. The first descriptor ends it.
type watch struct {
	tell   func()
	polled []unix.PollFd
	open   []*os.File
	// fixed is how many descriptors stay; those of levels come after them.
	fixed int
	also  []*os.File // what has to stay open for levels
}

func (w *watch) add(f *os.File, events int16) {
	w.open = append(w.open, f)
	w.polled = append(w.polled, unix.PollFd{Fd: int32(f.Fd()), Events: events})
}

// close gives everything back. Nothing was written that counts.
func (w *watch) close() {
	for _, f := range append(w.open, w.also...) {
		_ = f.Close()
	}
}

// renew sets other levels.
func (w *watch) renew(levels map[string]int64) error {
	for _, f := range append(w.open[w.fixed:], w.also...) {
		_ = f.Close()
	}
	w.open, w.polled, w.also = w.open[:w.fixed:w.fixed], w.polled[:w.fixed:w.fixed], nil
	for dir, level := range levels {
		notice, usage, err := levelNotice(dir, level)
		if err != nil {
			return fmt.Errorf("have the kernel tell of a level in %s: %w", dir, err)
		}
		w.add(notice, unix.POLLIN)
		w.also = append(w.also, usage)
	}
	return nil
}

// one is what is written into an eventfd to wake whoever waits for it.
var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

func eventFD() (*os.File, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	return os.NewFile(uintptr(fd), "eventfd"), nil
}

// wait polls once, for some milliseconds; less than 0 is for ever. The runtime's own poller knows nothing of POLLPRI.
func (w *watch) wait(ctx context.Context, timeout int) error {
	n, err := unix.Poll(w.polled, timeout)
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("wait for the kernel to tell of memory: %w", err)
	}
	if err != nil || n == 0 || ctx.Err() != nil {
		return nil
	}
	for _, p := range w.polled[1:] {
		if p.Revents&(unix.POLLERR|unix.POLLNVAL|unix.POLLHUP) != 0 && p.Revents&unix.POLLPRI == 0 {
			return errors.New("the kernel no longer tells of memory that runs short")
		}
		if p.Revents&unix.POLLIN != 0 {
			var count [8]byte
			if _, err := unix.Read(int(p.Fd), count[:]); err != nil && err != unix.EAGAIN && err != unix.EINTR {
				return fmt.Errorf("read a notice about memory: %w", err)
			}
		}
	}
	w.tell()
	return nil
}

// stallNotice is a descriptor that is ready when programs wait for memory.
func (r *Reader) stallNotice() (*os.File, error) {
	path := filepath.Join(r.cfg.Proc, "pressure", "memory")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	for _, trigger := range stallTriggers {
		if _, err = unix.Write(fd, []byte(trigger)); err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
	}
	_ = unix.Close(fd)
	return nil, &os.PathError{Op: "write", Path: path, Err: err}
}

// levelNotice is a descriptor that is ready when a cgroup of v1 passes a level, and what has to stay open for that.
func levelNotice(dir string, level int64) (notice, usage *os.File, err error) {
	if usage, err = os.Open(filepath.Join(dir, "memory.usage_in_bytes")); err != nil {
		return nil, nil, err
	}
	if notice, err = eventFD(); err == nil {
		order := fmt.Sprintf("%d %d %d", notice.Fd(), usage.Fd(), level)
		if err = os.WriteFile(filepath.Join(dir, "cgroup.event_control"), []byte(order), 0); err == nil {
			return notice, usage, nil
		}
		_ = notice.Close()
	}
	_ = usage.Close()
	return nil, nil, err
}
