package agent

import (
	"context"
	"slices"
	"time"

	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/shutdown"
	"github.com/bosun-project/bosun/internal/worker"
)

// follow keeps what the workers should want: what the sources want, or nothing once everything is to end.
func (a *Agent) follow(ctx context.Context) error {
	counts := newCounting(a.cfg)
	for {
		snapshot, newer := a.merge.Cell().Get()
		empty, emptied := a.emptied.Get()
		w := worker.Wanted{Pods: counts.of(snapshot.Pods), Ready: snapshot.Ready, Spoken: snapshot.Spoken}
		for _, p := range snapshot.Problems {
			w.Doubt = w.Doubt || p.Unknown
		}
		if empty {
			w = worker.Wanted{Ready: true}
		}
		a.wanted.Set(w)
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		case <-emptied:
		}
	}
}

// tellNode tells workers how the runtime and the machine fare, and again when the node's own object has changed: admission looks
// at both.
func (a *Agent) tellNode(ctx context.Context) error {
	for {
		h, newer := a.observer.Health().Get()
		_, labelled := a.member.ownNode()
		down, turned := a.goingDown()
		n := worker.Node{
			RuntimeUp: h.Up, RuntimeMessage: h.Message, NetworkReady: h.NetworkReady, NetworkMessage: h.NetworkMessage,
			Staying: down.Stage == shutdown.Staying,
		}
		if h.Relisted {
			n.Relisted = a.observer.Listing().Value().Began
		}
		a.facts.Set(n)
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		case <-labelled:
		case <-turned:
		}
	}
}

// addresses looks each minute whether the node has other addresses.
func (a *Agent) addresses(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := host.Addresses(ctx, a.cfg.NodeIPs, a.host.Name)
		if err == nil && !slices.Equal(now, a.ips.Value()) {
			a.log.Info("the node has other addresses", "addresses", now, "before", a.ips.Value())
			a.ips.Set(now)
		}
	}
}
