package agent

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/certs"
	"github.com/bosun-project/bosun/internal/serve"
	"github.com/bosun-project/bosun/internal/worker"
)

// troubles are what is wrong with the node as a whole, for `bosun explain`.
func (a *Agent) troubles() []serve.Trouble {
	var out []serve.Trouble
	add := func(what string, since time.Time, message string) {
		if message != "" {
			out = append(out, serve.Trouble{What: what, Since: since, Message: message})
		}
	}
	switch h := a.observer.Health().Value(); {
	case !h.Up:
		add("runtime", h.Since, h.Message)
	case !h.NetworkReady:
		add("network", h.Since, h.NetworkMessage)
	}
	add("cgroups", time.Time{}, a.cgroups.trouble.Value())
	a.deviceTroubles(func(what, message string) { add(what, time.Time{}, message) })
	a.claimTroubles(func(what, message string) { add(what, time.Time{}, message) })
	add(a.shutdownTrouble())
	add(a.pressureTrouble())
	if a.serving != nil {
		add("serving certificate", time.Time{}, standing(a.serving.State().Value()))
	}
	m := a.member
	if m == nil {
		return out
	}
	if client := m.certificate.Load(); client != nil {
		add("client certificate", time.Time{}, standing(client.State().Value()))
	} else {
		add("joining the cluster", m.joining.Value().Since, standing(m.joining.Value()))
	}
	add("kubeconfig", time.Time{}, m.lost.Value())
	if link := m.client.Link().Value(); !link.Up && link.Err != nil {
		add("API server", link.Since, link.Err.Error())
	}
	beat := a.heartbeat.State().Value()
	add("node object", beat.Node.Since, beat.Node.Err)
	add("lease", beat.Lease.Since, beat.Lease.Err)
	add("CSINode object", time.Time{}, a.csiNode.State().Value().Problem)
	for _, p := range a.plugins.State().Value() {
		if p.Problem != "" {
			add("plugin "+cmp.Or(p.Name, p.Socket), time.Time{}, p.Problem)
		}
	}
	if r := a.reporter.State(); r.Waiting > 0 && !r.Down.IsZero() {
		add("status of pods", r.Since, fmt.Sprintf("%d pods have news that the API server has not heard: %s", r.Waiting, r.Error))
	}
	return out
}

// standing is what is wrong with a certificate, or what it waits for.
func standing(s certs.State) string {
	if s.Problem != "" {
		return s.Problem
	}
	return s.Waiting
}

// waits are what a pod waits for beside what its plan knows: objects of the API, and the API server's ear.
func (a *Agent) waits(uid types.UID) []worker.Waiting {
	if a.member == nil {
		return nil
	}
	var out []worker.Waiting
	for _, w := range a.objects.Waits(uid) {
		out = append(out, worker.Waiting{For: w.What, Detail: w.Problem, Since: w.Since})
	}
	for _, w := range a.volumes.Waits(uid) {
		out = append(out, worker.Waiting{For: w.What, Detail: w.Problem, Since: w.Since})
	}
	if debt, ok := a.reporter.Pod(uid); ok && debt.Tries > 0 {
		out = append(out, worker.Waiting{
			For: "API server to hear of its " + debt.What, Detail: debt.Error, Since: debt.Since, Until: debt.Next,
		})
	}
	return out
}
