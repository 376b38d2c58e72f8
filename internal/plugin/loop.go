package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/bosun-project/bosun/internal/backoff"
	"github.com/bosun-project/bosun/internal/latest"
)

// Handler takes in plugins of one type.
type Handler interface {
	// Validate tells why a plugin of this name that speaks these versions cannot be used; nil if it can.
	Validate(name string, versions []string) error
	// Register takes in a plugin that serves at a socket and speaks these versions, in place of an earlier one of its name, or beside it.
	Register(ctx context.Context, name, socket string, versions []string) error
	// Deregister lets a plugin go, if it is the one at that socket.
	Deregister(name, socket string) error
}

// Config is what a Loop is built from.
type Config struct {
	// Dir is where plugins put their sockets; it is made if it is missing.
	Dir string
	// Handlers are those of the types of plugins that can be used, such as CSIPlugin.
	Handlers map[string]Handler
	// Patience is how long a plugin may take to say what it is. Default 10 s.
	Patience time.Duration
	Log      *slog.Logger
}

// Plugin is one socket that was found.
type Plugin struct {
	Socket string
	// Type and Name are empty until it has said them.
	Type, Name string
	// Registered tells that its handler has taken it in; otherwise Problem says why not, if that is known.
	Registered bool
	Problem    string
}

// Loop finds plugins.
type Loop struct {
	cfg Config

	mu    sync.Mutex
	known map[string]*socket
	state latest.Cell[[]Plugin]
}

// socket is one that is spoken to.
type socket struct {
	file    fs.FileInfo
	stop    context.CancelFunc
	stopped chan struct{}
	said    Plugin
}

// pauses are those between attempts to register a plugin.
var pauses = backoff.Series{Initial: 500 * time.Millisecond, Max: 30 * time.Second}

// New builds a Loop. Nothing is done before Run.
func New(cfg Config) *Loop {
	if cfg.Patience <= 0 {
		cfg.Patience = 10 * time.Second
	}
	return &Loop{cfg: cfg, known: map[string]*socket{}}
}

// State is the plugins there are, by socket.
func (l *Loop) State() *latest.Cell[[]Plugin] { return &l.state }

// Run finds plugins until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	if err := os.MkdirAll(l.cfg.Dir, 0o750); err != nil {
		return fmt.Errorf("make the directory of plugins: %w", err)
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the directory of plugins: %w", err)
	}
	defer watcher.Close()
	ctx, stop := context.WithCancel(ctx)
	var talks sync.WaitGroup
	defer talks.Wait()
	defer stop()
	for {
		found, err := l.look(watcher)
		if err != nil {
			return fmt.Errorf("look for plugins in %s: %w", l.cfg.Dir, err)
		}
		l.follow(ctx, found, &talks)
		if !await(ctx, watcher) {
			return nil
		}
	}
}

// await waits until something has changed; it is false when ctx has ended.
func await(ctx context.Context, w *fsnotify.Watcher) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case e := <-w.Events:
			if e.Op&(fsnotify.Create|fsnotify.Remove|fsnotify.Rename) != 0 {
				return true
			}
		case <-w.Errors: // events were lost: look
			return true
		}
	}
}

// look lists the sockets, and sees to it that their directories are watched. Hidden files and directories are left out, and
// links are not followed.
func (l *Loop) look(w *fsnotify.Watcher) (map[string]fs.FileInfo, error) {
	found := map[string]fs.FileInfo{}
	err := filepath.WalkDir(l.cfg.Dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case path != l.cfg.Dir && errors.Is(err, fs.ErrNotExist): // it has just gone
			return nil
		case err != nil:
			return err
		case path != l.cfg.Dir && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			err := w.Add(path) // before it is read: nothing that comes is missed
			if errors.Is(err, fs.ErrNotExist) && path != l.cfg.Dir {
				return nil
			}
			return err
		case e.Type()&fs.ModeSocket != 0:
			if info, err := e.Info(); err == nil {
				found[path] = info
			}
		}
		return nil
	})
	return found, err
}

// follow speaks to what is new, and lets go what is not there any more.
func (l *Loop) follow(ctx context.Context, found map[string]fs.FileInfo, talks *sync.WaitGroup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := map[string]<-chan struct{}{}
	for path, s := range l.known {
		if now := found[path]; now == nil || !same(s.file, now) {
			s.stop()
			before[path] = s.stopped
			delete(l.known, path)
		}
	}
	for path, file := range found {
		if l.known[path] != nil {
			continue
		}
		talking, stop := context.WithCancel(ctx)
		s := &socket{file: file, stop: stop, stopped: make(chan struct{}), said: Plugin{Socket: path}}
		l.known[path] = s
		talks.Go(func() {
			defer close(s.stopped)
			if old := before[path]; old != nil {
				<-old
			}
			l.talk(ctx, talking, s)
		})
	}
	l.publish()
}

// same tells whether a file is still the one it was. Numbers of files are used again, times hardly.
func same(a, b fs.FileInfo) bool { return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) }

// publish tells of the plugins. The lock is held.
func (l *Loop) publish() {
	all := make([]Plugin, 0, len(l.known))
	for _, path := range slices.Sorted(maps.Keys(l.known)) {
		all = append(all, l.known[path].said)
	}
	if !slices.Equal(all, l.state.Value()) {
		l.state.Set(all)
	}
}
