package volume

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/bosun-project/bosun/internal/safepath"
)

func TestFSGroup(t *testing.T) {
	v, _ := world(t)
	m := setup(t, v, group(podWith(empty("", "")), 2000), "v0")
	if got := mode(t, m.HostPath); got != fs.ModeDir|fs.ModeSetgid|0o777 || gidOf(t, m.HostPath) != 2000 {
		t.Errorf("mode %v, group %d", got, gidOf(t, m.HostPath))
	}
}

// TestOwn runs own on a tree with data, as volumes that outlive their pod will need it.
func TestOwn(t *testing.T) {
	_, root := world(t)
	tree := filepath.Join(root, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(root, "outside")
	write(t, outside, "")
	write(t, filepath.Join(tree, "d", "f"), "")
	if err := os.Chmod(filepath.Join(tree, "d", "f"), 0o4700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(tree, "l")); err != nil {
		t.Fatal(err)
	}
	r, err := safepath.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	gid := int64(3000)
	if err := own(t.Context(), r, "tree", ownership{gid: &gid, readOnly: true}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{
		tree: fs.ModeDir | fs.ModeSetgid | 0o750, filepath.Join(tree, "d"): fs.ModeDir | fs.ModeSetgid | 0o750, filepath.Join(tree, "d", "f"): 0o740,
	} {
		if got := mode(t, path) &^ fs.ModeSetuid; got != want || gidOf(t, path) != 3000 {
			t.Errorf("%s: mode %v, group %d, want %v", path, got, gidOf(t, path), want)
		}
	}
	if gidOf(t, filepath.Join(tree, "l")) != 3000 || gidOf(t, outside) != 0 || mode(t, outside).Perm() != 0o644 {
		t.Error("a link was followed, or not changed itself")
	}
	if err := own(t.Context(), r, "tree", ownership{gid: &gid}); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, filepath.Join(tree, "d", "f")).Perm(); got != 0o760 {
		t.Errorf("writable: mode %v, want 0760", got)
	}
	// OnRootMismatch: the root is right, so what is beneath stays.
	if err := os.Chmod(filepath.Join(tree, "d", "f"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := own(t.Context(), r, "tree", ownership{gid: &gid, onRootMismatch: true}); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, filepath.Join(tree, "d", "f")).Perm(); got != 0o600 {
		t.Errorf("OnRootMismatch changed a file under a right root: %v", got)
	}
	other := int64(3001)
	if err := own(t.Context(), r, "tree", ownership{gid: &other, onRootMismatch: true}); err != nil {
		t.Fatal(err)
	}
	if got := mode(t, filepath.Join(tree, "d", "f")).Perm(); got != 0o660 {
		t.Errorf("OnRootMismatch kept a file under a wrong root: %v", got)
	}
}
