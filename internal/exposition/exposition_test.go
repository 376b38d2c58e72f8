package exposition

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	info "github.com/google/cadvisor/lib/model"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/bosun-project/bosun/internal/golden"
	"github.com/bosun-project/bosun/internal/usage"
)

var (
	booted  = time.Unix(1795000000, 0).UTC()
	read    = time.Unix(1795244700, 123e6).UTC()
	started = time.Unix(1795244000, 5e8).UTC()
)

func stall(total time.Duration) *usage.Pressure {
	return &usage.Pressure{Some: usage.Stall{Avg10: 1.5, Avg60: 0.5, Avg300: 0.25, Total: total}, Full: usage.Stall{Avg10: 0.5, Total: total / 2}}
}

// full is a cgroup of which everything is known; the numbers follow from n.
func full(path string, n uint64) usage.Cgroup {
	of := func(k uint64) usage.Number { return usage.Of(n*1000 + k) }
	return usage.Cgroup{
		Path: path, At: read, Made: started,
		CPU: usage.CPU{
			Usage: usage.Of(n * 1e9), User: usage.Of(n * 6e8), System: usage.Of(n * 4e8), NanoCores: of(4), Periods: of(5), Throttled: of(6), ThrottledFor: usage.Of(n * 1e8),
			Bursts: of(7), BurstFor: usage.Of(n * 1e7), Shares: usage.Of(102), Quota: usage.Of(50000), Period: usage.Of(100000), Pressure: stall(time.Duration(n) * time.Second),
		},
		Memory: usage.Memory{
			Usage: of(1000), WorkingSet: of(900), RSS: of(800), Cache: of(700), Mapped: of(600), Kernel: of(500), ActiveFile: of(400), InactiveFile: of(100), Dirty: of(11), Writeback: of(12),
			MaxUsage: of(2000), Refused: of(13), Limit: of(5000), Reservation: of(100), Swap: of(14), SwapLimit: of(64), Faults: of(15), MajorFaults: of(16), OwnFaults: of(17), OwnMajorFaults: of(18),
			Scanned: of(19), Reclaimed: of(20), RefaultedFile: of(21), RefaultedAnon: of(22), HighEvents: of(23), MaxEvents: of(24), OOMKills: of(1), Pressure: stall(time.Duration(n) * 2 * time.Second),
		},
		IO:        stall(time.Duration(n) * 3 * time.Second),
		Disks:     []usage.Disk{{Major: 254, Device: "/dev/vda", Reads: of(31), Writes: of(32), ReadBytes: of(33), WriteBytes: of(34)}},
		Processes: usage.Processes{Threads: usage.Of(n + 1), MaxThreads: usage.Of(100), Processes: usage.Of(n), Files: of(41), Sockets: usage.Of(n), OpenFiles: usage.Of(1024)},
	}
}

func filesystem(device string, used uint64) usage.Filesystem {
	return usage.Filesystem{
		At: read, Device: device, Capacity: usage.Of(1 << 30), Available: usage.Of(1 << 29), Used: usage.Of(used),
		Inodes: usage.Of(1000), InodesFree: usage.Of(900), InodesUsed: usage.Of(used / 1000),
	}
}

// snapshot has a pod of which everything is known, and one in the node's network of which little is.
func snapshot() *usage.Snapshot {
	fs, layer, logs, sum := filesystem("", 7000), filesystem("/dev/vda", 3000), filesystem("", 2000), filesystem("", 9000)
	network := func(names ...string) *usage.Network {
		n := &usage.Network{At: read, Main: 0}
		for i, name := range names {
			k := uint64(i) * 100
			n.Links = append(n.Links, usage.Link{Name: name, RxBytes: k + 1, RxPackets: k + 2, RxErrors: k + 3, RxDrops: k + 4, TxBytes: k + 5, TxPackets: k + 6, TxErrors: k + 7, TxDrops: k + 8})
		}
		return n
	}
	root := full("/", 50)
	root.Disks, root.Memory.Limit, root.CPU.Quota = nil, usage.Number{}, usage.Number{}
	disk := usage.Disk{Major: 254, Device: "/dev/vda"}
	for i, n := range []*usage.Number{&disk.Reads, &disk.Writes, &disk.ReadBytes, &disk.WriteBytes, &disk.ReadsMerged, &disk.WritesMerged, &disk.ReadSectors, &disk.WriteSectors, &disk.ReadTime, &disk.WriteTime, &disk.IOTime, &disk.Weighted, &disk.InFlight} {
		*n = usage.Of(uint64(i) + 1)
	}
	bare := usage.Cgroup{Path: "/kubepods/podb/cc", At: read, CPU: usage.CPU{Usage: usage.Of(5)}, Memory: usage.Memory{Usage: usage.Of(8192), WorkingSet: usage.Of(4096)}}
	return &usage.Snapshot{
		At: read, Depth: usage.Detail,
		Node: usage.Node{
			Cgroup: root, Booted: booted, Capacity: usage.Of(1 << 30), HugePages: usage.Of(2 << 20), SwapCapacity: usage.Of(1 << 20), SwapFree: usage.Of(1 << 19), Network: network("eth0", "eth1"),
			FS: &fs, Images: &fs, Layers: &layer, MaxTasks: usage.Of(32768), Tasks: usage.Of(250), Disks: []usage.Disk{disk}, Mounts: []usage.Filesystem{layer},
			System: []usage.System{{Name: "kubelet", Cgroup: full("/system.slice/bosun.service", 3)}, {Name: "pods", Cgroup: full("/kubepods", 40)}},
		},
		Groups: []usage.Cgroup{full("/kubepods", 40)},
		Pods: []usage.Pod{
			{
				Namespace: "ns", Name: "app", UID: "a", Started: started, Cgroup: full("/kubepods/poda", 11), Network: network("eth0"),
				Sandbox:    usage.Container{ID: "aa", Started: started, Cgroup: full("/kubepods/poda/aa", 1)},
				Containers: []usage.Container{{Name: "main", ID: "bb", Image: "docker.io/library/busybox:latest", Started: started, Cgroup: full("/kubepods/poda/bb", 10), Layer: &layer, Logs: &logs}},
				Volumes:    []usage.Volume{{Name: "data", Claim: "claim", Filesystem: filesystem("", 5000)}, {Name: "scratch", Filesystem: filesystem("", 4000), Local: true}},
				Ephemeral:  &sum,
			},
			{
				Namespace: "ns", Name: "bare", UID: "b", Started: started, Cgroup: usage.Cgroup{Path: "/kubepods/podb"},
				Containers: []usage.Container{
					{Name: "main", ID: "cc", Image: "i", Started: started, Cgroup: bare},
					{Name: "starting", ID: "dd", Image: "i", Cgroup: bare},
					{Name: "gone", ID: "ee", Image: "i", Started: started},
				},
			},
		},
	}
}

