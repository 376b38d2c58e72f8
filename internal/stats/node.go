package stats

import (
	"bytes"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/usage"
)

// node reads what the whole machine uses.
func (r *reading) node() usage.Node {
	n := usage.Node{Cgroup: r.cgroup("/")}
	m := meminfo(r.files.read(r.proc("meminfo")))
	n.Capacity, n.HugePages, n.SwapCapacity, n.SwapFree = m.total, m.huge, m.swapTotal, m.swapFree
	if mem := &n.Cgroup.Memory; !mem.Usage.Known { // the top of cgroup v2; no cgroup counts what is set aside for huge pages
		mem.Usage = m.total.Minus(m.free).Minus(m.huge.Or(usage.Of(0)))
		mem.WorkingSet = mem.Usage.Minus(mem.InactiveFile).Or(mem.Usage)
	}
	n.Cgroup.Memory.Swap = m.swapTotal.Minus(m.swapFree)
	n.Booted = r.booted
	n.Cgroup.Made = r.booted
	if r.depth < usage.Storage {
		return n
	}
	pressure := func(of string, now *usage.Pressure) *usage.Pressure {
		if p := r.files.pressure(r.proc("pressure/" + of)); p != nil {
			return p
		}
		return now
	}
	c := &n.Cgroup
	c.CPU.Pressure, c.Memory.Pressure, c.IO = pressure("cpu", c.CPU.Pressure), pressure("memory", c.Memory.Pressure), pressure("io", c.IO)
	n.Network = r.network("self")
	n.Tasks = tasks(r.files.read(r.proc("loadavg")))
	for _, file := range []string{"sys/kernel/pid_max", "sys/kernel/threads-max"} {
		if most := r.files.number(r.proc(file)); most.Known && (!n.MaxTasks.Known || most.Value < n.MaxTasks.Value) {
			n.MaxTasks = most
		}
	}
	c.Processes.Threads, c.Processes.MaxThreads = n.Tasks, n.MaxTasks
	n.FS = r.statfs(r.cfg.RootDir)
	if r.depth >= usage.Detail {
		n.Disks = r.disks
		n.Mounts = r.mounts()
	}
	return n
}

func (r *reading) proc(file string) string { return filepath.Join(r.cfg.Proc, file) }

type memoryInfo struct{ total, free, swapTotal, swapFree, huge usage.Number }

// meminfo reads /proc/meminfo, in bytes.
func meminfo(text []byte) (m memoryInfo) {
	var pages, size usage.Number
	for line := range bytes.Lines(text) {
		key, rest, _ := bytes.Cut(line, []byte{':'})
		words := bytes.Fields(rest)
		if len(words) == 0 {
			continue
		}
		n := number(words[0])
		switch string(key) {
		case "MemTotal":
			m.total = times(n, 1<<10)
		case "MemFree":
			m.free = times(n, 1<<10)
		case "SwapTotal":
			m.swapTotal = times(n, 1<<10)
		case "SwapFree":
			m.swapFree = times(n, 1<<10)
		case "HugePages_Total":
			pages = n
		case "Hugepagesize":
			size = times(n, 1<<10)
		case "Hugetlb": // of all sizes
			m.huge = times(n, 1<<10)
		}
	}
	if !m.huge.Known && pages.Known && size.Known && size.Value > 0 {
		m.huge = times(pages, size.Value)
	}
	return m
}

// tasks reads how many processes and threads there are from /proc/loadavg: "0.20 0.18 0.12 1/80 11206".
func tasks(text []byte) usage.Number {
	words := bytes.Fields(text)
	if len(words) < 4 {
		return usage.Number{}
	}
	_, all, _ := bytes.Cut(words[3], []byte{'/'})
	return number(all)
}

// bootTime reads when the machine started from /proc/stat.
func bootTime(text []byte) (at time.Time) {
	keyed(text, func(key []byte, n usage.Number) {
		if string(key) == "btime" && n.Value < 1<<40 {
			at = time.Unix(int64(n.Value), 0)
		}
	})
	return at
}

// statfs is how full the file system of a directory is; nil if that cannot be read.
func (r *reading) statfs(dir string) *usage.Filesystem {
	var s unix.Statfs_t
	if dir == "" || unix.Statfs(dir, &s) != nil {
		return nil
	}
	f := filesystem(&s, r.now())
	return &f
}

func filesystem(s *unix.Statfs_t, at time.Time) usage.Filesystem {
	block := uint64(s.Bsize)
	return usage.Filesystem{
		At: at, Capacity: usage.Of(s.Blocks * block), Available: usage.Of(s.Bavail * block), Used: usage.Of((s.Blocks - min(s.Bfree, s.Blocks)) * block),
		Inodes: usage.Of(s.Files), InodesFree: usage.Of(s.Ffree), InodesUsed: usage.Of(s.Files - min(s.Ffree, s.Files)),
	}
}
