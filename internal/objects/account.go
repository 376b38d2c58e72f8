package objects

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/fault"
)

// accountKey is one service account.
type accountKey struct{ namespace, name string }

const (
	accountKind = "ServiceAccount"
	// brief is how long an answer is waited for when an older one would do.
	brief = 2 * time.Second
)

// Account returns the service account of a pod, with its identity and annotations. A node may not follow service accounts,
// so each call asks the API server, again after a short while if that has not heard yet that the pod is on this node, at most
// for Config.Patience. While the API server is away, what was heard last serves.
func (l *Loop) Account(ctx context.Context, p *v1.Pod) (*v1.ServiceAccount, error) {
	k := accountKey{p.Namespace, content.AccountOf(p)}
	known, patience := l.recallAccount(k), l.cfg.Patience
	if known != nil {
		patience = min(patience, brief)
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var pause time.Duration
	var problem error
	for {
		a, err := l.cfg.Cluster.Account(asking, k.namespace, k.name)
		if err == nil {
			return l.readAccount(k, a), nil
		}
		if asking.Err() == nil {
			problem = err
		}
		if known != nil && ctx.Err() == nil && away(err) {
			return known, nil
		}
		if !passing(err) {
			return nil, fmt.Errorf("failed to get service account %s/%s: %s", k.namespace, k.name, said(err))
		}
		pause = pauses.Next(pause)
		select {
		case <-time.After(pause):
		case <-asking.Done():
			return nil, l.noAccount(ctx, k, problem)
		}
	}
}

func (l *Loop) noAccount(ctx context.Context, k accountKey, problem error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("failed to get service account %s/%s: %w", k.namespace, k.name, ctx.Err())
	case problem != nil:
		return fault.As(fault.ErrTimeout, fmt.Errorf("failed to get service account %s/%s: %s", k.namespace, k.name, said(problem)))
	}
	return fault.As(fault.ErrTimeout, fmt.Errorf("failed to get service account %s/%s: no answer within %s", k.namespace, k.name, l.cfg.Patience))
}

// readAccount keeps what is used of a service account, for as long as there are pods of it.
func (l *Loop) readAccount(k accountKey, a *v1.ServiceAccount) *v1.ServiceAccount {
	kept := &v1.ServiceAccount{ObjectMeta: identity(a)}
	kept.Annotations = a.Annotations
	l.mu.Lock()
	was := l.accounts[k]
	l.accounts[k] = kept
	l.mu.Unlock()
	l.wake() // the pod may be gone
	if l.cfg.Keep != nil && (was == nil || was.ResourceVersion != kept.ResourceVersion) {
		l.cfg.Keep.Store(accountKind, k.namespace, k.name, kept)
	}
	return kept
}

// recallAccount is what was heard last, perhaps before a restart; nil if that was nothing.
func (l *Loop) recallAccount(k accountKey) *v1.ServiceAccount {
	l.mu.Lock()
	a := l.accounts[k]
	l.mu.Unlock()
	if a != nil || l.cfg.Keep == nil {
		return a
	}
	kept, _ := l.cfg.Keep.Load(accountKind, k.namespace, k.name)
	a, _ = kept.(*v1.ServiceAccount)
	return a
}

// dropAccounts forgets the service accounts of pods that are gone.
func (l *Loop) dropAccounts() {
	if len(l.accounts) == 0 {
		return
	}
	used := map[accountKey]bool{}
	for _, u := range l.pods {
		used[accountKey{u.pod.Namespace, content.AccountOf(u.pod)}] = true
	}
	for k := range l.accounts {
		if !used[k] {
			delete(l.accounts, k)
			l.forget(accountKind, k.namespace, k.name)
		}
	}
}
