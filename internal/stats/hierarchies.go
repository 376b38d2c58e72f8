package stats

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// hierarchies is where cgroups are mounted: all of them in one place, or each controller of v1 in its own.
type hierarchies struct {
	// unified is the mount of cgroup v2, if it is what counts here.
	unified string
	v1      map[string]string
}

// readers are the controllers of v1 that have something to tell.
var readers = []string{"memory", "cpuacct", "cpu", "pids", "blkio"}

func findHierarchies() (hierarchies, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return hierarchies{}, fmt.Errorf("read the mount table: %w", err)
	}
	return hierarchiesOf(mounts)
}

// hierarchiesOf: v2 counts where v1 has neither processors nor memory.
func hierarchiesOf(mounts []*mountinfo.Info) (hierarchies, error) {
	h := hierarchies{v1: map[string]string{}}
	unified := ""
	for _, m := range mounts {
		if m.FSType == "cgroup2" {
			if unified == "" {
				unified = m.Mountpoint
			}
			continue
		}
		for option := range strings.SplitSeq(m.VFSOptions, ",") {
			if slices.Contains(readers, option) && h.v1[option] == "" {
				h.v1[option] = m.Mountpoint
			}
		}
	}
	if h.v1["memory"] == "" && h.v1["cpuacct"] == "" {
		h = hierarchies{unified: unified}
		if unified == "" {
			return h, errors.New("no cgroup filesystem is mounted: mount cgroup2 on /sys/fs/cgroup")
		}
	}
	return h, nil
}

// dir is where a cgroup's files of a controller are; empty if there are none.
func (h *hierarchies) dir(controller, path string) string {
	if h.unified != "" {
		return filepath.Join(h.unified, path)
	}
	if at := h.v1[controller]; at != "" {
		return filepath.Join(at, path)
	}
	return ""
}

// main is where the processes and children of a cgroup are looked for.
func (h *hierarchies) main(path string) string {
	for _, controller := range readers {
		if dir := h.dir(controller, path); dir != "" {
			return dir
		}
	}
	return ""
}

// children are the names in the directory of a cgroup, its files among them; none if it is not there.
func (h *hierarchies) children(path string) []string {
	dir, err := os.Open(h.main(path))
	if err != nil {
		return nil
	}
	defer dir.Close()
	found, _ := dir.Readdirnames(-1) // what could be read
	return found
}

// child picks the cgroup of a container by its ID, which runtimes put into the name each in their way: ID,
// cri-containerd-ID.scope, crio-ID.scope.
func child(names []string, id string) string {
	if id == "" {
		return ""
	}
	for _, name := range names {
		if name == id || strings.Contains(name, id) && !strings.HasPrefix(name, "crio-conmon-") {
			return name
		}
	}
	return ""
}

// ownPath reads from /proc/PID/cgroup which cgroup a process is in. On v1 it must be the same one for processors and memory;
// empty if it is not, or is the top, whose numbers are the node's.
func (h *hierarchies) ownPath(text []byte) string {
	paths := map[string]string{}
	for line := range bytes.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(parts[1], ",") {
			paths[controller] = parts[2]
		}
	}
	path := paths[""]
	if h.unified == "" {
		if path = paths["memory"]; path != paths["cpuacct"] {
			return ""
		}
	}
	if path == "/" {
		return ""
	}
	return path
}
