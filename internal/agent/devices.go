package agent

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/device"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/plugin"
	"github.com/bosun-project/bosun/internal/podresources"
	"github.com/bosun-project/bosun/internal/stock"
	"github.com/bosun-project/bosun/internal/worker"
)

// adoptDevices reads what an upstream kubelet has left of devices: which resources there are, what pods have, and what plugins had handed
// out for that (behaviour 238).
func (a *Agent) adoptDevices() *device.Checkpoint {
	c, err := device.ReadCheckpoint(filepath.Join(a.cfg.RootDir, device.Dir))
	if err != nil {
		a.log.Warn("what a kubelet has left of devices is not taken over", "err", err)
	}
	if c == nil {
		return &device.Checkpoint{}
	}
	if len(c.Damaged) > 0 {
		a.log.Warn("some of what a kubelet has left of devices makes no sense", "what", c.Damaged)
	}
	if c.At.After(host.Booted()) { // otherwise the plugins have to be asked again
		a.handed = make(map[types.UID]*allocate.Handed, len(c.Handed))
		for uid, containers := range c.Handed {
			if containers != nil {
				a.handed[uid] = &allocate.Handed{Boot: host.Who().BootID, Containers: containers}
			}
		}
	}
	return c
}

// buildDevices makes what follows device plugins.
func (a *Agent) buildDevices() error {
	known, damaged, err := a.ledger.LoadResources()
	if err != nil {
		return err
	}
	if len(damaged) > 0 {
		a.log.Warn("what the ledger has of resources of device plugins cannot be read; the plugins will tell of them again", "resources", damaged)
	}
	left := a.adoptDevices()
	a.assigned = left.Assigned
	for _, name := range left.Resources {
		known[name] = nil
	}
	a.stock = stock.New(stock.Config{
		Connect: func(socket string) (stock.Plugin, error) { return device.Connect(socket) },
		Valid:   device.Valid, Known: slices.Sorted(maps.Keys(known)), Remember: func(ctx context.Context, resource string) error {
			return a.ledger.SaveResources(ctx, map[string][]byte{resource: []byte("{}")})
		},
		Alone: a.member == nil, Boot: host.Who().BootID,
		Registered: a.metrics.DevicePlugin, Took: a.metrics.DevicesTaken, Log: a.log,
	})
	door := device.NewDoor(filepath.Join(a.cfg.RootDir, device.Dir), a.stock.Enter)
	a.sources = append(a.sources, actor{"device plugins", a.stock.Run}, actor{"registration of device plugins", door.Run})
	if a.member == nil {
		a.plugins = plugin.New(plugin.Config{
			Dir: filepath.Join(a.cfg.RootDir, "plugins_registry"), Handlers: map[string]plugin.Handler{registration.DevicePlugin: a.stock}, Log: a.log,
		})
		a.sources = append(a.sources, actor{"plugins", a.plugins.Run})
	}
	return nil
}

// devicesOf is what the Node object says of device plugins.
func devicesOf(s allocate.Supplies) map[string]nodestatus.Devices {
	if len(s.Known) == 0 {
		return nil
	}
	out := make(map[string]nodestatus.Devices, len(s.Known))
	for name, supply := range s.Known {
		all, healthy := supply.Counts()
		out[name] = nodestatus.Devices{
			Capacity: all, Healthy: healthy, Away: !supply.Serving, Untold: !supply.Serving && supply.Devices == nil, Gone: supply.Gone,
		}
	}
	return out
}

// deviceTroubles are the resources that were once served and are not now, for `bosun explain`.
func (a *Agent) deviceTroubles(add func(what, message string)) {
	supplies := a.stock.Supplies().Value()
	for _, name := range slices.Sorted(maps.Keys(supplies.Known)) {
		if s := supplies.Known[name]; !s.Serving && !s.Gone {
			add("device plugin of "+name, strings.TrimSpace(s.Why))
		}
	}
}

// buildPodResources makes the socket that tells what pods have for themselves.
func (a *Agent) buildPodResources() {
	server := podresources.New(podresources.Config{
		Socket: filepath.Join(a.cfg.RootDir, podresources.Socket), Allocatable: a.rules.Allocatable, Dynamic: a.dynamic,
		Pods: func() []*worker.Entry {
			pods, _ := a.set.Table().Pods()
			return pods
		},
		Supplies: a.stock.Supplies().Value,
		Ended:    !a.cfg.Gate("KubeletPodResourcesListUseActivePods"), NoGet: !a.cfg.Gate("KubeletPodResourcesGet"),
		Asked: a.metrics.PodResourcesAsked, Failed: a.metrics.PodResourcesFailed,
	})
	a.faces = append(a.faces, actor{"pod resources", server.Run})
}

// joined is what pods have of both.
func joined(a, b map[types.UID]*allocate.Assigned) map[types.UID]*allocate.Assigned {
	if len(b) == 0 {
		return a
	}
	out := maps.Clone(b)
	for uid, parts := range a {
		out[uid] = parts.Join(out[uid])
	}
	return out
}
