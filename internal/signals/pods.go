package signals

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/evict"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/safepath"
)

// Measure measures pods. What cannot be measured counts as nothing: it has just ended, or was not begun yet.
func (r *Reader) Measure(ctx context.Context, pods []evict.Candidate, need evict.Need) []evict.Candidate {
	out := make([]evict.Candidate, len(pods))
	var written map[string]evict.Disk
	if need.Disk.Writable {
		var ids []string
		for _, c := range pods {
			for _, id := range c.IDs {
				ids = append(ids, id)
			}
		}
		if len(ids) > 0 {
			written = r.cfg.Written(ctx, ids)
		}
	}
	for i, c := range pods {
		c.Usage = evict.Usage{Containers: map[string]evict.ContainerUsage{}}
		p := c.Pod.Pod
		if need.Memory {
			r.podMemory(&c, r.cfg.Pod("memory", p))
		}
		if need.Processes {
			c.Usage.Processes, _ = number(filepath.Join(r.cfg.Pod("pids", p), "pids.current"))
		}
		for name, id := range c.IDs {
			if d, ok := written[id]; ok {
				u := c.Usage.Containers[name]
				u.Writable = d
				c.Usage.Containers[name] = u
			}
		}
		if need.Disk.Logs {
			r.logs(ctx, &c)
		}
		if need.Disk.Volumes {
			r.volumes(ctx, &c)
		}
		out[i] = c
	}
	return out
}

// podMemory reads what a pod and its containers use, from their cgroups: a runtime that is itself short of memory may not answer.
func (r *Reader) podMemory(c *evict.Candidate, dir string) {
	g, ok := groupMemory(dir)
	if !ok {
		return
	}
	c.Usage.Memory = g.workingSet()
	below, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for name, id := range c.IDs {
		for _, e := range below { // ID, cri-containerd-ID.scope, crio-ID.scope
			if id == "" || !e.IsDir() || !strings.Contains(e.Name(), id) || strings.HasPrefix(e.Name(), "crio-conmon-") {
				continue
			}
			if g, ok := groupMemory(filepath.Join(dir, e.Name())); ok {
				u := c.Usage.Containers[name]
				u.Memory = g.workingSet()
				c.Usage.Containers[name] = u
			}
			break
		}
	}
}

// logs measures the logs of a pod's containers.
func (r *Reader) logs(ctx context.Context, c *evict.Candidate) {
	p := c.Pod.Pod
	dir := names.PodLogDir(r.cfg.LogsDir, p.Namespace, p.Name, p.UID)
	for name := range containers(p) {
		u := c.Usage.Containers[name]
		u.Logs = below(ctx, dir, name)
		c.Usage.Containers[name] = u
	}
}

// volumes measures a pod's emptyDirs that are on disk.
func (r *Reader) volumes(ctx context.Context, c *evict.Candidate) {
	c.Usage.Volumes = map[string]evict.Disk{}
	p := c.Pod.Pod
	if safepath.Component(string(p.UID)) != nil {
		return
	}
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if onDisk(v) {
			c.Usage.Volumes[v.Name] = below(ctx, names.PodDir(r.cfg.RootDir, p.UID), filepath.Join("volumes", "kubernetes.io~empty-dir", v.Name))
		}
	}
}

// onDisk tells whether a volume is an emptyDir on disk; one without any source is one, too.
func onDisk(v *v1.Volume) bool {
	return v.EmptyDir != nil && v.EmptyDir.Medium == v1.StorageMediumDefault || v.VolumeSource == v1.VolumeSource{}
}

// containers are the names of all containers of a pod.
func containers(p *v1.Pod) map[string]bool {
	all := map[string]bool{}
	for i := range p.Spec.InitContainers {
		all[p.Spec.InitContainers[i].Name] = true
	}
	for i := range p.Spec.Containers {
		all[p.Spec.Containers[i].Name] = true
	}
	for i := range p.Spec.EphemeralContainers {
		all[p.Spec.EphemeralContainers[i].Name] = true
	}
	return all
}
