package stats

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/bosun-project/bosun/internal/usage"
)

// cgroup reads what the processes of a cgroup use; At stays zero if it is not there.
func (r *reading) cgroup(path string) usage.Cgroup {
	c := usage.Cgroup{Path: path}
	if path == "" {
		return c
	}
	if r.where.unified != "" {
		r.cgroupV2(&c)
	} else {
		r.cgroupV1(&c)
	}
	if !c.CPU.Usage.Known && !c.Memory.Usage.Known {
		return usage.Cgroup{Path: path}
	}
	c.At = r.now()
	c.Memory.WorkingSet = c.Memory.Usage.Minus(c.Memory.InactiveFile).Or(c.Memory.Usage)
	c.CPU.NanoCores = r.rate(path, c.At, c.CPU.Usage)
	if r.depth >= usage.Storage {
		if info, err := os.Stat(r.where.main(path)); err == nil {
			c.Made = info.ModTime()
		}
	}
	for i := range c.Disks {
		c.Disks[i].Device = r.devices[[2]uint32{c.Disks[i].Major, c.Disks[i].Minor}]
	}
	return c
}

const (
	// tick is the kernel's unit of time in files for people, in nanoseconds.
	tick = uint64(time.Second / 100)
	// micro is a microsecond in nanoseconds.
	micro = uint64(time.Microsecond)
)

// micros is a time that the kernel gives in microseconds; none if it is longer than any can be.
func micros(n usage.Number) time.Duration {
	if n.Value > math.MaxInt64/micro {
		return 0
	}
	return time.Duration(n.Value * micro)
}

func (r *reading) cgroupV1(c *usage.Cgroup) {
	f := &r.files
	if dir := r.where.dir("cpuacct", c.Path); dir != "" {
		c.CPU.Usage = f.number(filepath.Join(dir, "cpuacct.usage"))
		if r.depth >= usage.Detail {
			f.keyed(filepath.Join(dir, "cpuacct.stat"), func(key []byte, n usage.Number) {
				switch string(key) {
				case "user":
					c.CPU.User = times(n, tick)
				case "system":
					c.CPU.System = times(n, tick)
				}
			})
		}
	}
	if dir := r.where.dir("memory", c.Path); dir != "" {
		r.memoryV1(dir, &c.Memory)
	}
	if dir := r.where.dir("pids", c.Path); dir != "" && r.depth >= usage.Storage {
		c.Processes.Threads = f.number(filepath.Join(dir, "pids.current"))
		if r.depth >= usage.Detail {
			c.Processes.MaxThreads = f.number(filepath.Join(dir, "pids.max"))
		}
	}
	if r.depth < usage.Detail {
		return
	}
	if dir := r.where.dir("cpu", c.Path); dir != "" {
		f.keyed(filepath.Join(dir, "cpu.stat"), throttling(&c.CPU, 1))
		c.CPU.Shares = f.number(filepath.Join(dir, "cpu.shares"))
		c.CPU.Quota = f.number(filepath.Join(dir, "cpu.cfs_quota_us")) // -1 is no number
		c.CPU.Period = f.number(filepath.Join(dir, "cpu.cfs_period_us"))
	}
	if dir := r.where.dir("blkio", c.Path); dir != "" && c.Path != "/" {
		disks := blkio(nil, f.read(filepath.Join(dir, "blkio.throttle.io_service_bytes_recursive")), func(d *usage.Disk) (read, write *usage.Number) {
			return &d.ReadBytes, &d.WriteBytes
		})
		c.Disks = blkio(disks, f.read(filepath.Join(dir, "blkio.throttle.io_serviced_recursive")), func(d *usage.Disk) (read, write *usage.Number) {
			return &d.Reads, &d.Writes
		})
	}
}

