package image

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/reason"
)

// Service is the part of the runtime's image service that is needed.
type Service interface {
	// ImageStatus returns the image, or nil if the runtime does not have it.
	ImageStatus(ctx context.Context, image *runtimeapi.ImageSpec) (*runtimeapi.Image, error)
	// PullImage brings the image onto the node and returns its ID. It has no time limit but ctx (behaviour 166) and
	// must return soon after ctx ends. Auth is nil for an anonymous pull.
	PullImage(ctx context.Context, image *runtimeapi.ImageSpec, auth *runtimeapi.AuthConfig, sandbox *runtimeapi.PodSandboxConfig) (string, error)
}

// Keyring finds logins, in the order to try them. An error is only told of if the registry refuses.
type Keyring interface {
	Lookup(ctx context.Context, image string, by credential.Asker) ([]credential.Found, error)
	// Own are the pod's own claims to an image, found without asking any program. The error tells why the account is not known.
	Own(ctx context.Context, image string, by credential.Asker) (logins []credential.Found, account credential.Owner, err error)
}

// Config says what a Puller uses and how much of it.
type Config struct {
	Service Service
	// Keyring may be nil: all pulls are anonymous.
	Keyring Keyring
	// Ingests tells how far downloads are; nil if the runtime cannot.
	Ingests Ingests
	// Serialize lets one pull run at a time (serializeImagePulls); MaxParallel else limits them, 0 meaning not at all.
	Serialize   bool
	MaxParallel int
	// QPS and Burst limit how often pulls begin (registryPullQPS, registryBurst); QPS 0 does not.
	QPS   float64
	Burst int
	// Records remember who has pulled what; nil for nobody: everybody may use what is on the node (behaviour 164).
	Records *Records
	// Verify says which images need not be known to be the pod's; Allowed are those of the allow list.
	Verify  Verification
	Allowed []string
	// Checked is told each time it was asked whether a pod may use an image that is there, in a word for metrics: one of the constants
	// below. Nil for nobody.
	Checked func(answer string)
	// Log hears of what keeps an image from being known; nil for nobody.
	Log *slog.Logger
}

// Puller makes sure that images are on the node. It is safe for concurrent use.
type Puller struct {
	service Service
	keyring Keyring
	ingests Ingests
	slots   *semaphore.Weighted // nil: no limit; first come, first served
	limiter *rate.Limiter       // nil: no limit
	records *Records            // nil: none are kept
	verify  Verification
	allowed []string
	log     *slog.Logger
	checked func(string)

	mu      sync.Mutex
	flights map[string]*flight
	meter   meter
}

// New builds a Puller.
func New(c Config) *Puller {
	p := &Puller{
		service: c.Service, keyring: c.Keyring, ingests: c.Ingests, flights: map[string]*flight{},
		records: c.Records, verify: c.Verify, allowed: c.Allowed, log: cmp.Or(c.Log, slog.New(slog.DiscardHandler)), checked: c.Checked,
	}
	if p.checked == nil {
		p.checked = func(string) {}
	}
	switch {
	case c.Serialize:
		p.slots = semaphore.NewWeighted(1)
	case c.MaxParallel > 0:
		p.slots = semaphore.NewWeighted(int64(c.MaxParallel))
	}
	if c.QPS > 0 {
		p.limiter = rate.NewLimiter(rate.Limit(c.QPS), max(c.Burst, 1)) // a burst of 0 would refuse every pull
	}
	return p
}

// Request is one container's wish for an image.
type Request struct {
	// Image is the name from the specification.
	Image string
	// Policy is the container's pull policy. An empty one means IfNotPresent.
	Policy v1.PullPolicy
	// Handler is the runtime handler to pull for; empty for the default one.
	Handler string
	// Held is the ID of the image that the pod has had by this name; empty if it had none. If it is still there it is taken
	// whatever the policy says, and whatever the name stands for now.
	Held string
	// Annotations are the pod's; runtimes may pick a variant of the image by them.
	Annotations map[string]string
	// Sandbox is the pod's sandbox configuration, nil if there is none. Callers who share a pull share the first
	// one's annotations and sandbox.
	Sandbox *runtimeapi.PodSandboxConfig
	// By is the pod, as far as its logins go.
	By credential.Asker
	// OnPull is called once if the image has to be pulled, before the pull is queued; nil is fine.
	OnPull func()
}

