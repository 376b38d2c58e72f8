package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile puts data at path in one step: whoever reads gets the old content or the new, also after a power cut. mode is
// as given, whatever the umask. A link at path stays, and what it points to is replaced.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	fresh := beside(path)
	if err := writeFresh(fresh, data, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, removeFile(fresh)))
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, removeFile(fresh)))
	}
	return syncDir(filepath.Dir(path))
}

// beside is where the next content of path is prepared. The name is always the same, so that a crash leaves at most one.
func beside(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
}

func writeFresh(path string, data []byte, mode fs.FileMode) error {
	if err := removeFile(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// linkFile makes path a symbolic link to target in one step.
func linkFile(target, path string) error {
	fresh := beside(path)
	if err := removeFile(fresh); err != nil {
		return err
	}
	if err := os.Symlink(target, fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return errors.Join(err, removeFile(fresh))
	}
	return syncDir(filepath.Dir(path))
}

// removeFile removes a file that may not be there.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// makeDir makes a directory as upstream does: certificates may be read by all, keys have modes of their own.
func makeDir(dir string) error {
	return os.MkdirAll(dir, 0o755)
}
