package main

import (
	"archive/tar"
	"bytes"
	"io"
	"slices"
	"testing"
)

// listing is what a tree's tar holds: names with link targets, in order.
func listing(t *testing.T, tr *tree) []string {
	t.Helper()
	var buf bytes.Buffer
	if err := tr.writeTar(&buf); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(&buf); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name
		if h.Linkname != "" {
			name += " -> " + h.Linkname
		}
		names = append(names, name)
	}
}

func TestTreeMergesUsrAndMakesParents(t *testing.T) {
	tr := newTree()
	tr.add(&tar.Header{Typeflag: tar.TypeDir, Name: "./bin/", Mode: 0o755}, nil)
	tr.add(&tar.Header{Typeflag: tar.TypeReg, Name: "./bin/tool", Mode: 0o755}, []byte("x"))
	tr.add(&tar.Header{Typeflag: tar.TypeLink, Name: "./usr/bin/same", Linkname: "./bin/tool"}, nil)
	tr.symlink("bin/sh", "/usr/bin/tool")
	tr.file("etc/app/conf", 0o644, nil)
	want := []string{
		"bin -> usr/bin", "etc/", "etc/app/", "etc/app/conf",
		"usr/", "usr/bin/", "usr/bin/same -> usr/bin/tool", "usr/bin/sh -> /usr/bin/tool", "usr/bin/tool",
	}
	if got := listing(t, tr); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTreePrunesWholeDirectories(t *testing.T) {
	tr := newTree()
	for _, name := range []string{"usr/share/doc/a/b", "usr/share/docs", "usr/lib/x86/gconv/c", "usr/lib/x86/libc"} {
		tr.file(name, 0o644, nil)
	}
	if err := tr.prune([]string{"usr/share/doc", "usr/lib/*/gconv"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"usr/", "usr/lib/", "usr/lib/x86/", "usr/lib/x86/libc", "usr/share/", "usr/share/docs"}
	if got := listing(t, tr); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := tr.prune([]string{"["}); err == nil {
		t.Error("a malformed glob is accepted")
	}
}

func TestImageHasTheSameBytesEachTime(t *testing.T) {
	r := &recipe{Name: "example.org/x:1", Config: []byte(`{"Cmd":["a"]}`)}
	made := func() []byte {
		tr := newTree()
		for _, name := range []string{"b", "a", "c/d", "c/e"} {
			tr.file(name, 0o644, []byte(name))
		}
		var buf bytes.Buffer
		if err := writeLayout(&buf, r, tr); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	if first := made(); !bytes.Equal(first, made()) {
		t.Error("two images of the same input differ")
	}
}
