package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// startup is how long it took until a machine was a new node that takes pods, step by step.
type startup struct{ before, preparing, registering, readying, whole prometheus.Gauge }

func newStartup(r maker) startup {
	return startup{
		before:      r.gauge("kubelet_node_startup_pre_kubelet_duration_seconds", "The time from the machine's start to the agent's, of a node that the agent has registered."),
		preparing:   r.gauge("kubelet_node_startup_pre_registration_duration_seconds", "The time from the agent's start to the first attempt to register the node."),
		registering: r.gauge("kubelet_node_startup_registration_duration_seconds", "The time from the first attempt to register the node to its being registered."),
		readying:    r.gauge("kubelet_node_startup_post_registration_duration_seconds", "The time from the node being registered to its being ready."),
		whole:       r.gauge("kubelet_node_startup_duration_seconds", "The time from the machine's start to the node being ready."),
	}
}

// Startup are the steps on the way of a machine to a new node that takes pods. Boot, Agent, Joining and Registered are when each began,
// Ready when the last ended.
type Startup struct{ Boot, Agent, Joining, Registered, Ready time.Time }

// Started tells how the node came to be. It is for nodes that this agent has registered: for others the time since the machine's start
// says nothing.
func (m *Membership) Started(s Startup) {
	step := func(g prometheus.Gauge, from, to time.Time) { g.Set(max(0, to.Sub(from)).Seconds()) }
	step(m.startup.before, s.Boot, s.Agent)
	step(m.startup.preparing, s.Agent, s.Joining)
	step(m.startup.registering, s.Joining, s.Registered)
	step(m.startup.readying, s.Registered, s.Ready)
	step(m.startup.whole, s.Boot, s.Ready)
}