// Behaviours 341, 363.
func TestSummary(t *testing.T) {
	for name, basic := range map[string]bool{"summary.json": false, "summary-basic.json": true} {
		text, err := json.MarshalIndent(Summary(snapshot(), "here", basic), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		golden.File(t, name, append(text, '\n'))
	}
}

// The memory that is available on the node is what is neither set aside for huge pages nor in the working set.
func TestAvailable(t *testing.T) {
	s := snapshot()
	s.Node.Cgroup.Memory.WorkingSet = usage.Of(1 << 20)
	if got, want := *Summary(s, "", true).Node.Memory.AvailableBytes, uint64(1<<30-2<<20-1<<20); got != want {
		t.Errorf("%d bytes are available, want %d", got, want)
	}
	s.Node.Cgroup.Memory.WorkingSet = usage.Of(1 << 40)
	if got := *Summary(s, "", true).Node.Memory.AvailableBytes; got != 0 {
		t.Errorf("%d bytes are available, want none", got)
	}
}

func text(t *testing.T, format expfmt.Format, write func(Encoder) error) []byte {
	t.Helper()
	var b bytes.Buffer
	e := expfmt.NewEncoder(&b, format)
	if err := write(e); err != nil {
		t.Fatal(err)
	}
	if c, ok := e.(expfmt.Closer); ok {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

var plainText = expfmt.NewFormat(expfmt.TypeTextPlain)

func machineOf() *Machine {
	return &Machine{Kernel: "6.18", OS: "Debian", Version: "v1.37.1", Info: &info.MachineInfo{
		NumCores: 4, NumPhysicalCores: 2, NumSockets: 1, MemoryCapacity: 1 << 30, SwapCapacity: 1 << 20, MachineID: "m", SystemUUID: "u", BootID: "b",
		MemoryByType: map[string]*info.MemoryInfo{"DDR4": {Capacity: 1 << 30, DimmCount: 2}},
	}}
}

func TestFamilies(t *testing.T) {
	golden.File(t, "resource.txt", text(t, plainText, func(e Encoder) error { return Resource(snapshot(), e) }))
	golden.File(t, "cadvisor.txt", text(t, plainText, func(e Encoder) error { return CAdvisor(snapshot(), machineOf(), e) }))
}

// Every parser of the text must take it, no series may come twice, and what it says is the same in OpenMetrics.
func TestTextParses(t *testing.T) {
	for name, write := range map[string]func(Encoder) error{
		"resource": func(e Encoder) error { return Resource(snapshot(), e) },
		"cadvisor": func(e Encoder) error { return CAdvisor(snapshot(), machineOf(), e) },
	} {
		plain := text(t, plainText, write)
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(plain))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		series := map[string]bool{}
		for family, f := range families {
			for _, m := range f.Metric {
				key := family
				for _, l := range m.Label {
					key += "," + l.GetName() + "=" + l.GetValue()
				}
				if series[key] {
					t.Errorf("%s: %s is there twice", name, key)
				}
				series[key] = true
				if !slices.IsSortedFunc(m.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) }) {
					t.Errorf("%s: labels of %s are not sorted", name, key)
				}
			}
		}
		open := text(t, expfmt.FmtOpenMetrics_1_0_0, write)
		if !bytes.HasSuffix(open, []byte("# EOF\n")) {
			t.Errorf("%s: OpenMetrics ends with %.30q", name, open[max(0, len(open)-30):])
		}
		if got := len(regexp.MustCompile(`(?m)^[a-z]`).FindAll(open, -1)); got != len(series) {
			t.Errorf("%s: %d series in OpenMetrics, %d in plain text", name, got, len(series))
		}
	}
}

