package preflight

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/boxruntime"
	"github.com/bosun-project/bosun/internal/golden"
)

// healthy is a machine that lacks nothing; `bosun up` starts its own runtime there.
func healthy() (Machine, Config) {
	m := Machine{
		Root: true, Kernel: "6.12.48-amd64", Features: map[string]Support{}, Namespaces: namespaces,
		Cgroup:   Cgroup{Version: "v2", Controllers: []string{"cpu", "cpuset", "io", "memory", "pids"}},
		Runtimes: []Runtime{{Endpoint: "unix:///run/containerd/containerd.sock", Err: os.ErrNotExist}},
		Programs: map[string]string{}, Plugins: map[string]string{}, Iptables: true, Nft: true,
		Disks:     []Disk{{Path: "/var/lib/kubelet", Type: "ext4", Bytes: 100 << 30, FreeBytes: 50 << 30, Inodes: 1e6, FreeInodes: 9e5}},
		OpenFiles: 1 << 20,
		Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1",
			"fs.inotify.max_user_instances": "8192", "fs.inotify.max_user_watches": "524288", "kernel.pid_max": "4194304"},
		Now:      time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC),
		Resolver: Resolver{Read: true, Servers: []netip.Addr{netip.MustParseAddr("192.0.2.53")}},
	}
	for _, f := range features {
		m.Features[f.option] = Built
	}
	for _, name := range boxruntime.Programs() {
		m.Programs[name] = "/opt/bosun/" + name
	}
	for _, name := range boxruntime.NetworkPlugins() {
		m.Plugins[name] = "/opt/bosun/" + name
	}
	c := Config{
		Up: true, RootDir: "/var/lib/kubelet", PodLogsDir: "/var/log/pods", RuntimeDir: "/opt/bosun", ResolvConf: "/etc/resolv.conf",
		Ports: []Port{{Name: "port", Number: 10250}, {Name: "healthzPort", Number: 10248, Address: netip.MustParseAddr("127.0.0.1")}, {Name: "readOnlyPort", Number: 10255}},
	}
	return m, c
}

// foreign makes the machine one with a containerd of its own, and the task that of a kubelet.
func foreign(m *Machine, c *Config) {
	c.Up = false
	m.Runtimes[0] = Runtime{Endpoint: "unix:///run/containerd/containerd.sock", Name: "containerd", Version: "2.1.4"}
}

func TestHealthyMachine(t *testing.T) {
	m, c := healthy()
	for _, f := range Judge(m, c) {
		if f.Level != OK || f.Mend != "" {
			t.Errorf("bosun up: %+v", f)
		}
	}
	foreign(&m, &c)
	for _, f := range Judge(m, c) {
		if f.Level != OK {
			t.Errorf("kubelet: %+v", f)
		}
	}
}

