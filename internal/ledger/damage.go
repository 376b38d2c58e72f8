package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
)

// damageError says that the content of the file makes no sense.
type damageError struct{ err error }

func (e *damageError) Error() string { return e.err.Error() }
func (e *damageError) Unwrap() error { return e.err }

// guard runs what reads the file. bbolt reads it through a memory map and trusts it: a damaged or shortened file makes
// it panic or fault. Either becomes a *damageError.
func guard(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &damageError{fmt.Errorf("its pages make no sense: %v", p)}
		}
	}()
	return read()
}

// inspect looks at what the file holds. It returns a *damageError if that is not all there, a *NewerError if the file
// is newer than this code, and a plain error if it is a database of somebody else.
func inspect(path string, db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil {
			if name, _ := tx.Cursor().First(); name != nil {
				return errors.New("it is a database, but no ledger of Bosun")
			}
			return nil // made, but not prepared, before a crash
		}
		if err := checkFormat(path, meta.Get(formatKey)); err != nil {
			return err
		}
		if tx.Bucket(podsBucket) == nil {
			return &damageError{errors.New("its records are not there")}
		}
		return nil
	})
}

func checkFormat(path string, text []byte) error {
	format, err := strconv.Atoi(string(text))
	switch {
	case err != nil || format < 1:
		return &damageError{fmt.Errorf("its format is %q, not a number", text)}
	case format > Format:
		return &NewerError{Path: path, Found: strconv.Itoa(format)}
	}
	return nil
}

// moveAside renames a damaged file and returns its new name.
func moveAside(path string, now time.Time) (string, error) {
	base := path + ".damaged-" + now.UTC().Format("20060102T150405Z")
	to := base
	for n := 2; ; n++ {
		if _, err := os.Lstat(to); errors.Is(err, os.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		to = base + "-" + strconv.Itoa(n)
	}
	if err := os.Rename(path, to); err != nil {
		return "", err
	}
	return to, syncDir(filepath.Dir(path))
}
