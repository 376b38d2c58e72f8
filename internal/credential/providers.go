package credential

import (
	"context"
	"errors"
	"fmt"
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
	run func(ctx context.Context, p *provider, image string) (answer, error)
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

// cacheKey says which images an answer is for: value is a repository, a registry or empty.
type cacheKey struct {
	provider string
	kind     protocol.PluginCacheKeyType
	value    string
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

// lookup asks every provider that is for the image, all at the same time, and returns their logins in the order of
// the providers. The error tells which could not be asked.
func (ps *Providers) lookup(ctx context.Context, t target) ([]entry, error) {
	found := make([][]entry, len(ps.all))
	failed := make([]error, len(ps.all))
	var asked sync.WaitGroup
	for i := range ps.all {
		p := &ps.all[i]
		// A provider that works only for service accounts has nothing to say on a node without an API server.
		if !p.handles(t) || p.needsAccount {
			continue
		}
		asked.Go(func() { found[i], failed[i] = ps.ask(ctx, p, t) })
	}
	asked.Wait()
	var entries []entry
	for _, f := range found {
		entries = append(entries, f...)
	}
	return entries, errors.Join(failed...)
}

func (p *provider) handles(t target) bool {
	for _, m := range p.patterns {
		if m.matches(t) {
			return true
		}
	}
	return false
}

func (ps *Providers) ask(ctx context.Context, p *provider, t target) ([]entry, error) {
	if entries, ok := ps.cached(p, t); ok {
		return entries, nil
	}
	// Whoever asks first must not take the answer away from the others by leaving: the run has its own end.
	running := ps.asking.DoChan(p.name+"\x00"+t.repository, func() (any, error) {
		if entries, ok := ps.cached(p, t); ok { // another run ended between the look above and here
			return entries, nil
		}
		run, cancel := context.WithTimeout(context.WithoutCancel(ctx), providerTimeout)
		defer cancel()
		return ps.refresh(run, p, t)
	})
	select {
	case r := <-running:
		entries, _ := r.Val.([]entry)
		return entries, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("credential provider %s: %w", p.name, context.Cause(ctx))
	}
}

func (ps *Providers) refresh(ctx context.Context, p *provider, t target) ([]entry, error) {
	began := time.Now()
	a, err := ps.run(ctx, p, t.repository)
	if ps.Observe != nil {
		ps.Observe(p.name, time.Since(began), err)
	}
	if err != nil {
		return nil, fmt.Errorf("credential provider %s: %w", p.name, err)
	}
	if a.keep > 0 {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		ps.cache[p.key(a.kind, t)] = cached{a.entries, time.Now().Add(a.keep)}
	}
	return a.entries, nil
}

// cached looks for an answer that still holds, the narrowest first.
func (ps *Providers) cached(p *provider, t target) ([]entry, bool) {
	now := time.Now()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.purge(now)
	for _, kind := range []protocol.PluginCacheKeyType{protocol.ImagePluginCacheKeyType, protocol.RegistryPluginCacheKeyType, protocol.GlobalPluginCacheKeyType} {
		if c, ok := ps.cache[p.key(kind, t)]; ok && now.Before(c.until) {
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

func (p *provider) key(kind protocol.PluginCacheKeyType, t target) cacheKey {
	k := cacheKey{provider: p.name, kind: kind}
	switch kind {
	case protocol.ImagePluginCacheKeyType:
		k.value = t.repository
	case protocol.RegistryPluginCacheKeyType:
		k.value = t.registry
	case protocol.GlobalPluginCacheKeyType:
	}
	return k
}
