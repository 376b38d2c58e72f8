package agent

import (
	"context"
	"encoding/json"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/csinode"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/objects"
	"github.com/bosun-project/bosun/internal/plugin"
	"github.com/bosun-project/bosun/internal/staging"
	"github.com/bosun-project/bosun/internal/volume"
)

// buildStorage makes what brings volumes of the cluster to pods, and fills in what it takes for that.
func (a *Agent) buildStorage(made *volume.Config) {
	a.drivers = csi.NewRegistry(0)
	a.drivers.Observe = a.metrics.CSI
	made.NodeName, made.Cluster, made.Drivers = a.host.Name, storageAPI{a.objects, a.member}, a.drivers
	if k := &a.cfg.Kubelet; k.EnableControllerAttachDetach != nil && !*k.EnableControllerAttachDetach {
		made.Unmanaged = true
		a.log.Warn("the controller does not attach volumes to this node, and Bosun does not either: pods with volumes of CSI drivers that have to be attached do not start", "enableControllerAttachDetach", false)
	}
	if a.host.SELinux {
		made.SELinux = &volume.SELinux{File: host.FileLabel("/etc/selinux"), All: a.cfg.Gate("SELinuxMount")}
	}
	a.volumes = volume.New(*made)
	a.volumes.Count()
	a.plugins = plugin.New(plugin.Config{
		Dir:      filepath.Join(a.cfg.RootDir, "plugins_registry"),
		Handlers: map[string]plugin.Handler{registration.CSIPlugin: a.drivers, registration.DevicePlugin: a.stock, registration.DRAPlugin: a.allocators}, Log: a.log,
	})
	a.metrics.Plugins(func() []metrics.Plugin {
		var all []metrics.Plugin
		for _, p := range a.plugins.State().Value() {
			all = append(all, metrics.Plugin{Socket: p.Socket, Registered: p.Registered})
		}
		return all
	})
	unstaging := staging.New(staging.Config{
		Orphans: func() ([]staging.Volume, error) {
			found, err := a.volumes.Orphans()
			all := make([]staging.Volume, 0, len(found))
			for _, s := range found {
				all = append(all, staging.Volume(s))
			}
			return all, err
		},
		Unstage: func(ctx context.Context, v staging.Volume) error { return a.volumes.Unstage(ctx, volume.Staged(v)) },
		Left: func() <-chan struct{} {
			_, newer := a.volumes.Left().Get()
			return newer
		},
		Drivers: func() <-chan struct{} {
			_, newer := a.drivers.Drivers()
			return newer
		},
		Log: a.log,
	})
	a.csiNode = csinode.New(csinode.Config{
		Name: a.host.Name, Cluster: a.member.client, Node: storageAPI{a.objects, a.member}.Node, Drivers: a.driversHere, Back: a.member.client.Back, Log: a.log,
	})
	counts := csinode.NewRefresh(csinode.RefreshConfig{Drivers: a.driversHere, Follow: apiObjects{a.member.client}.FollowCSIDrivers, Again: a.drivers.Refresh})
	a.sources = append(a.sources, a.member.once(actor{"counts of CSI drivers", counts.Run}),
		actor{"plugins", a.plugins.Run}, actor{"staged volumes", unstaging.Run}, actor{"drivers followed", a.followDrivers},
		a.member.once(actor{"CSI drivers of the node", a.csiNode.Run}))
}

// driversHere are the CSI drivers of the node as the cluster is told of them.
func (a *Agent) driversHere() (map[string]csinode.Driver, <-chan struct{}) {
	drivers, newer := a.drivers.Drivers()
	all := make(map[string]csinode.Driver, len(drivers))
	for name, d := range drivers {
		all[name] = csinode.Driver{NodeID: d.NodeID, Topology: d.Topology, MostVolumes: d.MostVolumes}
	}
	return all, newer
}

// republishEvery is how often volumes are published again whose driver wants that.
const republishEvery = time.Minute

// followDrivers has pods look at their volumes anew when a driver has come, and now and then at those whose driver wants that.
func (a *Agent) followDrivers(ctx context.Context) error {
	tick := time.NewTicker(republishEvery)
	defer tick.Stop()
	_, newer := a.drivers.Drivers()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
			_, newer = a.drivers.Drivers()
			a.objects.Touch(func(p *v1.Pod) bool { return content.NeedsOf(p).Drivers })
		case <-tick.C:
			a.objects.Touch(func(p *v1.Pod) bool { return a.volumes.Restless(p.UID) })
		}
	}
}

// storageAPI fits what is known of the API server to what volumes ask.
type storageAPI struct {
	*objects.Loop
	member *member
}

func (s storageAPI) Attachment(ctx context.Context, name string) (*storage.VolumeAttachment, error) {
	return s.member.client.GetAttachment(ctx, name)
}

// Grown tells a claim its new size, and takes from it what waited for that.
func (s storageAPI) Grown(ctx context.Context, c *v1.PersistentVolumeClaim, size resource.Quantity) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": c.UID}, "status": map[string]any{
		"capacity":                  v1.ResourceList{v1.ResourceStorage: size},
		"allocatedResourceStatuses": map[string]any{string(v1.ResourceStorage): nil},
		"conditions":                []any{gone(v1.PersistentVolumeClaimFileSystemResizePending), gone(v1.PersistentVolumeClaimResizing)},
	}})
	if err == nil {
		_, err = s.member.client.PatchClaimStatus(ctx, c.Namespace, c.Name, patch)
	}
	return err
}

// gone takes a condition away, in a strategic merge patch.
func gone(t v1.PersistentVolumeClaimConditionType) map[string]any {
	return map[string]any{"$patch": "delete", "type": t}
}

func (s storageAPI) Node() (*v1.Node, <-chan struct{}) {
	n, newer := s.member.node.Get()
	return n.object, newer
}
