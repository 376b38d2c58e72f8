package main

import (
	"archive/tar"
	"io"
	"path"
	"sort"
	"strings"
	"time"
)

// epoch is the time of everything that does not bring its own.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A tree is a root file system in memory. Paths have no leading slash.
type tree struct{ entries map[string]*entry }

type entry struct {
	header tar.Header
	data   []byte
}

func newTree() *tree { return &tree{entries: map[string]*entry{}} }

func clean(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// place says where the entry called p belongs. With Debian's merged /usr, /bin, /sbin and /lib are links, but
// older packages still carry files under the old names: they move to where the links lead.
func (t *tree) place(p string) string {
	name := clean(p)
	first, _, below := strings.Cut(name, "/")
	switch first {
	case "bin", "sbin", "lib", "lib32", "lib64", "libx32":
		t.entries[first] = &entry{header: tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: "usr/" + first, ModTime: epoch}}
		if !below {
			return ""
		}
		return "usr/" + name
	}
	return name
}

// add lays one entry over what is there.
func (t *tree) add(h *tar.Header, data []byte) {
	name := t.place(h.Name)
	if name == "" {
		return
	}
	link := h.Linkname
	if h.Typeflag == tar.TypeLink {
		link = t.place(link)
	}
	t.entries[name] = &entry{
		header: tar.Header{Typeflag: h.Typeflag, Linkname: link, Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime.Truncate(time.Second)},
		data:   data,
	}
	t.parents(name)
}

func (t *tree) file(name string, mode int64, data []byte) {
	t.put(name, tar.Header{Typeflag: tar.TypeReg, Mode: mode}, data)
}

func (t *tree) directory(name string, mode int64) {
	t.put(name, tar.Header{Typeflag: tar.TypeDir, Mode: mode}, nil)
}

func (t *tree) symlink(name, target string) {
	t.put(name, tar.Header{Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target}, nil)
}

func (t *tree) put(name string, h tar.Header, data []byte) {
	h.ModTime = epoch
	name = t.place(name)
	t.entries[name] = &entry{header: h, data: data}
	t.parents(name)
}

// parents makes the directories above name that are not there yet.
func (t *tree) parents(name string) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, ok := t.entries[dir]; ok {
			return
		}
		t.entries[dir] = &entry{header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch}}
	}
}

// prune removes what one of the globs names, with all below it.
func (t *tree) prune(globs []string) error {
	for name := range t.entries {
		for part := name; part != "."; part = path.Dir(part) {
			for _, glob := range globs {
				hit, err := path.Match(clean(glob), part)
				if err != nil {
					return err
				}
				if hit {
					delete(t.entries, name)
				}
			}
		}
	}
	return nil
}

// writeTar writes the entries in the order of their names, so parents come before children.
func (t *tree) writeTar(w io.Writer) error {
	names := make([]string, 0, len(t.entries))
	for name := range t.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	tw := tar.NewWriter(w)
	for _, name := range names {
		e := t.entries[name]
		h := e.header
		h.Name = name
		h.Size = int64(len(e.data))
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if err := tw.WriteHeader(&h); err != nil {
			return err
		}
		if _, err := tw.Write(e.data); err != nil {
			return err
		}
	}
	return tw.Close()
}
