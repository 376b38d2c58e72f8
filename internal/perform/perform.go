package perform

import (
	"context"
	"errors"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// Runtime is the container runtime as effects use it.
type Runtime interface {
	RunPodSandbox(ctx context.Context, config *runtimeapi.PodSandboxConfig, handler string) (string, error)
	StopPodSandbox(ctx context.Context, id string) error
	RemovePodSandbox(ctx context.Context, id string) error
	CreateContainer(ctx context.Context, sandboxID string, config *runtimeapi.ContainerConfig, sandbox *runtimeapi.PodSandboxConfig) (string, error)
	StartContainer(ctx context.Context, id string) error
	// StopContainer ends a container: TERM, then KILL after the timeout in seconds.
	StopContainer(ctx context.Context, id string, timeout int64) error
	RemoveContainer(ctx context.Context, id string) error
	// Sandbox inspects one sandbox.
	Sandbox(ctx context.Context, id string) (pod.Sandbox, error)
	// Inspect is a complete report of one pod.
	Inspect(ctx context.Context, uid types.UID) (pod.Report, error)
}

// Images brings images onto the node. held is the ID of the image that the pod has had by this name, empty if it had none; pulling
// is called once if a pull really begins.
type Images interface {
	Ensure(ctx context.Context, p *v1.Pod, c *v1.Container, held string, sandbox *runtimeapi.PodSandboxConfig, pulling func()) (plan.ResolvedImage, plan.Pulled, *plan.Fault)
}

// Volumes sets up and tears down volumes.
type Volumes interface {
	Setup(ctx context.Context, p *v1.Pod, volume string) (translate.Volume, error)
	// Subpath makes part of a volume ready for one mount of a container and returns its host path.
	Subpath(ctx context.Context, p *v1.Pod, container string, mount int, path string) (string, error)
	// Read reads a file of a volume, for env files.
	Read(ctx context.Context, p *v1.Pod, volume, path string) ([]byte, error)
	// TearDown takes away all volumes and sub-paths of a pod.
	TearDown(ctx context.Context, uid types.UID) error
}

// Claims has the devices of ResourceClaims prepared for pods.
type Claims interface {
	Prepare(ctx context.Context, p *v1.Pod) error
	// Unprepare takes back what Prepare has done, or begun, for a pod.
	Unprepare(ctx context.Context, uid types.UID) error
	// Devices are the CDI names of what a container has of its pod's claims.
	Devices(p *v1.Pod, c *v1.Container) ([]string, error)
}

// Cgroups keeps the cgroups of pods.
type Cgroups interface {
	// Ensure makes a pod's cgroup. own tells that containers of it have processors of their own.
	Ensure(ctx context.Context, p *v1.Pod, own bool) error
	// Lost tells whether nothing is there of a pod's cgroup.
	Lost(ctx context.Context, p *v1.Pod) (bool, error)
	// Grow raises limits to what the pod has now and lowers none; Settle sets them to just that.
	Grow(ctx context.Context, p *v1.Pod, own bool) error
	Settle(ctx context.Context, p *v1.Pod, own bool) error
	// Parent is the pod's cgroup in the words of the cgroup driver.
	Parent(p *v1.Pod) string
	Remove(ctx context.Context, uid types.UID) error
}

// Files keeps the directories and files of pods.
type Files interface {
	// Make makes the pod's directories and returns the highest attempt in its log directory by container name.
	Make(ctx context.Context, p *v1.Pod) (map[string]uint32, error)
	// Hosts writes the managed hosts file and returns its path.
	Hosts(ctx context.Context, p *v1.Pod, content []byte) (string, error)
	// Termination makes the backing file of a container's termination message and returns its path.
	Termination(ctx context.Context, p *v1.Pod, container string, attempt uint32) (string, error)
	// End reads the termination message of an ended container (behaviours 82, 83).
	End(ctx context.Context, p *v1.Pod, c *v1.Container, ended pod.Container) (string, error)
	// Link makes the link in /var/log/containers to a container's log, and Unlink removes it.
	Link(ctx context.Context, p *v1.Pod, container, id, logPath string) error
	Unlink(ctx context.Context, p *v1.Pod, container, id string) error
	// Forget removes all directories and logs of a pod.
	Forget(ctx context.Context, p *v1.Pod) error
}

// Hooks runs lifecycle handlers.
type Hooks interface {
	Run(ctx context.Context, kind plan.Kind, p *v1.Pod, c *v1.Container, containerID, podIP string) error
}

// Namespaces hands out ranges of user IDs to pods with user namespaces of their own; nil result means that the pod
// shares the node's.
type Namespaces interface {
	Range(ctx context.Context, p *v1.Pod) (*translate.IDRange, error)
	// Release takes back what a pod had, once its directory is gone.
	Release(uid types.UID)
}

// Objects are what the API server has for pods.
type Objects interface {
	// Fill adds what the variables of a container are made from.
	Fill(ctx context.Context, d *pod.Desired, c *v1.Container, f *environ.Facts) error
	// RuntimeHandler is the runtime's handler that a runtime class stands for.
	RuntimeHandler(ctx context.Context, class string) (string, error)
}

// Config is what a Performer is built from.
type Config struct {
	Runtime    Runtime
	Resizer    Resizer
	Images     Images
	Volumes    Volumes
	Cgroups    Cgroups
	Files      Files
	Hooks      Hooks
	Namespaces Namespaces
	Devices    Devices
	// Objects is nil on a node without an API server.
	Objects Objects
	// Claims is nil on a node without an API server: static pods have none.
	Claims Claims
	// Processors is nil where no container can have processors of its own.
	Processors Processors
	// Node returns the node's settings, with the resolver file read anew.
	Node func() translate.Node
	// Allocatable is what the node can give to pods, for resource fields.
	Allocatable v1.ResourceList
	// HostsFile reads the node's hosts file, for pods in the node's network.
	HostsFile func() []byte
	Notes     note.Sink
}

// Performer carries out effects. It is safe for concurrent use.
type Performer struct {
	cfg Config

	mu sync.Mutex
	// volumes is what SetupVolume has set up in this process, by pod and volume.
	volumes map[types.UID]map[string]translate.Volume
}

// New builds a Performer.
func New(cfg Config) *Performer {
	return &Performer{cfg: cfg, volumes: map[types.UID]map[string]translate.Volume{}}
}

// Do implements the Doer of package worker.
func (x *Performer) Do(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) plan.Outcome {
	var o plan.Outcome
	var err error
	switch e.Kind {
	case plan.Look:
		o.Report, err = x.look(ctx, d)
	case plan.MakePod:
		o.LogAttempts, o.Uprooted, err = x.makePod(ctx, d, seen)
	case plan.SetupVolume:
		err = x.setupVolume(ctx, d, e)
	case plan.PrepareClaims, plan.UnprepareClaims:
		err = x.claims(ctx, d, e)
	case plan.EnsureImage:
		return x.ensureImage(ctx, d, e)
	case plan.RunSandbox:
		o.Report, err = x.runSandbox(ctx, d, e)
	case plan.CreateContainer:
		o.Report, err = x.createContainer(ctx, d, e, seen)
	case plan.StartContainer:
		o.Report, err = x.startContainer(ctx, d, e, seen)
	case plan.PostStart, plan.PreStop:
		err = x.hook(ctx, d, e, seen)
	case plan.StopContainer:
		o.Report, err = x.stopContainer(ctx, d, e)
	case plan.ReadEnd:
		o.Report, err = x.readEnd(ctx, d, e, seen)
	case plan.UpdateContainer:
		err = x.updateContainer(ctx, d, e, seen)
	case plan.GrowPod, plan.SettlePod:
		err = x.resizePod(ctx, d, e, seen)
	case plan.TakeDevices:
		o.Handed, o.Failed = x.takeDevices(ctx, d, seen)
		return o
	case plan.RemoveContainer:
		o.Report, err = x.removeContainer(ctx, d, e, seen)
	case plan.StopSandbox:
		o.Report, err = x.endSandbox(ctx, d, e, x.cfg.Runtime.StopPodSandbox)
	case plan.RemoveSandbox:
		o.Report, err = x.endSandbox(ctx, d, e, x.cfg.Runtime.RemovePodSandbox)
	case plan.TearVolumes:
		err = x.tearVolumes(ctx, d)
	case plan.UnmakePod:
		err = x.cfg.Cgroups.Remove(ctx, d.UID())
	case plan.ForgetPod:
		x.cfg.Namespaces.Release(d.UID())
		err = x.cfg.Files.Forget(ctx, d.Pod)
	}
	o.Failed = failure(err)
	return o
}

// failure translates an error into what plans understand.
func failure(err error) *plan.Fault {
	if err == nil {
		return nil
	}
	f := &plan.Fault{Message: err.Error()}
	if errors.Is(err, fault.ErrUnavailable) {
		f.Class = plan.Soon
	}
	f.Missing = errors.Is(err, fault.ErrNotFound)
	var refused *translate.ConfigError
	if errors.As(err, &refused) {
		f.Reason = refused.Reason
	}
	return f
}

// own is a report of what a call of this agent made true.
func own(at time.Time, s []pod.Sandbox, c []pod.Container) *pod.Report {
	for i := range s {
		s[i].Seen = at
	}
	for i := range c {
		c[i].Seen = at
	}
	return &pod.Report{Own: true, Began: at, Sandboxes: s, Containers: c}
}

func (x *Performer) look(ctx context.Context, d *pod.Desired) (*pod.Report, error) {
	r, err := x.cfg.Runtime.Inspect(ctx, d.UID())
	if err != nil {
		return nil, err
	}
	return &r, nil
}
