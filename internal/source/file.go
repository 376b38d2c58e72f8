package source

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
)

// Settle is how long a manifest that vanished may take to come back before its pods are ended, and how long a change
// that nobody announced must have stood before it is read.
const Settle = 20 * time.Millisecond

// readingTurn is how long files are read before what is known so far is published.
const readingTurn = time.Millisecond

// FileConfig says what a File reads.
type FileConfig struct {
	// Path is a manifest, or one flat directory of them. It need not exist yet.
	Path     string
	NodeName string
	// Every is the period of relisting, the safety net for changes that inotify does not tell; 20 s if zero.
	Every time.Duration
	Log   *slog.Logger
	Notes note.Sink
	// Running tells whether a pod of that UID ran before this agent did. It decides between two manifests with the same
	// name at the start. Nil stands for "no pod did".
	Running func(types.UID) bool
	// Objects tells that manifests may hold ConfigMaps and Secrets, and their pods use them.
	Objects bool
}

// File is the source of pods from a file or a directory.
type File struct {
	path  string
	every time.Duration
	log   *slog.Logger
	shelf *shelf

	// The rest belongs to the goroutine of Run.

	inotify *inotify // nil while the kernel gives none; relisting does it then
	listed  bool     // what is there was found out once
	where   where
	files   map[string]*file // by origin
	queue   []string         // origins to read
	// moved: look anew what is at the path. swapped: links may lead elsewhere. overflow: events were lost.
	moved, swapped, overflow bool
	nextRelist               time.Time
	clashDue                 time.Time
}

// file is what is known of one file beside its content.
type file struct {
	// read is the version that was read last.
	read stamp
	// failed is true when reading it failed.
	failed bool
	// writing is true from a write to the close that follows; resting is what a relist found meanwhile.
	writing   bool
	resting   stamp
	restingAt time.Time
	// closed is true when its completeness was announced: whoever still has it open for writing is then another one.
	closed bool
	// awaited is true when it was being written when the agent began: what it wanted before is not known.
	awaited bool
	// due is when to look again at a file that vanished (doubt is then zero) or changed without an event.
	due   time.Time
	doubt stamp
}

// NewFile builds the source; Run makes it work.
func NewFile(c FileConfig) (*File, error) {
	path, err := filepath.Abs(c.Path)
	if c.Path == "" || err != nil {
		return nil, fmt.Errorf("path of manifests %q: want a file or a directory", c.Path)
	}
	if c.Every <= 0 {
		c.Every = 20 * time.Second
	}
	log := c.Log.With("source", "file")
	return &File{path: path, every: c.Every, log: log, files: map[string]*file{},
		shelf: newShelf(pod.FromFile, c.NodeName, c.Objects, c.Running, log, c.Notes)}, nil
}

// Cell holds what the files want now.
func (f *File) Cell() *latest.Cell[Snapshot] { return &f.shelf.out }

// Run watches until the context ends, and returns its error.
func (f *File) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var waiter sync.WaitGroup
	var readable chan struct{}
	n, err := newInotify()
	if err != nil {
		f.log.Warn("cannot watch manifests; looking at them now and then", "every", f.every, "err", err)
	} else {
		f.inotify, readable = n, n.readable
		waiter.Go(func() { n.wait(ctx.Done()) })
	}
	defer func() {
		cancel()
		if n != nil {
			if err := n.close(); err != nil {
				f.log.Warn("cannot end inotify", "err", err)
			}
		}
		waiter.Wait()
	}()

	f.moved = true
	f.turn(time.Now())
	timer := time.NewTimer(f.sleep(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-readable:
			f.turn(time.Now())
			n.rearm()
		case <-timer.C:
			f.turn(time.Now())
		}
		timer.Reset(f.sleep(time.Now()))
	}
}

// sleep is how long nothing is to be done unless the kernel says something.
func (f *File) sleep(now time.Time) time.Duration {
	if f.moved || f.swapped || f.overflow {
		return 0
	}
	next := f.nextRelist
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	sooner(f.clashDue)
	for _, one := range f.files {
		sooner(one.due)
	}
	return max(0, next.Sub(now))
}

