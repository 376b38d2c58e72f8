package admission

import (
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/node/util/sysctl"

	"github.com/bosun-project/bosun/internal/reason"
)

// release is a kernel release as far as it counts.
type release struct{ major, minor int }

// safeSince returns the first kernel that gives each network or IPC namespace a value of its own of a safe sysctl; the
// zero release where every kernel does. It is false for a sysctl that is not safe (behaviour 44).
func safeSince(name string) (release, bool) {
	switch name {
	case "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
		"net.ipv4.ip_unprivileged_port_start":
		return release{}, true
	case "net.ipv4.ip_local_reserved_ports":
		return release{3, 16}, true
	case "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes":
		return release{4, 5}, true
	case "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_notsent_lowat":
		return release{4, 6}, true
	case "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.ipv4.tcp_slow_start_after_idle":
		return release{4, 15}, true
	}
	return release{}, false
}

// sysctls says which kernel parameter a pod may not set (behaviours 39, 44).
func sysctls(p *v1.Pod, node Node) *refusal {
	if p.Spec.SecurityContext == nil {
		return nil
	}
	for _, s := range p.Spec.SecurityContext.Sysctls {
		name := sysctl.NormalizeName(s.Name)
		space, _, _ := sysctl.GetNamespace(name)
		switch {
		case !safe(name, node.Kernel) && !allowed(name, node.AllowedUnsafeSysctls):
			return refuse(reason.SysctlForbidden, "forbidden sysctl: %q not allowlisted", s.Name)
		case space == sysctl.NetNamespace && p.Spec.HostNetwork:
			return refuse(reason.SysctlForbidden, "forbidden sysctl: %q not allowed with host net enabled", s.Name)
		case space == sysctl.IPCNamespace && p.Spec.HostIPC:
			return refuse(reason.SysctlForbidden, "forbidden sysctl: %q not allowed with host ipc enabled", s.Name)
		}
	}
	return nil
}

func safe(name, kernel string) bool {
	since, known := safeSince(name)
	if !known || since == (release{}) {
		return known
	}
	k := parseRelease(kernel)
	return k.major > since.major || k.major == since.major && k.minor >= since.minor
}

// allowed tells whether one of the patterns is the name, or a beginning of it followed by *.
func allowed(name string, patterns []string) bool {
	for _, pattern := range patterns {
		pattern = sysctl.NormalizeName(pattern)
		prefix, open := strings.CutSuffix(pattern, "*")
		if open && strings.HasPrefix(name, prefix) || pattern == name {
			return true
		}
	}
	return false
}

// parseRelease reads 6.1.0-18-amd64 as 6.1. What cannot be read is a kernel older than any.
func parseRelease(text string) release {
	major, rest, _ := strings.Cut(text, ".")
	minor := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		minor = rest[:i]
	}
	a, err := strconv.Atoi(major)
	if err != nil {
		return release{}
	}
	b, err := strconv.Atoi(minor)
	if err != nil {
		return release{major: a}
	}
	return release{a, b}
}
