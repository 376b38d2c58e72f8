package backoff

import (
	"hash/fnv"
	"math"
	"time"
)

// Series is a row of growing pauses. The zero Factor means 2; a Max of zero means that nothing limits the pause.
type Series struct {
	// Initial is the first pause.
	Initial time.Duration
	// Max is the longest pause.
	Max time.Duration
	// Factor is how many times longer than its predecessor a pause is; values below 1 count as 2.
	Factor float64
}

// Next returns the pause that follows prev: Initial after none, then Factor times as long, at most Max.
// A prev from a series that has since been changed is brought back into the bounds of this one.
func (s Series) Next(prev time.Duration) time.Duration {
	if prev <= 0 {
		return s.limit(float64(max(s.Initial, 0)))
	}
	factor := s.Factor
	if !(factor >= 1) { // also catches NaN
		factor = 2
	}
	return s.limit(max(float64(prev)*factor, float64(s.Initial)))
}

func (s Series) limit(d float64) time.Duration {
	if s.Max > 0 && d >= float64(s.Max) {
		return s.Max
	}
	if d >= math.MaxInt64 { // one day a float no longer fits: stay at the longest pause there is
		return math.MaxInt64
	}
	return time.Duration(d)
}

// Jitter lengthens d by up to factor times d, so that things with different seeds do not all come back at the same
// moment. The same seed always gets the same answer, so a plan can be computed twice. A factor of zero or less, and a
// d of zero or less, change nothing; the result never overflows.
func Jitter(d time.Duration, factor float64, seed string) time.Duration {
	if d <= 0 || !(factor > 0) {
		return d
	}
	longer := float64(d) * (1 + factor*share(seed))
	if longer >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(longer)
}

// share maps a seed to [0, 1).
func share(seed string) float64 {
	h := fnv.New64a()
	h.Write([]byte(seed))
	x := h.Sum64()
	// FNV leaves the high bits of short, similar seeds alike; two multiply-and-fold rounds spread them.
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return float64((x^x>>33)>>11) / (1 << 53)
}
