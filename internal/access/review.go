package access

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"

	"github.com/bosun-project/bosun/internal/fault"
)

const (
	// oneCall bounds one question to the API server, allCalls one question with its repetitions.
	oneCall  = 10 * time.Second
	allCalls = 30 * time.Second
	// tries is how often a question is asked that is not answered; between two tries goes by a pause that grows.
	tries      = 5
	firstPause = 500 * time.Millisecond
	growth     = 1.5
	jitter     = 0.2
)

// may tells whether somebody may do what they ask; nil if so.
func (g *Gate) may(ctx context.Context, u User, method, path string) *Denial {
	if g.cfg.AlwaysAllow {
		return nil
	}
	verb, about := verbs[method], subresources(path)
	for _, sub := range about {
		allowed, err := g.allowed(ctx, g.question(u, verb, sub))
		if err != nil {
			return &Denial{Code: http.StatusInternalServerError, Cause: err,
				Text: fmt.Sprintf("Authorization error (user=%s, verb=%s, resource=nodes, subresource=%s)", u.Name, verb, sub)}
		}
		if allowed {
			return nil
		}
	}
	return &Denial{Code: http.StatusForbidden,
		Text: fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=%v)", u.Name, verb, about)}
}

func (g *Gate) question(u User, verb, subresource string) *authzv1.SubjectAccessReview {
	q := &authzv1.SubjectAccessReview{Spec: authzv1.SubjectAccessReviewSpec{
		User: u.Name, UID: u.UID, Groups: u.Groups,
		ResourceAttributes: &authzv1.ResourceAttributes{
			Verb: verb, Version: "v1", Resource: "nodes", Subresource: subresource, Name: g.cfg.NodeName,
		},
	}}
	for name, values := range u.Extra {
		if q.Spec.Extra == nil {
			q.Spec.Extra = map[string]authzv1.ExtraValue{}
		}
		q.Spec.Extra[name] = values
	}
	return q
}

// allowed asks the API server, unless the answer is known.
func (g *Gate) allowed(ctx context.Context, q *authzv1.SubjectAccessReview) (bool, error) {
	text, err := json.Marshal(&q.Spec)
	if err != nil {
		return false, fmt.Errorf("write the question whether %s may: %w", q.Spec.User, err)
	}
	return g.decisions.get(ctx, sha256.Sum256(text), func(ctx context.Context) (bool, keep, error) {
		var answer *authzv1.SubjectAccessReview
		err := insist(ctx, func(ctx context.Context) (err error) {
			began := time.Now()
			answer, err = g.cfg.Reviewer.ReviewAccess(ctx, q)
			g.cfg.Meter.MayAsked(codeOf(err), time.Since(began))
			return err
		})
		switch {
		case err != nil:
			return false, keep{}, fmt.Errorf("ask the API server whether %s may: %w", q.Spec.User, err)
		case answer.Status.Allowed && answer.Status.Denied:
			return false, keep{}, errors.New("the API server says both that it is allowed and that it is denied")
		case answer.Status.Allowed:
			return true, keep{lasts: g.cfg.AllowedTTL}, nil
		}
		return false, keep{lasts: g.cfg.DeniedTTL, bad: true}, nil
	})
}

func (g *Gate) reviewToken(ctx context.Context, token string) (authnv1.TokenReviewStatus, error) {
	var answer *authnv1.TokenReview
	g.cfg.Meter.Fetching(1, false)
	defer g.cfg.Meter.Fetching(-1, false)
	err := insist(ctx, func(ctx context.Context) (err error) {
		began := time.Now()
		answer, err = g.cfg.Reviewer.ReviewToken(ctx, &authnv1.TokenReview{Spec: authnv1.TokenReviewSpec{Token: token}})
		g.cfg.Meter.WhoAsked(codeOf(err), time.Since(began))
		return err
	})
	g.cfg.Meter.Fetched(err == nil && answer.Status.Authenticated)
	if err != nil {
		return authnv1.TokenReviewStatus{}, fmt.Errorf("ask the API server whose token it is: %w", err)
	}
	return answer.Status, nil
}

// insist asks until there is an answer, or an error that will not pass.
func insist(ctx context.Context, ask func(context.Context) error) error {
	ctx, done := context.WithTimeout(ctx, allCalls)
	defer done()
	pause := firstPause
	for try := 1; ; try++ {
		err := once(ctx, ask)
		if err == nil || try == tries || ctx.Err() != nil || !passes(err) {
			return err
		}
		timer := time.NewTimer(pause + time.Duration(rand.Float64()*jitter*float64(pause)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause = time.Duration(float64(pause) * growth)
	}
}

func once(ctx context.Context, ask func(context.Context) error) error {
	ctx, done := context.WithTimeout(ctx, oneCall)
	defer done()
	return ask(ctx)
}

// passes tells whether an error may be gone when the question is asked again.
func passes(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fault.ErrUnavailable) || errors.Is(err, fault.ErrTimeout) || errors.Is(err, fault.ErrExhausted)
}
