package agent

import (
	"cmp"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/cgroup"
	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/observe"
	"github.com/bosun-project/bosun/internal/translate"
)

// configured loads a configuration file with these lines.
func configured(t *testing.T, lines string, flags ...string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\n" + lines
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(append([]string{"--config=" + file}, flags...), config.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSettingsOfTheNode holds which settings reach the translation of pods.
func TestSettingsOfTheNode(t *testing.T) {
	resolver := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolver, []byte("nameserver 192.0.2.53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	half := 0.5
	usual := func() translate.Node {
		return translate.Node{
			Name: "here", Standalone: true, HostIPs: []string{"192.0.2.1"}, RootDir: "/r", PodLogsDir: "/var/log/pods", NoHostResolv: true,
			MemoryCapacity: 8 << 30, MemoryAllocatable: 7 << 30, CPUCFSQuota: true, CPUCFSQuotaPeriod: 100 * time.Millisecond, CgroupVersion: 2,
			HugePageSizes: []int64{2 << 20, 1 << 30}, SELinux: true, MaskedPaths: []string{"/hot"},
			Swap:     translate.Swap{Controller: true, Capacity: 1 << 30},
			Handlers: map[string]translate.Handler{"": {UserNamespaces: true}, "other": {RecursiveReadOnly: true}},
		}
	}
	for name, c := range map[string]struct {
		lines     string
		version   int
		noHugetlb bool
		want      func(*translate.Node)
	}{
		"no way to limit huge pages": {noHugetlb: true, want: func(n *translate.Node) { n.HugePageSizes = nil }},
		"usual":                      {},
		"cluster": {
			lines: "clusterDNS: [10.96.0.10]\nclusterDomain: cluster.local\n",
			want: func(n *translate.Node) {
				n.ClusterDNS, n.ClusterDomain = []string{"10.96.0.10"}, "cluster.local"
			},
		},
		"resolver file": {
			lines: "resolvConf: " + resolver + "\n",
			want: func(n *translate.Node) {
				n.NoHostResolv, n.HostResolv = false, translate.ResolvConf{Servers: []string{"192.0.2.53"}}
			},
		},
		"resolver file that is not there": {lines: "resolvConf: /nowhere/resolv.conf\n"},
		"security":                        {lines: "seccompDefault: true\n", want: func(n *translate.Node) { n.SeccompDefault = true }},
		"sysctls": {
			lines: "featureGates: {DefaultPodSysctls: true}\ndefaultPodSysctls: {net.ipv4.ip_unprivileged_port_start: \"0\"}\n",
			want:  func(n *translate.Node) { n.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"} },
		},
		"processor time": {
			lines: "cpuCFSQuota: false\ncpuCFSQuotaPeriod: 10ms\n",
			want:  func(n *translate.Node) { n.CPUCFSQuota, n.CPUCFSQuotaPeriod = false, 10*time.Millisecond },
		},
		"memory": {
			lines: "memoryThrottlingFactor: 0.5\nsingleProcessOOMKill: true\nmemorySwap: {swapBehavior: LimitedSwap}\n",
			want: func(n *translate.Node) {
				n.MemoryThrottlingFactor, n.SingleProcessOOMKill, n.Swap.Limited = &half, true, true
			},
		},
		"cgroup v1": {version: 1, want: func(n *translate.Node) { n.CgroupVersion, n.Swap.Controller = 1, false }},
		"logs":      {lines: "podLogsDir: /logs\n", want: func(n *translate.Node) { n.PodLogsDir = "/logs" }},
	} {
		t.Run(name, func(t *testing.T) {
			lines := c.lines
			if !strings.Contains(lines, "resolvConf") {
				lines += "resolvConf: \"\"\n"
			}
			version := cmp.Or(c.version, 2)
			s := &settings{
				cfg:         configured(t, lines, "--root-dir=/r"),
				host:        host.Facts{Name: "here", Memory: 8 << 30, Swap: 1 << 30, SELinux: true, Throttle: []string{"/hot"}, HugePages: map[int64]int64{1 << 30: 0, 2 << 20: 0}},
				ips:         func() []string { return []string{"192.0.2.1"} },
				allocatable: v1.ResourceList{v1.ResourceMemory: resource.MustParse("7Gi")},
				log:         slog.New(slog.DiscardHandler), cgroupVersion: func() int { return version }, limitHugePages: func() bool { return !c.noHugetlb },
				health: func() observe.Health {
					return observe.Health{Handlers: []engine.Handler{{Name: "", UserNamespaces: true}, {Name: "other", RecursiveReadOnlyMounts: true}}}
				},
			}
			want := usual()
			if c.want != nil {
				c.want(&want)
			}
			if diff := gocmp.Diff(want, s.node(), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestCgroupConfig holds which settings reach the cgroups of pods.
func TestCgroupConfig(t *testing.T) {
	pages := host.Facts{HugePages: map[int64]int64{2 << 20: 0}}
	usual := cgroup.Config{Driver: cgroup.Cgroupfs, Pod: cgroup.Options{CPUPeriod: 100000, PidsLimit: -1, PageSizes: []string{"2MB"}}}
	for name, c := range map[string]struct {
		lines string
		want  func(*cgroup.Config)
	}{
		"usual":   {},
		"systemd": {lines: "cgroupDriver: systemd\ncgroupRoot: /kubelet\n", want: func(c *cgroup.Config) { c.Driver, c.Root = cgroup.Systemd, "/kubelet" }},
		"flat":    {lines: "cgroupsPerQOS: false\nenforceNodeAllocatable: [none]\n", want: func(c *cgroup.Config) { c.Flat = true }},
		"pods": {
			lines: "podPidsLimit: 100\ncpuCFSQuota: false\ncpuCFSQuotaPeriod: 10ms\n",
			want:  func(c *cgroup.Config) { c.Pod.PidsLimit, c.Pod.NoQuota, c.Pod.CPUPeriod = 100, true, 10000 },
		},
		"212 memory is reserved": {lines: "memoryReservationPolicy: TieredReservation\n", want: func(c *cgroup.Config) { c.Pod.Reserve = true }},
	} {
		t.Run(name, func(t *testing.T) {
			want := usual
			if c.want != nil {
				c.want(&want)
			}
			if diff := gocmp.Diff(want, cgroupConfig(configured(t, c.lines), pages)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
