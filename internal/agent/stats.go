package agent

import (
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/stats"
	"github.com/bosun-project/bosun/internal/worker"
)

// buildStats makes what reads the use of processors, memory, disks and network.
func (a *Agent) buildStats() error {
	k := &a.cfg.Kubelet
	var err error
	a.stats, err = stats.New(stats.Config{
		Pods: a.podsToRead, Runtime: a.client, RuntimeSocket: k.ContainerRuntimeEndpoint, RuntimeCgroup: a.cfg.RuntimeCgroups,
		AgentCgroup: k.KubeletCgroups, RootDir: a.cfg.RootDir, LogsDir: k.PodLogsDir, VolumesEvery: k.VolumeStatsAggPeriod.Duration, Log: a.log,
	})
	return err
}

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
		claim := ""
		switch {
		case v.PersistentVolumeClaim != nil:
			claim = v.PersistentVolumeClaim.ClaimName
		case v.Ephemeral != nil:
			claim = meta.Name + "-" + v.Name
		default:
			continue
		}
		if p.Claims == nil {
			p.Claims = map[string]string{}
		}
		p.Claims[v.Name] = claim
	}
	return p, p.Sandbox != ""
}
