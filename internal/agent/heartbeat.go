package agent

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/heartbeat"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/observe"
)

// buildHeartbeat makes what registers the node and keeps its status and lease.
func (a *Agent) buildHeartbeat() {
	k := &a.cfg.Kubelet
	a.heartbeat = heartbeat.New(heartbeat.Config{
		Name: a.host.Name, Cluster: a.member.client,
		Node: func() (*v1.Node, bool, <-chan struct{}) {
			n, newer := a.member.node.Get()
			return n.object, n.known, newer
		},
		Facts: func() (nodestatus.Facts, <-chan struct{}) {
			f, newer := a.nodeFacts.Get()
			f.StaleListing = staleListing(a.observer.Listing().Value().Began, stale(k.SyncFrequency.Duration), time.Now())
			return f, newer
		},
		Back:        a.member.client.Back,
		Register:    k.RegisterNode == nil || *k.RegisterNode,
		UpdateEvery: k.NodeStatusUpdateFrequency.Duration, ReportEvery: k.NodeStatusReportFrequency.Duration,
		LeaseDuration: time.Duration(k.NodeLeaseDurationSeconds) * time.Second,
		Notes:         a.note, Log: a.log,
	})
}

// imagesEvery is how often the images of the node are listed for its status, beside after each pull.
const imagesEvery = 5 * time.Minute

// gatherFacts keeps what the node's object says newest.
func (a *Agent) gatherFacts(ctx context.Context) error {
	facts := a.fixedFacts()
	tick := time.NewTicker(imagesEvery)
	defer tick.Stop()
	for look := true; ; {
		health, newerHealth := a.observer.Health().Get()
		ips, newerIPs := a.ips.Get()
		_, pulled := a.pulled.Get()
		down, turned := a.goingDown()
		facts.ShuttingDown = down.Down()
		short, pressed := a.pressure.Pressure().Get()
		press(&facts, short)
		wrong, mended := a.cgroups.trouble.Get()
		facts.CgroupsError = wrong
		used, newerUsed := a.volumes.InUse().Get()
		facts.VolumesInUse = used
		told, newerTold := a.csiNode.State().Get()
		facts.StorageError = ""
		if !told.Told && told.Problem != "" {
			facts.StorageError = "CSINode is not yet initialized"
		}
		devices, newerDevices := a.stock.Supplies().Get()
		facts.Devices = devicesOf(devices)
		facts.Addresses = ips
		facts.CgroupVersion = a.cgroups.version()
		a.tellHealth(&facts, health)
		if health.Up && look {
			if images, err := a.client.ListImages(ctx); err == nil {
				facts.Images = nil
				for _, i := range images {
					facts.Images = append(facts.Images, nodestatus.Image{Names: slices.Concat(i.RepoDigests, i.RepoTags), Size: int64(i.Size)})
				}
			}
		}
		a.nodeFacts.Set(facts)
		look = true
		select {
		case <-ctx.Done():
			return nil
		case <-newerHealth:
		case <-newerIPs:
		case <-pulled:
		case <-turned:
			look = false // this is told at once
		case <-pressed:
			look = false
		case <-mended:
			look = false
		case <-newerUsed:
			look = false // volumes are attached and taken away by this
		case <-newerTold:
			look = false
		case <-newerDevices:
			look = false
		case <-tick.C:
		}
	}
}

// tellHealth puts in how the container runtime fares.
func (a *Agent) tellHealth(facts *nodestatus.Facts, health observe.Health) {
	facts.Runtime = nodestatus.Runtime{
		Asked: health.Asked, Name: health.RuntimeName, Version: health.RuntimeVersion, Up: health.Up, Message: health.Message,
		NetworkReady: health.NetworkReady, NetworkMessage: health.NetworkMessage, SupplementalGroupsPolicy: health.Features.SupplementalGroupsPolicy,
	}
	for _, h := range health.Handlers {
		facts.Runtime.Handlers = append(facts.Runtime.Handlers, nodestatus.Handler(h))
	}
}

// fixedFacts are those that stay as they are while the agent lives (behaviour 299).
func (a *Agent) fixedFacts() nodestatus.Facts {
	k, who := &a.cfg.Kubelet, host.Who()
	f := nodestatus.Facts{
		Name: a.host.Name, OS: goruntime.GOOS, Arch: goruntime.GOARCH, Labels: a.cfg.NodeLabels, Taints: k.RegisterWithTaints,
		ProviderID: k.ProviderID, ExternalCloud: a.cfg.CloudProvider == "external",
		AttachDetach:   k.EnableControllerAttachDetach == nil || *k.EnableControllerAttachDetach,
		AddressesAsked: len(a.cfg.NodeIPs) > 0, Room: a.room, NoLocalStorage: !defaultOn(k.LocalStorageCapacityIsolation), Swap: a.host.Swap,
		MachineID: who.MachineID, SystemUUID: who.SystemUUID, BootID: who.BootID, Kernel: who.Kernel, OSImage: strings.TrimSpace(who.OSImage),
		KubeletVersion: Kubernetes, InUserNamespace: &who.UserNamespace, Port: k.Port, MostImages: 50,
		DeclaredFeatures: a.declares(),
	}
	for _, ip := range a.cfg.NodeIPs {
		if !ip.IsUnspecified() {
			f.GivenIPs = append(f.GivenIPs, ip.String())
		}
	}
	if k.NodeStatusMaxImages != nil {
		f.MostImages = int(*k.NodeStatusMaxImages)
	}
	return f
}

// staleListing says since when what the runtime has could not be listed, if that is too long ago (behaviour 18). Before the
// first listing nothing is stale: the runtime's own state tells why there is none.
func staleListing(began time.Time, threshold time.Duration, now time.Time) string {
	if began.IsZero() || now.Sub(began) < threshold {
		return ""
	}
	return fmt.Sprintf("pleg was last seen active at %s; threshold is %s", began.UTC().Format(time.RFC3339), threshold)
}
