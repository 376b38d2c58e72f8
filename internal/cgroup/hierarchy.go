package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// wanted are the controllers a pod's limits need.
var wanted = []string{"cpu", "memory", "pids", "hugetlb"}

// hierarchy is one cgroup mount.
type hierarchy struct {
	dir string
	// controllers are those of the wanted ones that this mount has.
	controllers []string
	// kill tells whether it is a cgroup v2 mount: one file kills everything.
	unified bool
}

func (h *hierarchy) has(controller string) bool { return slices.Contains(h.controllers, controller) }

// layout is how cgroups are mounted on the machine.
type layout struct {
	// v2 is set when limits are set through cgroup v2: no v1 hierarchy has a wanted controller.
	v2  bool
	all []hierarchy
}

// limiting are the hierarchies in which the agent makes cgroups. In others, such as v1's cpuset or the systemd one,
// the runtime makes what it needs, and the agent only removes it.
func (l *layout) limiting() []hierarchy {
	var out []hierarchy
	for _, h := range l.all {
		if l.v2 == h.unified && (h.unified || len(h.controllers) > 0) {
			out = append(out, h)
		}
	}
	return out
}

// missing are the wanted controllers that no limiting hierarchy has.
func (l *layout) missing() []string {
	have := map[string]bool{}
	for _, h := range l.limiting() {
		for _, c := range h.controllers {
			have[c] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(wanted), func(c string) bool { return have[c] })
}

// findLayout reads how cgroups are mounted from the mount table.
func findLayout() (layout, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return layout{}, fmt.Errorf("read the mount table: %w", err)
	}
	l, err := layoutOf(mounts)
	if err != nil {
		return layout{}, err
	}
	return l, nil
}

func layoutOf(mounts []*mountinfo.Info) (layout, error) {
	l := layout{v2: true}
	seen := map[string]bool{}
	for _, m := range mounts {
		h := hierarchy{dir: m.Mountpoint}
		key := "unified"
		if m.FSType == "cgroup2" {
			h.unified = true
			var err error
			if h.controllers, err = controllersOf(m.Mountpoint); err != nil {
				return layout{}, err
			}
		} else {
			key = m.VFSOptions
			for opt := range strings.SplitSeq(m.VFSOptions, ",") {
				if slices.Contains(wanted, opt) {
					h.controllers = append(h.controllers, opt)
					l.v2 = false
				}
			}
		}
		if seen[key] { // the same hierarchy mounted once more, as in nested containers
			continue
		}
		seen[key] = true
		l.all = append(l.all, h)
	}
	if len(l.all) == 0 {
		return layout{}, errors.New("no cgroup filesystem is mounted: mount cgroup2 on /sys/fs/cgroup")
	}
	return l, nil
}

// controllersOf reads which of the wanted controllers a cgroup v2 directory offers.
func controllersOf(dir string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("read cgroup v2 controllers: %w", err)
	}
	return slices.DeleteFunc(strings.Fields(string(data)), func(c string) bool { return !slices.Contains(wanted, c) }), nil
}
