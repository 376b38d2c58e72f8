package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// takePrecedence gives all that runs here the CPU whenever it wants it: the cgroup of this run, which is the root of the
// cgroup namespace, weighs as much as a hundred busy processes outside. Without that, a machine that does other work
// measures that work. It tells whether it worked.
func takePrecedence() (bool, error) {
	taken := false
	for pattern, weight := range map[string]string{"/sys/fs/cgroup/*/cpu.shares": "102400", "/sys/fs/cgroup/cpu.weight": "10000"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return false, err
		}
		for _, file := range files {
			err := os.WriteFile(file, []byte(weight), 0)
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				return false, err
			}
			taken = taken || err == nil
		}
	}
	return taken, nil
}
