package stats

import (
	"time"

	"github.com/bosun-project/bosun/internal/usage"
)

const (
	// shortest is the least time between two readings that says how much of a processor is in use.
	shortest = time.Second
	// window is how long a reading stays the one to compare with.
	window = 10 * time.Second
	// keepPace is how long the reading of a cgroup that nobody reads any more is kept.
	keepPace = 10 * time.Minute
)

// pace is how fast a cgroup uses processors: compared with what reading, and with what outcome.
type pace struct {
	at   time.Time
	used uint64
	rate usage.Number
	seen time.Time
}

// rate says how many billionths of a processor were in use since an earlier reading; unknown after the first one.
func (r *Reader) rate(path string, at time.Time, used usage.Number) usage.Number {
	if !used.Known {
		return usage.Number{}
	}
	p := r.paces[path]
	if p == nil || used.Value < p.used { // it is another cgroup of that name
		r.paces[path] = &pace{at: at, used: used.Value, seen: at}
		return usage.Number{}
	}
	p.seen = at
	since := at.Sub(p.at)
	if since < shortest {
		return p.rate
	}
	p.rate = usage.Of(uint64(float64(used.Value-p.used) / since.Seconds()))
	if since >= window {
		p.at, p.used = at, used.Value
	}
	return p.rate
}

func (r *Reader) forgetPaces() {
	now := r.now()
	for path, p := range r.paces {
		if now.Sub(p.seen) > keepPace {
			delete(r.paces, path)
		}
	}
}
