package metrics

import (
	"time"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// pulledIn notes when a pod's pulls were: they do not count for how fast a node starts pods.
func (l *life) pulledIn(o plan.Outcome) {
	if o.Pulled == nil || o.Pulled.Present {
		return
	}
	if l.pullFrom.IsZero() || o.Began.Before(l.pullFrom) {
		l.pullFrom = o.Began
	}
	if o.Ended.After(l.pullTo) {
		l.pullTo = o.Ended
	}
}

// startedAll counts a pod all of whose containers were started.
func (m *Metrics) startedAll(d *pod.Desired, l *life, at time.Time) {
	m.podStarted.Observe(at.Sub(d.Seen).Seconds())
	if d.Source != pod.FromAPI { // nobody outside has waited for it
		return
	}
	total := max(0, at.Sub(d.Pod.CreationTimestamp.Time))
	own := max(0, total-l.pullTo.Sub(l.pullFrom))
	m.podStartTotal.Observe(total.Seconds())
	m.podStartSLI.Observe(own.Seconds())
	if !m.networked && !d.Pod.Spec.HostNetwork {
		m.networked = true
		m.firstNetworked.Set(own.Seconds())
	}
}
