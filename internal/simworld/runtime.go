package simworld

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// start makes a created container run by its script. The caller holds mu.
func (w *World) start(c *container) {
	c.state, c.started = pod.Running, time.Now()
	c.stopped = make(chan struct{})
	w.checkStart(c)
	s := w.scripts[c.image]
	if s.ExitAfter > 0 {
		time.AfterFunc(s.ExitAfter, func() { w.End(c.id, s.Code, "") })
	}
}

// End ends the process of a container, as its own exit or somebody's kill would.
func (w *World) End(id string, code int32, reason string) {
	w.mu.Lock()
	c := w.containers[id]
	if c == nil || c.state != pod.Running {
		w.mu.Unlock()
		return
	}
	w.end(c, code, reason)
	w.mu.Unlock()
	w.event(c.uid)
}

func (w *World) end(c *container, code int32, reason string) {
	c.state, c.ended, c.code, c.reason = pod.Exited, time.Now(), code, reason
	if c.reason == "" && code == 0 {
		c.reason = "Completed"
	} else if c.reason == "" {
		c.reason = "Error"
	}
	close(c.stopped)
	w.note("%s %s#%d exited %d", c.uid, c.name, c.attempt, code)
}

// term asks a container to end, as StopContainer does; it ends by its script.
func (w *World) term(c *container) {
	if c.termed || c.state != pod.Running {
		return
	}
	c.termed = true
	if s := w.scripts[c.image]; s.OnTerm >= 0 {
		time.AfterFunc(s.OnTerm+time.Microsecond, func() { w.End(c.id, 0, "") })
	}
}

// KillSandbox ends a pod's sandbox and everything in it, as a failing node would.
func (w *World) KillSandbox(uid types.UID) {
	w.mu.Lock()
	for _, s := range w.sandboxes {
		if s.uid == uid {
			w.stopSandbox(s)
		}
	}
	w.mu.Unlock()
	w.event(uid)
}

func (w *World) stopSandbox(s *sandbox) {
	s.ready = false
	for _, c := range w.containers {
		if c.sandbox == s.id && c.state == pod.Running {
			w.end(c, 137, "")
		}
	}
}

// Live returns the IDs of a pod's running containers by name.
func (w *World) Live(uid types.UID) map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]string{}
	for _, c := range w.containers {
		if c.uid == uid && c.state == pod.Running {
			out[c.name] = c.id
		}
	}
	return out
}

// event tells the agent of a pod as the runtime's event stream would: partially, late, twice, or not at all.
func (w *World) event(uid types.UID) {
	w.mu.Lock()
	r := w.report(uid)
	r.Complete = false
	a := w.agent
	lost, twice, late := w.chance(w.faults.LoseEvents), w.chance(w.faults.Replay), w.delay()
	w.mu.Unlock()
	if a == nil || lost {
		return
	}
	time.AfterFunc(late, func() { a.deliver(uid, r) })
	if twice {
		time.AfterFunc(late+time.Minute, func() { a.deliver(uid, r) })
	}
}

func (w *World) checkSandbox(s *sandbox) {
	for _, other := range w.sandboxes {
		if other != s && other.uid == s.uid && other.ready {
			w.violate("two live sandboxes of %s: #%d and #%d", s.uid, other.attempt, s.attempt)
		}
	}
}

func (w *World) checkStart(c *container) {
	for _, other := range w.containers {
		if other == c || other.state != pod.Running {
			continue
		}
		if other.uid == c.uid && other.name == c.name {
			w.violate("two live copies of %s %s: #%d and #%d", c.uid, c.name, other.attempt, c.attempt)
		}
		if other.uid == c.uid && w.past(other) && !w.past(c) {
			w.violate("%s: %s#%d starts while %s#%d runs, which was to end before", c.uid, c.name, c.attempt, other.name, other.attempt)
		}
		if other.uid != c.uid && w.names[other.uid] == w.names[c.uid] {
			w.violate("two versions of pod %s run: %s and %s", w.names[c.uid], other.uid, c.uid)
		}
	}
}

// past tells whether a container was made before all containers of its pod were restarted, as far as that is remembered.
func (w *World) past(c *container) bool {
	m := plan.Memory{Kept: w.ledger[c.uid].Kept}
	v := c.view()
	return m.Past(&v)
}
