package agent

import (
	"testing"
	"time"
)

// What is said of a listing that is too old stays the same while it gets older: each change of it is reported.
func TestStaleListing(t *testing.T) {
	at := time.Date(2026, 11, 21, 4, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		began time.Time
		after time.Duration
		want  string
	}{
		{time.Time{}, time.Hour, ""},
		{at, 4 * time.Minute, ""},
		{at, 5 * time.Minute, "pleg was last seen active at 2026-11-21T04:00:00Z; threshold is 5m0s"},
		{at, 50 * time.Minute, "pleg was last seen active at 2026-11-21T04:00:00Z; threshold is 5m0s"},
	} {
		if got := staleListing(c.began, 5*time.Minute, at.Add(c.after)); got != c.want {
			t.Errorf("after %v: %q, want %q", c.after, got, c.want)
		}
	}
}
