package credential

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// maxFile bounds a docker config file, in bytes; the API server has the same limit for a secret.
const maxFile = 1 << 20

// SearchPaths lists where the node's docker config may be, the first that is there winning (behaviour 160): config.json
// in the state directory, the working directory, $HOME/.docker and /.docker, then .dockercfg in the state directory,
// the working directory, $HOME and /. Empty cwd or home leave their places out.
func SearchPaths(rootDir, cwd, home string) []string {
	var all []string
	add := func(dir string, more ...string) {
		if dir != "" {
			all = append(all, filepath.Join(append([]string{dir}, more...)...))
		}
	}
	add(rootDir, "config.json")
	add(cwd, "config.json")
	add(home, ".docker", "config.json")
	add("/", ".docker", "config.json")
	for _, dir := range []string{rootDir, cwd, home, "/"} {
		add(dir, ".dockercfg")
	}
	return all
}

// files reads the node's docker config, and again when it changed.
type files struct {
	paths []string

	mu    sync.Mutex
	known map[string]knownFile
}

type knownFile struct {
	stamp  stamp
	config Config
	err    error
}

// stamp tells one state of a file from another. The change time catches a rewrite within one tick of the modification
// time by a tool that preserves it.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// current returns the first usable config file's logins. A file that is broken is passed over. Fresh holds what is
// wrong with files that were read just now, so that each state of a file is complained of once; all of it is in err.
func (f *files) current() (c Config, fresh []error, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var broken []error
	for _, path := range f.paths {
		k, again, found := f.look(path)
		if !found {
			continue
		}
		if k.err != nil {
			broken = append(broken, k.err)
			if again {
				fresh = append(fresh, k.err)
			}
		}
		if k.err == nil || k.config.Len() > 0 {
			return k.config, fresh, errors.Join(broken...)
		}
	}
	return Config{}, fresh, errors.Join(broken...)
}

func (f *files) look(path string) (k knownFile, again, found bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return f.unreadable(path, &fs.PathError{Op: "stat", Path: path, Err: err})
	}
	if known, ok := f.known[path]; ok && known.stamp == stampOf(&st) {
		return known, false, true
	}
	data, s, err := readFile(path)
	if err != nil {
		return f.unreadable(path, err)
	}
	k.stamp = s
	if filepath.Base(path) == ".dockercfg" {
		k.config, k.err = ParseDockercfg(data, path)
	} else {
		k.config, k.err = ParseConfigJSON(data, path)
	}
	f.keep(path, k)
	return k, true, true
}

// unreadable keeps a complaint until the file is there and can be read. A missing file is no complaint.
func (f *files) unreadable(path string, err error) (k knownFile, again, found bool) {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		delete(f.known, path)
		return knownFile{}, false, false
	}
	known, ok := f.known[path]
	again = !ok || known.err == nil || known.err.Error() != err.Error()
	k = knownFile{err: err}
	f.keep(path, k)
	return k, again, true
}

func (f *files) keep(path string, k knownFile) {
	if f.known == nil {
		f.known = map[string]knownFile{}
	}
	f.known[path] = k
}

func readFile(path string) ([]byte, stamp, error) {
	// A pipe put in the file's place must not hold up every pull on the node.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, stamp{}, err
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, stamp{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, stamp{}, fmt.Errorf("%s: is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, stamp{}, err
	}
	if len(data) > maxFile {
		return nil, stamp{}, fmt.Errorf("%s: is larger than 1 MiB", path)
	}
	return data, stampOf(&st), nil
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}
}
