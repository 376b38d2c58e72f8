package preflight

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

// What Gather reads of this very machine: things that are so on every machine that runs the test.
func TestGather(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	port := listener.Addr().(*net.TCPAddr).AddrPort().Port()
	dir := t.TempDir()
	lockFile := filepath.Join(dir, "lock")
	f, err := os.Create(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := os.WriteFile(filepath.Join(dir, "runc"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	c := Config{Up: true, RootDir: filepath.Join(dir, "root", "below"), PodLogsDir: dir, RuntimeDir: dir, ResolvConf: filepath.Join(dir, "none"),
		Usual: []string{"unix://" + dir + "/none.sock"}, Ports: []Port{{Name: "port", Number: port}}, LockFile: lockFile}
	m := Gather(t.Context(), c)

	if len(m.Listeners) != 1 || m.Listeners[0].Process.PID != os.Getpid() || m.Listeners[0].Address != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("listeners on port %d are %+v, want this process", port, m.Listeners)
	}
	if m.Root != (os.Geteuid() == 0) || m.Kernel == "" || m.OpenFiles == 0 || m.Now.IsZero() || len(m.Namespaces) < 6 {
		t.Errorf("machine is %+v", m)
	}
	if m.Programs["runc"] != filepath.Join(dir, "runc") || m.Programs["containerd"] != "" {
		t.Errorf("programs are %v", m.Programs)
	}
	if len(m.Runtimes) != 1 || m.Runtimes[0].Err == nil || m.Runtimes[0].Name != "" {
		t.Errorf("runtimes are %+v", m.Runtimes)
	}
	if len(m.Disks) != 1 || m.Disks[0].Path != c.RootDir || m.Disks[0].Bytes == 0 {
		t.Errorf("disks are %+v, want one for both directories", m.Disks)
	}
	if m.Sysctls["kernel.pid_max"] == "" {
		t.Errorf("sysctls are %v", m.Sysctls)
	}
	if m.Resolver.Read || m.LockHolder.PID != 0 {
		t.Errorf("resolver is %+v, lock holder %+v", m.Resolver, m.LockHolder)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "overlay-*")); len(left) > 0 {
		t.Errorf("Gather left %v", left)
	}
	if len(Judge(m, c)) < 10 {
		t.Error("too few findings")
	}
}

func TestLockHolderIsFoundWithoutOpening(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	var node unix.Stat_t
	if err := unix.Stat(file, &node); err != nil {
		t.Fatal(err)
	}
	if pid := parseLocks(read("/proc/locks"), uint64(node.Dev), node.Ino); pid != os.Getpid() {
		t.Errorf("the lock is held by %d, want this process, %d", pid, os.Getpid())
	}
	if p := lockHolder(file); p.PID != 0 {
		t.Errorf("this process is told that it is in its own way: %+v", p)
	}
	table := "1: FLOCK  ADVISORY  WRITE 4440 fe:00:12 0 EOF\n2: -> FLOCK ADVISORY WRITE 9 fe:00:13 0 EOF\n3: POSIX ADVISORY READ 5 fe:01:12 0 EOF\n"
	if pid := parseLocks(table, unix.Mkdev(0xfe, 1), 12); pid != 5 {
		t.Errorf("got process %d, want 5", pid)
	}
	if pid := parseLocks(table, unix.Mkdev(0xfe, 0), 13); pid != 0 {
		t.Errorf("one who waits for the lock, %d, is said to hold it", pid)
	}
}

func TestParseSockets(t *testing.T) {
	table := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:280A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 61340 2 0 100 0 0 10 0
   1: 0100007F:280A 0100007F:D000 01 00000000:00000000 00:00000000 00000000     0        0 61341 2 0 100 0 0 10 0
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1561 1 0 100 0 0 10 0
   3: 00000000000000000000000001000000:280A 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 77 1 0 100 0 0 10 0
   4: zz:280A 0:0 0A 0:0 00:0 0 0 0 78 1
`
	want := []socket{{netip.MustParseAddr("127.0.0.1"), 10250, "61340"}, {netip.MustParseAddr("::1"), 10250, "77"}}
	if diff := cmp.Diff(want, parseSockets(table, map[uint16]bool{10250: true}), cmp.AllowUnexported(socket{}), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("0100007F:280A")
	f.Add("00000000000000000000000001000000:0016")
	f.Fuzz(func(t *testing.T, text string) {
		if address, _, err := parseAddress(text); err == nil && !address.IsValid() {
			t.Errorf("%q gave no address and no error", text)
		}
	})
}

func TestParseCgroup(t *testing.T) {
	list := "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\ncpu\t1\t1\t1\ncpuacct\t1\t1\t1\nmemory\t0\t1\t0\npids\t5\t1\t1\n"
	for name, test := range map[string]struct {
		mounts []cgroupMount
		want   Cgroup
	}{
		"none": {nil, Cgroup{Disabled: []string{"memory"}}},
		"v1": {[]cgroupMount{{options: []string{"rw", "cpu", "cpuacct"}}, {options: []string{"rw", "pids"}}, {options: []string{"rw", "name=systemd"}}},
			Cgroup{Version: "v1", Controllers: []string{"cpu", "cpuacct", "pids"}, Disabled: []string{"memory"}}},
		"hybrid": {[]cgroupMount{{options: []string{"rw", "pids"}}, {v2: true}}, Cgroup{Version: "hybrid", Controllers: []string{"pids"}, Disabled: []string{"memory"}}},
		"v2, with systemd's own v1": {[]cgroupMount{{options: []string{"name=systemd"}}, {v2: true, controllers: []string{"memory", "cpu"}, readOnly: true}},
			Cgroup{Version: "v2", Controllers: []string{"cpu", "memory"}, Disabled: []string{"memory"}, ReadOnly: true}},
	} {
		if diff := cmp.Diff(test.want, parseCgroup(test.mounts, list)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestParseFeatures(t *testing.T) {
	config := parseKernelConfig(strings.NewReader("# CONFIG_NF_NAT is not set\nCONFIG_SECCOMP_FILTER=y\nCONFIG_VETH=m\nCONFIG_BRIDGE=m\nCONFIG_OVERLAY_FS=m\n"))
	got := parseFeatures(config, "overlay 163840 0 - Live 0x0\n", "kernel/net/x.ko\n", "kernel/drivers/net/veth.ko.xz: kernel/a.ko\n")
	for option, want := range map[string]Support{"SECCOMP_FILTER": Built, "VETH": Module, "BRIDGE": Absent, "OVERLAY_FS": Built, "NF_NAT": Absent} {
		if got[option] != want {
			t.Errorf("%s is %d, want %d", option, got[option], want)
		}
	}
	// Without a configuration the lists of modules tell; without any of them nothing is known, and nothing is said.
	got = parseFeatures(nil, "", "kernel/net/bridge/bridge.ko\n", "kernel/net/netfilter/xt-comment.ko: \n")
	for option, want := range map[string]Support{"BRIDGE": Built, "NETFILTER_XT_MATCH_COMMENT": Module, "VETH": Absent, "SECCOMP_FILTER": Unknown} {
		if got[option] != want {
			t.Errorf("without a configuration %s is %d, want %d", option, got[option], want)
		}
	}
	if got := parseFeatures(nil, "", "", ""); len(got) != 0 {
		t.Errorf("from nothing came %v", got)
	}
	if config := parseKernelConfig(strings.NewReader("")); config != nil {
		t.Errorf("an empty configuration gave %v", config)
	}
}

func TestMissingCapabilities(t *testing.T) {
	if got := missingCapabilities("CapPrm:\t0\nCapEff:\t000001fffeffffff\n"); !slices.Equal(got, []string{"SYS_RESOURCE"}) {
		t.Errorf("missing are %v, want only SYS_RESOURCE", got)
	}
	if got := missingCapabilities("CapEff:\t000001ffffffffff\n"); got != nil {
		t.Errorf("missing are %v, want none", got)
	}
	if got := missingCapabilities("nothing"); got != nil {
		t.Errorf("from nothing came %v", got)
	}
	for _, c := range capabilities {
		if _, known := capabilityNumbers[c.name]; !known {
			t.Errorf("%s has no number", c.name)
		}
	}
}

func TestParseSwapsAndServers(t *testing.T) {
	table := "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/sda2                               partition\t2097148\t\t0\t\t-2\nbad line\n"
	if got, want := parseSwaps(table), []Swap{{"/dev/sda2", 2097148 << 10}}; !slices.Equal(got, want) {
		t.Errorf("swaps are %v, want %v", got, want)
	}
	got := parseServers("# x\nsearch a b\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver\nnameserver nonsense\noptions edns0\n")
	if len(got) != 2 || got[0].String() != "127.0.0.53" || got[1].String() != "fe80::1%eth0" {
		t.Errorf("servers are %v", got)
	}
}

func BenchmarkCheck(b *testing.B) {
	c := Config{Up: true, RootDir: "/var/lib/kubelet", PodLogsDir: "/var/log/pods", ResolvConf: "/etc/resolv.conf",
		Usual: []string{"unix:///run/containerd/containerd.sock"}, Ports: []Port{{Name: "port", Number: 10250}}}
	for b.Loop() {
		Check(b.Context(), c)
	}
}
