package stats

import (
	"bytes"
	"path/filepath"

	"github.com/bosun-project/bosun/internal/usage"
)

// cgroupV2 reads a cgroup of the unified hierarchy. Its top has not all files: what is missing there, /proc tells.
func (r *reading) cgroupV2(c *usage.Cgroup) {
	f, dir := &r.files, r.where.dir("", c.Path)
	f.keyed(filepath.Join(dir, "cpu.stat"), throttling(&c.CPU, micro))
	r.memoryV2(dir, &c.Memory)
	if r.depth >= usage.Storage {
		c.CPU.Pressure = f.pressure(filepath.Join(dir, "cpu.pressure"))
		c.Memory.Pressure = f.pressure(filepath.Join(dir, "memory.pressure"))
		c.IO = f.pressure(filepath.Join(dir, "io.pressure"))
		c.Processes.Threads = f.number(filepath.Join(dir, "pids.current"))
	}
	if r.depth < usage.Detail {
		return
	}
	c.Processes.MaxThreads = f.number(filepath.Join(dir, "pids.max"))
	if c.Path != "/" {
		c.Disks = ioStat(f.read(filepath.Join(dir, "io.stat")))
	}
	c.CPU.Shares = shares(f.number(filepath.Join(dir, "cpu.weight")))
	quota, period, _ := bytes.Cut(bytes.TrimSpace(f.read(filepath.Join(dir, "cpu.max"))), []byte{' '})
	c.CPU.Quota, c.CPU.Period = number(quota), number(period)
}

// shares turns a weight (1 to 10000) back into the shares that it was made from (2 to 262144), about.
func shares(weight usage.Number) usage.Number {
	if !weight.Known || weight.Value < 1 || weight.Value > 10000 {
		return usage.Number{}
	}
	return usage.Of(2 + (weight.Value-1)*262142/9999)
}

func (r *reading) memoryV2(dir string, m *usage.Memory) {
	f := &r.files
	m.Usage = f.number(filepath.Join(dir, "memory.current"))
	f.keyed(filepath.Join(dir, "memory.stat"), func(key []byte, n usage.Number) {
		switch string(key) {
		case "anon":
			m.RSS = n
		case "file":
			m.Cache = n
		case "kernel":
			m.Kernel = n
		case "file_mapped":
			m.Mapped = n
		case "active_file":
			m.ActiveFile = n
		case "inactive_file":
			m.InactiveFile = n
		case "file_dirty":
			m.Dirty = n
		case "file_writeback":
			m.Writeback = n
		case "pgfault":
			m.Faults, m.OwnFaults = n, n
		case "pgmajfault":
			m.MajorFaults, m.OwnMajorFaults = n, n
		case "pgscan":
			m.Scanned = n
		case "pgsteal":
			m.Reclaimed = n
		case "workingset_refault_file":
			m.RefaultedFile = n
		case "workingset_refault_anon":
			m.RefaultedAnon = n
		}
	})
	m.Limit = f.number(filepath.Join(dir, "memory.max")) // "max" is no number
	m.Swap = f.number(filepath.Join(dir, "memory.swap.current"))
	m.SwapLimit = f.number(filepath.Join(dir, "memory.swap.max"))
	if r.depth < usage.Detail {
		return
	}
	m.MaxUsage = f.number(filepath.Join(dir, "memory.peak"))
	m.Reservation = f.number(filepath.Join(dir, "memory.low"))
	f.keyed(filepath.Join(dir, "memory.events"), func(key []byte, n usage.Number) {
		switch string(key) {
		case "high":
			m.HighEvents = n
		case "max":
			m.MaxEvents, m.Refused = n, n
		case "oom_kill":
			m.OOMKills = n
		}
	})
}

// ioStat reads lines such as "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0".
func ioStat(text []byte) (disks []usage.Disk) {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) < 2 {
			continue
		}
		var d *usage.Disk
		if disks, d = disk(disks, words[0]); d == nil {
			continue
		}
		for _, word := range words[1:] {
			key, value, _ := bytes.Cut(word, []byte{'='})
			switch string(key) {
			case "rbytes":
				d.ReadBytes = number(value)
			case "wbytes":
				d.WriteBytes = number(value)
			case "rios":
				d.Reads = number(value)
			case "wios":
				d.Writes = number(value)
			}
		}
	}
	return disks
}
