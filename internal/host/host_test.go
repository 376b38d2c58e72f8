package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNodeName(t *testing.T) {
	for _, c := range []struct{ override, want, wrong string }{
		{override: " Node-1.Example ", want: "node-1.example"},
		{override: "under_score", wrong: "--hostname-override"},
	} {
		got, err := nodeName(c.override)
		if got != c.want || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("nodeName(%q) = %q, %v; want %q, %q", c.override, got, err, c.want, c.wrong)
		}
	}
}

func TestHugePages(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"hugepages-2048kB": "3\n", "hugepages-1048576kB": "0\n", "odd": "1"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "nr_hugepages"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := map[int64]int64{2 << 20: 6 << 20, 1 << 30: 0}
	if diff := cmp.Diff(want, hugePages(dir)); diff != "" {
		t.Error(diff)
	}
	if got := hugePages(filepath.Join(dir, "missing")); len(got) != 0 {
		t.Errorf("a kernel without huge pages has %v", got)
	}
}

func TestMostPIDs(t *testing.T) {
	dir := t.TempDir()
	if got := mostPIDs(dir); got != 0 {
		t.Errorf("%d without the files", got)
	}
	for file, text := range map[string]string{"pid_max": "4194304\n", "threads-max": "30000\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := mostPIDs(dir); got != 30000 {
		t.Errorf("%d, want the lesser one", got)
	}
}

func TestRead(t *testing.T) {
	f, err := Read("me")
	if err != nil || f.Name != "me" || f.CPUs < 1 || f.Memory < 1<<20 {
		t.Errorf("Read() = %+v, %v", f, err)
	}
}

func TestAppArmorProfiles(t *testing.T) {
	list := filepath.Join(t.TempDir(), "profiles")
	if got := AppArmorProfiles(list); got != nil {
		t.Errorf("without a list: %v", got)
	}
	if err := os.WriteFile(list, []byte("cri-containerd.apparmor.d (enforce)\nmy profile (complain)\n\nodd\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := AppArmorProfiles(list)
	if len(got) != 2 || !got["cri-containerd.apparmor.d"] || !got["my profile"] {
		t.Errorf("got %v", got)
	}
}
