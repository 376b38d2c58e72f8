package agent

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/config"
)

// Behaviour 215. The process that is moved is another one, made of this test.
func TestOwnCgroup(t *testing.T) {
	if path := os.Getenv("BOSUN_OWN_CGROUP"); path != "" {
		a := &Agent{cfg: configured(t, "kubeletCgroups: "+path+"\n"), log: slog.New(slog.DiscardHandler)}
		if err := a.buildHomes(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile("/proc/self/cgroup")
		fmt.Printf("%s%v homes %d\n", text, err, len(a.homes))
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: cgroups")
	}
	path := fmt.Sprintf("/bosun-unit-own-%d", os.Getpid())
	t.Cleanup(func() {
		mounts, _ := filepath.Glob("/sys/fs/cgroup/*" + path)
		for _, dir := range append(mounts, "/sys/fs/cgroup"+path) {
			if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
				t.Errorf("%s: %v", dir, err)
			}
		}
	})
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOwnCgroup$")
	cmd.Env = append(os.Environ(), "BOSUN_OWN_CGROUP="+path)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(":"+path+"\n")) || !bytes.Contains(out, []byte("<nil> homes 1\n")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestHomesThatCannotBe(t *testing.T) {
	for lines, want := range map[string]string{
		"kubeletCgroups: ../x\n":            "kubeletCgroups: \"../x\" is no path of a cgroup",
		"systemCgroups: /\ncgroupRoot: /\n": "systemCgroups: \"/\" is no path of a cgroup below the top",
	} {
		a := &Agent{cfg: configured(t, lines), log: slog.New(slog.DiscardHandler)}
		if err := a.buildHomes(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", lines, err)
		}
		if len(config.Unsupported(a.cfg)) > 0 {
			t.Errorf("%q: listed as without effect", lines)
		}
	}
}
