package stats

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/usage"
)

// Config says where to look.
type Config struct {
	// Pods are those to read, as they are now.
	Pods func() Pods
	// Runtime tells what only it knows; nil: that is left out.
	Runtime Runtime
	// RuntimeSocket is the runtime's socket, by whose peer its cgroup is found if RuntimeCgroup is empty; both may be.
	RuntimeSocket, RuntimeCgroup string
	// AgentCgroup is the cgroup of the agent; empty is the one this process is in.
	AgentCgroup string
	// RootDir is the state directory, below which volumes are; LogsDir is where the logs of pods are.
	RootDir, LogsDir string
	// VolumesEvery is how old the measurement of a directory may be (volumeStatsAggPeriod); negative turns it off.
	VolumesEvery time.Duration
	// Driven asks the driver of a pod's volume how full it is; it may take long, and is called in Run only. Nil leaves out the
	// volumes of drivers.
	Driven func(ctx context.Context, pod types.UID, volume string) (usage.Filesystem, error)
	// Measured is told how long it took to find out how full a volume is, and who told it: du (its files were counted) or csi. Nil is fine.
	Measured func(source string, took time.Duration)
	// Proc is /proc unless set.
	Proc string
	Log  *slog.Logger
}

// Pods is what there is to read of pods.
type Pods struct {
	// All is the cgroup of all pods, Classes those of the classes below it; empty while that is not known.
	All     string
	Classes []string
	Pods    []Pod
}

// Pod is one to read.
type Pod struct {
	Namespace, Name, UID string
	// Cgroup is the path of the cgroup that holds its containers, below the cgroup mounts; empty: it is not known. Own tells
	// whether it holds nothing else.
	Cgroup string
	Own    bool
	// Started is when its sandbox was made.
	Started     time.Time
	HostNetwork bool
	// Sandbox is the ID of its sandbox.
	Sandbox string
	// Containers are those that run.
	Containers []Container
	// Claims are the names of the claims of its volumes, by volume, and Driven the volumes that drivers brought.
	Claims map[string]string
	Driven []string
	// LogDir holds a directory for the logs of each container.
	LogDir string
}

// Container is one to read.
type Container struct {
	Name, ID, Image string
	Started         time.Time
}

// fresh is how old a reading may be to be given to another asker.
const fresh = 2 * time.Second

// Reader reads. Its methods may be used by several goroutines.
type Reader struct {
	cfg   Config
	where hierarchies
	meter *meter
	now   func() time.Time
	// turn is held while a reading is made. What follows belongs to whoever holds it.
	turn   chan struct{}
	last   *usage.Snapshot
	paces  map[string]*pace
	layers layers
	peer   peer
	booted time.Time
	buf    []byte
}

// New looks at how cgroups are mounted.
func New(cfg Config) (*Reader, error) {
	where, err := findHierarchies()
	if err != nil {
		return nil, err
	}
	return newReader(cfg, where, time.Now), nil
}

func newReader(cfg Config, where hierarchies, now func() time.Time) *Reader {
	if cfg.Proc == "" {
		cfg.Proc = "/proc"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	meter := newMeter(cfg.VolumesEvery, cfg.Log, now)
	meter.told = cfg.Measured
	return &Reader{
		cfg: cfg, where: where, now: now, meter: meter,
		turn: make(chan struct{}, 1), paces: map[string]*pace{},
	}
}

// Run measures directories when askers need it, until ctx ends.
func (r *Reader) Run(ctx context.Context) error { return r.meter.Run(ctx) }

// Read gives what everything uses, no older than two seconds. What it gives is shared and must not be changed. It fails
// only if ctx ends before its turn comes.
func (r *Reader) Read(ctx context.Context, depth usage.Depth) (*usage.Snapshot, error) {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-r.turn }()
	if s := r.last; s != nil && s.Depth >= depth && r.now().Sub(s.At) < fresh {
		return s, nil
	}
	reading := &reading{Reader: r, depth: depth, files: files{buf: r.buf}}
	r.last = reading.everything(ctx)
	r.buf = reading.files.buf
	r.forgetPaces()
	return r.last, nil
}

