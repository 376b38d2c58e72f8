package atomicdir

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/safepath"
)

const (
	current = "..data"
	dirMode = fs.FileMode(0o755)
	// stamp names the directories; the time makes it unique enough, and a clash is tried again.
	stamp = "..2006_01_02_15_04_05.000000000"
)

// Write makes dir hold exactly these files, by relative path. If gid is not nil, files and directories belong to that
// group, and it may read them. Nothing is touched, and changed is false, if the files are there already. It can be
// repeated after a crash at any point.
func Write(ctx context.Context, dir *safepath.Root, files content.Files, gid *int64) (changed bool, err error) {
	if err := files.Check(); err != nil {
		return false, err
	}
	w := writer{dir: dir, files: files, gid: gid}
	live, err := w.live()
	if err != nil {
		return false, err
	}
	if live == "" || !w.same(ctx, live) {
		changed = true
		if live, err = w.writeNew(); err != nil {
			return false, err
		}
		if err := dir.ReplaceLink(live, current); err != nil {
			return false, err
		}
	}
	if err := w.link(); err != nil {
		return changed, err
	}
	return changed, w.sweep(ctx, live)
}

type writer struct {
	dir   *safepath.Root
	files content.Files
	gid   *int64
}

// live is the directory ..data points to; empty if there is none, or none of ours.
func (w *writer) live() (string, error) {
	target, err := w.dir.Readlink(current)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EINVAL):
		return "", nil
	case err != nil:
		return "", err
	case safepath.Component(target) != nil || !strings.HasPrefix(target, ".."):
		return "", nil
	}
	return target, nil
}

func (w *writer) mode(f content.File) fs.FileMode {
	if w.gid != nil {
		return f.Mode.Perm() | 0o440
	}
	return f.Mode.Perm()
}

// same tells whether a directory holds exactly the files wanted. In doubt it does not.
func (w *writer) same(ctx context.Context, live string) bool {
	found := 0
	err := w.dir.Walk(ctx, live, func(e safepath.Entry) error {
		if e.Info.IsDir() {
			return nil
		}
		want, ok := w.files[e.Name]
		st, isUnix := e.Info.Sys().(*syscall.Stat_t)
		if !ok || !isUnix || e.Info.Mode() != w.mode(want) || e.Info.Size() != int64(len(want.Data)) ||
			w.gid != nil && int64(st.Gid) != *w.gid || want.UID != nil && int64(st.Uid) != *want.UID {
			return fs.ErrInvalid
		}
		data, err := w.dir.ReadFile(path.Join(live, e.Name), int64(len(want.Data)))
		if err != nil || !bytes.Equal(data, want.Data) {
			return fs.ErrInvalid
		}
		found++
		return nil
	})
	return err == nil && found == len(w.files)
}

// writeNew writes the files into a new directory and returns its name.
func (w *writer) writeNew() (string, error) {
	var name string
	for {
		name = time.Now().Format(stamp)
		err := w.dir.Mkdir(name, dirMode)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	sub, err := w.dir.Sub(name)
	if err != nil {
		return "", err
	}
	defer sub.Close()
	if err := w.grant(sub, "."); err != nil {
		return "", err
	}
	for _, file := range sortedKeys(w.files) {
		if err := w.writeFile(sub, file); err != nil {
			return "", err
		}
	}
	return name, w.grant(w.dir, ".")
}

func (w *writer) writeFile(sub *safepath.Root, name string) error {
	for i, c := range name {
		if c != '/' {
			continue
		}
		err := sub.Mkdir(name[:i], dirMode)
		if err == nil {
			err = w.grant(sub, name[:i])
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	want := w.files[name]
	f, err := sub.Create(name, 0o600)
	if err != nil {
		return err
	}
	uid, gid := -1, -1
	if want.UID != nil {
		uid = int(*want.UID)
	}
	if w.gid != nil {
		gid = int(*w.gid)
	}
	if uid != -1 || gid != -1 {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = f.Chmod(w.mode(want))
	}
	if err == nil {
		_, err = f.Write(want.Data)
	}
	return errors.Join(err, f.Close())
}

// grant lets the group into a directory, whose other bits stay.
func (w *writer) grant(r *safepath.Root, name string) error {
	if w.gid == nil {
		return nil
	}
	h, err := r.Handle(name)
	if err != nil {
		return err
	}
	defer h.Close()
	info, err := h.Stat()
	if err != nil {
		return err
	}
	if err := safepath.Chown(h, -1, int(*w.gid)); err != nil {
		return err
	}
	return safepath.Chmod(h, info.Mode()&(fs.ModePerm|fs.ModeSticky)|0o050|fs.ModeSetgid)
}

// link makes the names users see.
func (w *writer) link() error {
	for name := range w.tops() {
		target := current + "/" + name
		if is, err := w.dir.Readlink(name); err == nil && is == target {
			continue
		}
		if err := w.dir.ReplaceLink(target, name); err != nil {
			return err
		}
	}
	return nil
}

// tops are the first elements of the paths.
func (w *writer) tops() map[string]bool {
	tops := map[string]bool{}
	for name := range w.files {
		top, _, _ := strings.Cut(name, "/")
		tops[top] = true
	}
	return tops
}

// sweep removes everything that does not belong: names no longer wanted, the state before, what a crash left.
func (w *writer) sweep(ctx context.Context, live string) error {
	found, err := w.dir.ReadDir(".")
	if err != nil {
		return err
	}
	tops := w.tops()
	for _, name := range found {
		if name == current || name == live || tops[name] {
			continue
		}
		if err := w.dir.RemoveAll(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func sortedKeys(files content.Files) []string {
	keys := make([]string, 0, len(files))
	for k := range files {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
