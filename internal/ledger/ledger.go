package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Format is the version of the file's layout that this code writes and reads. Another kind of record is another
// bucket and needs no new version; a change of what an older Bosun would misread does.
const Format = 1

// defaultReserve holds the records of a few hundred pods.
const defaultReserve = 1 << 20

// The buckets. An older Bosun leaves alone the buckets it does not know.
var (
	metaBucket    = []byte("meta")    // "format": the version of the file's layout
	podsBucket    = []byte("pods")    // pod UID: checked record, see encode
	damagedBucket = []byte("damaged") // pod UID: what was in a record that could not be read
	pullsBucket   = []byte("pulls")   // what package image calls it: checked text, see seal. Made when it is first needed
	claimsBucket  = []byte("claims")  // what package dra calls it: as pulls
	// resourcesBucket holds the resources of device plugins by name; the text is empty JSON.
	resourcesBucket = []byte("resources")
	formatKey       = []byte("format")
)

// Options say how the ledger is opened. The zero value is right for the agent.
type Options struct {
	// LockWait is how long to wait for another process to let go of the file; zero means one second.
	LockWait time.Duration
	// Reserve is how many bytes the file takes from the start, so that a disk that is full later does not keep the
	// node from remembering; zero means 1 MiB, negative means none. A disk too full to reserve them is no error.
	Reserve int64
}

// Ledger is the open file. Its methods may be called from any goroutine.
type Ledger struct {
	path     string
	db       *bbolt.DB
	file     *os.File
	setAside error
	// broken is set when bbolt gave up in the middle of a change: it then holds its locks for ever. Load and after it
	// the writer write it.
	broken   error
	requests chan *request
	// ended is closed when the writer takes no more requests.
	ended chan struct{}
}

// NewerError says that a newer Bosun wrote the file. It is not touched.
type NewerError struct {
	Path string
	// Found is the version of the file's layout as it is written there.
	Found string
}

// Error says what to do about it.
func (e *NewerError) Error() string {
	return fmt.Sprintf("ledger %s was written by a newer Bosun: its format is %s, this one knows up to %d; "+
		"run the newer version, or move the file away to let the node forget what it remembered", e.Path, e.Found, Format)
}

// SetAsideError says that a file could not be read and where it was moved. It was replaced by an empty one.
type SetAsideError struct {
	Path, MovedTo string
	Err           error
}

// Error says what happened, and what that means for the node.
func (e *SetAsideError) Error() string {
	return fmt.Sprintf("ledger %s is damaged and was moved to %s: pods are admitted anew, pauses and stop deadlines start afresh, and images on the node count as put there by hand: %v",
		e.Path, e.MovedTo, e.Err)
}

// Unwrap returns what was wrong with the file.
func (e *SetAsideError) Unwrap() error { return e.Err }