// turn does all there is to do now.
func (f *File) turn(now time.Time) {
	f.take(f.drain(), now)
	for f.moved || f.overflow || f.swapped || !now.Before(f.nextRelist) {
		moved, trust := f.moved, trustNone
		switch {
		case !f.listed:
			trust = trustAll
		case f.swapped:
			trust = trustLinks
		}
		f.moved, f.overflow, f.swapped = false, false, false
		f.nextRelist = now.Add(f.every)
		f.relist(now, moved, trust)
	}
	f.recheck(now)
	f.publish(now) // removals and the like; files that must be read first follow
	for len(f.queue) > 0 {
		f.readSome(now)
		f.publish(now)
	}
}

// publish waits with the first snapshot until everything was read: which of two pods of one name ran before can only be
// said when both are known. The source has not spoken while a file is awaited.
func (f *File) publish(now time.Time) {
	if !f.shelf.ready {
		if len(f.queue) > 0 {
			return
		}
		f.shelf.ready = f.listed
		for _, one := range f.files {
			f.shelf.ready = f.shelf.ready && !one.awaited
		}
	}
	f.clashDue = f.shelf.publish(now)
}

func (f *File) drain() []event {
	if f.inotify == nil {
		return nil
	}
	return f.inotify.drain()
}

// take learns from events; what they leave to be done is in queue, moved, swapped, overflow and the files' due.
func (f *File) take(events []event, now time.Time) {
	const self = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_IGNORED | unix.IN_UNMOUNT
	for _, e := range events {
		switch {
		case e.mask&unix.IN_Q_OVERFLOW != 0:
			f.overflow = true
		case f.where.isAbove(e.wd) && (e.mask&self != 0 || e.name == f.where.component):
			f.moved = true
		case e.wd != f.where.wd:
		case e.mask&self != 0:
			f.moved = true
		case strings.HasPrefix(e.name, ".."):
			f.swapped = true // the atomic switch of a mounted ConfigMap
		case f.where.kind == directory && e.name != "" && !skipped(e.name):
			f.entry(filepath.Join(f.path, e.name), e.mask, now)
		case f.where.kind == single && e.name == f.where.component && e.mask&unix.IN_ISDIR != 0:
			f.moved = true // a directory takes the place of the file
		case f.where.kind == single && e.name == f.where.component:
			f.entry(f.path, e.mask, now)
		}
	}
}

// entry learns from an event about one file.
func (f *File) entry(origin string, mask uint32, now time.Time) {
	if mask&unix.IN_ISDIR != 0 {
		return
	}
	one := f.file(origin)
	switch {
	case mask&(unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO) != 0:
		one.writing, one.closed = false, mask&unix.IN_CLOSE_WRITE != 0
		f.want(origin)
	case mask&unix.IN_MODIFY != 0:
		one.writing, one.resting, one.closed = true, stamp{}, false
		f.unwant(origin)
	case mask&unix.IN_CREATE != 0:
		f.created(origin, one, now)
	case mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0:
		f.vanished(origin, now)
	}
}

// created tells apart three ways in which a name comes to be: a link is complete at once; a file that is opened gets
// its content and is closed later; a file without a name that is linked into place is complete, but looks like one
// that somebody has begun to write, until no write is announced.
func (f *File) created(origin string, one *file, now time.Time) {
	st, isLink, err := look(origin)
	switch {
	case err != nil: // gone again; an event says so
	case isLink || st.links > 1:
		one.writing, one.closed = false, false
		f.want(origin)
	case st.size == 0:
		one.writing, one.resting, one.due = true, stamp{}, time.Time{}
	default:
		one.closed = true
		one.doubt, one.due = st, now.Add(Settle)
	}
}

// vanished gives a file Settle to come back.
func (f *File) vanished(origin string, now time.Time) {
	f.unwant(origin)
	h := f.shelf.held[origin]
	if h == nil {
		delete(f.files, origin) // nobody will miss it
		return
	}
	one := f.file(origin)
	one.writing, one.closed, one.doubt, one.due = false, false, stamp{}, now.Add(Settle)
	h.leaving = true
}

func (f *File) file(origin string) *file {
	one := f.files[origin]
	if one == nil {
		one = &file{}
		f.files[origin] = one
	}
	return one
}