// Result is an image that is on the node.
type Result struct {
	// ID identifies the content: what to create a container from.
	ID string
	// User is the numeric uid or the name the image wants to run as; empty if it names none.
	User string
	// Bytes is the image's size.
	Bytes int64
	// Present tells that the image was there and nothing was pulled; Pulled is its opposite.
	Present, Pulled bool
	// Open tells that nobody asks who may use what is on the node.
	Open bool
	// Took is the pull alone, Waited the whole time from the request, the queue included.
	Took, Waited time.Duration
}

// Ensure returns when the image is on the node as the policy asks for, or cannot be. The error is an *Error, or ctx's
// when it ended first: then this caller has left the pull.
func (p *Puller) Ensure(ctx context.Context, r Request) (Result, error) {
	name, err := Normalise(r.Image)
	if err != nil {
		return Result{}, err
	}
	spec := &runtimeapi.ImageSpec{Image: name, UserSpecifiedImage: r.Image, RuntimeHandler: r.Handler, Annotations: r.Annotations}
	if got, ok := p.held(ctx, r, name); ok {
		return got, nil
	}
	if r.Policy != v1.PullAlways {
		img, err := p.service.ImageStatus(ctx, spec)
		switch {
		case err != nil:
			return Result{}, inspectError(ctx, r.Image, name, err)
		case img != nil:
			switch may, err := p.mayUse(ctx, r, name, img); {
			case err != nil:
				return Result{}, err
			case may:
				return resultOf(img, Result{Present: true, Open: p.records == nil}), nil
			}
		}
		if r.Policy == v1.PullNever {
			return Result{}, neverPulled(r.Image, img != nil)
		}
	}
	return p.pull(ctx, r, spec)
}

// held returns the image that the pod has had, if it is there and the pod may use it.
func (p *Puller) held(ctx context.Context, r Request, name string) (Result, bool) {
	if r.Held == "" {
		return Result{}, false
	}
	img, err := p.service.ImageStatus(ctx, &runtimeapi.ImageSpec{Image: r.Held})
	if err != nil || img == nil {
		return Result{}, false
	}
	if may, err := p.mayUse(ctx, r, name, img); err != nil || !may {
		return Result{}, false
	}
	return resultOf(img, Result{Present: true, Open: p.records == nil}), true
}

// pull joins or begins the pull of an image.
func (p *Puller) pull(ctx context.Context, r Request, spec *runtimeapi.ImageSpec) (Result, error) {
	began := time.Now()
	var logins []credential.Found
	var advice error
	if p.keyring != nil {
		logins, advice = p.keyring.Lookup(ctx, spec.Image, r.By)
	}
	if ctx.Err() != nil {
		return Result{}, left(ctx, r.Image)
	}
	if r.OnPull != nil {
		r.OnPull()
	}
	o := order{asked: r.Image, spec: spec, sandbox: r.Sandbox, logins: logins, advice: advice}
	f := p.join(ctx, flightKey(spec, logins), o)
	select {
	case <-f.done:
	case <-ctx.Done():
		if p.leave(f) {
			<-f.done // cancelled by leaving; nothing of it may go on
		}
		return Result{}, left(ctx, r.Image)
	}
	if f.err != nil {
		return Result{}, f.err
	}
	if p.records != nil { // the same login may be in another secret of another pod
		p.records.share(ctx, f.arrived.ref, repositoryOf(spec.Image), o.by(f.arrived.used))
	}
	return resultOf(f.arrived.image, Result{Pulled: true, Took: f.took, Waited: time.Since(began)}), nil
}

func neverPulled(image string, present bool) *Error {
	message := fmt.Sprintf("Container image %q is not present with pull policy of Never", image)
	if present {
		message = fmt.Sprintf("Container image %q is present with pull policy of Never, but no login of the pod is known to have pulled it", image)
	}
	return &Error{Reason: reason.ErrImageNeverPull, Image: image, Message: message}
}

func resultOf(img *runtimeapi.Image, r Result) Result {
	r.ID, r.Bytes, r.User = img.Id, int64(img.Size), img.Username
	if img.Uid != nil {
		r.User = strconv.FormatInt(img.Uid.Value, 10)
	}
	return r
}

// inspectError names a failed inspection; asked is the name that the runtime was asked for.
func inspectError(ctx context.Context, image, asked string, err error) error {
	if ctx.Err() != nil {
		return left(ctx, image)
	}
	err = scrubbed(err, "inspect image "+asked, nil)
	return &Error{Reason: reason.ImageInspectError, Image: image, Message: fmt.Sprintf("Failed to inspect image %q: %v", image, err), cause: err}
}

func left(ctx context.Context, image string) error {
	return fmt.Errorf("ensure image %s: %w", image, context.Cause(ctx))
}
