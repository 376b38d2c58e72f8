package serve

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/image"
	"github.com/bosun-project/bosun/internal/machine"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/source"
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

// Numbers is what the faces need of the metrics.
type Numbers interface {
	Handler() http.Handler
	SLIHandler() http.Handler
	ProbesHandler() http.Handler
	// Request counts a request that begins; what it returns is called at its end.
	Request(method, path, server string, longRunning bool) func()
	Healthcheck(name string, ok bool)
}

// Config is where the answers come from. Pods and Status are needed; what else is nil is not served, or empty.
type Config struct {
	Pods   Pods
	Status func(*worker.Entry) v1.PodStatus
	// PodLogsDir is where the logs of all pods are.
	PodLogsDir string
	// Notes returns what happened, oldest first; Problems the manifests that cannot be used.
	Notes    func() []note.Note
	Problems func() []source.Problem
	Machine  func() (*machine.Info, error)
	Pulls    func(context.Context) (image.Progress, error)
	Streams  Streams
	Numbers  Numbers
	// Checks are asked by /healthz beside ping and log, which always pass while the server answers.
	Checks []Check
	// Debugging is enableDebuggingHandlers: whether logs, exec, attach and the like are served.
	Debugging bool
	Log       *slog.Logger
}

// Faces answers requests.
type Faces struct {
	cfg Config
	now func() time.Time
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
	if cfg.Pulls == nil {
		cfg.Pulls = func(context.Context) (image.Progress, error) { return image.Progress{}, nil }
	}
	if cfg.Numbers == nil {
		cfg.Numbers = noNumbers{}
	}
	return &Faces{cfg: cfg, now: time.Now}
}

type noNumbers struct{}

func (noNumbers) Handler() http.Handler                 { return http.NotFoundHandler() }
func (noNumbers) SLIHandler() http.Handler              { return http.NotFoundHandler() }
func (noNumbers) ProbesHandler() http.Handler           { return http.NotFoundHandler() }
func (noNumbers) Request(_, _, _ string, _ bool) func() { return func() {} }
func (noNumbers) Healthcheck(name string, ok bool)      {}
