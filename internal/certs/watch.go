package certs

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long files are left alone after a change: certificate and key are rarely written in one step.
const settle = 100 * time.Millisecond

// A watcher hears of changed files.
type watcher interface {
	// run works until ctx ends.
	run(ctx context.Context)
	// follow says which paths matter from now on; true if there may have been changes that changes does not tell of.
	follow(paths []string) bool
	// changes gets a token after some of the paths changed.
	changes() <-chan struct{}
}

// A dirWatch hears of files by way of their directories, since files are replaced more often than written. It looks at every
// step of the way to a file, so a turn of the ..data link of a mounted Secret is noticed, and a directory that does not exist
// yet, too. What it cannot hear of is found by the slow look of its user.
type dirWatch struct {
	log    *slog.Logger
	notify *fsnotify.Watcher // nil if the kernel gives none
	told   chan struct{}

	mu    sync.Mutex
	steps map[string]bool // paths of interest
	dirs  map[string]bool // watched
}

func newDirWatch(log *slog.Logger) watcher {
	w := &dirWatch{log: log, told: make(chan struct{}, 1), steps: map[string]bool{}, dirs: map[string]bool{}}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("cannot watch certificate files; they are looked at now and then", "err", err)
		return w
	}
	w.notify = notify
	return w
}

func (w *dirWatch) changes() <-chan struct{} { return w.told }

func (w *dirWatch) follow(paths []string) (news bool) {
	if w.notify == nil {
		return false
	}
	steps, dirs := map[string]bool{}, map[string]bool{}
	for _, path := range paths {
		for _, step := range stepsTo(path) {
			steps[step], dirs[filepath.Dir(step)] = true, true
		}
	}
	// The lock is not held while fsnotify is called, which may wait for run, which may wait for the lock.
	w.mu.Lock()
	news = !subset(steps, w.steps) // they may have changed since they were looked at
	w.steps = steps
	had := maps.Clone(w.dirs)
	w.mu.Unlock()
	for dir := range had {
		if !dirs[dir] {
			_ = w.notify.Remove(dir) // it may be gone
			w.mark(dir, false)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if had[dir] {
			continue
		}
		if err := w.notify.Add(dir); err == nil {
			w.mark(dir, true)
			news = true
		}
	}
	return news
}

func (w *dirWatch) mark(dir string, watched bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if watched {
		w.dirs[dir] = true
	} else {
		delete(w.dirs, dir)
	}
}

func subset(a, b map[string]bool) bool {
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return true
}

func (w *dirWatch) run(ctx context.Context) {
	if w.notify == nil {
		return
	}
	defer func() {
		if err := w.notify.Close(); err != nil {
			w.log.Warn("cannot end the watch of certificate files", "err", err)
		}
	}()
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.notify.Events:
			if w.matters(e) {
				quiet.Reset(settle)
			}
		case err := <-w.notify.Errors: // events were lost
			w.log.Warn("watching certificate files", "err", err)
			quiet.Reset(settle)
		case <-quiet.C:
			select {
			case w.told <- struct{}{}:
			default:
			}
		}
	}
}

// matters tells whether an event is about a step of interest, and forgets a watch that ended with its directory.
func (w *dirWatch) matters(e fsnotify.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if (e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)) && w.dirs[e.Name] {
		delete(w.dirs, e.Name) // fsnotify has ended it; follow begins another one
		return true
	}
	return w.steps[e.Name]
}

// stepsTo lists what on the way to a file may change where it leads: every symbolic link, and the file itself, or the first part
// that is missing. Each is a path whose directory can be watched.
func stepsTo(path string) (steps []string) {
	at, rest := "/", strings.Split(filepath.Clean(path), "/")
	for hops := 0; len(rest) > 0 && hops < 255; hops++ {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, part)
		info, err := os.Lstat(next)
		if err != nil {
			return append(steps, next)
		}
		if info.Mode()&os.ModeSymlink == 0 {
			if at = next; len(rest) == 0 {
				return append(steps, next)
			}
			continue
		}
		steps = append(steps, next)
		target, err := os.Readlink(next)
		if err != nil {
			return steps
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return steps
}
