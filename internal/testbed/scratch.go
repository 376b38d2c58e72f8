package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A scratch directory holds all files of one run. Its name is also that of the run's cgroups.
// The lock on it is held as long as the run lives: a directory whose lock is free belongs to the dead.
type scratch struct {
	dir  string
	lock *os.File
}

func newScratch(base string) (*scratch, error) {
	if err := os.MkdirAll(base, 0o755); err != nil {
		return nil, err
	}
	made, err := os.MkdirTemp(base, ".new-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(made, 0o755); err != nil {
		return nil, err
	}
	lock, err := lockDir(made)
	if err != nil {
		return nil, err
	}
	// It gets the name that sweepers look for only now that it is locked.
	dir := filepath.Join(base, "bosun-test-"+strings.TrimPrefix(filepath.Base(made), ".new-"))
	return &scratch{dir: dir, lock: lock}, os.Rename(made, dir)
}

// lockDir locks a directory itself, unless another holds the lock.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// remove takes away what the end of the namespaces leaves behind.
func (s *scratch) remove() {
	defer s.lock.Close()
	if err := removeCgroups(filepath.Base(s.dir)); err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
	}
}

// sweepDead removes what runs left whose supervisor was killed too.
func sweepDead(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, "bosun-test-*")) // the pattern is well-formed
	for _, dir := range dirs {
		lock, err := lockDir(dir)
		if err != nil {
			continue // alive, or being swept by another
		}
		(&scratch{dir: dir, lock: lock}).remove()
	}
}
