package agent

import (
	"context"
	"os"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/cleanup"
	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/hook"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/image"
	"github.com/bosun-project/bosun/internal/observe"
	"github.com/bosun-project/bosun/internal/perform"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/podfs"
	"github.com/bosun-project/bosun/internal/userns"
	"github.com/bosun-project/bosun/internal/volume"
	"github.com/bosun-project/bosun/internal/worker"
)

// version is the Kubernetes version Bosun stands in for, as hooks and probes tell it.
const version = "1.37"

// Kubernetes is the version of Kubernetes that Bosun stands in for, as nodes and --version tell it.
const Kubernetes = "v1.37.1"

// buildWorkers makes the workers of the pods, and what carries out their effects.
func (a *Agent) buildWorkers(ctx context.Context, o Options, remembered map[types.UID]plan.Record) error {
	adopted, err := a.buildPins(remembered)
	if err != nil {
		return err
	}
	performer, err := a.buildPerformer(ctx)
	if err != nil {
		return err
	}
	a.set = worker.New(worker.Config{
		Doer: a.doer(performer), Ledger: a.ledger, Remembered: remembered, Log: a.log, Notes: a.note,
		// What they decide from.
		Wanted: a.wanted.Get, Node: a.facts.Get, Health: a.health, Content: a.contentRevisions, Logins: a.loginRevisions,
		Claimed: a.claimed.Get, Devices: a.stock.Supplies().Get, Orders: a.ordered.Get,
		Judge: a.judge, Room: a.resizable, Boot: host.Who().BootID,
		Adopted: joined(adopted, a.assigned), Handed: a.handed,
		// The node's ways with pods.
		LeaveStrays: o.LeaveStrays, CrashCap: crashCap(a.cfg), Keep: keepDead(a.cfg), Doomed: a.doomed,
		// Who hears of what they did.
		NodeStatus: a.nodeStatus, Judged: a.judged, Outcome: a.metrics.Ended, Rejected: a.metrics.Rejected, Restarted: a.metrics.Restarted,
		Preempted: a.metrics.Preempted, Resized: a.metrics.Resized,
	})
	return nil
}

// buildObserver makes what tells the workers of their pods in the runtime.
func (a *Agent) buildObserver() {
	a.observer = observe.New(observe.Config{
		RelistEvery: a.cfg.Kubelet.SyncFrequency.Duration,
		Runtime:     a.client, Receiver: counted{a.set, a.metrics}, Log: a.log, Notes: a.note,
		Metrics: observe.Metrics{
			Relisted: a.metrics.Relisted, RelistInterval: a.metrics.RelistInterval, LastSeen: a.metrics.LastSeen,
			Inspected: a.metrics.Inspected, StreamUp: a.metrics.StreamUp, StreamFailed: a.metrics.StreamFailed, EventDelay: a.metrics.EventDelay,
		},
	})
}

// buildPerformer makes what carries out effects, and tells which pods have left something on disk.
func (a *Agent) buildPerformer(ctx context.Context) (*perform.Performer, error) {
	k := &a.cfg.Kubelet
	ids := userns.Config{RootDir: a.cfg.RootDir, MaxPods: a.room.MaxPods}
	if k.UserNamespaces != nil && k.UserNamespaces.IDsPerPod != nil {
		ids.IDsPerPod = *k.UserNamespaces.IDsPerPod
	}
	var err error
	if a.ids, err = userns.New(ctx, ids); err != nil {
		return nil, err
	}
	made := volume.Config{RootDir: a.cfg.RootDir, Allocatable: a.settings.allocatable, Notes: a.note}
	var api perform.Objects
	if a.member != nil || a.local != nil {
		made.Content, api = a.contentOf, podObjects{a}
	}
	var claims perform.Claims
	if a.member != nil {
		if err := a.buildClaims(); err != nil {
			return nil, err
		}
		claims = a.claims
		a.buildStorage(&made)
	} else {
		a.volumes = volume.New(made)
	}
	found := a.volumes
	puller, err := a.buildPuller()
	if err != nil {
		return nil, err
	}
	a.puller, a.holds = puller, image.NewHolds()
	a.cgroups = &cgroups{
		client: a.client, config: cgroupConfig(a.cfg, a.host), room: a.room,
		warn: func(text string) { a.log.Warn(text) }, made: a.metrics.CgroupVersion, took: a.metrics.Cgroups,
	}
	files := podfs.New(podfs.Config{RootDir: a.cfg.RootDir, PodLogsDir: k.PodLogsDir, Volumes: found})
	a.buildCleaner(found, files)
	a.buildGarbage()
	performer := perform.New(perform.Config{
		Runtime: a.client, Resizer: a.client, Images: images{puller, a.holds, a.metrics, a.objectsOf, a.objects, a.note, &a.pulled}, Volumes: found, Objects: api,
		Cgroups:    a.cgroups,
		Files:      files,
		Hooks:      hooks{hook.New(hook.Config{Runtime: commands{a.client}, Version: version, Notes: a.note}), a.metrics},
		Namespaces: a.ids, Processors: a.processors(), Devices: a.stock, Claims: claims,
		Node: a.settings.node, Allocatable: a.settings.allocatable, HostsFile: hostsFile, Notes: a.note,
	})
	return performer, nil
}