// promised are the families that spec/http.md names, without those that need what cgroups do not tell: iocost, and applications'
// own.
const promised = `container_last_seen container_health_state container_cpu_user_seconds_total container_cpu_system_seconds_total
container_cpu_usage_seconds_total container_cpu_cfs_periods_total container_cpu_cfs_throttled_periods_total container_cpu_cfs_throttled_seconds_total
container_cpu_cfs_burst_periods_total container_cpu_cfs_burst_seconds_total container_memory_cache container_memory_rss container_memory_kernel_usage
container_memory_mapped_file container_memory_swap container_memory_failcnt container_memory_usage_bytes container_memory_max_usage_bytes
container_memory_working_set_bytes container_memory_total_active_file_bytes container_memory_total_inactive_file_bytes container_memory_failures_total
container_memory_events_high_total container_memory_events_max_total container_memory_file_dirty_bytes container_memory_file_writeback_bytes
container_memory_pgscan_total container_memory_pgsteal_total container_memory_workingset_refault_file_total container_memory_workingset_refault_anon_total
container_fs_inodes_free container_fs_inodes_total container_fs_limit_bytes container_fs_usage_bytes container_fs_reads_bytes_total container_fs_reads_total
container_fs_sector_reads_total container_fs_reads_merged_total container_fs_read_seconds_total container_fs_writes_bytes_total container_fs_writes_total
container_fs_sector_writes_total container_fs_writes_merged_total container_fs_write_seconds_total container_fs_io_current container_fs_io_time_seconds_total
container_fs_io_time_weighted_seconds_total container_blkio_device_usage_total container_network_receive_bytes_total container_network_receive_packets_total
container_network_receive_packets_dropped_total container_network_receive_errors_total container_network_transmit_bytes_total
container_network_transmit_packets_total container_network_transmit_packets_dropped_total container_network_transmit_errors_total container_processes
container_file_descriptors container_sockets container_threads_max container_threads container_ulimits_soft container_oom_events_total
container_pressure_cpu_stalled_seconds_total container_pressure_cpu_waiting_seconds_total container_pressure_memory_stalled_seconds_total
container_pressure_memory_waiting_seconds_total container_pressure_io_stalled_seconds_total container_pressure_io_waiting_seconds_total
container_spec_cpu_period container_spec_cpu_quota container_spec_cpu_shares container_spec_memory_limit_bytes container_spec_memory_swap_limit_bytes
container_spec_memory_reservation_limit_bytes container_start_time_seconds container_creation_time_seconds container_scrape_error machine_scrape_error cadvisor_version_info machine_cpu_cores
machine_cpu_physical_cores machine_cpu_sockets machine_cpu_books machine_cpu_drawers machine_memory_bytes machine_swap_bytes
machine_nvm_avg_power_budget_watts machine_dimm_count machine_dimm_capacity_bytes machine_nvm_capacity`

func TestEveryPromisedFamily(t *testing.T) {
	var have []string
	plain := text(t, plainText, func(e Encoder) error { return CAdvisor(snapshot(), machineOf(), e) })
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllSubmatch(plain, -1) {
		have = append(have, string(m[1]))
	}
	want := strings.Fields(promised)
	slices.Sort(have)
	slices.Sort(want)
	for _, name := range want {
		if !slices.Contains(have, name) {
			t.Errorf("%s is missing", name)
		}
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			t.Errorf("%s is not known to anybody", name)
		}
	}
}

// What cannot be read is not told of as 0, and says so.
func TestUnknown(t *testing.T) {
	s := &usage.Snapshot{At: read, Missed: 3, Pods: []usage.Pod{{Namespace: "ns", Name: "p", Containers: []usage.Container{{Name: "c", Started: started}}}}}
	want := "resource_scrape_error 1\n"
	if got := text(t, plainText, func(e Encoder) error { return Resource(s, e) }); !strings.Contains(string(got), want) || strings.Contains(string(got), "{") {
		t.Errorf("nothing is known, and it says:\n%s", got)
	}
	got := string(text(t, plainText, func(e Encoder) error { return CAdvisor(s, &Machine{}, e) }))
	for _, line := range []string{"container_scrape_error 1\n", "machine_scrape_error 1\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("%q is missing:\n%s", line, got)
		}
	}
	if strings.Contains(got, `pod="p"`) {
		t.Errorf("it tells of a pod of which nothing is known:\n%s", got)
	}
	p := Summary(s, "here", false).Pods[0]
	if p.CPU != nil || p.Containers[0].Memory != nil || p.Network != nil || p.EphemeralStorage != nil {
		t.Errorf("it tells of a pod of which nothing is known: %+v", p)
	}
}