func TestJudge(t *testing.T) {
	for name, test := range map[string]struct {
		change     func(m *Machine, c *Config)
		topic      string
		level      Level
		what, mend string
	}{
		"not root": {func(m *Machine, c *Config) { m.Root = false }, "permissions", Problem, "not run as root", "sudo"},
		"no CAP_SYS_ADMIN": {func(m *Machine, c *Config) { m.Missing = []string{"SYS_ADMIN"} }, "permissions", Problem,
			"CAP_SYS_ADMIN is missing, needed for mounting volumes", "--privileged"},
		"no CAP_SYS_RESOURCE": {func(m *Machine, c *Config) { m.Missing = []string{"SYS_RESOURCE"} }, "permissions", Warning, "OOM score", "CapabilityBoundingSet"},

		"old kernel":           {func(m *Machine, c *Config) { m.Kernel = "4.19.0-27-amd64" }, "kernel", Problem, "4.19.0-27-amd64 is too old", "5.6"},
		"kernel 5.5":           {func(m *Machine, c *Config) { m.Kernel = "5.5.0" }, "kernel", Problem, "too old", ""},
		"kernel 5.6":           {func(m *Machine, c *Config) { m.Kernel = "5.6.0" }, "kernel", OK, "Linux 5.6.0", ""},
		"no cgroup namespaces": {func(m *Machine, c *Config) { m.Namespaces = []string{"mnt", "net", "pid", "ipc", "uts"} }, "kernel", Problem, "no cgroup namespaces", "CONFIG_NAMESPACES"},
		"no seccomp":           {func(m *Machine, c *Config) { m.Features["SECCOMP_FILTER"] = Absent }, "kernel", Problem, "CONFIG_SECCOMP_FILTER", "CONFIG_SECCOMP_FILTER"},
		"veth cannot be loaded": {func(m *Machine, c *Config) { m.Features["VETH"] = Absent }, "kernel", Problem,
			"CONFIG_VETH), needed for the pods' network", "modprobe veth"},
		"veth is a module": {func(m *Machine, c *Config) { m.Features["VETH"] = Module }, "kernel", OK, "", ""},
		"veth is unknown":  {func(m *Machine, c *Config) { delete(m.Features, "VETH") }, "kernel", OK, "", ""},
		"veth is missing, but the network is another's": {func(m *Machine, c *Config) { foreign(m, c); m.Features["VETH"] = Absent }, "kernel", OK, "", ""},
		"no addrtype match":                             {func(m *Machine, c *Config) { m.Features["NETFILTER_XT_MATCH_ADDRTYPE"] = Absent }, "kernel", Warning, "host ports", "xt_addrtype"},
		"no overlay here":                               {func(m *Machine, c *Config) { m.Overlay = errors.New("invalid argument") }, "kernel", Warning, "will be copied", "ext4"},

		"no cgroups":        {func(m *Machine, c *Config) { m.Cgroup = Cgroup{} }, "cgroup", Problem, "no cgroups are mounted", "cgroupfs-mount"},
		"read-only cgroups": {func(m *Machine, c *Config) { m.Cgroup.ReadOnly = true }, "cgroup", Problem, "read-only", "--cgroupns=host"},
		"memory switched off": {func(m *Machine, c *Config) {
			m.Cgroup.Controllers, m.Cgroup.Disabled = []string{"cpu", "pids", "cpuset"}, []string{"memory"}
		}, "cgroup", Problem, "memory is switched off", "cgroup_enable=memory"},
		"pids not delegated":   {func(m *Machine, c *Config) { m.Cgroup.Controllers = []string{"cpu", "memory", "cpuset"} }, "cgroup", Problem, "pids cannot be used", "+pids"},
		"v1 without freezer":   {func(m *Machine, c *Config) { v1(m); m.Cgroup.Controllers = m.Cgroup.Controllers[1:] }, "cgroup", Problem, "freezer cannot be used", "mount -t cgroup -o freezer"},
		"v1 for up":            {func(m *Machine, c *Config) { v1(m); c.FailCgroupV1 = true }, "cgroup", OK, "cgroup v1: pods run", ""},
		"v1 for a kubelet":     {func(m *Machine, c *Config) { v1(m); foreign(m, c); c.FailCgroupV1 = true }, "cgroup", Problem, "failCgroupV1 is true", "failCgroupV1: false"},
		"v1 allowed":           {func(m *Machine, c *Config) { v1(m); foreign(m, c) }, "cgroup", OK, "cgroup v1", ""},
		"hybrid for a kubelet": {func(m *Machine, c *Config) { v1(m); m.Cgroup.Version = "hybrid"; foreign(m, c); c.FailCgroupV1 = true }, "cgroup", Problem, "cgroup hybrid", ""},

		"own runtime, no programs": {func(m *Machine, c *Config) { m.Programs["runc"] = "" }, "runtime", Problem, "/opt/bosun, from which Bosun would start its own, has no runc", "make tools"},
		"no runtime dir":           {func(m *Machine, c *Config) { m.Programs, c.RuntimeDir = nil, "" }, "runtime", Problem, "no --runtime-dir was given", "--runtime-dir"},
		"named runtime is silent": {func(m *Machine, c *Config) {
			c.Endpoint = "unix:///run/x.sock"
			m.Runtimes = []Runtime{{Endpoint: c.Endpoint, Err: errors.New("no such file")}}
		}, "runtime", Problem, "does not answer: no such file", "name another endpoint"},
		"kubelet without runtime": {func(m *Machine, c *Config) { c.Up = false }, "runtime", Problem, "no runtime answers at /run/containerd/containerd.sock", "containerRuntimeEndpoint"},
		"runtime answers":         {foreign, "runtime", OK, "containerd 2.1.4 answers", ""},
		"runtime without network": {func(m *Machine, c *Config) {
			foreign(m, c)
			m.Runtimes[0].NotReady = []string{"NetworkReady: cni plugin not initialized"}
		}, "runtime", Warning,
			"cni plugin not initialized", "/etc/cni/net.d"},
		"runtime not ready": {func(m *Machine, c *Config) {
			foreign(m, c)
			m.Runtimes[0].NotReady = []string{"RuntimeReady: starting"}
		}, "runtime", Warning, "starting", "journalctl -u containerd"},

		"no plugins":       {func(m *Machine, c *Config) { m.Plugins["portmap"] = "" }, "network", Problem, "portmap are in none of /opt/bosun, /opt/cni/bin", "containernetworking-plugins"},
		"nft only":         {func(m *Machine, c *Config) { m.Iptables = false }, "network", Warning, "no iptables", "install the package iptables"},
		"no packet filter": {func(m *Machine, c *Config) { m.Iptables, m.Nft = false, false }, "network", Problem, "neither iptables nor nft", "iptables"},

		"port taken": {func(m *Machine, c *Config) { listen(m, "0.0.0.0", 10250, Process{12, "nginx"}) }, "ports", Problem,
			"port 10250 (port) is taken by nginx (process 12)", "set port to another"},
		"port taken by a kubelet":   {func(m *Machine, c *Config) { listen(m, "::", 10250, Process{12, "kubelet"}) }, "ports", Problem, "kubelet (process 12)", "systemctl disable --now kubelet"},
		"port taken by Bosun":       {func(m *Machine, c *Config) { listen(m, "::", 10255, Process{12, "bosun"}) }, "ports", Problem, "bosun (process 12)", "stop that Bosun"},
		"port taken by a stranger":  {func(m *Machine, c *Config) { listen(m, "::", 10255, Process{}) }, "ports", Problem, "taken by another process", "readOnlyPort"},
		"port taken, other address": {func(m *Machine, c *Config) { listen(m, "192.0.2.1", 10248, Process{12, "x"}) }, "ports", OK, "10250, 10248, 10255 free", ""},
		"port taken, same address":  {func(m *Machine, c *Config) { listen(m, "127.0.0.1", 10248, Process{12, "x"}) }, "ports", Problem, "port 10248 (healthzPort)", ""},
		"port taken by dual stack":  {func(m *Machine, c *Config) { listen(m, "::", 10248, Process{12, "x"}) }, "ports", Problem, "port 10248", ""},
		"port not wanted":           {func(m *Machine, c *Config) { c.Ports[0].Number = 0; listen(m, "::", 0, Process{12, "x"}) }, "ports", OK, "", ""},

		"lock held":              {func(m *Machine, c *Config) { c.LockFile, m.LockHolder = "/l", Process{7, "bosun"} }, "other agents", Problem, "/l is held by bosun (process 7)", "--lock-file"},
		"kubelet on our runtime": {func(m *Machine, c *Config) { foreign(m, c); m.Kubelets = []Process{{7, "kubelet"}} }, "other agents", Problem, "would remove pods", "systemctl"},
		"kubelet on another one": {func(m *Machine, c *Config) { m.Kubelets = []Process{{7, "kubelet"}} }, "other agents", Warning, "safe from it", "systemctl"},
		"swap, allowed":          {func(m *Machine, c *Config) { m.Swaps = []Swap{{"/dev/sda2", 2 << 30}} }, "swap", OK, "2.0 GiB on /dev/sda2", ""},
		"swap, refused":          {func(m *Machine, c *Config) { c.FailSwapOn, m.Swaps = true, []Swap{{"/dev/sda2", 2 << 30}} }, "swap", Problem, "failSwapOn is true", "swapoff -a"},

		"disk full":          {func(m *Machine, c *Config) { m.Disks[0].FreeBytes = 100 << 20 }, "disk", Problem, "only 100 MiB of 100 GiB free at /var/lib/kubelet", "make room"},
		"disk nearly full":   {func(m *Machine, c *Config) { m.Disks[0].FreeBytes = 9 << 30 }, "disk", Warning, "less than 10 %", "evictionHard"},
		"inodes nearly gone": {func(m *Machine, c *Config) { m.Disks[0].FreeInodes = 40000 }, "disk", Warning, "40000 of 1000000 inodes free", "small files"},
		"inodes gone":        {func(m *Machine, c *Config) { m.Disks[0].FreeInodes = 10 }, "disk", Problem, "only 10 of", ""},
		"inodes not counted": {func(m *Machine, c *Config) { m.Disks[0].Inodes, m.Disks[0].FreeInodes = 0, 0 }, "disk", OK, "50 GiB of 100 GiB free", ""},
		"read-only disk":     {func(m *Machine, c *Config) { m.Disks[0].ReadOnly = true }, "disk", Problem, "cannot be written", "--root-dir"},

		"few files":      {func(m *Machine, c *Config) { m.OpenFiles = 4096 }, "limits", Warning, "4096 files", "LimitNOFILE"},
		"too few files":  {func(m *Machine, c *Config) { m.OpenFiles = 256 }, "limits", Problem, "256 files", "ulimit"},
		"few watches":    {func(m *Machine, c *Config) { m.Sysctls["fs.inotify.max_user_watches"] = "4000" }, "limits", Warning, "max_user_watches is 4000", "sysctl -w fs.inotify.max_user_watches=524288"},
		"no instances":   {func(m *Machine, c *Config) { m.Sysctls["fs.inotify.max_user_instances"] = "4" }, "limits", Problem, "max_user_instances is 4", "sysctl"},
		"strange sysctl": {func(m *Machine, c *Config) { m.Sysctls["fs.inotify.max_user_instances"] = "?" }, "limits", OK, "", ""},

		"kernel defaults protected":  {func(m *Machine, c *Config) { c.ProtectKernelDefaults, m.Sysctls["kernel.panic"] = true, "0" }, "sysctls", Problem, "kernel.panic is 0, and protectKernelDefaults wants 10", "sysctl -w kernel.panic=10"},
		"kernel defaults free":       {func(m *Machine, c *Config) { m.Sysctls["kernel.panic"] = "0" }, "sysctls", OK, "", ""},
		"no forwarding":              {func(m *Machine, c *Config) { foreign(m, c); m.Sysctls["net.ipv4.ip_forward"] = "0" }, "sysctls", Warning, "ip_forward is 0", "sysctl -w net.ipv4.ip_forward=1"},
		"no forwarding, own network": {func(m *Machine, c *Config) { m.Sysctls["net.ipv4.ip_forward"] = "0" }, "sysctls", OK, "", ""},
		"bridge not filtered":        {func(m *Machine, c *Config) { foreign(m, c); m.Sysctls["net.bridge.bridge-nf-call-iptables"] = "0" }, "sysctls", Warning, "services", "sysctl -w"},
		"no br_netfilter":            {func(m *Machine, c *Config) { foreign(m, c); delete(m.Sysctls, "net.bridge.bridge-nf-call-iptables") }, "sysctls", Warning, "br_netfilter is not loaded", "modprobe br_netfilter"},

		"clock at the epoch":   {func(m *Machine, c *Config) { m.Now = time.Unix(100, 0) }, "clock", Problem, "1970-01-01 00:01 UTC", "chrony"},
		"clock far ahead":      {func(m *Machine, c *Config) { m.Now = time.Date(2106, 2, 7, 0, 0, 0, 0, time.UTC) }, "clock", Problem, "far ahead", "chrony"},
		"clock not kept":       {func(m *Machine, c *Config) { foreign(m, c); m.Unsynchronised = true }, "clock", Warning, "nobody keeps it right", "timesyncd"},
		"clock not kept, lone": {func(m *Machine, c *Config) { m.Unsynchronised = true }, "clock", OK, "2026-11-20", ""},

		"stub resolver": {func(m *Machine, c *Config) {
			m.Resolver = Resolver{Read: true, Servers: []netip.Addr{netip.MustParseAddr("127.0.0.53")}, Upstream: "/run/systemd/resolve/resolv.conf"}
		}, "dns", Warning, "127.0.0.53, which in a pod is the pod itself", "resolvConf: /run/systemd/resolve/resolv.conf"},
		"local resolver":    {func(m *Machine, c *Config) { m.Resolver.Servers[0] = netip.MustParseAddr("::1") }, "dns", Warning, "::1", "clusterDNS"},
		"no servers":        {func(m *Machine, c *Config) { m.Resolver.Servers = nil }, "dns", Warning, "names no server", "nameserver"},
		"many servers":      {func(m *Machine, c *Config) { s := m.Resolver.Servers[0]; m.Resolver.Servers = []netip.Addr{s, s, s, s} }, "dns", Warning, "names 4 servers", "remove"},
		"no resolv.conf":    {func(m *Machine, c *Config) { m.Resolver = Resolver{} }, "dns", Problem, "/etc/resolv.conf cannot be read", "nameserver"},
		"resolver not used": {func(m *Machine, c *Config) { c.ResolvConf, m.Resolver = "", Resolver{} }, "dns", OK, "no name servers", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, c := healthy()
			test.change(&m, &c)
			findings := Judge(m, c)
			var first *Finding // the worst of its topic comes first
			for i, f := range findings {
				if f.Topic == test.topic && first == nil {
					first = &findings[i]
				} else if f.Topic != test.topic && f.Level == Problem && test.level != Problem {
					t.Errorf("%s is also a problem: %s", f.Topic, f.What)
				}
			}
			if first == nil || first.Level != test.level || !strings.Contains(first.What, test.what) || !strings.Contains(first.Mend, test.mend) {
				t.Errorf("got %+v, want %s, what %q, mend %q", first, test.level, test.what, test.mend)
			}
			if first != nil && (first.Level == OK) != (first.Mend == "") {
				t.Errorf("a %s with the mend %q", first.Level, first.Mend)
			}
		})
	}
}

