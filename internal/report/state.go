package report

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// State is how far the API server is behind what the node knows.
type State struct {
	// Waiting is how many pods have something that is still to be told, Since the oldest of that; zero if there is none.
	Waiting int
	Since   time.Time
	// Down is since when the API server has not answered; zero while it does. Error is why.
	Down  time.Time
	Error string
}

// Debt is what is still to be told of one pod.
type Debt struct {
	// What is "status" or "delete".
	What  string
	Since time.Time
	// Tries is how often it was tried in vain, Error what came of the last time, Next when it will be tried again.
	Tries int
	Error string
	Next  time.Time
}

// State tells how far the API server is behind.
func (r *Reporter) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := State{}
	if r.pace.out() {
		out.Down, out.Error = r.pace.down, r.pace.err.Error()
	}
	for _, l := range r.lines {
		if l.order.verb == nothing || l.settled() {
			continue
		}
		out.Waiting++
		if out.Since.IsZero() || l.since.Before(out.Since) {
			out.Since = l.since
		}
	}
	return out
}

// Pod tells what is still to be told of a pod, and whether anything is. Static pods go by their own UID.
func (r *Reporter) Pod(uid types.UID) (Debt, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lines[uid]
	if l == nil || l.order.verb == nothing || l.settled() {
		return Debt{}, false
	}
	out := Debt{What: "status", Since: l.since, Tries: l.tries, Next: l.again}
	if l.order.verb == remove {
		out.What = "delete"
	}
	if l.err != nil {
		out.Error = l.err.Error()
	}
	if r.pace.out() && l.last == unheard {
		out.Next = r.pace.next
	}
	return out, true
}

// stubborn is after how many attempts a pod is spoken of that cannot be told though others can.
const stubborn = 5

// say logs what is new: an outage and its end once, and once what keeps a single pod from being told.
func (r *Reporter) say(l *line, a answer, before pace, now time.Time) {
	switch {
	case r.pace.out() && !before.out():
		r.cfg.Log.Warn("the API server cannot be told about pods; trying again until it can", "error", a.err)
	case before.out() && !r.pace.out():
		r.cfg.Log.Info("the API server can be told about pods again", "after", now.Sub(before.down).Round(time.Millisecond))
	}
	if l == nil {
		return
	}
	fresh := func() bool { return l.err == nil || l.err.Error() != a.err.Error() }
	if a.result == refused && fresh() || a.result == unheard && l.tries+1 == stubborn && !r.pace.out() {
		r.cfg.Log.Warn("the API server does not take what it is told of a pod; trying again now and then",
			"pod", l.pod.Namespace+"/"+l.pod.Name, "uid", a.key, "error", a.err)
	}
}
