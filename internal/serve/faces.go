package serve

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/image"
	"github.com/bosun-project/bosun/internal/machine"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/runtime"
	"github.com/bosun-project/bosun/internal/source"
	"github.com/bosun-project/bosun/internal/usage"
	"github.com/bosun-project/bosun/internal/worker"
)

// Pods is the table of pods.
type Pods interface {
	// Pods returns the newest entries by namespace and name, and a channel that is closed when any is newer.
	Pods() ([]*worker.Entry, <-chan struct{})
}

// Streams asks the runtime for the URL of a stream to a container.
type Streams interface {
	Exec(ctx context.Context, request *cri.ExecRequest) (string, error)
	Attach(ctx context.Context, request *cri.AttachRequest) (string, error)
}

// Forwarder asks the runtime for the URL of a stream to ports of a sandbox.
type Forwarder interface {
	PortForward(ctx context.Context, sandbox string, ports []int32) (string, error)
}

// Containers does things to running containers that are over when the call is.
type Containers interface {
	ExecSync(ctx context.Context, id string, command []string, timeout time.Duration) (runtime.ExecResult, error)
	CheckpointContainer(ctx context.Context, id, location string, timeoutSeconds int64) error
}

// Numbers is what the faces need of the metrics.
type Numbers interface {
	Handler() http.Handler
	SLIHandler() http.Handler
	ProbesHandler() http.Handler
	// Request counts a request that begins; what it returns is called at its end.
	Request(method, path, server string, longRunning bool) func()
	Healthcheck(name string, ok bool)
	// WebSocket counts a stream that came as a WebSocket: exec, attach or portforward.
	WebSocket(subresource string)
}

// Usage reads what the node and its pods use. What it gives is shared and not changed.
type Usage interface {
	Read(ctx context.Context, depth usage.Depth) (*usage.Snapshot, error)
}

// Config is where the answers come from. Pods and Status are needed; what else is nil or empty is not served, or empty.
type Config struct {
	Pods   Pods
	Status func(*worker.Entry) v1.PodStatus
	// MirrorUID is the UID of a static pod's mirror pod, empty if it has none.
	MirrorUID func(static types.UID) types.UID
	// PodLogsDir is where the logs of all pods are.
	PodLogsDir string
	// SplitLogStreams is the gate PodLogsQuerySplitStreams: whether ?stream= is honoured.
	SplitLogStreams bool
	// AllocatedPods is the gate KubeletAllocatedPodsEndpoint: whether /allocatedPods is served.
	AllocatedPods bool
	// OldWebSockets is the gate ExtendWebSocketsToKubelet off: WebSockets of exec and attach go to the runtime as they are.
	OldWebSockets bool
	// Notes returns what happened, oldest first; Problems the manifests that cannot be used.
	Notes    func() []note.Note
	Problems func() []source.Problem
	// Troubles are what is wrong with the node as a whole, Waits what a pod waits for beside what its plan knows.
	Troubles   func() []Trouble
	Waits      func(types.UID) []worker.Waiting
	Machine    func() (*machine.Info, error)
	Pulls      func(context.Context) (image.Progress, error)
	Streams    Streams
	Forward    Forwarder
	Containers Containers
	Numbers    Numbers
	// Usage is for /stats/summary, /metrics/resource and /metrics/cadvisor; the others are what these tell of the node beside.
	Usage                     Usage
	NodeName, OSImage, Kernel string
	// CheckpointsDir is where checkpoints of containers go; empty: none are made.
	CheckpointsDir string
	// SystemLogsDir is the directory that /logs/ shows (/var/log); empty is enableSystemLogHandler off.
	SystemLogsDir string
	// SystemLogQuery is enableSystemLogQuery: whether /logs/?query= asks the journal.
	SystemLogQuery bool
	// Checks are asked by /healthz beside ping and log, which always pass while the server answers.
	Checks []Check
	// Debugging is enableDebuggingHandlers: whether logs, exec, attach and the like are served.
	Debugging bool
	// Profiling is enableProfilingHandler: whether /debug/pprof is served.
	Profiling bool
	// SetVerbosity sets how much is logged, 0 to 10 as klog counts; nil is enableDebugFlagsHandler off.
	SetVerbosity func(level int)
	// Kubelet is the configuration in force, for /configz. It must hold no secrets.
	Kubelet *config.KubeletConfiguration
	// Flags are the command line's flags in force, by name, for /flagz. They must hold no secrets.
	Flags func() map[string]string
	// About is what /statusz says of this program.
	About *About
	// Trace makes spans of the requests to the secure server that were let in; nil: none are made.
	Trace func(http.Handler) http.Handler
	Log   *slog.Logger
}

// About is a running program.
type About struct {
	// Version is the Kubernetes version it claims, such as 1.37.1.
	Version string
	Started time.Time
}

// Faces answers requests.
type Faces struct {
	cfg Config
	now func() time.Time
	// journal is the command that reads the system's journal.
	journal string
	// machine is the description of the machine once somebody asked for it.
	machine described
}

// New builds the faces; Handler serves them.
func New(cfg Config) *Faces {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Notes == nil {
		cfg.Notes = func() []note.Note { return nil }
	}
	if cfg.Problems == nil {
		cfg.Problems = func() []source.Problem { return nil }
	}
	if cfg.Troubles == nil {
		cfg.Troubles = func() []Trouble { return nil }
	}
	if cfg.Waits == nil {
		cfg.Waits = func(types.UID) []worker.Waiting { return nil }
	}
	if cfg.Pulls == nil {
		cfg.Pulls = func(context.Context) (image.Progress, error) { return image.Progress{}, nil }
	}
	if cfg.MirrorUID == nil {
		cfg.MirrorUID = func(types.UID) types.UID { return "" }
	}
	if cfg.Numbers == nil {
		cfg.Numbers = noNumbers{}
	}
	return &Faces{cfg: cfg, now: time.Now, journal: "journalctl"}
}

type noNumbers struct{}

func (noNumbers) Handler() http.Handler                 { return http.NotFoundHandler() }
func (noNumbers) SLIHandler() http.Handler              { return http.NotFoundHandler() }
func (noNumbers) ProbesHandler() http.Handler           { return http.NotFoundHandler() }
func (noNumbers) Request(_, _, _ string, _ bool) func() { return func() {} }
func (noNumbers) Healthcheck(name string, ok bool)      {}
func (noNumbers) WebSocket(string)                      {}
