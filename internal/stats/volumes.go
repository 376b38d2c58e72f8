package stats

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/usage"
)

// firstWait is how long an asker waits for directories that were never measured.
const firstWait = 300 * time.Millisecond

// driverWait bounds how long a driver may take to tell how full a volume is: others wait for their turn.
const driverWait = 10 * time.Second

// measurable are the kinds of volumes whose directories are the agent's own. All else lies elsewhere, or is for its driver
// to tell of.
var measurable = []string{
	"kubernetes.io~configmap", "kubernetes.io~downward-api", "kubernetes.io~empty-dir", "kubernetes.io~projected", "kubernetes.io~secret",
}

// storage adds what the pods take of disks.
func (r *reading) storage(ctx context.Context, pods []Pod, found []usage.Pod) {
	r.layers.refresh(ctx, r.cfg.Runtime, r)
	logs := r.statfs(r.cfg.LogsDir)
	for i := range found {
		r.containerStorage(&pods[i], &found[i], logs)
	}
	unknown := false
	look := func() {
		unknown = false
		for i := range found {
			found[i].Volumes = r.volumes(&pods[i], &unknown)
		}
	}
	if look(); unknown {
		r.meter.wait(ctx.Done(), firstWait)
		look()
	}
	for i := range found {
		found[i].Ephemeral = r.ephemeral(&found[i])
	}
}

// containerStorage adds layers and logs.
func (r *reading) containerStorage(p *Pod, found *usage.Pod, logs *usage.Filesystem) {
	dir, err := safepath.Open(p.LogDir)
	if err == nil {
		defer dir.Close()
	}
	for i := range found.Containers {
		c := &found.Containers[i]
		if l, ok := r.layers.containers[c.ID]; ok {
			c.Cgroup.CPU.NanoCores = c.Cgroup.CPU.NanoCores.Or(l.nanoCores)
			if r.layers.writes != nil && l.bytes.Known {
				layer := *r.layers.writes
				layer.At, layer.Used, layer.InodesUsed = l.at, l.bytes, l.inodes
				if l.at.IsZero() {
					layer.At = r.layers.at
				}
				c.Layer = &layer
			}
		}
		if err == nil && logs != nil {
			if u, ok := filesIn(dir, c.Name); ok {
				f := *logs
				f.At, f.Used, f.InodesUsed = r.now(), usage.Of(u.bytes), usage.Of(u.inodes)
				c.Logs = &f
			}
		}
	}
}

// filesIn adds up the files of a directory that has no others below.
func filesIn(root *safepath.Root, name string) (u use, ok bool) {
	names, err := root.ReadDir(name)
	if err != nil {
		return use{}, false
	}
	for _, base := range names {
		info, err := root.Lstat(filepath.Join(name, base))
		if err != nil {
			continue
		}
		u.inodes++
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			u.bytes += uint64(s.Blocks) * blockSize
		}
	}
	return u, true
}

// volumes looks at the volumes of a pod. unknown becomes true if one was never measured.
func (r *reading) volumes(p *Pod, unknown *bool) (found []usage.Volume) {
	if r.meter.every < 0 || safepath.Component(p.UID) != nil {
		return nil
	}
	root, err := safepath.Open(r.podDir(p.UID))
	if err != nil {
		return nil // it has no directory
	}
	defer root.Close()
	var pod unix.Stat_t
	if !statIn(root, ".", &pod) {
		return nil
	}
	for _, kind := range measurable {
		names, err := root.ReadDir(filepath.Join("volumes", kind))
		if err != nil {
			continue
		}
		for _, name := range names {
			if v, ok := r.volume(root, filepath.Join("volumes", kind, name), &pod, p, unknown); ok {
				v.Name, v.Claim = name, p.Claims[name]
				found = append(found, v)
			}
		}
	}
	found = append(found, r.driven(p, unknown)...)
	slices.SortFunc(found, func(a, b usage.Volume) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// volume looks at one. The numbers of one with a file system of its own are those of that; another is measured.
func (r *reading) volume(root *safepath.Root, path string, pod *unix.Stat_t, p *Pod, unknown *bool) (usage.Volume, bool) {
	dir, err := root.Handle(path)
	if err != nil {
		return usage.Volume{}, false
	}
	defer dir.Close()
	var own unix.Stat_t
	var s unix.Statfs_t
	if unix.Fstat(int(dir.Fd()), &own) != nil || unix.Fstatfs(int(dir.Fd()), &s) != nil {
		return usage.Volume{}, false
	}
	v := usage.Volume{Filesystem: filesystem(&s, r.now()), Local: own.Dev == pod.Dev}
	if !v.Local {
		return v, true
	}
	v.Used, v.InodesUsed = usage.Number{}, usage.Number{}
	here := place{r.podDir(p.UID), path}
	found, ok := r.meter.ask(here, byFiles, here.measure)
	if !ok {
		*unknown = true
		return v, true
	}
	v.At, v.Used, v.InodesUsed = found.At, found.Used, found.InodesUsed
	return v, true
}

// driven asks the drivers of volumes how full these are. What a driver does not tell of is left out.
func (r *reading) driven(p *Pod, unknown *bool) (found []usage.Volume) {
	if r.cfg.Driven == nil || r.meter.every < 0 {
		return nil
	}
	for _, name := range p.Driven {
		fs, ok := r.meter.ask(place{p.UID, name}, byDriver, func(ctx context.Context) (usage.Filesystem, error) {
			ctx, cancel := context.WithTimeout(ctx, driverWait)
			defer cancel()
			return r.cfg.Driven(ctx, types.UID(p.UID), name)
		})
		if !ok {
			*unknown = true
		}
		if fs.Capacity.Known || fs.Used.Known {
			found = append(found, usage.Volume{Name: name, Claim: p.Claims[name], Filesystem: fs})
		}
	}
	return found
}

func statIn(root *safepath.Root, name string, s *unix.Stat_t) bool {
	h, err := root.Handle(name)
	if err != nil {
		return false
	}
	defer h.Close()
	return unix.Fstat(int(h.Fd()), s) == nil
}

// ephemeral adds up what a pod takes of the node's own disk (behaviour 363).
func (r *reading) ephemeral(p *usage.Pod) *usage.Filesystem {
	if r.snapshot.Node.FS == nil {
		return nil
	}
	sum := *r.snapshot.Node.FS
	sum.At = r.now()
	sum.Used, sum.InodesUsed = usage.Of(0), usage.Of(0)
	add := func(f *usage.Filesystem) {
		if f != nil {
			sum.Used, sum.InodesUsed = sum.Used.Plus(f.Used), sum.InodesUsed.Plus(f.InodesUsed)
		}
	}
	for i := range p.Containers {
		add(p.Containers[i].Layer)
		add(p.Containers[i].Logs)
	}
	for i := range p.Volumes {
		if p.Volumes[i].Local {
			add(&p.Volumes[i].Filesystem)
		}
	}
	return &sum
}
