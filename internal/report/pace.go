package report

import (
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/bosun-project/bosun/internal/backoff"
)

// A result is what the API server made of a call, as far as it matters here.
type result int

const (
	done result = iota
	// vanished: there is no such pod, or no longer.
	vanished
	// clashed: another pod has that name by now, or too many write at once.
	clashed
	// refused: the API server does not want this, and will not the next moment either.
	refused
	// unheard: nothing that knows of pods has answered.
	unheard
)

func resultOf(err error) result {
	switch {
	case err == nil:
		return done
	case apierrors.IsNotFound(err) || apierrors.IsGone(err):
		return vanished
	case apierrors.IsConflict(err):
		return clashed
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err),
		apierrors.IsRequestEntityTooLargeError(err), apierrors.IsMethodNotSupported(err), apierrors.IsUnsupportedMediaType(err):
		return refused
	}
	return unheard
}

// Pauses between attempts: of one pod, by what went wrong, and of all pods while nobody answers.
var (
	unheardPauses = backoff.Series{Initial: 100 * time.Millisecond, Max: 10 * time.Second}
	clashedPauses = backoff.Series{Initial: time.Second, Max: 30 * time.Second}
	refusedPauses = backoff.Series{Initial: time.Second, Max: 2 * time.Minute}
	lagPauses     = backoff.Series{Initial: lag, Max: 5 * time.Minute}
	downPauses    = backoff.Series{Initial: 100 * time.Millisecond, Max: 5 * time.Second}
)

const (
	// lag is how long the list of pods may stay behind what the API server has answered, before the list is believed.
	lag = 30 * time.Second
	// soonest is the least time between two attempts while nobody answers, whatever else is heard.
	soonest = 500 * time.Millisecond
)

// pace is how many calls may be under way, and when. While nobody answers it is one, now and then; once somebody does it
// doubles with each answer, so that a server that has just come back is not run over.
type pace struct {
	most  int
	width int
	// down is since when nobody has answered, zero while somebody does; next is when the next attempt may be.
	down, failed, next time.Time
	pause              time.Duration
	seed               string
	err                error
}

// heard is told of an answer; it says whether that ended an outage.
func (p *pace) heard() (back bool) {
	back = !p.down.IsZero()
	p.down, p.failed, p.next, p.pause, p.err = time.Time{}, time.Time{}, time.Time{}, 0, nil
	p.width = min(2*p.width, p.most)
	return back
}

// unheard is told of a call without answer that began at a time; it says whether that began an outage. Several that failed
// together count as one.
func (p *pace) unheard(began, now time.Time, err error) (fresh bool) {
	p.err = err
	fresh = p.down.IsZero()
	if fresh {
		p.down = now
	}
	p.width = 1
	if !fresh && began.Before(p.failed) {
		return fresh
	}
	p.failed = now
	p.pause = downPauses.Next(p.pause)
	p.next = now.Add(backoff.Jitter(p.pause, 0.2, p.seed))
	if wait, ok := apierrors.SuggestsClientDelay(err); ok && wait > 0 {
		p.next = later(p.next, now.Add(min(time.Duration(wait)*time.Second, downPauses.Max)))
	}
	return fresh
}

// stirred is told that the list of pods has moved: the server is likely back, so there is no need to wait much longer.
func (p *pace) stirred(now time.Time) {
	if soon := later(now, p.failed.Add(soonest)); !p.down.IsZero() && p.next.After(soon) {
		p.next, p.pause = soon, 0
	}
}

// room is how many more calls may begin now, given how many are under way.
func (p *pace) room(flying int, now time.Time) int {
	if now.Before(p.next) {
		return 0
	}
	return p.width - flying
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
