package host

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFileLabel(t *testing.T) {
	for name, c := range map[string]struct{ config, contexts, want string }{
		"nothing there": {want: usualFileLabel},
		"a policy":      {"# SELINUXTYPE= can be\nSELINUX=enforcing\nSELINUXTYPE=targeted\n", "process = \"system_u:system_r:container_t:s0\"\nfile = \"system_u:object_r:own_file_t:s0\"\n", "system_u:object_r:own_file_t:s0"},
		"no contexts":   {"SELINUXTYPE=targeted\n", "", usualFileLabel},
		"nonsense":      {"SELINUXTYPE=targeted\n", "file = what\n", usualFileLabel},
		"elsewhere":     {"SELINUXTYPE=../targeted\n", "file = \"a:b:c:d\"\n", usualFileLabel},
	} {
		dir := t.TempDir()
		contexts := filepath.Join(dir, "targeted", "contexts")
		if err := os.MkdirAll(contexts, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, text := range map[string]string{filepath.Join(dir, "config"): c.config, filepath.Join(contexts, "lxc_contexts"): c.contexts} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := FileLabel(dir); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
