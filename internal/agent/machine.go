package agent

import (
	"context"
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/iptables"
	"github.com/bosun-project/bosun/internal/kmsg"
	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/translate"
)

// machine is what is kept or watched of the machine beside pods.
func (a *Agent) machine() []actor {
	parts := []actor{{"kernel's log", a.hearKernel}}
	if defaultOn(a.cfg.Kubelet.MakeIPTablesUtilChains) {
		parts = append(parts, actor{"iptables chains", iptables.New(iptables.Config{Log: a.log}).Run})
	}
	if len(a.homes) > 0 {
		parts = append(parts, actor{"cgroups of processes", a.keepHomes})
	}
	if *a.cfg.Kubelet.ResolverConfig != "" {
		parts = append(parts, actor{"resolver file", a.checkResolver})
	}
	if a.pins != nil {
		parts = append(parts, actor{"processors of containers", a.pins.Run})
	}
	if a.member != nil {
		parts = append(parts, actor{"families of addresses", a.followFamilies})
	}
	return parts
}

// checkSwap tells that secrets may be written to the disk (behaviour 312).
func (a *Agent) checkSwap(kept func() (bool, error)) {
	if a.host.Swap == 0 {
		return
	}
	if ok, err := kept(); err != nil || !ok {
		a.nodeNote(note.Warning, reason.PossibleMemoryBackedVolumesOnDisk, "The tmpfs noswap option is not supported. "+
			"Memory-backed volumes (e.g. secrets, emptyDirs, etc.) might be swapped to disk and should no longer be considered secure.")
	}
}

// hearKernel tells of processes that were killed because the machine had no memory left (behaviour 313). A container that reaches its own
// limit is the runtime's to tell of.
func (a *Agent) hearKernel(ctx context.Context) error {
	err := kmsg.Watch(ctx, kmsg.Device, func(k kmsg.Kill) {
		if k.Machine {
			a.nodeNote(note.Warning, reason.SystemOOM, fmt.Sprintf("System OOM encountered, victim process: %s, pid: %d", k.Process, k.PID))
		}
	})
	if err != nil {
		a.log.Info("that the machine runs out of memory will not be told", "err", err)
		<-ctx.Done()
	}
	return nil
}

const (
	// resolverEvery is how often the node's resolver file is looked at (behaviour 81), and resolverAgain how often it is told that it says
	// too much, as long as it does: events do not live for ever.
	resolverEvery = 30 * time.Second
	resolverAgain = time.Hour
)

// checkResolver tells when the node's resolver file says more than the resolvers of pods cope with. The file is read only when it has
// changed.
func (a *Agent) checkResolver(ctx context.Context) error {
	path := *a.cfg.Kubelet.ResolverConfig
	tick := time.NewTicker(resolverEvery)
	defer tick.Stop()
	var read, told time.Time
	var wrong string
	for {
		if info, err := os.Stat(path); err == nil && !info.ModTime().Equal(read) {
			if text, err := os.ReadFile(path); err == nil {
				conf, _ := translate.ParseResolvConf(text) // what is not understood is told where it is used
				read, told, wrong = info.ModTime(), time.Time{}, translate.ResolverTrouble(path, conf, a.cfg.Kubelet.ClusterDomain != "")
			}
		}
		if wrong != "" && time.Since(told) >= resolverAgain {
			told = time.Now()
			a.nodeNote(note.Warning, reason.CheckLimitsForResolvConf, wrong)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// followFamilies tells of pods whose status, as the API server has it, names an address of the node of another family than the node
// has first now (behaviour 313).
func (a *Agent) followFamilies(ctx context.Context) error {
	told := map[types.UID]bool{}
	for {
		ips, moved := a.ips.Get()
		api, newer := a.member.byUID.Get()
		for uid, p := range api.pods {
			if len(ips) == 0 || told[uid] {
				continue
			}
			if text := nodestatus.FamilyMismatch(p.Status.HostIP, ips[0]); text != "" {
				told[uid] = true
				a.note(note.Note{
					At: time.Now(), Level: note.Warning, Reason: reason.HostIPsIPFamilyMismatch, Message: text,
					About: note.About{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
				})
			}
		}
		for uid := range told {
			if api.pods[uid] == nil {
				delete(told, uid)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-moved:
			clear(told)
		case <-newer:
		}
	}
}
