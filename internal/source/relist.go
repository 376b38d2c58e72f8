package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// kind is what is at the path.
type kind uint8

const (
	absent kind = iota
	single
	directory
)

// where is what is at the path, and which watches tell of it.
type where struct {
	kind kind
	// wd watches the directory with the manifests: the path itself, or the one that holds the file. -1 if there is none.
	wd int
	// above watches directories whose entries decide what is at the path: the one that holds a link to it, or the
	// nearest one that exists.
	above []int
	// component is the name of interest in a directory that is not full of manifests.
	component       string
	device, inode   uint64
	toldMissing     bool
	toldUnwatchable bool
}

func (w *where) isAbove(wd int) bool { return slices.Contains(w.above, wd) }

// trust is which files may be read at once although no event announced them.
type trust uint8

const (
	trustNone trust = iota
	trustLinks
	trustAll
)

// relist compares what is known with what is there. It finds what no event told; when such a file has changed, it is read
// after Settle, if it stays as it is and no write is announced.
func (f *File) relist(now time.Time, moved bool, t trust) {
	if err := f.locate(moved); err != nil {
		f.blocked(err, now)
		return
	}
	var there map[string]fs.FileInfo
	switch f.where.kind {
	case absent:
	case single:
		info, err := os.Stat(f.path)
		if err == nil {
			there = map[string]fs.FileInfo{f.path: info}
		}
	case directory:
		var err error
		if there, err = f.list(); err != nil {
			f.blocked(err, now)
			return
		}
		f.shelf.drop(f.path) // the directory can be read again
	}
	for origin, info := range there {
		f.compare(origin, info, now, t)
	}
	slices.Sort(f.queue)
	for origin, one := range f.files {
		if _, is := there[origin]; !is && (one.due.IsZero() || one.doubt != stamp{}) {
			f.vanished(origin, now)
		}
	}
	f.listed = true
	if h := f.shelf.held[f.path]; f.where.kind == absent && h != nil && f.files[f.path] == nil {
		f.shelf.drop(f.path)
	}
}

// blocked is for when nothing can be said about what is there: everything stays as it is.
func (f *File) blocked(err error, now time.Time) {
	f.shelf.unreadable(f.path, err, now)
	if one := f.files[f.path]; one != nil {
		one.failed = true
	}
}

// compare decides whether a file that is there has to be read.
func (f *File) compare(origin string, info fs.FileInfo, now time.Time, t trust) {
	one, st := f.file(origin), stampOf(info)
	h := f.shelf.held[origin]
	if st.sameVersion(one.read) && !one.failed && h != nil && !h.leaving {
		return
	}
	_, isLink, err := look(origin)
	switch {
	case err != nil: // gone since; the next look tells
	case t == trustAll, t == trustLinks && isLink, one.failed:
		one.writing, one.closed = false, false
		f.want(origin)
	case one.writing && !one.resting.sameVersion(st):
		one.resting, one.restingAt = st, now
	case one.writing && now.Sub(one.restingAt) < f.every:
	case one.writing:
		one.writing, one.closed = false, true // open, but not written to for a whole period
		f.want(origin)
	case one.due.IsZero() || one.doubt == stamp{}:
		one.doubt, one.due, one.closed = st, now.Add(Settle), false
	}
}

// list returns the files of the directory by origin.
func (f *File) list() (map[string]fs.FileInfo, error) {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return nil, err
	}
	there := make(map[string]fs.FileInfo, len(entries))
	for _, e := range entries {
		if skipped(e.Name()) || e.IsDir() {
			continue
		}
		origin := filepath.Join(f.path, e.Name())
		if info, err := os.Stat(origin); err == nil && info.Mode().IsRegular() {
			there[origin] = info
		}
	}
	return there, nil
}

// locate finds out what is at the path and sets the watches. Without a reason to believe that something moved, it only
// makes sure that it is still the same.
func (f *File) locate(moved bool) error {
	info, err := os.Stat(f.path)
	if !moved && err == nil && f.where.kind == kindOf(info) && f.where.sameAs(info) {
		return nil
	}
	for range 10 { // it may change again while the watches are set
		info, err := os.Stat(f.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
		f.unwatch()
		f.where.kind = absent
		if err == nil {
			f.where.kind = kindOf(info)
			st := stampOf(info)
			f.where.device, f.where.inode = st.device, st.inode
		}
		holder := f.setWatches()
		again, errAgain := os.Stat(f.path)
		if (err == nil) != (errAgain == nil) || err == nil && !os.SameFile(info, again) && info.IsDir() {
			continue
		}
		if f.where.kind != absent {
			f.where.toldMissing = false
			return nil
		}
		if holder != nearestDirectory(f.path) {
			continue
		}
		if !f.where.toldMissing {
			f.where.toldMissing = true
			if len(f.files) > 0 {
				f.log.Warn("the manifests are gone, so their pods end; waiting for the path to appear", "path", f.path)
			} else {
				f.log.Info("there are no manifests yet; waiting for the path to appear", "path", f.path)
			}
		}
		return nil
	}
	f.moved = true
	return nil
}

func kindOf(info fs.FileInfo) kind {
	if info.IsDir() {
		return directory
	}
	return single
}

// sameAs tells whether a directory is the one that is watched. Single files come and go; the directory around them is
// what is watched, and its going is announced.
func (w *where) sameAs(info fs.FileInfo) bool {
	st := stampOf(info)
	return w.kind == single || st.device == w.device && st.inode == w.inode
}

func (f *File) unwatch() {
	if f.inotify == nil {
		return
	}
	for _, wd := range append(f.where.above, f.where.wd) {
		if wd > 0 {
			f.inotify.unwatch(wd)
		}
	}
	f.where.above, f.where.wd = nil, -1
}

// setWatches watches what is at the path, or else the nearest directory that exists, which it returns.
func (f *File) setWatches() (holder string) {
	parent := filepath.Dir(f.path)
	f.where.component = filepath.Base(f.path)
	_, isLink, err := look(f.path)
	isLink = isLink && err == nil
	switch f.where.kind {
	case directory:
		f.where.wd = f.addWatch(f.path, fullMask)
	case single:
		f.where.wd = f.addWatch(parent, fullMask)
	case absent:
		holder = nearestDirectory(f.path)
		rest, err := filepath.Rel(holder, f.path)
		if err == nil {
			f.where.component = firstComponent(rest)
		}
		f.where.above = append(f.where.above, f.addWatch(holder, aboveMask))
	}
	if isLink && f.where.kind == directory {
		f.where.above = append(f.where.above, f.addWatch(parent, aboveMask))
	}
	return holder
}

func (f *File) addWatch(dir string, mask uint32) int {
	if f.inotify == nil {
		return -1
	}
	wd, err := f.inotify.watch(dir, mask)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !f.where.toldUnwatchable {
		f.where.toldUnwatchable = true
		f.log.Warn("cannot watch manifests; looking at them now and then", "every", f.every, "err", err)
	}
	return wd
}

// nearestDirectory is the deepest directory above a path that exists.
func nearestDirectory(path string) string {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
			return dir
		}
	}
}

func firstComponent(path string) string {
	for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
		path = dir
	}
	return path
}
