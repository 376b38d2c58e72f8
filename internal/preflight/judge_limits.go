package preflight

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Shares below which the kubelet's default thresholds evict pods, and amounts with which nothing works.
const (
	lowSpace    = 10 // per cent of bytes
	lowInodes   = 5  // per cent
	leastSpace  = 512 << 20
	leastInodes = 5000
)

func judgeDisk(m Machine, _ Config) []Finding {
	var found []Finding
	for _, d := range m.Disks {
		before := len(found)
		if d.ReadOnly {
			found = append(found, problem(d.Path+" cannot be written", "remount its file system for writing, or use another directory with --root-dir"))
		}
		room := "make room, for example with `journalctl --vacuum-size=200M` and `apt-get clean`, or use a directory on another disk"
		free := fmt.Sprintf("%s of %s free at %s", size(d.FreeBytes), size(d.Bytes), d.Path)
		switch {
		case d.Bytes == 0:
		case d.FreeBytes < leastSpace:
			found = append(found, problem("only "+free, room))
		case d.FreeBytes*100 < d.Bytes*lowSpace:
			found = append(found, warning(fmt.Sprintf("only %s: less than %d %%, so pods would be evicted", free, lowSpace), room+"; or lower evictionHard's nodefs.available"))
		}
		inodes := fmt.Sprintf("%d of %d inodes free at %s", d.FreeInodes, d.Inodes, d.Path)
		few := "remove many small files, or use a directory on another disk"
		switch {
		case d.Inodes == 0:
		case d.FreeInodes < leastInodes:
			found = append(found, problem("only "+inodes, few))
		case d.FreeInodes*100 < d.Inodes*lowInodes:
			found = append(found, warning(fmt.Sprintf("only %s: less than %d %%, so pods would be evicted", inodes, lowInodes), few))
		}
		if len(found) == before {
			found = append(found, ok("%s (%s)", free, d.Type))
		}
	}
	return found
}

// least are counts that few pods are content with; the kernel's own defaults are enough for a usual node.
var least = []struct {
	sysctl  string
	warn    uint64
	problem uint64
	want    uint64
	use     string
}{
	{"fs.inotify.max_user_instances", 128, 16, 8192, "Bosun, the runtime and many programs in pods watch files"},
	{"fs.inotify.max_user_watches", 8192, 512, 524288, "Bosun, the runtime and many programs in pods watch files"},
	{"kernel.pid_max", 8192, 1024, 4194304, "all processes of all pods are counted"},
	{"user.max_user_namespaces", 1, 0, 65536, "pods with hostUsers: false need one each"},
}

func judgeLimits(m Machine, _ Config) []Finding {
	var found []Finding
	const wantFiles = 1 << 20
	files := fmt.Sprintf("this process may open %d files at most", m.OpenFiles)
	raise := fmt.Sprintf("raise it: LimitNOFILE=%d in the service, or `ulimit -n %d`", wantFiles, wantFiles)
	switch {
	case m.OpenFiles == 0:
	case m.OpenFiles < 1024:
		found = append(found, problem(files, raise))
	case m.OpenFiles < 8192:
		found = append(found, warning(files+", which is little with many pods", raise))
	}
	for _, l := range least {
		text, known := m.Sysctls[l.sysctl]
		n, err := strconv.ParseUint(text, 10, 64)
		if !known || err != nil || n >= l.warn {
			continue
		}
		what := fmt.Sprintf("%s is %d, which is little: %s", l.sysctl, n, l.use)
		mend := fmt.Sprintf("raise it: sysctl -w %s=%d, and the same line in /etc/sysctl.d/90-bosun.conf", l.sysctl, l.want)
		if n < l.problem {
			found = append(found, problem(what, mend))
		} else {
			found = append(found, warning(what, mend))
		}
	}
	return ifFine(found, ok("%d open files, %s inotify watches", m.OpenFiles, m.Sysctls["fs.inotify.max_user_watches"]))
}

