package objects

import (
	"context"
	"fmt"
	"time"

	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	node "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/fault"
)

// ConfigMap returns a ConfigMap; nobody may change it. It waits for the first answer about it, at most Config.Patience. The error
// is *environ.Missing if it does not exist.
func (l *Loop) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	return l.wait().configMap(ctx, namespace, name)
}

// Secret is ConfigMap for a Secret.
func (l *Loop) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	return l.wait().secret(ctx, namespace, name)
}

// RuntimeClass is ConfigMap for a runtime class; the error is fault.ErrNotFound if it does not exist.
func (l *Loop) RuntimeClass(ctx context.Context, name string) (*node.RuntimeClass, error) {
	value, err := l.wait().read(ctx, key{kind: runtimeClasses})
	if err != nil {
		return nil, err
	}
	all, _ := value.([]*node.RuntimeClass)
	for _, c := range all {
		if c.Name == name {
			return c, nil
		}
	}
	return nil, fault.As(fault.ErrNotFound, fmt.Errorf("runtimeclass.node.k8s.io %q not found", name))
}

// Services returns the services of a namespace, and the master services: kubernetes of the namespace default (behaviour 69).
// It waits for the first answer about services, at most Config.Patience; if must is false, as for static pods, it does not wait
// and returns what is known.
func (l *Loop) Services(ctx context.Context, namespace string, must bool) (own, master []v1.Service, err error) {
	return l.wait().services(ctx, namespace, must)
}

// Token returns a token of a pod's service account. One that holds is returned at once, even while it is being renewed or the API
// server is away; otherwise Token waits for one, at most Config.Patience, unless the API server says no for a reason that does
// not pass by itself.
func (l *Loop) Token(ctx context.Context, p *v1.Pod, t content.Token) (string, error) {
	return l.wait().token(ctx, p, t)
}

// patience is a time limit that several reads share.
type patience struct {
	l            *Loop
	began, until time.Time
}

func (l *Loop) wait() patience {
	now := time.Now()
	return patience{l: l, began: now, until: now.Add(l.cfg.Patience)}
}

// on waits for news and tells whether there may be any; an error means that ctx has ended. It does not wait long while the API server is
// known to be away and there may be something kept to take instead.
func (w patience) on(ctx context.Context, news <-chan struct{}, kept bool) (bool, error) {
	until, turned := w.until, (<-chan struct{})(nil)
	if kept {
		var away bool
		if away, turned = w.l.cfg.Away(); away && w.began.Add(w.l.cfg.AwayPatience).Before(until) {
			until = w.began.Add(w.l.cfg.AwayPatience)
		}
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-news:
		return true, nil
	case <-turned:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-timer.C:
		return false, nil
	}
}

// read returns what is known of a thing once something is. The value is nil if it does not exist.
func (w patience) read(ctx context.Context, k key) (any, error) {
	l := w.l
	if l.cfg.Strategy == Get && (k.kind == configMaps || k.kind == secrets) {
		return w.fetch(ctx, k)
	}
	for recalled := false; ; {
		l.mu.Lock()
		_, there := l.entries[k]
		e := l.entry(k, time.Now())
		value, known, news, problem := e.value, e.known, e.news, e.err
		l.mu.Unlock()
		if known {
			return value, nil
		}
		if !there {
			l.wake()
		}
		more, err := w.on(ctx, news, !recalled)
		if more {
			continue
		}
		if err == nil && !recalled {
			recalled = true
			l.recall(e) // perhaps the API server neither answers nor refuses
			continue
		}
		l.mu.Lock()
		known = e.known
		e.gaveUp = e.gaveUp || !known
		l.mu.Unlock()
		if !known {
			return nil, w.unanswered(k, problem, err)
		}
	}
}

// fetch asks the API server for one object, now.
func (w patience) fetch(ctx context.Context, k key) (any, error) {
	asking, cancel := context.WithDeadline(ctx, w.until)
	defer cancel()
	var value any
	var problem error
	answered := false
	w.l.ask(asking, k, func(v any, err error) {
		switch {
		case answered:
		case err != nil:
			problem = err
		default:
			value, answered = v, true
			cancel()
		}
	})
	if answered {
		return value, nil
	}
	return nil, w.unanswered(k, problem, ctx.Err())
}

// unanswered is the error of a read that did not end well. It says what the API server said, if it said anything.
func (w patience) unanswered(k key, problem, ended error) error {
	what := k.String()
	if k.kind == services {
		what = "services have not yet been read at least once, cannot construct envvars" // behaviour 69
	}
	switch {
	case ended != nil:
		return fmt.Errorf("%s: %w", what, ended)
	case problem != nil:
		return fault.As(fault.ErrTimeout, fmt.Errorf("%s: no answer within %s: %w", what, w.l.cfg.Patience, problem))
	}
	return fault.As(fault.ErrTimeout, fmt.Errorf("%s: the API server has not answered within %s", what, w.l.cfg.Patience))
}

func (w patience) configMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	value, err := w.read(ctx, key{configMaps, namespace, name})
	if err != nil {
		return nil, err
	}
	if m, ok := value.(*v1.ConfigMap); ok {
		return m, nil
	}
	return nil, &environ.Missing{Kind: environ.ConfigMap, Namespace: namespace, Name: name}
}

func (w patience) secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	value, err := w.read(ctx, key{secrets, namespace, name})
	if err != nil {
		return nil, err
	}
	if s, ok := value.(*v1.Secret); ok {
		return s, nil
	}
	return nil, &environ.Missing{Kind: environ.Secret, Namespace: namespace, Name: name}
}

