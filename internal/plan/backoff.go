package plan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

// Duration and Time keep signatures of this package short.
type (
	Duration = time.Duration
	Time     = time.Time
)

const (
	floor        = time.Second // no container is killed with less grace (behaviour 143)
	crashInitial = 10 * time.Second
	crashCap     = 5 * time.Minute
)

// backoff tells whether an ended container has to wait before it starts again, and until when. The pause is worked
// out once for each ended instance: the first restart is immediate, then 10 s, doubling up to the cap; a container
// that ran long enough, or has another definition now, starts afresh (behaviours 137-139).
func (d *draft) backoff(c *v1.Container, last *pod.Container) (time.Time, bool) {
	b := d.mem.Kept.Containers[c.Name].Backoff
	if of := definition(c); b.For != last.ID || b.Of != of {
		b = nextBackoff(b, of, last, d.in.Now, d.crashCap())
		d.remember(c.Name, func(m *ContainerMemory) { m.Backoff = b })
	}
	return b.Until, d.in.Now.Before(b.Until)
}

func (d *draft) crashCap() time.Duration {
	if d.in.Facts.CrashCap > 0 {
		return d.in.Facts.CrashCap
	}
	return crashCap
}

// nextBackoff is the pause that the end of one instance earns.
func nextBackoff(b Backoff, of string, last *pod.Container, now time.Time, most time.Duration) Backoff {
	ended := last.FinishedAt
	if ended.IsZero() || ended.After(now) { // the runtime does not tell, or the clock was set back
		ended = now
	}
	delay := time.Duration(0)
	if b.For != "" && b.Of == of && ended.Sub(b.Updated) <= 2*most {
		delay = min(max(2*b.Delay, crashInitial), most)
	}
	until := ended.Add(delay)
	return Backoff{Delay: delay, Updated: later(until, now), For: last.ID, Until: until, Of: of}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
