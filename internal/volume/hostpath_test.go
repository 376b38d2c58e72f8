package volume

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

func TestHostPath(t *testing.T) {
	v, _ := world(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	if err := os.Symlink(filepath.Join(dir, "file"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	sock, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	block := filepath.Join(dir, "block")
	if err := unix.Mknod(block, unix.S_IFBLK|0o600, int(unix.Mkdev(7, 250))); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		kind, path string
		failure    string // empty: fine
	}{
		{"", dir, ""},
		{"", filepath.Join(dir, "nothing"), ""},
		{"", "relative", "must be an absolute path"},
		{"Directory", dir, ""},
		{"Directory", "/", ""},
		{"Directory", filepath.Join(dir, "file"), "hostPath type check failed: " + dir + "/file is not a directory"},
		{"Directory", filepath.Join(dir, "nothing"), "hostPath type check failed: " + dir + "/nothing is not a directory"},
		{"DirectoryOrCreate", filepath.Join(dir, "new/deep"), ""},
		{"DirectoryOrCreate", filepath.Join(dir, "file"), "is not a directory"},
		{"File", filepath.Join(dir, "file"), ""},
		{"File", filepath.Join(dir, "link"), ""},
		{"File", dir, "hostPath type check failed: " + dir + " is not a file"},
		{"FileOrCreate", filepath.Join(dir, "newfile"), ""},
		{"FileOrCreate", filepath.Join(dir, "no/newfile"), "no such file or directory"},
		{"FileOrCreate", dir, "is not a file"},
		{"Socket", filepath.Join(dir, "sock"), ""},
		{"Socket", filepath.Join(dir, "file"), "is not a socket file"},
		{"CharDevice", "/dev/null", ""},
		{"CharDevice", block, "is not a character device"},
		{"BlockDevice", block, ""},
		{"BlockDevice", "/dev/null", "is not a block device"},
		{"Pipe", dir, `hostPath.type "Pipe": must be empty, DirectoryOrCreate`},
	}
	for _, c := range cases {
		kind := v1.HostPathType(c.kind)
		p := podWith(v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: c.path, Type: &kind}})
		for range 2 {
			m, err := v.Setup(t.Context(), p, "v0")
			switch {
			case c.failure == "" && (err != nil || m.HostPath != c.path || m.Relabel):
				t.Errorf("%s %s: %+v, %v", c.kind, c.path, m, err)
			case c.failure != "" && (err == nil || !strings.Contains(err.Error(), c.failure)):
				t.Errorf("%s %s: error %v, want %q", c.kind, c.path, err, c.failure)
			}
		}
	}
	if got := mode(t, filepath.Join(dir, "new/deep")).Perm(); got != 0o755 {
		t.Errorf("DirectoryOrCreate made mode %v", got)
	}
	if got := mode(t, filepath.Join(dir, "newfile")).Perm(); got != 0o644 {
		t.Errorf("FileOrCreate made mode %v", got)
	}
	if err := v.Teardown(t.Context(), uid, "v0"); err != nil || !exists(filepath.Join(dir, "file")) {
		t.Errorf("Teardown touched the host: %v", err)
	}
}
