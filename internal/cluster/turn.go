package cluster

import (
	"context"
	"time"

	"k8s.io/client-go/util/flowcontrol"
)

// turn is what is known of one call, over all the times that its request is sent. It goes along in the call's context.
type turn struct {
	// waited is how long the request waited before it was sent next; negative if nothing made it wait.
	waited time.Duration
	// code is what it was answered with; empty if it was not sent yet.
	code string
}

type turnKey struct{}

func withTurn(ctx context.Context) context.Context {
	return context.WithValue(ctx, turnKey{}, &turn{waited: -1})
}

// tell puts into what is told of a request what its turn was like.
func (r *Request) tell(ctx context.Context) {
	t, _ := ctx.Value(turnKey{}).(*turn)
	if t == nil {
		r.Waited = -1
		return
	}
	r.Waited, r.Again = t.waited, t.code
	t.waited, t.code = -1, r.Code
}

// patient is a limiter that notes how long it makes a request wait.
type patient struct{ flowcontrol.RateLimiter }

// Wait implements flowcontrol.RateLimiter.
func (p patient) Wait(ctx context.Context) error {
	began := time.Now()
	err := p.RateLimiter.Wait(ctx)
	if t, _ := ctx.Value(turnKey{}).(*turn); t != nil {
		t.waited = time.Since(began)
	}
	return err
}
