package exposition

import (
	"slices"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/bosun-project/bosun/internal/usage"
)

// subject is a cgroup that series are about.
type subject struct {
	base    []*dto.LabelPair
	cgroup  *usage.Cgroup
	started time.Time
	// disks are what went to and from disks, filesystems what is on them.
	disks       []usage.Disk
	filesystems []usage.Filesystem
	network     *usage.Network
	// leaf tells that it is a container or a sandbox.
	leaf bool
}

// CAdvisor writes /metrics/cadvisor: the node, what holds all pods, the pods, their sandboxes and their containers.
func CAdvisor(s *usage.Snapshot, m *Machine, to Encoder) error {
	w := &writer{to: to}
	all := subjects(s)
	w.cgroups(all)
	w.processes(all)
	w.pressure(all)
	w.filesystems(all)
	w.disks(all)
	w.networks(all)
	w.limits(all)
	w.begin("container_last_seen", "When the container was seen last, in seconds since 1970.", false)
	for i := range all {
		w.add(all[i].base, float64(s.At.Unix()), all[i].cgroup.At)
	}
	w.end()
	w.begin("container_health_state", "What a health check of the container runtime says; -1 where there is none.", false)
	for i := range all {
		w.add(all[i].base, -1, all[i].cgroup.At)
	}
	w.end()
	w.begin("container_start_time_seconds", "When the container started, in seconds since 1970.", false)
	for i := range all {
		if !all[i].started.IsZero() {
			w.add(all[i].base, float64(all[i].started.Unix()), time.Time{})
		}
	}
	w.end()
	w.begin("container_creation_time_seconds", "When the cgroup was made, in seconds since 1970.", false)
	for i := range all {
		if made := all[i].cgroup.Made; !made.IsZero() {
			w.add(all[i].base, float64(made.Unix()), time.Time{})
		}
	}
	w.end()
	w.machine(m)
	wrong := usage.Of(uint64(min(s.Missed, 1)))
	w.one("container_scrape_error", "1 if something could not be read, else 0.", false, wrong, asIs, time.Time{})
	w.one("machine_scrape_error", "1 if the machine could not be described, else 0.", false, usage.Of(uint64(missing(m))), asIs, time.Time{})
	return w.err
}

func missing(m *Machine) int {
	if m.Info == nil {
		return 1
	}
	return 0
}

// subjects are all cgroups that were read, each once.
func subjects(s *usage.Snapshot) []subject {
	all := []subject{{
		base: base("/", "", "", "", "", ""), cgroup: &s.Node.Cgroup, started: s.Node.Booted, disks: s.Node.Disks, filesystems: s.Node.Mounts, network: s.Node.Network,
	}}
	add := func(c *usage.Cgroup, x subject) {
		if !c.At.IsZero() {
			x.cgroup = c
			if x.disks == nil {
				x.disks = c.Disks
			}
			all = append(all, x)
		}
	}
	shared := func(c *usage.Cgroup) {
		if !slices.ContainsFunc(all, func(x subject) bool { return x.cgroup.Path == c.Path }) {
			add(c, subject{base: base(c.Path, "", "", "", "", ""), started: c.Made})
		}
	}
	for i := range s.Groups {
		shared(&s.Groups[i])
	}
	for i := range s.Node.System {
		shared(&s.Node.System[i].Cgroup)
	}
	for i := range s.Pods {
		p := &s.Pods[i]
		box := &p.Sandbox
		whole := subject{base: base(p.Cgroup.Path, "", "", "", p.Namespace, p.Name), started: p.Started}
		if box.Cgroup.At.IsZero() { // not every runtime has a cgroup for it
			whole.network = p.Network
		}
		add(&p.Cgroup, whole)
		add(&box.Cgroup, subject{base: base(box.Cgroup.Path, "", box.Image, box.ID, p.Namespace, p.Name), started: p.Started, network: p.Network, leaf: true})
		for j := range p.Containers {
			c := &p.Containers[j]
			x := subject{base: base(c.Cgroup.Path, c.Name, c.Image, c.ID, p.Namespace, p.Name), started: c.Started, leaf: true}
			if c.Layer != nil {
				x.filesystems = []usage.Filesystem{*c.Layer}
			}
			add(&c.Cgroup, x)
		}
	}
	return all
}

// base are the labels that every series has.
func base(id, container, image, name, namespace, pod string) []*dto.LabelPair {
	return labels("container", container, "id", id, "image", image, "name", name, "namespace", namespace, "pod", pod)
}

// plain is a family with one number for each cgroup.
type plain struct {
	name, help string
	counter    bool
	unit       float64
	pick       func(c *usage.Cgroup) usage.Number
}

