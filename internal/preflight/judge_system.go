package preflight

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// capabilities that Bosun uses, with what for and whether nothing works without.
var capabilities = []struct {
	name, use string
	essential bool
}{
	{"SYS_ADMIN", "mounting volumes and making cgroups", true},
	{"NET_ADMIN", "setting up the pods' network", true},
	{"CHOWN", "giving volumes to their users", true},
	{"DAC_OVERRIDE", "reading and writing the files of all users", true},
	{"FOWNER", "setting permissions of the files of all users", true},
	{"KILL", "ending containers", true},
	{"SYS_PTRACE", "looking at the processes of containers", false},
	{"SYS_RESOURCE", "giving important pods a lower OOM score than Bosun's own", false},
	{"NET_RAW", "setting up the pods' network with some plugins", false},
	{"MKNOD", "making device files for volumes", false},
}

func judgePermissions(m Machine, _ Config) []Finding {
	if !m.Root {
		return []Finding{problem("Bosun does not run as root", "run it with sudo, or as a systemd service")}
	}
	var found []Finding
	for _, c := range capabilities {
		if !slices.Contains(m.Missing, c.name) {
			continue
		}
		what := fmt.Sprintf("the capability CAP_%s is missing, needed for %s", c.name, c.use)
		mend := "give Bosun all capabilities: as a service without CapabilityBoundingSet=, in a container with --privileged"
		if c.essential {
			found = append(found, problem(what, mend))
		} else {
			found = append(found, warning(what, mend))
		}
	}
	return ifFine(found, ok("root with all capabilities that are needed"))
}

// Bosun itself uses openat2 (5.6), containers the rest.
const minMajor, minMinor = 5, 6

// features of the kernel, by the name in its configuration.
var features = []struct {
	option, module, use string
	essential           bool
	// network is for a network that Bosun sets up by itself.
	network bool
}{
	{"SECCOMP_FILTER", "", "seccomp profiles of containers", true, false},
	{"OVERLAY_FS", "overlay", "image layers without copying", false, false},
	{"VETH", "veth", "the pods' network", true, true},
	{"BRIDGE", "bridge", "the pods' network", true, true},
	{"NF_NAT", "nf_nat", "reaching the outside from pods", true, true},
	{"NETFILTER_XT_TARGET_MASQUERADE", "xt_MASQUERADE", "reaching the outside from pods", true, true},
	{"NETFILTER_XT_MATCH_COMMENT", "xt_comment", "the rules of the pods' network", true, true},
	{"NETFILTER_XT_MATCH_ADDRTYPE", "xt_addrtype", "host ports", false, true},
	{"NETFILTER_XT_MATCH_MULTIPORT", "xt_multiport", "host ports", false, true},
	{"NETFILTER_XT_MATCH_CONNTRACK", "xt_conntrack", "letting pods' packets through a closed firewall", false, true},
}

// namespaces that containers are made of.
var namespaces = []string{"mnt", "net", "pid", "ipc", "uts", "cgroup"}

func judgeKernel(m Machine, _ Config) []Finding {
	var found []Finding
	var major, minor int
	if n, _ := fmt.Sscanf(m.Kernel, "%d.%d", &major, &minor); n == 2 && (major < minMajor || major == minMajor && minor < minMinor) {
		found = append(found, problem(fmt.Sprintf("the kernel %s is too old", m.Kernel), fmt.Sprintf("install a kernel of version %d.%d or newer", minMajor, minMinor)))
	}
	for _, kind := range namespaces {
		if len(m.Namespaces) > 0 && !slices.Contains(m.Namespaces, kind) {
			found = append(found, problem(fmt.Sprintf("the kernel has no %s namespaces", kind), "use a kernel with CONFIG_NAMESPACES and all kinds of them"))
		}
	}
	own := ownRuntime(m)
	for _, f := range features {
		if m.Features[f.option] != Absent || f.network && !own || f.option == "OVERLAY_FS" && m.Overlay != nil {
			continue
		}
		what := fmt.Sprintf("the kernel has no %s (CONFIG_%s), needed for %s", strings.ToLower(f.option), f.option, f.use)
		mend := "use a kernel with CONFIG_" + f.option
		if f.module != "" {
			mend = fmt.Sprintf("load it with `modprobe %s`; if there is no such module: reboot if the kernel was just updated, else install the package with the kernel's further modules", f.module)
		}
		if f.essential {
			found = append(found, problem(what, mend))
		} else {
			found = append(found, warning(what, mend))
		}
	}
	if m.Overlay != nil && own {
		found = append(found, warning("image layers cannot be stacked and will be copied, which is slow and takes space: "+m.Overlay.Error(),
			"put --root-dir on a file system that overlays can lie on, such as ext4 or xfs"))
	}
	return ifFine(found, ok("Linux %s with all that containers need", m.Kernel))
}

