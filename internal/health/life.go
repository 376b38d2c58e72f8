package health

import (
	"time"

	"github.com/bosun-project/bosun/internal/plan"
)

// Instance is a container instance that runs.
type Instance struct {
	ID string
	// Started is when it started, as the runtime says; zero if it does not say.
	Started time.Time
	// Agent is when this agent began.
	Agent time.Time
	// Before is what was reported of this very instance before the agent began; nil if nothing is known.
	Before *Before
}

// Before is what an earlier agent found of a container instance.
type Before struct{ Started, Ready bool }

// Life is what is known from all probes of one container instance. It is a value: methods that tell it something
// return what is known then.
type Life struct {
	// ID is the instance; empty while there is none that runs.
	ID string

	spec   *Spec
	states [Kinds]State
	// since is when the instance started, on the clock that is never set.
	since time.Time
	// adopted tells that the instance ran before the agent began: its first questions are spread over a period, because
	// all containers of the node are new to the agent at once (behaviour 116). agent is when it began.
	adopted bool
	agent   time.Time
	stopped bool
}

// Begin is what is known of an instance when it is first seen to run (behaviours 116-118, 129, 353, 354).
func Begin(s *Spec, in Instance, now time.Time) Life {
	l := Life{ID: in.ID, spec: s, since: now, agent: in.Agent}
	if !in.Started.IsZero() {
		// The clock may have been set back since: then the container counts as just started.
		l.since = now.Add(-max(now.Sub(in.Started), 0))
		l.adopted = in.Started.Before(in.Agent)
	}
	l.states[Liveness].Result = Success
	l.states[Readiness].Result = Failure
	if in.Before != nil && l.adopted {
		if in.Before.Ready {
			l.states[Readiness].Result = Success
		}
		if in.Before.Started {
			l.states[Startup] = State{Result: Success, Over: true}
		}
	}
	if s.rules[Startup] != nil && !l.started() {
		l.open(Startup, now)
		return l
	}
	l.open(Liveness, now)
	l.open(Readiness, now)
	return l
}

// started tells whether the startup probe has succeeded, or there is none.
func (l *Life) started() bool {
	return l.spec.rules[Startup] == nil || l.states[Startup].Result == Success
}

// open sets when a probe is asked first.
func (l *Life) open(k Kind, now time.Time) {
	r := l.spec.rules[k]
	if r == nil || l.states[k].Over {
		return
	}
	s := &l.states[k]
	switch {
	case l.adopted && now.Sub(l.agent) < r.Period:
		s.Due = now.Add(r.share(r.Period))
		s.Spread = true
	case r.Delay > 0 || l.adopted || k == Readiness:
		s.Due = now
	case k == Liveness:
		// A container that was just started, or has just answered its startup probe, has a period to show itself: a
		// failure in its very first moments would say nothing.
		s.Due = later(now, l.since.Add(r.Period))
		if l.spec.rules[Startup] != nil {
			s.Due = now.Add(r.Period)
		}
	case k == Startup:
		// Asked at once, so that a quick start is quickly seen; but the time to start is failures times period.
		s.Due, s.CountsFrom = now, l.since.Add(r.Period)
	}
	s.Due = later(s.Due, l.since.Add(r.Delay))
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// Learn is what is known after an answer. The startup probe's success opens the others (behaviour 118).
func (l Life) Learn(k Kind, a Asked, now time.Time) Life {
	if l.ID == "" || l.spec.rules[k] == nil || l.states[k].Due.IsZero() {
		return l
	}
	l.states[k] = l.states[k].Next(l.spec.rules[k], a, now)
	if k == Startup && l.started() {
		l.open(Liveness, now)
		l.open(Readiness, now)
	}
	return l
}

// Stop is what is known once the pod is being stopped: startup and liveness are taken for granted and not asked any
// more; readiness goes on (behaviour 128).
func (l Life) Stop(now time.Time) Life {
	if l.ID == "" || l.stopped {
		return l
	}
	gated := !l.started()
	l.stopped = true
	for _, k := range []Kind{Startup, Liveness} {
		l.states[k] = State{Result: Success, Over: true}
	}
	if gated {
		l.open(Readiness, now)
	}
	return l
}

// Due is when to ask next; zero if there is nothing to ask.
func (l *Life) Due(k Kind) time.Time {
	if l.ID == "" {
		return time.Time{}
	}
	return l.states[k].Due
}

// Result is what counts of a probe now.
func (l *Life) Result(k Kind) Result { return l.states[k].Result }

// Health is what the plan and the status of the pod have to know.
func (l *Life) Health() plan.Health {
	h := plan.Health{Started: l.started()}
	h.Ready = h.Started && (l.spec.rules[Readiness] == nil || l.states[Readiness].Result == Success)
	for _, k := range []Kind{Startup, Liveness} {
		if r := l.spec.rules[k]; r != nil && l.states[k].Result == Failure {
			h.Failed, h.Grace = l.spec.killed(k), r.Grace
		}
	}
	return h
}