// throttling takes the lines of cpu.stat that both versions have; unit is that of its times, in nanoseconds.
func throttling(c *usage.CPU, unit uint64) func(key []byte, n usage.Number) {
	return func(key []byte, n usage.Number) {
		switch string(key) {
		case "nr_periods":
			c.Periods = n
		case "nr_throttled":
			c.Throttled = n
		case "throttled_time", "throttled_usec":
			c.ThrottledFor = times(n, unit)
		case "nr_bursts":
			c.Bursts = n
		case "burst_time", "burst_usec":
			c.BurstFor = times(n, unit)
		case "usage_usec":
			c.Usage = times(n, unit)
		case "user_usec":
			c.User = times(n, unit)
		case "system_usec":
			c.System = times(n, unit)
		}
	}
}

func (r *reading) memoryV1(dir string, m *usage.Memory) {
	f := &r.files
	m.Usage = f.number(filepath.Join(dir, "memory.usage_in_bytes"))
	f.keyed(filepath.Join(dir, "memory.stat"), func(key []byte, n usage.Number) {
		switch string(key) {
		case "total_rss":
			m.RSS = n
		case "total_cache":
			m.Cache = n
		case "total_mapped_file":
			m.Mapped = n
		case "total_swap":
			m.Swap = n
		case "total_active_file":
			m.ActiveFile = n
		case "total_inactive_file":
			m.InactiveFile = n
		case "total_dirty":
			m.Dirty = n
		case "total_writeback":
			m.Writeback = n
		case "pgfault":
			m.OwnFaults = n
		case "pgmajfault":
			m.OwnMajorFaults = n
		case "total_pgfault":
			m.Faults = n
		case "total_pgmajfault":
			m.MajorFaults = n
		case "total_workingset_refault_file":
			m.RefaultedFile = n
		case "total_workingset_refault_anon":
			m.RefaultedAnon = n
		}
	})
	m.Limit = f.limit(filepath.Join(dir, "memory.limit_in_bytes"))
	if both := f.limit(filepath.Join(dir, "memory.memsw.limit_in_bytes")); both.Known {
		m.SwapLimit = both.Minus(m.Limit)
	}
	if r.depth < usage.Detail {
		return
	}
	m.MaxUsage = f.number(filepath.Join(dir, "memory.max_usage_in_bytes"))
	m.Refused = f.number(filepath.Join(dir, "memory.failcnt"))
	m.Reservation = f.limit(filepath.Join(dir, "memory.soft_limit_in_bytes"))
	m.Kernel = f.number(filepath.Join(dir, "memory.kmem.usage_in_bytes"))
	f.keyed(filepath.Join(dir, "memory.oom_control"), func(key []byte, n usage.Number) {
		if string(key) == "oom_kill" {
			m.OOMKills = n
		}
	})
}

// blkio adds what a file of v1's blkio tells: lines such as "8:0 Read 4096".
func blkio(disks []usage.Disk, text []byte, pick func(*usage.Disk) (read, write *usage.Number)) []usage.Disk {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) != 3 {
			continue
		}
		var d *usage.Disk
		if disks, d = disk(disks, words[0]); d == nil {
			continue
		}
		read, write := pick(d)
		switch string(words[1]) {
		case "Read":
			*read = number(words[2])
		case "Write":
			*write = number(words[2])
		}
	}
	return disks
}

// disk finds a disk by its number, such as 8:0, and adds it if need be; nil if that is no number of a disk.
func disk(disks []usage.Disk, text []byte) ([]usage.Disk, *usage.Disk) {
	a, b, _ := bytes.Cut(text, []byte{':'})
	major, minor := number(a), number(b)
	const most = 1<<32 - 1
	if !major.Known || !minor.Known || major.Value > most || minor.Value > most {
		return disks, nil
	}
	for i := range disks {
		if d := &disks[i]; uint64(d.Major) == major.Value && uint64(d.Minor) == minor.Value {
			return disks, d
		}
	}
	disks = append(disks, usage.Disk{Major: uint32(major.Value), Minor: uint32(minor.Value)})
	return disks, &disks[len(disks)-1]
}