func (w patience) trustBundles(ctx context.Context) ([]*certificates.ClusterTrustBundle, error) {
	value, err := w.read(ctx, key{kind: trustBundles})
	all, _ := value.([]*certificates.ClusterTrustBundle)
	return all, err
}

func (w patience) services(ctx context.Context, namespace string, must bool) (own, master []v1.Service, err error) {
	if !must {
		w.until = time.Now()
	}
	value, err := w.read(ctx, key{kind: services})
	if err != nil && (must || ctx.Err() != nil) {
		return nil, nil, err
	}
	all, _ := value.([]*v1.Service)
	for _, s := range all {
		if s.Namespace == namespace {
			own = append(own, *s)
		}
		if isMaster(s) {
			master = append(master, *s)
		}
	}
	return own, master, nil
}

func isMaster(s *v1.Service) bool { return s.Namespace == "default" && s.Name == "kubernetes" }

func (w patience) token(ctx context.Context, p *v1.Pod, t content.Token) (string, error) {
	l := w.l
	for recalled := false; ; {
		now := time.Now()
		l.mu.Lock()
		e := l.lease(leaseKey{p.UID, t}, p.Namespace, p.Name)
		e.asked = e.asked || e.text != "" && age(e.got, now) >= e.renewal()
		holds, text, news, problem := e.holds(now), e.text, e.news, e.err
		final := !holds && problem != nil && !passing(problem)
		e.read = e.read || holds || final
		l.mu.Unlock()
		l.wake()
		if holds {
			return text, nil
		}
		if final {
			return "", fmt.Errorf("failed to fetch token: %s", said(problem))
		}
		if away(problem) && !recalled {
			recalled = true
			l.recallLease(e)
			continue
		}
		more, err := w.on(ctx, news, !recalled)
		if more {
			continue
		}
		if err == nil && !recalled {
			recalled = true
			l.recallLease(e)
			continue
		}
		l.mu.Lock()
		e.read = true
		holds = e.holds(time.Now())
		l.mu.Unlock()
		if !holds {
			return "", w.noToken(p, t, problem, err)
		}
	}
}

func (w patience) noToken(p *v1.Pod, t content.Token, problem, ended error) error {
	switch {
	case ended != nil:
		return fmt.Errorf("failed to fetch token: %w", ended)
	case problem != nil:
		return fault.As(fault.ErrTimeout, fmt.Errorf("failed to fetch token: %s", said(problem)))
	}
	return fault.As(fault.ErrTimeout, fmt.Errorf("failed to fetch token: no answer about service account %s/%s within %s", p.Namespace, t.Account, w.l.cfg.Patience))
}

// certificate is token for a certificate of the pod. A signer's no is told at once.
func (w patience) certificate(ctx context.Context, p *v1.Pod, of content.Certificate) (content.Credential, error) {
	l := w.l
	for {
		l.mu.Lock()
		c := l.certificate(certificateKey{p.UID, of}, p)
		if c == nil {
			l.mu.Unlock()
			return content.Credential{}, fmt.Errorf("volume %q of pod %s/%s has no podCertificate as source %d", of.Volume, p.Namespace, p.Name, of.Source)
		}
		holds, credential, news, problem := c.holds(time.Now()), c.credential, c.news, c.err
		waits := c.waits()
		final := !holds && problem != nil && (refused(problem) || !passing(problem))
		c.read = c.read || holds || final
		l.mu.Unlock()
		l.wake()
		if holds {
			return credential, nil
		}
		if final {
			return content.Credential{}, fmt.Errorf("failed to get a certificate: %s", said(problem))
		}
		more, err := w.on(ctx, news, false)
		if more {
			continue
		}
		l.mu.Lock()
		c.read = true
		l.mu.Unlock()
		switch {
		case err != nil:
			return content.Credential{}, fmt.Errorf("failed to get a certificate: %w", err)
		case problem != nil:
			return content.Credential{}, fault.As(fault.ErrTimeout, fmt.Errorf("failed to get a certificate: %s", said(problem)))
		}
		return content.Credential{}, fault.As(fault.ErrTimeout, fmt.Errorf("still waiting for a %s", waits))
	}
}

// Wait is something a pod needs that the node has not got yet.
type Wait struct {
	// What names it, such as "configmap shop/settings".
	What string
	// Since is when it was first asked for, or, of a token, since when that fails.
	Since time.Time
	// Problem is what the API server said; empty if it has said nothing yet.
	Problem string
}

// Waits tells what a pod needs that the node has not got yet, in no order. What is known not to exist is not among it.
func (l *Loop) Waits(uid types.UID) []Wait {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Wait
	u := l.pods[uid]
	if u == nil {
		return nil
	}
	add := func(what string, since time.Time, err error) {
		w := Wait{What: what, Since: since}
		if err != nil {
			w.Problem = said(err)
		}
		out = append(out, w)
	}
	for k := range u.keys {
		if e := l.entries[k]; e != nil && !e.known {
			add(k.String(), e.asked, e.err)
		}
	}
	for k, e := range l.leases {
		if k.pod == uid && !e.holds(time.Now()) {
			add("token of service account "+e.namespace+"/"+k.token.Account, e.since, e.err)
		}
	}
	for k, c := range l.certificates {
		if k.pod == uid && !c.holds(time.Now()) {
			add(c.waits(), c.since, c.err)
		}
	}
	return out
}
