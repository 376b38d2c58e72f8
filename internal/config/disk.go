package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Files is what Load needs from a file system. Paths are as the user gave them, made absolute.
type Files interface {
	// IsDir reports whether path is a directory, following links. It fails with fs.ErrNotExist when nothing is there.
	IsDir(path string) (bool, error)
	// Read gives a file's bytes.
	Read(path string) ([]byte, error)
	// Walk lists the files below dir, all levels, in lexical order.
	Walk(dir string) ([]string, error)
}

// maxFile bounds what is read, so that a path to a device or a log cannot eat the memory.
const maxFile = 10 << 20

// Disk is the real file system.
type Disk struct{}

// IsDir implements Files.
func (Disk) IsDir(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return info.IsDir(), nil
}

// Read implements Files. It refuses files over 10 MiB.
func (Disk) Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read %s: larger than %d bytes", path, maxFile)
	}
	return data, nil
}

// Walk implements Files. A dir that is itself a link is followed; links to directories below it are not.
func (Disk) Walk(dir string) ([]string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	err = filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			found = append(found, path)
		}
		return nil
	})
	return found, err
}