const (
	gauge   = false
	counter = true
)

var plains = []plain{
	{"container_cpu_user_seconds_total", "Processor time used in programs, in seconds.", counter, nanos, func(c *usage.Cgroup) usage.Number { return c.CPU.User }},
	{"container_cpu_system_seconds_total", "Processor time used in the kernel, in seconds.", counter, nanos, func(c *usage.Cgroup) usage.Number { return c.CPU.System }},
	{"container_cpu_cfs_periods_total", "Periods of the processor quota that went by.", counter, asIs, limited(func(c *usage.Cgroup) usage.Number { return c.CPU.Periods })},
	{"container_cpu_cfs_throttled_periods_total", "Periods of the processor quota in which it was used up.", counter, asIs, limited(func(c *usage.Cgroup) usage.Number { return c.CPU.Throttled })},
	{"container_cpu_cfs_throttled_seconds_total", "Time for which the processor quota was used up, in seconds.", counter, nanos, limited(func(c *usage.Cgroup) usage.Number { return c.CPU.ThrottledFor })},
	{"container_cpu_cfs_burst_periods_total", "Periods of the processor quota in which saved quota was used.", counter, asIs, limited(func(c *usage.Cgroup) usage.Number { return c.CPU.Bursts })},
	{"container_cpu_cfs_burst_seconds_total", "Saved processor quota that was used, in seconds.", counter, nanos, limited(func(c *usage.Cgroup) usage.Number { return c.CPU.BurstFor })},

	{"container_memory_cache", "Page cache, in bytes.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Cache }},
	{"container_memory_rss", "Anonymous memory, in bytes.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.RSS }},
	{"container_memory_kernel_usage", "Memory of the kernel, in bytes.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Kernel }},
	{"container_memory_mapped_file", "Mapped files, in bytes.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Mapped }},
	{"container_memory_swap", "Swap in use, in bytes.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Swap }},
	{"container_memory_failcnt", "How often the memory limit was hit.", counter, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Refused }},
	{"container_memory_usage_bytes", "Memory in use, whenever it was last touched.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Usage }},
	{"container_memory_max_usage_bytes", "The most memory that was ever in use.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.MaxUsage }},
	{"container_memory_working_set_bytes", "Memory in use that cannot be given up easily.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.WorkingSet }},
	{"container_memory_total_active_file_bytes", "Page cache touched lately.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.ActiveFile }},
	{"container_memory_total_inactive_file_bytes", "Page cache not touched lately.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.InactiveFile }},
	{"container_memory_events_high_total", "How often processes were slowed down at memory.high.", counter, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.HighEvents }},
	{"container_memory_events_max_total", "How often memory.max was hit.", counter, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.MaxEvents }},
	{"container_memory_file_dirty_bytes", "Page cache that is to be written.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Dirty }},
	{"container_memory_file_writeback_bytes", "Page cache that is being written.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Writeback }},
	{"container_memory_pgscan_total", "Pages looked at to be reclaimed.", counter, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Scanned }},
	{"container_memory_pgsteal_total", "Pages reclaimed.", counter, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Reclaimed }},
	{"container_memory_workingset_refault_file_total", "Page cache given up and read again, in pages.", counter, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.RefaultedFile }},
	{"container_memory_workingset_refault_anon_total", "Anonymous memory given up and read again, in pages.", counter, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.RefaultedAnon }},
	{"container_oom_events_total", "Processes killed for lack of memory.", counter, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.OOMKills }},

	{"container_threads", "Threads.", gauge, asIs, func(c *usage.Cgroup) usage.Number { return c.Processes.Threads }},
}

// limited leaves out the numbers of a quota where there is none.
func limited(pick func(c *usage.Cgroup) usage.Number) func(c *usage.Cgroup) usage.Number {
	return func(c *usage.Cgroup) usage.Number {
		if !c.CPU.Quota.Known {
			return usage.Number{}
		}
		return pick(c)
	}
}

// cgroups writes what each cgroup has one number of, and two families with labels of their own.
func (w *writer) cgroups(all []subject) {
	for _, f := range plains {
		w.begin(f.name, f.help, f.counter)
		for i := range all {
			w.number(all[i].base, f.pick(all[i].cgroup), f.unit, all[i].cgroup.At)
		}
		w.end()
	}
	w.begin("container_cpu_usage_seconds_total", "Processor time used, in seconds.", counter)
	for i := range all {
		if c := all[i].cgroup; c.CPU.Usage.Known {
			w.number(with(all[i].base, "cpu", "total"), c.CPU.Usage, nanos, c.At)
		}
	}
	w.end()
	w.begin("container_memory_failures_total", "Memory that was not there when it was touched: pages made, and pages read from disk.", counter)
	for i := range all {
		c := all[i].cgroup
		fault := func(kind, scope string, n usage.Number) {
			if n.Known {
				w.number(with(all[i].base, "failure_type", kind, "scope", scope), n, asIs, c.At)
			}
		}
		fault("pgfault", "container", c.Memory.OwnFaults)
		fault("pgfault", "hierarchy", c.Memory.Faults)
		fault("pgmajfault", "container", c.Memory.OwnMajorFaults)
		fault("pgmajfault", "hierarchy", c.Memory.MajorFaults)
	}
	w.end()
}

// processes writes what only containers and sandboxes have.
func (w *writer) processes(all []subject) {
	each := func(name, help string, pick func(p *usage.Processes) usage.Number) {
		w.begin(name, help, gauge)
		for i := range all {
			if all[i].leaf {
				w.number(all[i].base, pick(&all[i].cgroup.Processes), asIs, all[i].cgroup.At)
			}
		}
		w.end()
	}
	each("container_processes", "Processes.", func(p *usage.Processes) usage.Number { return p.Processes })
	each("container_file_descriptors", "Open files.", func(p *usage.Processes) usage.Number { return p.Files })
	each("container_sockets", "Open sockets.", func(p *usage.Processes) usage.Number { return p.Sockets })
	w.begin("container_threads_max", "The limit of threads; 0 is none.", gauge)
	for i := range all {
		w.add(all[i].base, float64(all[i].cgroup.Processes.MaxThreads.Value), all[i].cgroup.At)
	}
	w.end()
	w.begin("container_ulimits_soft", "Soft limits of the first process; -1 is none.", gauge)
	for i := range all {
		if n := all[i].cgroup.Processes.OpenFiles; all[i].leaf && n.Known {
			w.number(with(all[i].base, "ulimit", "max_open_files"), n, asIs, all[i].cgroup.At)
		}
	}
	w.end()
}

func (w *writer) pressure(all []subject) {
	for _, of := range []struct {
		name string
		pick func(c *usage.Cgroup) *usage.Pressure
	}{
		{"cpu", func(c *usage.Cgroup) *usage.Pressure { return c.CPU.Pressure }},
		{"memory", func(c *usage.Cgroup) *usage.Pressure { return c.Memory.Pressure }},
		{"io", func(c *usage.Cgroup) *usage.Pressure { return c.IO }},
	} {
		each := func(kind, help string, stall func(p *usage.Pressure) usage.Stall) {
			w.begin("container_pressure_"+of.name+"_"+kind+"_seconds_total", help, counter)
			for i := range all {
				if p := of.pick(all[i].cgroup); p != nil {
					w.add(all[i].base, stall(p).Total.Seconds(), all[i].cgroup.At)
				}
			}
			w.end()
		}
		each("stalled", "Time for which no process could go on for lack of "+of.name+".", func(p *usage.Pressure) usage.Stall { return p.Full })
		each("waiting", "Time for which some process waited for "+of.name+".", func(p *usage.Pressure) usage.Stall { return p.Some })
	}
}

// limits writes what cgroups may use; 0 stands for no limit of memory.
func (w *writer) limits(all []subject) {
	each := func(name, help string, always bool, pick func(c *usage.Cgroup) usage.Number) {
		w.begin(name, help, gauge)
		for i := range all {
			if c := all[i].cgroup; c.Path != "/" && (always || pick(c).Known) {
				w.add(all[i].base, float64(pick(c).Value), time.Time{})
			}
		}
		w.end()
	}
	each("container_spec_cpu_period", "The period of the processor quota, in microseconds.", false, func(c *usage.Cgroup) usage.Number { return c.CPU.Period })
	each("container_spec_cpu_quota", "The processor quota, in microseconds of each period.", false, func(c *usage.Cgroup) usage.Number { return c.CPU.Quota })
	each("container_spec_cpu_shares", "The processor shares.", false, func(c *usage.Cgroup) usage.Number { return c.CPU.Shares })
	each("container_spec_memory_limit_bytes", "The memory limit; 0 is none.", true, func(c *usage.Cgroup) usage.Number { return c.Memory.Limit })
	each("container_spec_memory_swap_limit_bytes", "The swap limit; 0 is none.", true, func(c *usage.Cgroup) usage.Number { return c.Memory.SwapLimit })
	each("container_spec_memory_reservation_limit_bytes", "The memory that is reserved.", true, func(c *usage.Cgroup) usage.Number { return c.Memory.Reservation })
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
