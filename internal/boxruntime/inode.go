package boxruntime

import (
	"io/fs"
	"syscall"
)

// inodeOf is the file's number in its file system: a file that was replaced by a rename has another.
func inodeOf(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