// reading is one look.
type reading struct {
	*Reader
	depth    usage.Depth
	files    files
	snapshot *usage.Snapshot
	disks    []usage.Disk
	devices  map[[2]uint32]string
}

func (r *reading) everything(ctx context.Context) *usage.Snapshot {
	s := &usage.Snapshot{At: r.now(), Depth: r.depth}
	r.snapshot = s
	if r.booted.IsZero() {
		r.Reader.booted = bootTime(r.files.read(r.proc("stat")))
	}
	if r.depth >= usage.Storage {
		r.disks = diskstats(r.files.read(r.proc("diskstats")))
		r.devices = make(map[[2]uint32]string, len(r.disks))
		for _, d := range r.disks {
			r.devices[[2]uint32{d.Major, d.Minor}] = d.Device
		}
	}
	s.Node = r.node()
	all := r.cfg.Pods()
	s.Pods = make([]usage.Pod, len(all.Pods))
	for i := range all.Pods {
		s.Pods[i] = r.pod(&all.Pods[i])
	}
	if r.depth >= usage.Storage {
		r.storage(ctx, all.Pods, s.Pods)
		s.Node.Images, s.Node.Layers = r.layers.images, r.layers.writes
		s.Node.System = r.system(ctx, all.All)
	}
	if r.depth >= usage.Detail {
		for _, path := range all.Classes {
			if c := r.cgroup(path); !c.At.IsZero() {
				s.Groups = append(s.Groups, c)
			}
		}
	}
	s.Missed = r.files.missed
	return s
}

// pod reads one pod and its containers.
func (r *reading) pod(p *Pod) usage.Pod {
	u := usage.Pod{Namespace: p.Namespace, Name: p.Name, UID: p.UID, Started: p.Started, Containers: make([]usage.Container, len(p.Containers))}
	var children []string
	if p.Cgroup != "" {
		children = r.where.children(p.Cgroup)
	}
	if p.Own {
		u.Cgroup = r.cgroup(p.Cgroup)
	}
	at := func(id string) string {
		if name := child(children, id); name != "" {
			return filepath.Join(p.Cgroup, name)
		}
		return ""
	}
	sandbox := at(p.Sandbox)
	u.Sandbox = usage.Container{ID: p.Sandbox, Started: p.Started, Cgroup: usage.Cgroup{Path: sandbox}}
	if r.depth >= usage.Detail {
		u.Sandbox.Cgroup = r.cgroup(sandbox)
	}
	pid := ""
	for i, c := range p.Containers {
		path := at(c.ID)
		u.Containers[i] = usage.Container{Name: c.Name, ID: c.ID, Image: c.Image, Started: c.Started, Cgroup: r.cgroup(path)}
	}
	if r.depth < usage.Storage {
		return u
	}
	if !p.HostNetwork {
		for i := -1; i < len(u.Containers) && pid == ""; i++ { // the sandbox first
			path := sandbox
			if i >= 0 {
				path = u.Containers[i].Cgroup.Path
			}
			if path != "" {
				pid = r.somePID(path, 2)
			}
		}
		if pid != "" {
			u.Network = r.network(pid)
		}
	}
	if r.depth >= usage.Detail {
		for i := range u.Containers {
			if c := &u.Containers[i].Cgroup; !c.At.IsZero() {
				r.processes(c.Path, &c.Processes)
			}
		}
		if c := &u.Sandbox.Cgroup; !c.At.IsZero() {
			r.processes(c.Path, &c.Processes)
		}
	}
	return u
}

func (r *Reader) podDir(uid string) string { return names.PodDir(r.cfg.RootDir, types.UID(uid)) }
