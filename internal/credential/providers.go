package credential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	protocol "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

const (
	// providerTimeout is how long a provider may take to answer.
	providerTimeout = time.Minute
	// purgeEvery is how often answers that nobody asked for again are thrown away.
	purgeEvery = 15 * time.Minute
)

// Providers are the exec credential providers of the node, with what they answered lately. Safe for concurrent use.
type Providers struct {
	all []provider
	// run asks a provider about an image.
	run func(ctx context.Context, p *provider, q question) (answer, error)
	// asking merges calls that would ask a provider the same thing at the same time.
	asking singleflight.Group
	// Observe is told of each run of a provider, for metrics; nil is fine. It is set before first use.
	Observe func(provider string, took time.Duration, err error)

	mu     sync.Mutex
	cache  map[cacheKey]cached
	purged time.Time
}

// answer is a provider's response, checked.
type answer struct {
	kind    protocol.PluginCacheKeyType
	keep    time.Duration
	entries []entry
}

// cacheKey says which images an answer is for: value is a repository, a registry or empty. Who tells for whom.
type cacheKey struct {
	provider string
	kind     protocol.PluginCacheKeyType
	value    string
	who      string
}

type cached struct {
	entries []entry
	until   time.Time
}

func newProviders(all []provider) *Providers {
	return &Providers{all: all, run: execute, cache: map[cacheKey]cached{}}
}

// Len is how many providers there are.
func (ps *Providers) Len() int { return len(ps.all) }

// ForAccounts lists the providers that are asked on behalf of service accounts, and of them those that cannot do without.
func (ps *Providers) ForAccounts() (all, needy []string) {
	for i := range ps.all {
		if t := ps.all[i].tokens; t != nil {
			all = append(all, ps.all[i].name)
			if t.needed {
				needy = append(needy, ps.all[i].name)
			}
		}
	}
	return all, needy
}

// servesAccounts tells whether a provider gives logins for the image to service accounts.
func (ps *Providers) servesAccounts(t target) bool {
	for i := range ps.all {
		if ps.all[i].tokens != nil && ps.all[i].handles(t) {
			return true
		}
	}
	return false
}

// lookup asks every provider that is for the image, all at the same time, and returns their logins in the order of
// the providers. The error tells which could not be asked.
func (ps *Providers) lookup(ctx context.Context, t target, who Identity) ([]offer, error) {
	found := make([][]offer, len(ps.all))
	failed := make([]error, len(ps.all))
	who = askedOnce(ctx, who)
	var asked sync.WaitGroup
	for i := range ps.all {
		p := &ps.all[i]
		// A provider that works only for service accounts has nothing to say to a pod that has none.
		if !p.handles(t) || who == nil && p.tokens != nil && p.tokens.needed {
			continue
		}
		asked.Go(func() { found[i], failed[i] = ps.askFor(ctx, p, t, who) })
	}
	asked.Wait()
	return slices.Concat(found...), errors.Join(failed...)
}

// askFor asks a provider on behalf of a pod's service account, if it wants to know of that.
func (ps *Providers) askFor(ctx context.Context, p *provider, t target, who Identity) ([]offer, error) {
	q := question{image: t.repository}
	if p.tokens != nil && who != nil {
		var err error
		if q, err = p.tokens.asAccount(ctx, q, who); err != nil {
			return nil, fmt.Errorf("credential provider %s: %w", p.name, err)
		}
	}
	entries, err := ps.ask(ctx, p, t, q)
	offers := make([]offer, 0, len(entries))
	for _, e := range entries {
		offers = append(offers, offer{entry: e, node: q.account == Owner{}, account: q.account})
	}
	return offers, err
}

func (p *provider) handles(t target) bool {
	for _, m := range p.patterns {
		if m.matches(t) {
			return true
		}
	}
	return false
}

func (ps *Providers) ask(ctx context.Context, p *provider, t target, q question) ([]entry, error) {
	if entries, ok := ps.cached(p, t, q); ok {
		return entries, nil
	}
	// Whoever asks first must not take the answer away from the others by leaving: the run has its own end.
	running := ps.asking.DoChan(p.name+"\x00"+t.repository+"\x00"+q.who, func() (any, error) {
		if entries, ok := ps.cached(p, t, q); ok { // another run ended between the look above and here
			return entries, nil
		}
		run, cancel := context.WithTimeout(context.WithoutCancel(ctx), providerTimeout)
		defer cancel()
		return ps.refresh(run, p, t, q)
	})
	select {
	case r := <-running:
		entries, _ := r.Val.([]entry)
		return entries, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("credential provider %s: %w", p.name, context.Cause(ctx))
	}
}

func (ps *Providers) refresh(ctx context.Context, p *provider, t target, q question) ([]entry, error) {
	began := time.Now()
	a, err := ps.run(ctx, p, q)
	if ps.Observe != nil {
		ps.Observe(p.name, time.Since(began), err)
	}
	if err != nil {
		return nil, fmt.Errorf("credential provider %s: %w", p.name, err)
	}
	if a.keep > 0 {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		ps.cache[p.key(a.kind, t, q)] = cached{a.entries, time.Now().Add(a.keep)}
	}
	return a.entries, nil
}

// cached looks for an answer that still holds, the narrowest first.
func (ps *Providers) cached(p *provider, t target, q question) ([]entry, bool) {
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.purge(now)
	for _, kind := range []protocol.PluginCacheKeyType{protocol.ImagePluginCacheKeyType, protocol.RegistryPluginCacheKeyType, protocol.GlobalPluginCacheKeyType} {
		if c, ok := ps.cache[p.key(kind, t, q)]; ok && now.Before(c.until) {
			return c.entries, true
		}
	}
	return nil, false
}

// purge needs no clock of its own: answers only pile up while somebody asks.
func (ps *Providers) purge(now time.Time) {
	if now.Sub(ps.purged) < purgeEvery {
		return
	}
	ps.purged = now
	for key, c := range ps.cache {
		if !now.Before(c.until) {
			delete(ps.cache, key)
		}
	}
}

func (p *provider) key(kind protocol.PluginCacheKeyType, t target, q question) cacheKey {
	k := cacheKey{provider: p.name, kind: kind, who: q.who}
	switch kind {
	case protocol.ImagePluginCacheKeyType:
		k.value = t.repository
	case protocol.RegistryPluginCacheKeyType:
		k.value = t.registry
	case protocol.GlobalPluginCacheKeyType:
	}
	return k
}
