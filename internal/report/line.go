package report

import (
	"cmp"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/bosun-project/bosun/internal/backoff"
)

// A line is what is known of one pod: what the node says, what the API server has, and what is still to be told.
type line struct {
	pod Pod
	// present is false once neither the node nor, for a pod that the node has nothing of, the API server speaks of it.
	present bool
	// seen is the pod as the list of the API server's pods has it; nil if it has none. told is the pod as the last call
	// answered, until the list has caught up: so nothing is told twice because the list is late, nor decided on what is old.
	seen, told *v1.Pod
	toldAt     time.Time
	// quiet is since when nothing was told of it.
	quiet time.Time

	order order
	// since is when it was first seen that something has to be told.
	since  time.Time
	flying bool
	// again is when the next attempt may be, after failed attempts; last is what became of the last one.
	again time.Time
	pause time.Duration
	tries int
	last  result
	err   error
}

// api is the newest version of the pod that is known.
func (l *line) api() *v1.Pod {
	if l.told != nil {
		return l.told
	}
	return l.seen
}

// see takes in what the list has.
func (l *line) see(seen *v1.Pod) (changed bool) {
	if seen == l.seen {
		return false
	}
	known := l.api()
	l.seen = seen
	switch {
	case seen == nil || known == nil || seen.UID != known.UID:
		fresh := line{pod: l.pod, present: l.present, seen: seen, flying: l.flying, last: done}
		*l = fresh
		return true
	case l.told != nil && versions(seen, l.told) < 0:
		return false // the list is on its way to what was answered
	case l.told != nil && versions(seen, l.told) == 0:
		l.told = nil
		return false // it was judged when it was answered
	}
	l.told = nil
	if l.last != refused && l.last != unheard {
		l.again, l.pause = time.Time{}, 0 // they waited for news of the pod
	}
	return true
}

// versions compares two versions of one pod as cmp.Compare does. What cannot be compared counts as newer.
func versions(a, b *v1.Pod) int {
	if a.ResourceVersion == b.ResourceVersion {
		return 0
	}
	c, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	if err != nil {
		return 1
	}
	return c
}

// judge works out what is to be told.
func (l *line) judge(now time.Time) {
	l.order = order{}
	if api := l.api(); api != nil && l.present && (l.pod.Status != nil || l.pod.Rested) {
		l.order = decide(api, l.pod.Status, l.pod.Rested, now)
	}
	switch {
	case l.order.verb == nothing:
		l.forget()
	case l.since.IsZero():
		l.since = now
	}
}

// learn takes in what became of a call.
func (l *line) learn(r answer, now time.Time) {
	l.flying = false
	if l.seen == nil || l.seen.UID != r.uid {
		return // it was about another object, which has made way for this one
	}
	l.last = r.result
	if (r.result == vanished || r.result == clashed) && l.api() != r.base {
		return // the news that it would wait for is there
	}
	switch r.result {
	case done:
		l.forget()
		l.quiet = now
		if r.verb == remove {
			l.wait(lagPauses, now)
		} else if r.pod != nil && r.pod.UID == r.uid && versions(r.pod, l.seen) > 0 {
			l.told, l.toldAt = r.pod, now
		}
		return
	case vanished:
		series := lagPauses
		if r.verb == remove {
			series = absentPauses
		}
		l.wait(series, now)
	case clashed:
		l.wait(clashedPauses, now)
	case refused:
		l.wait(refusedPauses, now)
	case unheard:
		l.wait(unheardPauses, now)
	}
	l.tries, l.err = l.tries+1, r.err
}

// forget leaves behind earlier failures.
func (l *line) forget() {
	l.since, l.err, l.tries, l.pause, l.again, l.last = time.Time{}, nil, 0, 0, time.Time{}, done
}

func (l *line) wait(s backoff.Series, now time.Time) {
	l.pause = s.Next(l.pause)
	l.again = now.Add(backoff.Jitter(l.pause, 0.2, string(l.pod.UID)))
}

// settled tells that the call was made and only the list has yet to show it.
func (l *line) settled() bool { return l.pause > 0 && (l.last == done || l.last == vanished) }

// waits tells whether there is something to be told and nobody is at it.
func (l *line) waits() bool { return l.order.verb != nothing && !l.flying }

// due tells whether a call may begin now. During an outage one attempt stands for all, so pauses of single pods that were
// not heard do not count.
func (l *line) due(out bool, now time.Time) bool {
	return l.waits() && (!now.Before(l.again) || out && l.last == unheard)
}

const (
	// breath is how long after a status was told of a pod the next one waits that says nothing but details.
	breath = 100 * time.Millisecond
	// starting is how long details of a pod wait that starts: most are Ready by then, and then one call tells all. Three calls
	// in the 150 ms that a start takes slowed it by a tenth, as the runtime, the API server and etcd share the machine's disk
	// (docs/decisions/0021).
	starting = 250 * time.Millisecond
	// crowd is for how long details of a pod wait, for each other pod that moves; longest is for how long at most, and how long
	// ago something was told of a pod that still moves.
	crowd   = 40 * time.Millisecond
	longest = 2 * time.Second
)

// moves tells that there is something to tell of the pod, or was a moment ago.
func (l *line) moves(now time.Time) bool {
	return !l.since.IsZero() || now.Before(l.quiet.Add(longest))
}

// opens is when a call may begin at the earliest, given how many pods move. The end of a pod never waits, nor does what routes
// traffic, and either takes with it what waits: so a pod that starts at once costs one call, alone or among many. Of a pod that is deleted, traffic is led away already, and once it has ended the delete that
// comes next makes the rest needless.
func (l *line) opens(moving int) time.Time {
	if l.order.verb != tell || l.order.rank == rankEnd {
		return time.Time{}
	}
	api := l.api()
	deleted := api.DeletionTimestamp != nil
	switch {
	case l.order.rank == rankReady && !deleted:
		return time.Time{}
	case l.order.rank == rankReady:
		return l.quiet.Add(breath)
	case deleted && terminal(api.Status.Phase):
		return later(l.quiet.Add(breath), l.since.Add(longest))
	}
	wait := time.Duration(moving-1) * crowd
	if l.pod.Status != nil && l.pod.Status.Phase == v1.PodPending && !deleted {
		wait += starting
	}
	return later(l.quiet.Add(breath), l.since.Add(min(wait, longest)))
}

// before orders lines that are due. During an outage those go first that were tried least: one pod that fails for reasons
// of its own must not stand for the whole server. A younger line of a better rank overtakes, but not for ever.
func (l *line) before(m *line, out bool) int {
	if out && l.tries != m.tries {
		return cmp.Compare(l.tries, m.tries)
	}
	place := func(x *line) time.Time { return x.since.Add(time.Duration(x.order.rank) * overtake) }
	return cmp.Or(place(l).Compare(place(m)), cmp.Compare(l.pod.UID, m.pod.UID))
}

// overtake is by how much younger a line may be and still go before one of the next rank.
const overtake = 10 * time.Second
