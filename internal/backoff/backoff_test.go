package backoff

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestSeriesGrowsToItsLimit(t *testing.T) {
	pull := Series{Initial: 10 * time.Second, Max: 300 * time.Second} // behaviour 156
	volume := Series{Initial: 500 * time.Millisecond, Max: 2*time.Minute + 2*time.Second}
	for _, c := range []struct {
		name string
		of   Series
		want []time.Duration
	}{
		{"pull", pull, []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second,
			160 * time.Second, 300 * time.Second, 300 * time.Second}},
		{"volume", volume, []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second,
			16 * time.Second, 32 * time.Second, 64 * time.Second, 122 * time.Second, 122 * time.Second}},
		{"slow", Series{Initial: 4 * time.Second, Max: 10 * time.Second, Factor: 1.5},
			[]time.Duration{4 * time.Second, 6 * time.Second, 9 * time.Second, 10 * time.Second}},
		{"steady", Series{Initial: time.Second, Factor: 1}, []time.Duration{time.Second, time.Second}},
		{"initial over max", Series{Initial: time.Minute, Max: time.Second}, []time.Duration{time.Second, time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d time.Duration
			for i, want := range c.want {
				if d = c.of.Next(d); d != want {
					t.Errorf("pause %d: %v, want %v", i, d, want)
				}
			}
		})
	}
}

func TestSeriesAtTheEdges(t *testing.T) {
	for _, c := range []struct {
		name string
		of   Series
		prev time.Duration
		want time.Duration
	}{
		{"nothing given", Series{}, 0, 0},
		{"negative pause", Series{Initial: time.Second}, -time.Minute, time.Second},
		{"negative initial", Series{Initial: -time.Second}, 0, 0},
		{"overflow", Series{Initial: time.Second}, math.MaxInt64 - 1, math.MaxInt64},
		{"not a number", Series{Initial: time.Second, Factor: math.NaN()}, time.Second, 2 * time.Second},
		{"endless factor", Series{Initial: time.Second, Max: time.Hour, Factor: math.Inf(1)}, time.Second, time.Hour},
		{"limit was lowered", Series{Initial: time.Second, Max: 60 * time.Second}, 300 * time.Second, 60 * time.Second},
		{"initial was raised", Series{Initial: time.Minute, Max: time.Hour}, time.Second, time.Minute},
	} {
		if got := c.of.Next(c.prev); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestJitterIsSteadyAndSpread(t *testing.T) {
	const d, factor = time.Second, 0.5
	low, high := 0, 0
	for i := range 1000 {
		seed := fmt.Sprintf("pod-%d", i)
		got := Jitter(d, factor, seed)
		if got != Jitter(d, factor, seed) {
			t.Fatalf("%s: two answers", seed)
		}
		if got < d || got >= d+d/2 {
			t.Fatalf("%s: %v is outside [1s, 1.5s)", seed, got)
		}
		if got < d+d/4 {
			low++
		} else {
			high++
		}
	}
	if low < 400 || high < 400 {
		t.Errorf("lopsided: %d in the lower half, %d in the upper", low, high)
	}
}

func TestJitterLeavesAlone(t *testing.T) {
	for _, c := range []struct {
		d      time.Duration
		factor float64
		want   time.Duration
	}{
		{0, 1, 0}, {-time.Second, 1, -time.Second}, {time.Second, 0, time.Second}, {time.Second, -1, time.Second},
		{time.Second, math.NaN(), time.Second}, {math.MaxInt64, 1, math.MaxInt64},
	} {
		if got := Jitter(c.d, c.factor, "pod"); got != c.want {
			t.Errorf("Jitter(%v, %v) = %v, want %v", c.d, c.factor, got, c.want)
		}
	}
}
