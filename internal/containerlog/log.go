package containerlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bosun-project/bosun/internal/safepath"
)

// Log is the log of one container instance.
type Log struct {
	// Dir is the pod's log directory; Name is the file beneath it, such as app/0.log.
	Dir, Name string
	// Alive tells whether the container may still write, and returns a channel that is closed when that may have
	// changed. It is asked only by those who follow; nil stands for a container that is gone.
	Alive func() (bool, <-chan struct{})
}

// Options say what of a log is wanted.
type Options struct {
	// Timestamps puts the time in front of each line.
	Timestamps bool
	// Since leaves out lines that are older.
	Since time.Time
	// Tail leaves out all but the last lines; nil leaves out none. It counts within the current file.
	Tail *int64
	// LimitBytes ends the output after so many bytes, in the middle of a line if need be; 0 does not.
	LimitBytes int64
	// Stream is Stdout or Stderr, or empty for both.
	Stream string
	// Follow goes on, across rotations, until the container is gone. A reader so slow that the file is rotated twice
	// between two of its reads misses the file in the middle.
	Follow bool
}

// Open opens the log, so that the caller learns at once if there is none (fs.ErrNotExist). The caller closes it.
func (l Log) Open() (*Reading, error) {
	root, err := safepath.Open(l.Dir)
	if err != nil {
		return nil, fmt.Errorf("open log directory: %w", err)
	}
	file, err := root.OpenFile(l.Name, os.O_RDONLY)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open log: %w", err)
	}
	if l.Alive == nil {
		l.Alive = func() (bool, <-chan struct{}) { return false, nil }
	}
	return &Reading{log: l, root: root, current: &reader{file: file}}, nil
}

// Reading is an open log.
type Reading struct {
	log  Log
	root *safepath.Root
	// current is the file read now; older is the one before the last rotation, in which a late write may still appear.
	current, older *reader
}

// Close closes the log.
func (r *Reading) Close() error {
	err := errors.Join(r.current.file.Close(), r.root.Close())
	if r.older != nil {
		err = errors.Join(err, r.older.file.Close())
	}
	return err
}

// Copy writes what is asked for. When following it returns once the container is gone and everything is written, or
// ctx ends, which is no error. An error of out ends it.
func (r *Reading) Copy(ctx context.Context, out io.Writer, o Options) error {
	if o.Tail != nil {
		info, err := r.current.file.Stat()
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if r.current.at, err = tail(r.current.file, info.Size(), *o.Tail); err != nil {
			return fmt.Errorf("read log from its end: %w", err)
		}
	}
	w := newWriter(out, o)
	err := r.copy(ctx, w, o.Follow)
	switch {
	case errors.Is(err, errLimit):
		err = w.out.Flush()
	case err == nil:
		if err = w.finish(); errors.Is(err, errLimit) {
			err = w.out.Flush()
		}
	}
	if err != nil {
		return fmt.Errorf("copy log: %w", err)
	}
	return nil
}

func (r *Reading) copy(ctx context.Context, w *writer, follow bool) error {
	if !follow {
		if err := r.current.lines(w); err != nil {
			return err
		}
		return r.current.end(w)
	}
	watch, err := r.watch()
	if err != nil {
		return err
	}
	defer watch.close()
	for {
		alive, changed := r.log.Alive() // asked before reading: what a container wrote before its end is read after it
		if err := r.catchUp(w); err != nil {
			return err
		}
		if !alive {
			return r.current.end(w)
		}
		if err := w.out.Flush(); err != nil {
			return err
		}
		if err := watch.wait(ctx, changed); err != nil {
			return nil // the reader has left
		}
	}
}

// catchUp reads everything that is there, going on to the next file if there was a rotation.
func (r *Reading) catchUp(w *writer) error {
	for {
		next, err := r.rotated()
		if err != nil {
			return err
		}
		if r.older != nil {
			if err := r.older.lines(w); err != nil {
				return err
			}
		}
		if err := r.current.lines(w); err != nil {
			return err
		}
		if next == nil {
			return nil
		}
		if r.older != nil {
			r.older.file.Close()
		}
		r.older, r.current = r.current, &reader{file: next}
	}
}

// rotated returns the file that has taken the place of the current one, or nil. An empty one does not count: while the
// runtime has not written to it, it may still write to the old one.
func (r *Reading) rotated() (*os.File, error) {
	next, err := r.root.OpenFile(r.log.Name, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // renamed, and the new one is still to come
	}
	if err != nil {
		return nil, fmt.Errorf("open log again: %w", err)
	}
	there, err := next.Stat()
	if err == nil && there.Size() > 0 {
		var here os.FileInfo
		if here, err = r.current.file.Stat(); err == nil && !os.SameFile(here, there) {
			return next, nil
		}
	}
	next.Close()
	return nil, err
}
