package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeV2 is a tree on a plain directory that holds the files cgroup v2 would show, with these controllers.
func fakeV2(t *testing.T, cfg Config, controllers string) (*Tree, string) {
	t.Helper()
	root := t.TempDir()
	files := func(dir string) {
		// What a directory offers is what the one above passes on; the top offers what the machine has.
		offered := controllers
		if dir != root {
			on, _ := os.ReadFile(filepath.Join(filepath.Dir(dir), "cgroup.subtree_control"))
			offered = strings.ReplaceAll(string(on), "+", "")
		}
		content := map[string]string{"cgroup.controllers": offered, "cgroup.subtree_control": "", "cgroup.procs": ""}
		for c := range strings.FieldsSeq(offered) {
			for _, f := range map[string][]string{
				"cpu": {"cpu.weight", "cpu.max"}, "memory": {"memory.max", "memory.current", "memory.high", "memory.min", "memory.low"},
				"pids": {"pids.max"}, "hugetlb": {"hugetlb.2MB.max"},
			}[c] {
				content[f] = "0"
			}
		}
		for name, text := range content {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files(root)
	l := layout{v2: true, all: []hierarchy{{dir: root, unified: true}}}
	var err error
	if l.all[0].controllers, err = controllersOf(root); err != nil {
		t.Fatal(err)
	}
	tree, err := newTree(cfg, l)
	if err != nil {
		t.Fatal(err)
	}
	tree.mkdir = func(dir string) error {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		files(dir)
		return nil
	}
	tree.rmdir = func(dir string) error {
		if len(children(dir)) == 0 {
			return os.RemoveAll(dir)
		}
		return os.Remove(dir) // says ENOTEMPTY
	}
	return tree, root
}

func content(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}
