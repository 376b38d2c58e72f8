package health

import "time"

// State is what is known from one probe of one container instance.
//
//	waiting for the startup probe ──► asked each period ──► over
//
// A startup probe is over once it has succeeded; startup and liveness probes are over once they have failed: then
// another instance has to come (behaviour 121).
type State struct {
	// Result is what counts now.
	Result Result
	// Last is the last answer that counted, and Run how many of them came in a row.
	Last Result
	Run  int64
	// Due is when to ask next; zero while the probe waits or when it is over.
	Due time.Time
	// CountsFrom is when failures begin to count; zero for always.
	CountsFrom time.Time
	// Over tells that this instance is not asked any more.
	Over bool
	// Spread tells that the probe has been moved away from the moment when its container started.
	Spread bool
}

// Next is what is known after an answer (behaviours 119-121). An answer that is no answer, or a failure that may be the
// agent's own, changes nothing but the time of the next question.
func (s State) Next(r *Rule, a Asked, now time.Time) State {
	s.Due = r.after(s.Due, a.Began, now)
	switch {
	case a.Result == Unknown, a.Result == Void:
		return s
	case a.Result == Failure && (a.Late || a.Began.Before(s.CountsFrom)):
		return s
	}
	if a.Result != s.Last {
		s.Last, s.Run = a.Result, 0
	}
	s.Run++
	if s.Run < s.needed(r) {
		return s
	}
	s.Result = a.Result
	switch {
	case r.Kind == Startup, r.Kind == Liveness && s.Result == Failure:
		s.Over, s.Due = true, time.Time{}
	case r.Exec && s.Result == Success && !s.Spread:
		// Pods that started together would have their commands run together for ever. So, once, when all is well, the
		// next question comes early: by then nobody waits for it, and none is ever put off.
		s.Spread = true
		if early := a.Began.Add(r.Period/4 + r.share(r.Period-r.Period/4)); early.After(now) {
			s.Due = early
		}
	}
	return s
}

func (s State) needed(r *Rule) int64 {
	if s.Last == Success {
		return int64(r.Successes)
	}
	return int64(r.Failures)
}