// buildCleaner makes what looks for remains of pods that nobody knows of.
func (a *Agent) buildCleaner(v *volume.Volumes, files *podfs.Files) {
	uids := func(list func() ([]types.UID, error)) func() ([]cleanup.Remains, error) {
		return func() ([]cleanup.Remains, error) {
			found, err := list()
			remains := make([]cleanup.Remains, 0, len(found))
			for _, uid := range found {
				remains = append(remains, cleanup.Remains{UID: uid})
			}
			return remains, err
		}
	}
	a.cleaner = cleanup.New(cleanup.Config{
		Places: []cleanup.Place{
			{Name: "pod directories", List: uids(v.Pods)},
			{Name: "cgroups", List: uids(a.cgroups.pods)},
			{Name: "resource claims", List: uids(a.claimants)},
		},
		Names: []cleanup.Place{
			{Name: "logs", List: func() ([]cleanup.Remains, error) {
				dirs, err := files.LogDirs()
				remains := make([]cleanup.Remains, 0, len(dirs))
				for _, d := range dirs {
					remains = append(remains, cleanup.Remains{UID: d.UID, Namespace: d.Namespace, Name: d.Name})
				}
				return remains, err
			}},
		},
		Tell: func(found []cleanup.Remains) {
			leftovers := make([]worker.Leftover, 0, len(found))
			for _, r := range found {
				leftovers = append(leftovers, worker.Leftover(r))
			}
			a.set.Found(leftovers)
		},
		SweepLinks: files.SweepLinks, Log: a.log,
	})
}

func (a *Agent) buildPuller() (*image.Puller, error) {
	k := &a.cfg.Kubelet
	providers, err := a.loadProviders()
	if err != nil {
		return nil, err
	}
	if a.records, err = a.buildRecords(); err != nil {
		return nil, err
	}
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "/"
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/"
	}
	if providers != nil {
		providers.Observe = a.metrics.CredentialProvider
	}
	if a.records != nil {
		a.metrics.Pulls(a.records.Counts)
	}
	c := image.Config{
		Service: a.client, Checked: a.metrics.MayUse, Burst: int(k.RegistryBurst), Log: a.log,
		Records: a.records, Verify: image.Verification(k.ImagePullCredentialsVerificationPolicy), Allowed: k.PreloadedImagesVerificationAllowlist,
		Ingests: downloads{
			containerd: image.NewContainerdIngests(a.client.ImageConn(), ""),
			name:       func() string { return a.observer.Health().Value().RuntimeName },
		},
		Keyring: credential.NewKeyring(credential.KeyringConfig{
			Paths: credential.SearchPaths(a.cfg.RootDir, cwd, home), Providers: providers, Log: a.log,
		}),
		// A lone node has no operator who counts on pulls one after the other: they run side by side unless the
		// configuration says otherwise (pains, row 9).
		Serialize: k.SerializeImagePulls != nil && *k.SerializeImagePulls && a.cfg.IsSet("serializeImagePulls"),
	}
	if k.MaxParallelImagePulls != nil {
		c.MaxParallel = int(*k.MaxParallelImagePulls)
	}
	if k.RegistryPullQPS != nil {
		c.QPS = float64(*k.RegistryPullQPS)
	}
	return image.New(c), nil
}
