package agent

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/stats"
	"github.com/bosun-project/bosun/internal/usage"
	"github.com/bosun-project/bosun/internal/worker"
)

// buildStats makes what reads the use of processors, memory, disks and network.
func (a *Agent) buildStats() error {
	k := &a.cfg.Kubelet
	var err error
	c := stats.Config{
		Pods: a.podsToRead, Runtime: a.client, RuntimeSocket: k.ContainerRuntimeEndpoint, RuntimeCgroup: a.cfg.RuntimeCgroups,
		AgentCgroup: k.KubeletCgroups, RootDir: a.cfg.RootDir, LogsDir: k.PodLogsDir, VolumesEvery: k.VolumeStatsAggPeriod.Duration,
		Measured: a.metrics.Measured, Log: a.log,
	}
	if a.member != nil { // drivers are found by what the cluster knows of volumes
		c.Driven = a.driverUsage
	}
	if a.stats, err = stats.New(c); err != nil {
		return err
	}
	a.metrics.Disks(a.stats.Stored)
	return nil
}

// driverUsage asks the driver of a volume how full it is.
func (a *Agent) driverUsage(ctx context.Context, uid types.UID, name string) (usage.Filesystem, error) {
	e := a.set.Table().Pod(uid)
	if e == nil {
		return usage.Filesystem{}, nil
	}
	p := e.Desired.Pod
	i := slices.IndexFunc(p.Spec.Volumes, func(v v1.Volume) bool { return v.Name == name })
	if i < 0 {
		return usage.Filesystem{}, nil
	}
	dir := name
	if claim := content.ClaimOf(p, &p.Spec.Volumes[i]); claim != "" {
		c, err := a.objects.Claim(ctx, p.Namespace, claim)
		if err != nil {
			return usage.Filesystem{}, err
		}
		dir = c.Spec.VolumeName
	}
	u, err := a.volumes.DriverUsage(ctx, uid, dir)
	var f usage.Filesystem
	if c := u.Bytes; c != nil {
		f.Capacity, f.Used, f.Available = known(c.Total), known(c.Used), known(c.Available)
	}
	if c := u.Inodes; c != nil {
		f.Inodes, f.InodesUsed, f.InodesFree = known(c.Total), known(c.Used), known(c.Available)
	}
	return f, err
}

// known is a number of a driver's.
func known(n int64) usage.Number { return usage.Of(uint64(max(n, 0))) }

// podsToRead are those that have something in the runtime.
func (a *Agent) podsToRead() stats.Pods {
	var out stats.Pods
	tree := a.cgroups.known()
	if tree != nil {
		if out.Classes = tree.Classes(); len(out.Classes) > 0 {
			out.All = out.Classes[0]
		}
	}
	entries, _ := a.set.Table().Pods()
	for _, e := range entries {
		p, ok := podToRead(e)
		if !ok {
			continue
		}
		if tree != nil {
			p.Cgroup, p.Own = tree.Holder(e.Desired.Pod)
		}
		p.LogDir = names.PodLogDir(a.cfg.Kubelet.PodLogsDir, p.Namespace, p.Name, e.Desired.UID())
		out.Pods = append(out.Pods, p)
	}
	return out
}

// podToRead is a pod that has a sandbox, with the containers that run.
func podToRead(e *worker.Entry) (stats.Pod, bool) {
	meta := e.Desired.Pod
	p := stats.Pod{Namespace: meta.Namespace, Name: meta.Name, UID: string(meta.UID), HostNetwork: meta.Spec.HostNetwork}
	for i := range e.Observed.Sandboxes {
		if s := &e.Observed.Sandboxes[i]; s.Ready && !s.Gone {
			p.Sandbox, p.Started, p.HostNetwork = s.ID, s.CreatedAt, p.HostNetwork || s.HostNetwork
			break
		}
	}
	for i := range e.Observed.Containers {
		if c := &e.Observed.Containers[i]; c.State == pod.Running && c.SandboxID == p.Sandbox {
			p.Containers = append(p.Containers, stats.Container{Name: c.Name, ID: c.ID, Image: c.Image, Started: c.StartedAt})
		}
	}
	for i := range meta.Spec.Volumes {
		v := &meta.Spec.Volumes[i]
		if claim := content.ClaimOf(meta, v); claim != "" {
			if p.Claims == nil {
				p.Claims = map[string]string{}
			}
			p.Claims[v.Name] = claim
		} else if v.CSI == nil {
			continue
		}
		p.Driven = append(p.Driven, v.Name)
	}
	return p, p.Sandbox != ""
}
