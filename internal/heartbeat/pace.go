package heartbeat

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/bosun-project/bosun/internal/backoff"
)

// retries are the pauses after failures (behaviours 285, 289).
var retries = backoff.Series{Initial: 100 * time.Millisecond, Max: 7 * time.Second}

// attempts is one kind of request that may fail, and when it may be tried again.
type attempts struct {
	what    string
	log     *slog.Logger
	tell    func(Trouble)
	trouble Trouble
	pause   time.Duration
	at      time.Time
}

// failed puts off the next try, and logs the first failure of a row.
func (a *attempts) failed(err error, now time.Time) {
	a.pause = retries.Next(a.pause)
	a.at = now.Add(a.pause - time.Duration(rand.Float64()*float64(a.pause)/5)) // many nodes fail at the same moment
	if a.trouble.Tries++; a.trouble.Tries == 1 {
		a.trouble.Since = now
		a.log.Warn(a.what+" failed; it is tried until it works", "err", err)
	}
	a.trouble.Err = err.Error()
	a.tell(a.trouble)
}

// worked ends a row of failures.
func (a *attempts) worked(now time.Time) {
	a.hurry()
	if a.trouble.Tries == 0 {
		return
	}
	a.log.Info(a.what+" works again", "tries", a.trouble.Tries+1, "after", now.Sub(a.trouble.Since).Round(time.Millisecond))
	a.trouble = Trouble{}
	a.tell(a.trouble)
}

// hurry makes the next try possible at once.
func (a *attempts) hurry() { a.pause, a.at = 0, time.Time{} }

// pace spaces out requests of a kind: the first goes at once, and the more they press, the longer the pause.
type pace struct {
	first, most time.Duration
	pause       time.Duration
	at          time.Time
}

// sent puts off the next request. What was sent as soon as it was allowed makes the pause longer.
func (p *pace) sent(now time.Time) {
	if now.Before(p.at.Add(p.pause)) {
		p.pause = min(2*p.pause, p.most)
	} else {
		p.pause = p.first
	}
	p.at = now.Add(p.pause)
}

// about is d, longer by up to a share of it.
func about(d time.Duration, share float64) time.Duration {
	return d + time.Duration(rand.Float64()*share*float64(d))
}

// earliest is the first of some moments.
func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
