package plan

import (
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/pod"
)

// noon is a moment n seconds from the beginning of a test.
func noon(n int) time.Time { return time.Date(2026, 5, 1, 12, 0, n, 0, time.UTC) }

// TestBackoff holds behaviours 137-139: the pauses a row of ends earns.
func TestBackoff(t *testing.T) {
	type end struct {
		finished, seen int // seconds; finished -1 is a runtime that does not tell
		of             string
		delay, until   int // want
	}
	cases := []struct {
		name string
		most time.Duration
		ends []end
	}{
		{"the first restart is immediate", 300 * time.Second, []end{{5, 6, "a", 0, 5}}},
		{"then ten seconds, doubling, up to the cap", 60 * time.Second, []end{
			{0, 0, "a", 0, 0}, {3, 3, "a", 10, 13}, {15, 15, "a", 20, 35}, {40, 40, "a", 40, 80}, {90, 90, "a", 60, 150}, {160, 160, "a", 60, 220},
		}},
		{"a cap below ten seconds", 4 * time.Second, []end{{0, 0, "a", 0, 0}, {3, 3, "a", 4, 7}, {9, 9, "a", 4, 13}}},
		{"the pause begins with the end, not with its news", 300 * time.Second, []end{{0, 0, "a", 0, 0}, {3, 8, "a", 10, 13}}},
		{"a pause that is over when it is heard of", 300 * time.Second, []end{{0, 0, "a", 0, 0}, {3, 60, "a", 10, 13}, {70, 70, "a", 20, 90}}},
		{"a runtime that does not tell the time", 300 * time.Second, []end{{-1, 0, "a", 0, 0}, {-1, 8, "a", 10, 18}}},
		{"twice the cap after the last pause it is forgotten", 60 * time.Second, []end{
			{0, 0, "a", 0, 0}, {3, 3, "a", 10, 13}, {133, 133, "a", 20, 153}, {274, 274, "a", 0, 274}, {280, 280, "a", 10, 290},
		}},
		{"another definition begins anew", 300 * time.Second, []end{{0, 0, "a", 0, 0}, {3, 3, "a", 10, 13}, {20, 20, "b", 0, 20}, {21, 21, "b", 10, 31}}},
		{"a clock that was set back an hour: the end lies before the last one", 300 * time.Second, []end{
			{3600, 3600, "a", 0, 3600}, {3605, 3605, "a", 10, 3615}, {20, 20, "a", 20, 40}, {50, 50, "a", 40, 90},
		}},
		{"an end that lies in the future", 300 * time.Second, []end{{0, 0, "a", 0, 0}, {3600, 5, "a", 10, 15}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var b Backoff
			for i, e := range c.ends {
				last := &pod.Container{ID: string(rune('a' + i))}
				if e.finished >= 0 {
					last.FinishedAt = noon(e.finished)
				}
				b = nextBackoff(b, e.of, last, noon(e.seen), c.most)
				if b.Delay != time.Duration(e.delay)*time.Second || !b.Until.Equal(noon(e.until)) || b.For != last.ID || b.Of != e.of {
					t.Fatalf("end %d: %+v, want a pause of %d s until +%d s", i, b, e.delay, e.until)
				}
			}
		})
	}
}

// TestFailurePauses holds how pauses grow after failures (behaviours 19, 156, 172, 360).
func TestFailurePauses(t *testing.T) {
	cases := []struct {
		effect Effect
		class  Class
		want   []time.Duration
	}{
		{Effect{Kind: EnsureImage, Container: "app", Image: "i"}, Again, []time.Duration{10e9, 20e9, 40e9, 80e9, 160e9, 300e9, 300e9}},
		{Effect{Kind: SetupVolume, Volume: "v"}, Again, []time.Duration{5e8, 1e9, 2e9, 4e9, 8e9, 16e9, 32e9, 64e9, 122e9, 122e9}},
		{Effect{Kind: RunSandbox}, Again, []time.Duration{1e9, 2e9, 4e9, 8e9, 10e9, 10e9}},
		{Effect{Kind: RunSandbox}, Soon, []time.Duration{1e9, 1e9, 1e9}},
	}
	for _, c := range cases {
		var m Memory
		for i, want := range c.want {
			ended := noon(i)
			m = Learn(m, Outcome{Effect: c.effect, Ended: ended, Failed: &Fault{Class: c.class, Reason: "R", Message: "m"}})
			f := m.Kept.Failures[c.effect.Subject()]
			if f.Delay != want || !f.RetryAt.Equal(ended.Add(want)) || f.Count != i+1 || !f.Since.Equal(noon(0)) || f.Reason != "R" || f.Message != "m" {
				t.Errorf("%s, failure %d: %+v, want a pause of %s", c.effect.Subject(), i+1, f, want)
			}
		}
		m = Learn(m, Outcome{Effect: c.effect, Ended: noon(99)})
		if len(m.Kept.Failures) > 0 {
			t.Errorf("%s: success leaves %v", c.effect.Subject(), m.Kept.Failures)
		}
	}
}

func TestAnotherImageHasNoPauseYet(t *testing.T) {
	fail := func(m Memory, image string, at int) Memory {
		return Learn(m, Outcome{Effect: Effect{Kind: EnsureImage, Container: "app", Image: image}, Ended: noon(at), Failed: &Fault{}})
	}
	m := fail(fail(fail(Memory{}, "old", 0), "old", 20), "new", 50)
	if f := m.Kept.Failures["ensure image app"]; f.Count != 1 || f.Delay != 10*time.Second || f.Of != "new" || !f.Since.Equal(noon(50)) {
		t.Errorf("got %+v", f)
	}
}
