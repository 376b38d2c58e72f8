package serve

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/safepath"
)

// mostLinks bounds how many symbolic links are followed to one file.
const mostLinks = 16

// systemLogs shows the files of the node's logs, or asks its journal.
func (f *Faces) systemLogs(w http.ResponseWriter, r *http.Request) {
	if f.cfg.SystemLogQuery && r.URL.Query().Has("query") {
		f.queryLogs(w, r)
		return
	}
	http.StripPrefix("/logs/", http.FileServer(f.logTree())).ServeHTTP(w, r)
}

func (f *Faces) logTree() logTree {
	tree := logTree{top: filepath.Clean(f.cfg.SystemLogsDir)}
	tree.roots = []string{tree.top}
	if f.cfg.PodLogsDir != "" {
		tree.roots = append(tree.roots, filepath.Clean(f.cfg.PodLogsDir))
	}
	return tree
}

// logTree is the directory of the node's logs. Pods can write below it, so links lead nowhere but to places in it and
// to the logs of pods (the links in /var/log/containers do): who may read logs may not read the node.
type logTree struct {
	top   string
	roots []string
}

var (
	errOutside = errors.New("it leads out of the directory of logs")
	errSpecial = errors.New("neither a file nor a directory")
)

// Open opens a file or directory by its path below the tree.
func (t logTree) Open(name string) (http.File, error) {
	if strings.ContainsRune(name, 0) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	at := filepath.Join(t.top, path.Clean("/"+name))
	for range mostLinks {
		file, err := t.open(at)
		switch {
		case errors.Is(err, unix.ENOTDIR):
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		case !errors.Is(err, safepath.ErrUnsafe):
			return file, err
		}
		if at, err = t.follow(at); err != nil {
			return nil, err
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: errors.Join(fs.ErrPermission, unix.ELOOP)}
}

// locate splits a path into one of the roots, the innermost, and what is below it.
func (t logTree) locate(at string) (root, below string, err error) {
	for _, one := range t.roots {
		if rest, relErr := filepath.Rel(one, at); relErr == nil && filepath.IsLocal(rest) && len(one) > len(root) {
			root, below = one, rest
		}
	}
	if root == "" {
		return "", "", &fs.PathError{Op: "open", Path: at, Err: errors.Join(fs.ErrPermission, errOutside)}
	}
	return root, below, nil
}

func (t logTree) open(at string) (http.File, error) {
	top, below, err := t.locate(at)
	if err != nil {
		return nil, err
	}
	root, err := safepath.Open(top)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	handle, err := root.Handle(below)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	info, err := handle.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() && !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: at, Err: errors.Join(fs.ErrPermission, errSpecial)}
	}
	fd, err := unix.Open(safepath.ProcPath(handle), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: at, Err: err}
	}
	return os.NewFile(uintptr(fd), at), nil // under its own name, which says what kind of text it is
}

// follow replaces the first symbolic link on a path by where it leads.
func (t logTree) follow(at string) (string, error) {
	top, below, err := t.locate(at)
	if err != nil {
		return "", err
	}
	root, err := safepath.Open(top)
	if err != nil {
		return "", err
	}
	defer root.Close()
	parts := strings.Split(below, string(filepath.Separator))
	for i := range parts {
		upTo := filepath.Join(parts[:i+1]...)
		to, err := root.Readlink(upTo)
		if errors.Is(err, unix.EINVAL) { // no link
			continue
		}
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(top, filepath.Dir(upTo), to)
		}
		return filepath.Join(append([]string{to}, parts[i+1:]...)...), nil
	}
	return at, nil // it was a link a moment ago
}
