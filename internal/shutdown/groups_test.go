package shutdown

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const s = time.Second

// TestGroups holds how the configuration cuts the pods into groups (behaviour 306).
func TestGroups(t *testing.T) {
	for name, c := range map[string]struct {
		whole, critical time.Duration
		byPriority      []Group
		want            []Group
	}{
		"off":                       {},
		"off by a list":             {byPriority: []Group{{0, 0}, {100, 0}}},
		"whole and critical":        {whole: 30 * s, critical: 10 * s, want: []Group{{0, 20 * s}, {2000000000, 10 * s}}},
		"whole, nothing for either": {whole: 30 * s, want: []Group{{0, 30 * s}, {2000000000, 0}}},
		"all for the critical ones": {whole: 30 * s, critical: 30 * s, want: []Group{{0, 0}, {2000000000, 30 * s}}},
		"a list in any order": {
			byPriority: []Group{{100000, 10 * s}, {1000, 180 * s}, {0, 60 * s}}, want: []Group{{0, 60 * s}, {1000, 180 * s}, {100000, 10 * s}},
		},
		"a list with negative priorities": {byPriority: []Group{{0, 5 * s}, {-10, 1 * s}}, want: []Group{{-10, 1 * s}, {0, 5 * s}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Groups(c.whole, c.critical, c.byPriority)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGroupOf(t *testing.T) {
	groups := []Group{{-5, s}, {0, s}, {1000, s}, {2000000000, s}}
	for priority, want := range map[int32]int{-100: 0, -5: 0, -1: 0, 0: 1, 999: 1, 1000: 2, 1999999999: 2, 2000000000: 3, 2000001000: 3} {
		if got := groupOf(groups, priority); got != want {
			t.Errorf("priority %d is in group %d, want %d", priority, got, want)
		}
	}
}

// TestFit holds that too little time is shared out fairly.
func TestFit(t *testing.T) {
	groups := []Group{{0, 20 * s}, {1, 10 * s}}
	for most, want := range map[time.Duration][]Group{
		0: groups, 30 * s: groups, time.Hour: groups, 3 * s: {{0, 2 * s}, {1, s}}, 15 * s: {{0, 10 * s}, {1, 5 * s}},
	} {
		if diff := cmp.Diff(want, fit(groups, most)); diff != "" {
			t.Errorf("within %v: %s", most, diff)
		}
	}
	if groups[0].Period != 20*s {
		t.Error("the groups of the configuration were changed")
	}
}
