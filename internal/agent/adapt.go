package agent

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/hook"
	"github.com/bosun-project/bosun/internal/image"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/narrate"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/objects"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/probe"
	"github.com/bosun-project/bosun/internal/runtime"
	"github.com/bosun-project/bosun/internal/worker"
)

// images fits the puller to what perform asks.
type images struct {
	puller *image.Puller
	// holds keeps images from being collected while they are wished for.
	holds   *image.Holds
	metrics *metrics.Metrics
	// objects tells what has the secrets of a pod; nil if nothing has. accounts has its service account; nil without an API server.
	objects  func(*v1.Pod) *objects.Loop
	accounts *objects.Loop
	notes    note.Sink
	// pulled counts pulls.
	pulled *latest.Cell[int]
}

func (i images) Ensure(
	ctx context.Context, p *v1.Pod, c *v1.Container, held string, sandbox *runtimeapi.PodSandboxConfig, pulling func(),
) (plan.ResolvedImage, plan.Pulled, *plan.Fault) {
	pulled := false
	logins, lacking := pullSecrets(ctx, i.objects(p), p)
	if len(lacking) > 0 {
		i.notes(narrate.NoPullSecret(p, lacking, time.Now()))
	}
	request := image.Request{
		Image: c.Image, Policy: c.ImagePullPolicy, Held: held, Annotations: p.Annotations, Sandbox: sandbox, By: credential.Asker{Secrets: logins, Identity: identityOf(i.accounts, p)},
		OnPull: func() {
			pulled = true
			pulling()
		},
	}
	r, err := i.holds.Ensure(ctx, append(image.Names(c.Image), held), func() (image.Result, error) { return i.puller.Ensure(ctx, request) })
	if pulled {
		i.pulled.Set(i.pulled.Value() + 1) // only that it changes counts
	}
	if err == nil {
		i.metrics.Image(c.ImagePullPolicy, pulled, "")
		return plan.ResolvedImage{ID: r.ID, User: r.User},
			plan.Pulled{Image: c.Image, Present: r.Present, Open: r.Open, Took: r.Took, Waited: r.Waited, Bytes: r.Bytes}, nil
	}
	f := &plan.Fault{Message: err.Error()}
	var refused *image.Error
	if errors.As(err, &refused) {
		i.metrics.Image(c.ImagePullPolicy, pulled, refused.Reason)
		f.Reason = refused.Reason
		if refused.RuntimeAway() {
			f.Class = plan.Soon
		}
	}
	return plan.ResolvedImage{}, plan.Pulled{}, f
}

// downloads asks a runtime that calls itself containerd how far its downloads are. Others have none to tell of.
type downloads struct {
	containerd *image.ContainerdIngests
	name       func() string
}

// downloadsWait bounds how long the answer may take: a look at the pulls must not hang with the runtime.
const downloadsWait = 2 * time.Second

func (d downloads) List(ctx context.Context) ([]image.Ingest, error) {
	if d.name() != "containerd" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, downloadsWait)
	defer cancel()
	return d.containerd.List(ctx)
}

// hooks fits the runner of lifecycle handlers to what perform asks.
type hooks struct {
	runner  *hook.Runner
	metrics *metrics.Metrics
}

func (h hooks) Run(ctx context.Context, kind plan.Kind, p *v1.Pod, c *v1.Container, containerID, podIP string) error {
	_, path := pod.FindContainer(p, c.Name)
	q := hook.Request{Kind: hook.PreStop, Pod: p, Container: c, ContainerID: containerID, FieldPath: path, PodIP: podIP}
	if c.Lifecycle != nil {
		q.Handler = c.Lifecycle.PreStop
	}
	if kind == plan.PostStart {
		q.Kind = hook.PostStart
		if c.Lifecycle != nil {
			q.Handler = c.Lifecycle.PostStart
		}
	}
	err := h.runner.Run(ctx, q)
	if err != nil && q.Handler != nil && q.Handler.Sleep != nil { // a pause fails only by being cut
		h.metrics.SleepCut()
	}
	return err
}

// commands runs commands of hooks in containers.
type commands struct{ client *runtime.Client }

func (c commands) Exec(ctx context.Context, id string, command []string) (stdout, stderr []byte, exitCode int32, err error) {
	r, err := c.client.ExecSync(ctx, id, command, 0)
	return r.Stdout, r.Stderr, r.ExitCode, err
}

// meter counts what happens to probes.
type meter struct{ metrics *metrics.Metrics }

func (m meter) Asked(w probe.Which, r health.Result, took time.Duration) {
	m.metrics.ProbeAsked(metrics.Probe(w), r, took)
}
func (m meter) Forgiven(w probe.Which, _ time.Duration) { m.metrics.ProbeForgiven(metrics.Probe(w)) }
func (m meter) Forget(w probe.Which)                    { m.metrics.ProbeForgotten(metrics.Probe(w)) }

// counted hands reports on to the workers and lets the metrics count what they tell of.
type counted struct {
	set     *worker.Set
	metrics *metrics.Metrics
}

func (c counted) Deliver(uid types.UID, r pod.Report) {
	c.metrics.Seen(uid, r)
	c.set.Deliver(uid, r)
}
