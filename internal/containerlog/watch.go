package containerlog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/safepath"
)

// lookEvery is how often a log is looked at when the kernel has no inotify instance left for it.
const lookEvery = time.Second

// watch tells when something happens in a log's directory.
type watch struct {
	inotify  *os.File // nil: none was to be had
	happened chan struct{}
	done     chan struct{}
}

// watch watches the directory of the log, not the file: a rotation puts another file there.
func (r *Reading) watch() (*watch, error) {
	dir, err := r.root.Handle(filepath.Dir(r.log.Name))
	if err != nil {
		return nil, fmt.Errorf("open directory of log: %w", err)
	}
	defer dir.Close()
	w := &watch{happened: make(chan struct{}, 1), done: make(chan struct{})}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return w, nil // too many of them; look from time to time instead
	}
	w.inotify = os.NewFile(uintptr(fd), "inotify")
	const mask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO
	if _, err := unix.InotifyAddWatch(fd, safepath.ProcPath(dir), mask); err != nil {
		w.inotify.Close()
		w.inotify = nil
		return w, nil
	}
	go w.listen()
	return w, nil
}

// listen turns events into nudges. Which events they are does not matter: the reader looks at everything.
func (w *watch) listen() {
	defer close(w.done)
	buf := make([]byte, 4096)
	for {
		if _, err := w.inotify.Read(buf); err != nil {
			return
		}
		select {
		case w.happened <- struct{}{}:
		default:
		}
	}
}

// wait returns when there may be something to read, or the container's state changed; an error if ctx ended.
func (w *watch) wait(ctx context.Context, changed <-chan struct{}) error {
	var look <-chan time.Time
	if w.inotify == nil {
		timer := time.NewTimer(lookEvery)
		defer timer.Stop()
		look = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-w.happened:
	case <-look:
	}
	return nil
}

func (w *watch) close() {
	if w.inotify != nil {
		w.inotify.Close()
		<-w.done
	}
}