func v1(m *Machine) {
	m.Cgroup = Cgroup{Version: "v1", Controllers: []string{"freezer", "cpu", "cpuacct", "cpuset", "devices", "memory", "pids"}}
}

func listen(m *Machine, address string, port uint16, by Process) {
	m.Listeners = []Listener{{netip.MustParseAddr(address), port, by}}
}

// An empty machine, as where /proc cannot be read, must give findings and no panic.
func TestJudgeKnowsNothing(t *testing.T) {
	if got := Worst(Judge(Machine{}, Config{})); got != Problem {
		t.Errorf("worst is %s, want problem", got)
	}
	if Worst(nil) != OK {
		t.Error("no findings are not ok")
	}
}

func TestWriteText(t *testing.T) {
	m, c := healthy()
	m.Missing, m.Cgroup = []string{"SYS_RESOURCE"}, Cgroup{}
	findings := Judge(m, c)
	findings = append(findings, Finding{Topic: "runtime", Level: Warning, What: "two\nlines", Mend: "first\nthen"})
	var b bytes.Buffer
	for _, mode := range []struct{ all, colour bool }{{false, false}, {true, false}, {false, true}} {
		if err := WriteText(&b, findings, mode.all, mode.colour); err != nil {
			t.Fatal(err)
		}
		b.WriteString("----\n")
	}
	for _, f := range [][]Finding{nil, {{Level: Warning, Topic: "x", What: "y", Mend: "z"}}} {
		if err := WriteText(&b, f, false, false); err != nil {
			t.Fatal(err)
		}
		b.WriteString("----\n")
	}
	golden.File(t, "text.golden", b.Bytes())
}