// kernelDefaults are what protectKernelDefaults insists on.
var kernelDefaults = []struct{ name, value string }{
	{"vm.overcommit_memory", "1"},
	{"vm.panic_on_oom", "0"},
	{"kernel.panic", "10"},
	{"kernel.panic_on_oops", "1"},
	{"kernel.keys.root_maxkeys", "1000000"},
	{"kernel.keys.root_maxbytes", "25000000"},
}

func judgeSysctls(m Machine, c Config) []Finding {
	var found []Finding
	set := func(name, value string) string {
		return fmt.Sprintf("sysctl -w %s=%s, and the same line in /etc/sysctl.d/90-bosun.conf", name, value)
	}
	if c.ProtectKernelDefaults {
		for _, d := range kernelDefaults {
			if is, known := m.Sysctls[d.name]; known && is != d.value {
				found = append(found, problem(fmt.Sprintf("%s is %s, and protectKernelDefaults wants %s", d.name, is, d.value), set(d.name, d.value)+"; or set protectKernelDefaults: false, then Bosun sets it"))
			}
		}
	}
	if !ownRuntime(m) { // our own network's plugin switches forwarding on
		if m.Sysctls["net.ipv4.ip_forward"] == "0" {
			found = append(found, warning("net.ipv4.ip_forward is 0: pods may not reach other machines", set("net.ipv4.ip_forward", "1")))
		}
	}
	if !c.Up { // services of a cluster are rules that must also see packets between pods of one node
		switch value, known := m.Sysctls["net.bridge.bridge-nf-call-iptables"]; {
		case !known:
			found = append(found, warning("the kernel module br_netfilter is not loaded: with a bridge network, pods may not reach services on the same node", "modprobe br_netfilter, and the line br_netfilter in /etc/modules-load.d/bosun.conf"))
		case value == "0":
			found = append(found, warning("net.bridge.bridge-nf-call-iptables is 0: with a bridge network, pods may not reach services on the same node", set("net.bridge.bridge-nf-call-iptables", "1")))
		}
	}
	return ifFine(found, ok("as needed"))
}

// maxServers is how many name servers a resolver library asks.
const maxServers = 3

func judgeDNS(m Machine, c Config) []Finding {
	if c.ResolvConf == "" {
		return []Finding{ok("pods get no name servers from this machine")}
	}
	if !m.Resolver.Read {
		return []Finding{problem(fmt.Sprintf("%s cannot be read, so pods have no name servers", c.ResolvConf), "make it, with a line such as `nameserver 9.9.9.9`, or name another file as resolvConf")}
	}
	servers := m.Resolver.Servers
	if len(servers) == 0 {
		return []Finding{warning(c.ResolvConf+" names no server, so pods cannot resolve names", "add a line such as `nameserver 9.9.9.9`")}
	}
	for _, s := range servers {
		if !s.IsLoopback() {
			continue
		}
		what := fmt.Sprintf("%s names %s, which in a pod is the pod itself", c.ResolvConf, s)
		mend := "name a file with the real servers as resolvConf, or set clusterDNS"
		if m.Resolver.Upstream != "" {
			mend = fmt.Sprintf("set resolvConf: %s, where systemd-resolved keeps the real servers", m.Resolver.Upstream)
		}
		if slices.ContainsFunc(servers, func(other netip.Addr) bool { return !other.IsLoopback() }) {
			what += "; another server is named too"
		}
		return []Finding{warning(what, mend)}
	}
	if len(servers) > maxServers {
		return []Finding{warning(fmt.Sprintf("%s names %d servers; pods get the first %d", c.ResolvConf, len(servers), maxServers), "remove the others")}
	}
	return []Finding{ok("pods resolve names through %s", join(servers))}
}

func join(servers []netip.Addr) string {
	var list []string
	for _, s := range servers {
		list = append(list, s.String())
	}
	return strings.Join(list, ", ")
}
