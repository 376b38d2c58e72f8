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
	// absentPauses are for deletes of pods of which the server says that it has none: one that has just started says so of pods
	// that it has, since its admission asks a cache that is still empty.
	absentPauses = backoff.Series{Initial: time.Second, Max: 5 * time.Minute}
	downPauses   = backoff.Series{Initial: 100 * time.Millisecond, Max: 5 * time.Second}
)

const (
	// lag is how long the list of pods may stay behind what the API server has answered, before the list is believed.
	lag = 30 * time.Second
	// soonest is the least time between two attempts while nobody answers, whatever else is heard.
	soonest = 500 * time.Millisecond
)

// pace is how many calls may be under way, and when. When one is not heard it is one, now and then; once somebody answers it
// doubles with each answer, so that a server that has just come back is not run over.
type pace struct {
	most  int
	width int
	// strikes counts calls without answer in a row, down is since when; several that failed together count as one. err is
	// what the last one met.
	strikes      int
	down, failed time.Time
	err          error
	// next is when the next attempt may be.
	next  time.Time
	pause time.Duration
	seed  string
}

// outage is how many calls in a row must go without answer until it is the server that is away, and not one pod that cannot
// be told (some webhooks fail like that).
const outage = 3

// out tells whether the server is away.
func (p *pace) out() bool { return p.strikes >= outage }

// heard is told of an answer.
func (p *pace) heard() {
	*p = pace{most: p.most, seed: p.seed, width: min(2*p.width, p.most)}
}

// unheard is told of a call without answer that began at a time.
func (p *pace) unheard(began, now time.Time, err error) {
	p.width, p.err = 1, err
	if p.strikes > 0 && began.Before(p.failed) {
		return
	}
	if p.strikes == 0 {
		p.down = now
	}
	p.strikes++
	p.failed = now
	p.pause = downPauses.Next(p.pause)
	p.next = now.Add(backoff.Jitter(p.pause, 0.2, p.seed))
	if wait, ok := apierrors.SuggestsClientDelay(err); ok && wait > 0 {
		p.next = later(p.next, now.Add(min(time.Duration(wait)*time.Second, downPauses.Max)))
	}
}

// stirred is told that the list of pods has moved: the server is likely back, so there is no need to wait much longer.
func (p *pace) stirred(now time.Time) {
	if soon := later(now, p.failed.Add(soonest)); p.out() && p.next.After(soon) {
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
