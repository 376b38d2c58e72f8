package signals

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/bosun-project/bosun/internal/evict"
)

// memory reads how much memory the machine and all pods together have left.
func (r *Reader) memory(out evict.Readings) error {
	text, err := os.ReadFile(filepath.Join(r.cfg.Proc, "meminfo"))
	if err != nil {
		return err
	}
	info := meminfo(text)
	if info.total <= 0 {
		return fmt.Errorf("%s/meminfo does not say how much memory there is", r.cfg.Proc)
	}
	out.Of[evict.MemoryAvailable] = r.machine(info)
	if dir := r.cfg.Memory(); dir != "" {
		if g, ok := groupMemory(dir); ok {
			out.Of[evict.PodsMemory] = g.reading(info.total, stalled(filepath.Join(dir, "memory.pressure")))
		}
	}
	return nil
}

// machine is what the machine has left: what its uppermost cgroup does not use, or what the kernel says where that one has no
// numbers. In a container that plays the machine the uppermost cgroup has the container's limit.
func (r *Reader) machine(info memoryInfo) evict.Reading {
	stall := stalled(filepath.Join(r.cfg.Proc, "pressure", "memory"))
	g, ok := groupMemory(r.memoryRoot())
	if ok && g.limit < info.total {
		return g.reading(info.total, stall)
	}
	if !ok { // the true root of cgroup v2; pages set aside for huge ones are not free to the kernel, either
		g = group{usage: info.total - info.free, inactive: info.inactive}
	} else {
		g.usage += info.huge
	}
	reading := group{usage: g.usage, inactive: g.inactive, limit: info.total}.reading(info.total, stall)
	if info.available > 0 {
		reading.Doubt = &evict.Doubt{Spare: info.available, Stalled: stall}
	} else {
		reading.Doubt = nil
	}
	return reading
}

// memoryRoot is where the hierarchy for memory is mounted.
func (r *Reader) memoryRoot() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.looked {
		return r.root
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return ""
	}
	r.looked, r.root = true, rootOf(mounts)
	return r.root
}

func rootOf(mounts []*mountinfo.Info) string {
	root := ""
	for _, m := range mounts {
		switch {
		case m.FSType == "cgroup" && slices.Contains(strings.Split(m.VFSOptions, ","), "memory"):
			return m.Mountpoint
		case m.FSType == "cgroup2" && root == "":
			root = m.Mountpoint
		}
	}
	return root
}

// group is how much memory a cgroup uses, in bytes.
type group struct {
	usage, inactive, active int64
	// limit is a very large number if there is none.
	limit int64
}

// workingSet is what upstream calls in use: all but files that were not read lately.
func (g group) workingSet() int64 { return max(g.usage-g.inactive, 0) }

func (g group) reading(machine int64, stall float64) evict.Reading {
	limit := min(g.limit, machine)
	return evict.Reading{
		Available: max(limit-g.workingSet(), 0), Capacity: limit,
		Doubt: &evict.Doubt{Spare: limit - max(g.usage-g.inactive-g.active, 0), Stalled: stall},
	}
}

// groupMemory reads a cgroup, of v1 or v2; ok is false if it has no numbers.
func groupMemory(dir string) (g group, ok bool) {
	if dir == "" {
		return group{}, false
	}
	prefix, usage, limit := "", "memory.current", "memory.max"
	if g.usage, ok = number(filepath.Join(dir, usage)); !ok {
		prefix, usage, limit = "total_", "memory.usage_in_bytes", "memory.limit_in_bytes"
		if g.usage, ok = number(filepath.Join(dir, usage)); !ok {
			return group{}, false
		}
	}
	if g.limit, ok = number(filepath.Join(dir, limit)); !ok || g.limit <= 0 { // "max"
		g.limit = math.MaxInt64
	}
	text, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return group{}, false
	}
	keyed(text, func(key string, n int64) {
		switch name, ours := strings.CutPrefix(key, prefix); {
		case ours && name == "inactive_file":
			g.inactive = n
		case ours && name == "active_file":
			g.active = n
		}
	})
	return g, true
}

// memoryInfo is what /proc/meminfo says, in bytes.
type memoryInfo struct{ total, free, available, inactive, huge int64 }

func meminfo(text []byte) (m memoryInfo) {
	keyed(text, func(key string, n int64) {
		n *= 1024
		switch key {
		case "MemTotal:":
			m.total = n
		case "MemFree:":
			m.free = n
		case "MemAvailable:":
			m.available = n
		case "Inactive(file):":
			m.inactive = n
		case "Hugetlb:":
			m.huge = n
		}
	})
	return m
}

// keyed reads lines of a name and a number.
func keyed(text []byte, visit func(key string, n int64)) {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
			visit(string(fields[0]), n)
		}
	}
}

// number reads a file that holds one.
func number(path string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// stalled is the share of the last ten seconds in which no program got on, by a file about pressure, in percent; less than 0
// if there is none.
func stalled(path string) float64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(text)) { // full avg10=0.12 avg60=0.05 avg300=0.01 total=1234
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "full" {
			continue
		}
		if text, ok := strings.CutPrefix(fields[1], "avg10="); ok {
			if share, err := strconv.ParseFloat(text, 64); err == nil {
				return share
			}
		}
	}
	return -1
}
