package agent

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/cleanup"
	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/hook"
	"github.com/bosun-project/bosun/internal/image"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/perform"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/podfs"
	"github.com/bosun-project/bosun/internal/source"
	"github.com/bosun-project/bosun/internal/userns"
	"github.com/bosun-project/bosun/internal/volume"
	"github.com/bosun-project/bosun/internal/worker"
)

// version is the Kubernetes version Bosun stands in for, as hooks and probes tell it.
const version = "1.37"

// Kubernetes is the version of Kubernetes that Bosun stands in for, as nodes and --version tell it.
const Kubernetes = "v1.37.1"

// buildSources makes the sources of the configuration and those of the command line.
func (a *Agent) buildSources(manifests []string, remembered map[types.UID]plan.Record) error {
	k := &a.cfg.Kubelet
	running := runningBefore(remembered)
	var cells []*latest.Cell[source.Snapshot]
	file := func(path string) error {
		f, err := source.NewFile(source.FileConfig{
			Path: path, NodeName: a.host.Name, Every: k.FileCheckFrequency.Duration, Log: a.log, Notes: a.note, Running: running,
			Objects: a.cfg.UsesLocalObjects(),
		})
		if err != nil {
			return err
		}
		cells = append(cells, f.Cell())
		a.sources = append(a.sources, actor{"manifests in " + path, f.Run})
		return nil
	}
	web := func(url string) error {
		u, err := source.NewURL(source.URLConfig{
			URL: url, Header: http.Header(k.StaticPodURLHeader), NodeName: a.host.Name, Every: k.HTTPCheckFrequency.Duration,
			Log: a.log, Notes: a.note, Running: running, Objects: a.cfg.UsesLocalObjects(),
		})
		if err != nil {
			return err
		}
		cells = append(cells, u.Cell())
		a.sources = append(a.sources, actor{"manifests by URL", u.Run})
		return nil
	}
	var wrong []error
	if k.StaticPodPath != "" {
		wrong = append(wrong, file(k.StaticPodPath))
	}
	if k.StaticPodURL != "" {
		wrong = append(wrong, web(k.StaticPodURL))
	}
	for _, m := range manifests {
		if strings.HasPrefix(m, "http://") || strings.HasPrefix(m, "https://") {
			wrong = append(wrong, web(m))
		} else {
			wrong = append(wrong, file(m))
		}
	}
	if a.member != nil {
		kept, err := a.buildObjects()
		if err != nil {
			return err
		}
		api := source.NewAPI(source.APIConfig{Bound: a.member.bound.Get, Kept: kept, Away: a.member.away.Get})
		cells = append(cells, api.Cell())
		a.sources = append(a.sources, actor{"pods of the API", api.Run})
	}
	if a.cfg.ServesNodeAPI() {
		cell, err := a.buildGiven()
		if err != nil {
			return err
		}
		cells = append(cells, cell)
	}
	if a.cfg.UsesLocalObjects() || a.cfg.ServesNodeAPI() {
		a.buildLocal()
	}
	a.merge = source.NewMerge(a.log, a.note, cells...)
	return errors.Join(wrong...)
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
