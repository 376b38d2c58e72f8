package containerlog

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/safepath"
)

// The names beside 0.log: 0.log.20160102-150405, later 0.log.20160102-150405.gz, and while it is made, that and .tmp.
const (
	stampLayout = "20060102-150405"
	packed      = ".gz"
	unfinished  = ".tmp"
)

// chores is what a rotation has to do with the files that are there already.
type chores struct {
	remove []string
	pack   []string
}

// choresOf decides, for the files beside a log, which go and which are compressed, so that the log, the file it is about
// to become, and the rest are at most maxFiles. The newest rotated file is not compressed: somebody may still read it.
func choresOf(log string, names []string, maxFiles int) chores {
	var c chores
	var old []string
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, log+".")
		if !ok {
			continue
		}
		if strings.HasSuffix(rest, unfinished) {
			c.remove = append(c.remove, name)
			continue
		}
		if _, err := time.Parse(stampLayout, strings.TrimSuffix(rest, packed)); err == nil {
			old = append(old, name)
		}
	}
	slices.SortFunc(old, func(a, b string) int { return cmp.Compare(b, a) }) // newest first
	keep := max(maxFiles-2, 0)
	for i, name := range old {
		switch {
		case i >= keep:
			c.remove = append(c.remove, name)
		case !strings.HasSuffix(name, packed):
			if slices.Contains(old, name+packed) { // packed before, but a crash came before the removal
				c.remove = append(c.remove, name)
			} else {
				c.pack = append(c.pack, name)
			}
		}
	}
	return c
}

// Rotate puts a log aside under a name with the time, has reopen make the writer begin a new file, compresses files put
// aside earlier and removes the oldest, so that at most maxFiles are left, the current one included. If reopen fails
// the log gets its name back.
func Rotate(ctx context.Context, dir, name string, maxFiles int, now time.Time, reopen func(context.Context) error) error {
	root, err := safepath.Open(dir)
	if err != nil {
		return fmt.Errorf("rotate log %s: %w", filepath.Join(dir, name), err)
	}
	defer root.Close()
	err = errors.Join(tidy(root, name, maxFiles), putAside(ctx, root, name, now, reopen))
	if err != nil {
		return fmt.Errorf("rotate log %s: %w", root.Join(name), err)
	}
	return nil
}

// tidy makes room for one more file. What fails is told, and does not keep the log from being rotated.
func tidy(root *safepath.Root, name string, maxFiles int) error {
	sub, base := filepath.Split(name)
	names, err := root.ReadDir(filepath.Clean(sub))
	if err != nil {
		return err
	}
	c := choresOf(base, names, maxFiles)
	var errs []error
	for _, old := range c.remove {
		errs = append(errs, root.Remove(filepath.Join(sub, old)))
	}
	for _, old := range c.pack {
		errs = append(errs, pack(root, sub, old))
	}
	return errors.Join(errs...)
}

// pack replaces a file by a compressed one, under its name with .gz.
func pack(root *safepath.Root, sub, name string) (err error) {
	from, err := root.OpenFile(filepath.Join(sub, name), os.O_RDONLY)
	if err != nil {
		return err
	}
	defer from.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	temporary := name + packed + unfinished
	to, err := root.Create(filepath.Join(sub, temporary), info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(filepath.Join(sub, temporary)))
		}
	}()
	z := gzip.NewWriter(to)
	_, err = io.Copy(z, from)
	if err = errors.Join(err, z.Close(), to.Close()); err != nil {
		return fmt.Errorf("compress %s: %w", name, err)
	}
	if err = rename(root, sub, temporary, name+packed); err != nil {
		return err
	}
	return root.Remove(filepath.Join(sub, name))
}

func putAside(ctx context.Context, root *safepath.Root, name string, now time.Time, reopen func(context.Context) error) error {
	sub, base := filepath.Split(name)
	aside := base + "." + now.Format(stampLayout)
	if err := rename(root, sub, base, aside); err != nil {
		return err
	}
	err := reopen(ctx)
	if err == nil {
		return nil
	}
	if back := rename(root, sub, aside, base); back != nil && !errors.Is(back, os.ErrExist) { // it exists if the runtime did reopen
		return errors.Join(err, back)
	}
	return err
}

// rename renames within one directory, and never over something that is there.
func rename(root *safepath.Root, sub, from, to string) error {
	dir, err := root.Handle(filepath.Clean(sub))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Renameat2(int(dir.Fd()), from, int(dir.Fd()), to, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}