// controllers that Bosun sets limits with; v1 has two more, which v2 does without controllers.
var (
	controllers   = []string{"cpu", "memory", "pids", "cpuset"}
	controllersV1 = []string{"cpuacct", "devices", "freezer"}
)

func judgeCgroup(m Machine, c Config) []Finding {
	g := m.Cgroup
	if g.Version == "" {
		return []Finding{problem("no cgroups are mounted", "mount them: systemd does it; without systemd, the package cgroupfs-mount does")}
	}
	var found []Finding
	if g.ReadOnly {
		found = append(found, problem("cgroups are mounted read-only, so pods cannot be limited", "in a container, run it with --privileged and --cgroupns=host; else remount: mount -o remount,rw /sys/fs/cgroup"))
	}
	v1 := g.Version != "v2"
	needed := controllers
	if v1 {
		needed = append(slices.Clone(controllers), controllersV1...)
	}
	for _, name := range needed {
		switch {
		case slices.Contains(g.Controllers, name):
		case slices.Contains(g.Disabled, name):
			mend := "remove cgroup_disable=" + name + " from the kernel's command line and reboot"
			if name == "memory" {
				mend = "add cgroup_enable=memory to the kernel's command line and reboot (Raspberry Pi: in /boot/firmware/cmdline.txt)"
			}
			found = append(found, problem("the cgroup controller "+name+" is switched off", mend))
		default:
			mend := "write +" + name + " to /sys/fs/cgroup/cgroup.subtree_control; if that fails, another program uses the controller or the kernel lacks it"
			if v1 {
				mend = fmt.Sprintf("mount it: mkdir -p /sys/fs/cgroup/%s && mount -t cgroup -o %s cgroup /sys/fs/cgroup/%s", name, name, name)
			}
			found = append(found, problem("the cgroup controller "+name+" cannot be used", mend))
		}
	}
	switch {
	case v1 && !c.Up && c.FailCgroupV1:
		found = append(found, problem("the machine uses cgroup "+g.Version+", and failCgroupV1 is true",
			"boot with systemd.unified_cgroup_hierarchy=1 for cgroup v2, or set failCgroupV1: false in the configuration file"))
	case v1:
		found = append(found, ok("cgroup %s: pods run; limits on swap, memory quality of service and pressure figures need cgroup v2", g.Version))
	default:
		found = append(found, ok("cgroup v2 with %s", strings.Join(g.Controllers, ", ")))
	}
	return found
}

func judgeSwap(m Machine, c Config) []Finding {
	if len(m.Swaps) == 0 {
		return []Finding{ok("off")}
	}
	var names []string
	var total uint64
	for _, s := range m.Swaps {
		names = append(names, s.Name)
		total += s.Bytes
	}
	on := fmt.Sprintf("on: %s on %s", size(total), strings.Join(names, ", "))
	if c.FailSwapOn {
		return []Finding{problem(on+", and failSwapOn is true", "set failSwapOn: false in the configuration file, or switch swap off: swapoff -a, and remove it from /etc/fstab")}
	}
	return []Finding{ok("%s", on)}
}

// earliest is a time before which this program did not exist.
var earliest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func judgeClock(m Machine, c Config) []Finding {
	now := m.Now.UTC().Format("2006-01-02 15:04 MST")
	switch {
	case m.Now.Before(earliest):
		return []Finding{problem("the clock says "+now+", which is past", "set it: `date -s`, or better a time service such as chrony; certificates are refused otherwise")}
	case m.Now.Year() >= 2100:
		return []Finding{problem("the clock says "+now+", which is far ahead", "set it: `date -s`, or better a time service such as chrony; certificates are refused otherwise")}
	case m.Unsynchronised && !c.Up:
		return []Finding{warning("the clock says "+now+", and nobody keeps it right", "run a time service such as systemd-timesyncd or chrony: certificates, tokens and leases need the cluster's time")}
	}
	return []Finding{ok("%s", now)}
}

// size writes bytes for people.
func size(bytes uint64) string {
	switch {
	case bytes >= 10<<30:
		return fmt.Sprintf("%d GiB", bytes>>30)
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}
