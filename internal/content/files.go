package content

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// File is one file of a volume.
type File struct {
	Data []byte
	// Mode are the permission bits.
	Mode fs.FileMode
	// UID owns the file if it is not nil; root does otherwise.
	UID *int64
}

// Files are the files of one volume, by their path in it.
type Files map[string]File

// Check tells whether these can be the files of one volume: relative paths, without "..", the first element not
// beginning with "..", and no path both a file and a directory. Its error names the path.
func (f Files) Check() error {
	for name := range f {
		if path.Clean(name) != name || name == "." || path.IsAbs(name) || strings.ContainsRune(name, 0) {
			return fmt.Errorf("path %q: must be a clean relative path", name)
		}
		if strings.HasPrefix(name, "..") {
			return fmt.Errorf("path %q: must not begin with '..'", name)
		}
		for up := path.Dir(name); up != "."; up = path.Dir(up) {
			if _, clash := f[up]; clash {
				return fmt.Errorf("path %q: %q is a file already", name, up)
			}
		}
	}
	return nil
}

// modeOf is the item's mode, else the volume's, else 0644.
func modeOf(modes ...*int32) fs.FileMode {
	if m := firstOf(modes...); m != nil {
		return fs.FileMode(*m) & fs.ModePerm
	}
	return fs.FileMode(v1.ConfigMapVolumeSourceDefaultMode)
}

// firstOf is the first that is given.
func firstOf[T any](values ...*T) *T {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}
