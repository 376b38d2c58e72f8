package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/reason"
)

// flight is one pull that one or more callers wait for.
//
//	queued ──► running ──► done
//	   └──────────┴── the last caller left: cancelled ──► done
type flight struct {
	key    string
	image  string
	since  time.Time
	cancel context.CancelFunc
	// Guarded by Puller.mu: who waits, and when the runtime was asked (zero while queued).
	waiters int
	began   time.Time
	// Written before done is closed, read after.
	done    chan struct{}
	arrived arrival
	took    time.Duration
	err     error
}

// arrival is how a pull ended well.
type arrival struct {
	image *runtimeapi.Image
	// ref is what the image is known by in the records.
	ref string
	// used is which of the logins let it in; -1 if none was needed.
	used int
}

// order is what the runtime is asked for.
type order struct {
	asked   string
	spec    *runtimeapi.ImageSpec
	sandbox *runtimeapi.PodSandboxConfig
	logins  []credential.Found
	advice  error
}

// flightKey is equal for pulls that may be shared: nobody may get an image by somebody else's login. It keeps no
// login in the clear.
func flightKey(spec *runtimeapi.ImageSpec, logins []credential.Found) string {
	sum := sha256.New()
	for _, l := range logins {
		for _, s := range []string{l.Username, l.Password, l.IdentityToken, l.RegistryToken} {
			fmt.Fprintf(sum, "%d:%s", len(s), s)
		}
	}
	return spec.Image + "\x00" + spec.RuntimeHandler + "\x00" + hex.EncodeToString(sum.Sum(nil))
}

// join finds the flight for an order, or begins it.
func (p *Puller) join(ctx context.Context, key string, o order) *flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.flights[key]
	if f == nil {
		// The flight outlives its first caller if others still want it.
		run, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{key: key, image: o.asked, since: time.Now(), cancel: cancel, done: make(chan struct{})}
		p.flights[key] = f
		go p.fly(run, f, o)
	}
	f.waiters++
	return f
}

// leave takes a caller off a flight and tells whether it was the last one: then the flight is cancelled, and nobody
// can join it any more.
func (p *Puller) leave(f *flight) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.waiters--
	if f.waiters > 0 {
		return false
	}
	p.forget(f)
	f.cancel()
	return true
}

// forget needs p.mu.
func (p *Puller) forget(f *flight) {
	if p.flights[f.key] == f {
		delete(p.flights, f.key)
	}
	if len(p.flights) == 0 {
		p.meter = meter{}
	}
}

// fly carries out a pull: wait for a slot, ask the limiter, try each login, look at the result.
func (p *Puller) fly(ctx context.Context, f *flight, o order) {
	defer f.cancel()
	a, err := p.inSlot(ctx, f, o)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(f)
	f.arrived, f.err = a, err
	close(f.done)
}

func (p *Puller) inSlot(ctx context.Context, f *flight, o order) (arrival, error) {
	if p.slots != nil {
		if err := p.slots.Acquire(ctx, 1); err != nil {
			return arrival{}, left(ctx, o.asked)
		}
		defer p.slots.Release(1)
	}
	if p.limiter != nil && !p.limiter.Allow() {
		return arrival{}, &Error{Reason: reason.ErrImagePull, Image: o.asked, Message: ErrQPS.Error(), cause: ErrQPS}
	}
	began := time.Now()
	p.mu.Lock()
	f.began = began
	p.mu.Unlock()
	if p.records == nil {
		return p.bring(ctx, f, o)
	}
	if err := p.records.begin(ctx, o.spec.Image); err != nil {
		if ctx.Err() != nil {
			return arrival{}, left(ctx, o.asked)
		}
		return arrival{}, unrecorded(o.asked, err)
	}
	a, err := p.bring(ctx, f, o)
	if err != nil {
		p.records.failed(ctx, o.spec.Image, f.took > 0 || torn(ctx, err))
		return arrival{}, err
	}
	p.records.arrived(ctx, o.spec.Image, a.ref, o.by(a.used))
	return a, nil
}

// bring pulls and looks at the result. The flight's took is set as soon as the runtime has said that the image is there.
func (p *Puller) bring(ctx context.Context, f *flight, o order) (arrival, error) {
	began := time.Now()
	ref, used, err := p.tryLogins(ctx, o)
	if err != nil {
		return arrival{}, err
	}
	f.took = max(time.Since(began), 1)
	img, err := p.lookAt(ctx, o, ref)
	if err != nil {
		return arrival{}, err
	}
	a := arrival{image: img, ref: refOf(img, o.spec.Image), used: used}
	if img.Id == "" { // terse runtimes: what it calls itself after a pull is its identity
		a.image = &runtimeapi.Image{Id: ref, Size: img.Size, Uid: img.Uid, Username: img.Username}
	}
	return a, nil
}

// tryLogins asks the runtime with one login after the other, or anonymously if there is none (behaviour 159). It tells which
// one was let in, -1 if there is none.
func (p *Puller) tryLogins(ctx context.Context, o order) (ref string, used int, err error) {
	logins, first := o.plain(), 0
	if len(logins) == 0 {
		logins, first = []credential.Login{{}}, -1
	}
	var errs []error
	for i, l := range logins {
		ref, err := p.service.PullImage(ctx, o.spec, authOf(l), o.sandbox)
		if err == nil {
			return ref, first + i, nil
		}
		if ctx.Err() != nil {
			return "", 0, left(ctx, o.asked)
		}
		errs = append(errs, scrubbed(err, "pull image "+o.spec.Image, o.plain()))
	}
	return "", 0, pullError(o.asked, errs, o.advice)
}

// plain are the logins without whose they are.
func (o order) plain() []credential.Login {
	var all []credential.Login
	for _, f := range o.logins {
		all = append(all, f.Login)
	}
	return all
}

// by is the login that let a pull in.
func (o order) by(used int) credential.Found {
	if used < 0 {
		return credential.Found{Node: true}
	}
	return o.logins[used]
}

// lookAt finds out size and user of what was pulled.
func (p *Puller) lookAt(ctx context.Context, o order, ref string) (*runtimeapi.Image, error) {
	img, err := p.service.ImageStatus(ctx, &runtimeapi.ImageSpec{Image: ref, UserSpecifiedImage: o.spec.UserSpecifiedImage, RuntimeHandler: o.spec.RuntimeHandler})
	switch {
	case err != nil:
		return nil, inspectError(ctx, o.asked, ref, err)
	case img == nil:
		return nil, &Error{Reason: reason.ErrImagePull, Image: o.asked,
			Message: fmt.Sprintf("the runtime reported image %q as pulled (%s) but does not have it", o.asked, credential.Scrub(ref))}
	}
	return img, nil
}

func authOf(l credential.Login) *runtimeapi.AuthConfig {
	if l.Anonymous() {
		return nil
	}
	return &runtimeapi.AuthConfig{Username: l.Username, Password: l.Password, IdentityToken: l.IdentityToken, RegistryToken: l.RegistryToken}
}
