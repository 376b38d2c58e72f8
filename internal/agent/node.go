package agent

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/observe"
	"github.com/bosun-project/bosun/internal/translate"
)

// settings is what the node tells the translation of every pod.
type settings struct {
	cfg         *config.Config
	host        host.Facts
	ips         func() []string
	allocatable v1.ResourceList
	log         *slog.Logger
	// cgroupVersion is 1 or 2.
	cgroupVersion func() int
	// limitHugePages tells whether the kernel can limit huge pages.
	limitHugePages func() bool
	health         func() observe.Health

	telling sync.Mutex
	told    string
}

// node returns the settings as they are now: the resolver file is read anew (behaviour 352).
func (s *settings) node() translate.Node {
	k := &s.cfg.Kubelet
	n := translate.Node{
		Name: s.host.Name, HostIPs: s.ips(), RootDir: s.cfg.RootDir, PodLogsDir: k.PodLogsDir,
		Standalone: s.cfg.Standalone(), ClusterDNS: k.ClusterDNS, ClusterDomain: k.ClusterDomain,
		SELinux: s.host.SELinux, MaskedPaths: s.host.Throttle, Sysctls: k.DefaultPodSysctls,
		MemoryCapacity: s.host.Memory, MemoryAllocatable: s.allocatable.Memory().Value(),
		CPUCFSQuota: k.CPUCFSQuota == nil || *k.CPUCFSQuota, CgroupVersion: s.cgroupVersion(),
		MemoryThrottlingFactor: k.MemoryThrottlingFactor, TieredReservation: tieredReservation(s.cfg),
		Swap:     translate.Swap{Controller: s.cgroupVersion() == 2, Limited: k.MemorySwap.SwapBehavior == "LimitedSwap", Capacity: s.host.Swap},
		Handlers: map[string]translate.Handler{},
	}
	if k.SeccompDefault != nil {
		n.SeccompDefault = *k.SeccompDefault
	}
	if k.SingleProcessOOMKill != nil {
		n.SingleProcessOOMKill = *k.SingleProcessOOMKill
	}
	if k.CPUCFSQuotaPeriod != nil {
		n.CPUCFSQuotaPeriod = k.CPUCFSQuotaPeriod.Duration
	}
	if s.limitHugePages() {
		n.HugePageSizes = slices.Collect(maps.Keys(s.host.HugePages))
	}
	slices.Sort(n.HugePageSizes)
	for _, h := range s.health().Handlers {
		n.Handlers[h.Name] = translate.Handler{UserNamespaces: h.UserNamespaces, RecursiveReadOnly: h.RecursiveReadOnlyMounts}
	}
	n.HostResolv, n.NoHostResolv = s.resolver()
	return n
}

// resolver reads the node's resolver file. None at all is what resolvConf "" asks for (behaviour 80).
func (s *settings) resolver() (translate.ResolvConf, bool) {
	path := *s.cfg.Kubelet.ResolverConfig // has a default
	if path == "" {
		return translate.ResolvConf{}, true
	}
	text, err := os.ReadFile(path)
	if err != nil {
		s.tell("the node's resolver file cannot be read; pods get none of it", err)
		return translate.ResolvConf{}, true
	}
	conf, err := translate.ParseResolvConf(text)
	s.tell("the node's resolver file is not wholly understood", err)
	return conf, false
}

// tell says what is wrong with the resolver file, once while it stays as it is: it is read for every sandbox.
func (s *settings) tell(message string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	if text != "" && text != s.told {
		s.log.Warn(message, "path", *s.cfg.Kubelet.ResolverConfig, "err", err)
	}
	s.told = text
}

func hostsFile() []byte {
	text, err := os.ReadFile("/etc/hosts")
	if err != nil {
		return nil
	}
	return text
}

// roomOf asks what the node has to give to pods.
func roomOf(c *config.Config, h host.Facts) nodestatus.Room {
	m := nodestatus.Machine{CPUs: h.CPUs, Memory: h.Memory, PIDs: h.PIDs, HugePages: h.HugePages}
	m.Disk, _ = host.Disk(c.RootDir) // without it pods cannot ask for room on it, and all else goes on
	return nodestatus.RoomOf(m, c)
}

// tellRange tells the runtime the node's range of pod addresses, each time that changes or the runtime comes back (behaviour 334).
func (a *Agent) tellRange(ctx context.Context) error {
	told, up := "", false
	for {
		health, newerHealth := a.observer.Health().Get()
		own, newerNode := a.member.ownNode()
		want := a.cfg.Kubelet.PodCIDR
		if a.member != nil {
			want = ""
		}
		if own.object != nil {
			want = cmp.Or(strings.Join(own.object.Spec.PodCIDRs, ","), own.object.Spec.PodCIDR)
		}
		if health.Up && want != "" && (want != told || !up) {
			if err := a.client.UpdateRuntimeConfig(ctx, want); err != nil {
				a.log.Warn("the runtime does not take the range of pod addresses", "range", want, "err", err)
			}
			told = want
		}
		up = health.Up
		select {
		case <-ctx.Done():
			return nil
		case <-newerHealth:
		case <-newerNode:
		}
	}
}