// Open opens the ledger, or makes it. A damaged file is moved to <path>.damaged-<time> and a fresh one takes its
// place: see SetAside. Errors are those with which the node must not start: the file belongs to another process (the
// error names it), was written by a newer Bosun (*NewerError), is something else than a ledger, or cannot be opened.
func Open(path string, o Options) (*Ledger, error) {
	if o.LockWait == 0 {
		o.LockWait = time.Second
	}
	if o.Reserve == 0 {
		o.Reserve = defaultReserve
	}
	l := &Ledger{path: path, requests: make(chan *request), ended: make(chan struct{})}
	err := l.openSound(o)
	var damage *damageError
	if errors.As(err, &damage) {
		movedTo, moveErr := moveAside(path, time.Now())
		if moveErr != nil {
			return nil, fmt.Errorf("ledger %s is damaged (%w) and cannot be moved away: %w", path, damage.err, moveErr)
		}
		l.setAside = &SetAsideError{Path: path, MovedTo: movedTo, Err: damage.err}
		err = l.openSound(o)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// SetAside returns a *SetAsideError if the file that was there was damaged and was replaced by an empty one, else nil.
func (l *Ledger) SetAside() error { return l.setAside }

// Close lets go of the file. Run must have returned.
func (l *Ledger) Close() error {
	if err := closeFile(l.db, l.file, l.broken); err != nil {
		return fmt.Errorf("close ledger %s: %w", l.path, err)
	}
	return nil
}

// openSound opens the file and looks at all of it. It returns a *damageError for a file that cannot be read.
func (l *Ledger) openSound(o Options) error {
	var file *os.File
	var db *bbolt.DB
	err := guard(func() (err error) {
		db, err = bbolt.Open(l.path, 0o600, boltOptions(o, &file))
		return err
	})
	if err == nil {
		err = guard(func() error { return inspect(l.path, db) })
	}
	if err == nil {
		err = guard(func() error { return prepare(l.path, db, file, o) })
	}
	if err == nil {
		l.db, l.file = db, file
		return nil
	}
	_ = closeFile(db, file, err) // the first error is the one that matters
	switch newer, damage := (*NewerError)(nil), (*damageError)(nil); {
	case errors.As(err, &newer), errors.As(err, &damage):
		return err
	case errors.Is(err, unix.EWOULDBLOCK):
		return fmt.Errorf("ledger %s is in use by %s; is another Bosun running?", l.path, holder(l.path))
	}
	return fmt.Errorf("open ledger %s: %w", l.path, err)
}

// closeFile closes a file that was opened so far. bbolt leaves its file open, mapped and locked when it panics over
// what is in it, and its own Close may then wait for ever. The lock would live as long as the map: it is given up first.
func closeFile(db *bbolt.DB, file *os.File, after error) error {
	var damage *damageError
	switch {
	case file == nil:
		return nil
	case db == nil || errors.As(after, &damage):
		_ = unix.Flock(int(file.Fd()), unix.LOCK_UN)
		_ = file.Close() // bbolt may have closed it already
		return nil
	}
	return db.Close()
}

// boltOptions are chosen for a small file that is written often and read once.
//
//   - The free list is written with each commit: it is one page in the same write and the same sync, and without it
//     bbolt would rebuild it at each start, and after each failed commit, in a goroutine whose panics over a damaged
//     file nobody can catch.
//   - The list is an array: with a few hundred pages a map would only cost memory.
//   - The map covers the reserved size from the start, so that growth neither remaps nor, with its own sync, doubles the
//     time of a commit. Pages that are not touched take no memory.
//   - No statistics: nobody reads them.
func boltOptions(o Options, file **os.File) *bbolt.Options {
	return &bbolt.Options{
		Timeout:         o.LockWait, // the lock is ours by then
		FreelistType:    bbolt.FreelistArrayType,
		InitialMmapSize: int(max(o.Reserve, 0)),
		NoStatistics:    true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			if err != nil {
				return nil, err
			}
			*file = f
			if err := lock(f, o.LockWait); err != nil {
				return nil, err
			}
			return f, readSound(f)
		},
	}
}

// prepare makes a sound file ready for use: its reserved size, its buckets, and its name on disk.
func prepare(path string, db *bbolt.DB, file *os.File, o Options) error {
	if err := reserve(file, o.Reserve); err != nil {
		return err
	}
	fresh := false
	err := db.View(func(tx *bbolt.Tx) error {
		fresh = tx.Bucket(metaBucket) == nil || tx.Bucket(podsBucket) == nil
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	if err := db.Update(makeBuckets); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// reserve makes the file take its place on the disk now. A file system that cannot do it, or has no room, is no error.
func reserve(file *os.File, size int64) error {
	if size <= 0 {
		return nil
	}
	err := unix.Fallocate(int(file.Fd()), 0, 0, size)
	switch {
	case err == nil, errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
		return nil
	}
	return fmt.Errorf("reserve %d bytes: %w", size, err)
}

func makeBuckets(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return err
	}
	if _, err := tx.CreateBucketIfNotExists(podsBucket); err != nil {
		return err
	}
	return meta.Put(formatKey, []byte(strconv.Itoa(Format)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
