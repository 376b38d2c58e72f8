package collect

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

var began = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func at(after time.Duration) time.Time { return began.Add(after) }

func ids(images []Image) []string {
	var out []string
	for _, i := range images {
		out = append(out, i.ID)
	}
	return out
}

func TestLook(t *testing.T) {
	old, late := Image{ID: "old", Names: []string{"docker.io/library/old:1"}}, Image{ID: "late"}
	m := Memory(nil).Look([]Image{old}, nil, at(0))
	if r := m["old"]; !r.Found.IsZero() || !r.Used.IsZero() {
		t.Errorf("an image that was there before the agent was found at %v, used at %v", r.Found, r.Used)
	}
	m = m.Look([]Image{old, late}, Used{"docker.io/library/old:1": true, "late": true}, at(time.Minute))
	want := Memory{"old": {Used: at(time.Minute)}, "late": {Found: at(time.Minute), Used: at(time.Minute)}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	m = m.Look([]Image{late}, nil, at(2*time.Minute))
	if diff := cmp.Diff(Memory{"late": want["late"]}, m); diff != "" {
		t.Error("after an image has gone and another is no longer used:", diff)
	}
	if m = (Memory{}).Look([]Image{late}, nil, at(0)); m["late"].Found.IsZero() {
		t.Error("an image that comes to a node without any counts as there before the agent")
	}
}

// TestUnused holds the order of behaviour 167: unused, not pinned; last used first, then first found.
func TestUnused(t *testing.T) {
	m := Memory{
		"never": {}, "long-ago": {Used: at(time.Hour)}, "lately": {Used: at(2 * time.Hour)}, "lately-younger": {Found: at(time.Minute), Used: at(2 * time.Hour)},
		"busy": {}, "busy-by-name": {}, "pinned": {},
	}
	images := []Image{
		{ID: "lately-younger"}, {ID: "lately"}, {ID: "busy"}, {ID: "never"}, {ID: "pinned", Pinned: true}, {ID: "long-ago"}, {ID: "busy-by-name", Names: []string{"a", "b"}},
	}
	got := ids(m.Unused(images, Used{"busy": true, "b": true}))
	if diff := cmp.Diff([]string{"never", "long-ago", "lately", "lately-younger"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAges(t *testing.T) {
	p := Policy{MinAge: 2 * time.Minute, MaxAge: time.Hour, Began: began}
	cases := []struct {
		name       string
		record     Record
		now        time.Duration
		young, old bool
	}{
		{"there before the agent", Record{}, time.Minute, false, false},
		{"there before the agent, and never used since", Record{}, time.Hour + time.Second, false, true},
		{"just come", Record{Found: at(10 * time.Minute)}, 11 * time.Minute, true, false},
		{"old enough", Record{Found: at(10 * time.Minute)}, 12 * time.Minute, false, false},
		{"unused since it came", Record{Found: at(10 * time.Minute)}, time.Hour + 11*time.Minute, false, true},
		{"used meanwhile", Record{Found: at(10 * time.Minute), Used: at(time.Hour)}, time.Hour + 11*time.Minute, false, false},
	}
	for _, c := range cases {
		if young, old := p.Young(c.record, at(c.now)), p.Old(c.record, at(c.now)); young != c.young || old != c.old {
			t.Errorf("%s: young %v, old %v", c.name, young, old)
		}
	}
	if (Policy{Began: began}).Old(Record{}, at(1000*time.Hour)) {
		t.Error("without imageMaximumGCAge an image is too old")
	}
	for p, off := range map[Policy]bool{{High: 100}: true, {High: 99}: false, {High: 100, MaxAge: time.Hour}: false} {
		if p.Off() != off {
			t.Errorf("%+v: off %v", p, p.Off())
		}
	}
}

func TestGoal(t *testing.T) {
	const gib = 1 << 30
	p := Policy{High: 85, Low: 80}
	cases := []struct {
		name    string
		policy  Policy
		disk    Disk
		percent int
		goal    int64
	}{
		{"below", p, Disk{Capacity: 100 * gib, Available: 16 * gib}, 84, 0},
		{"at the threshold", p, Disk{Capacity: 100 * gib, Available: 15 * gib}, 85, 5 * gib},
		{"a byte less than the threshold", p, Disk{Capacity: 100 * gib, Available: 15*gib - 1}, 86, 5*gib + 1},
		{"full", p, Disk{Capacity: 100 * gib}, 100, 20 * gib},
		{"more than there is", p, Disk{Capacity: 100 * gib, Available: 200 * gib}, 0, 0},
		{"never", Policy{High: 100, Low: 80}, Disk{Capacity: 100 * gib}, 100, 0},
		{"the largest there can be", p, Disk{Capacity: math.MaxInt64, Available: 0}, 100, math.MaxInt64 / 5},
	}
	for _, c := range cases {
		percent, err := c.disk.Percent()
		goal, err2 := c.policy.Goal(c.disk)
		if err != nil || err2 != nil || percent != c.percent || goal != c.goal {
			t.Errorf("%s: %d %%, goal %d (%v, %v), want %d %% and %d", c.name, percent, goal, err, err2, c.percent, c.goal)
		}
	}
	if _, err := p.Goal(Disk{}); !errors.Is(err, ErrCapacity) {
		t.Errorf("a disk of no size: %v", err)
	}
}

func TestSpare(t *testing.T) {
	dead := func(pod types.UID, name, id string, ended time.Duration, needed bool) Dead {
		return Dead{Pod: pod, Name: name, ID: id, Ended: at(ended), Needed: needed}
	}
	all := []Dead{
		dead("p", "a", "a1", 1*time.Minute, false), dead("p", "a", "a2", 2*time.Minute, false), dead("p", "a", "a3", 3*time.Minute, true),
		dead("p", "b", "b1", 4*time.Minute, false), dead("q", "a", "q1", 5*time.Minute, false),
	}
	cases := []struct {
		name string
		keep Keep
		want []string
	}{
		{"any number", Keep{Total: -1}, nil},
		{"as many as there are", Keep{Total: 5}, nil},
		{"each container keeps its share", Keep{Total: 3}, []string{"a1", "a2"}},
		{"one each, however few", Keep{Total: 2}, []string{"a1", "a2", "b1"}},
		{"none, but what is needed", Keep{Total: 0}, []string{"a1", "a2", "b1", "q1"}},
		{"the young stay", Keep{Total: 0, MinAge: 8 * time.Minute}, []string{"a1", "a2"}},
	}
	for _, c := range cases {
		var got []string
		for _, d := range c.keep.Spare(all, at(10*time.Minute)) {
			got = append(got, d.ID)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	if got := (Keep{Total: -1}).All(all, at(10*time.Minute)); len(got) != 4 {
		t.Errorf("for a full disk: %v", got)
	}
}

// TestSpareAtRandom holds what Spare promises whatever there is: nothing needed or young goes, nothing goes twice, and no more stay than
// may, unless what stays must.
func TestSpareAtRandom(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var dead []Dead
		for i := range r.IntN(12) {
			dead = append(dead, Dead{
				Pod: types.UID(rune('p' + r.IntN(2))), Name: string(rune('a' + r.IntN(3))), ID: string(rune('A' + i)),
				Ended: at(time.Duration(r.IntN(20)) * time.Minute), Needed: r.IntN(4) == 0,
			})
		}
		k := Keep{Total: r.IntN(8) - 1, MinAge: time.Duration(r.IntN(10)) * time.Minute}
		before := slices.Clone(dead)
		gone := k.Spare(dead, at(20*time.Minute))
		if diff := cmp.Diff(before, dead); diff != "" {
			t.Fatal("the input was changed:", diff)
		}
		fixed, seen := 0, map[string]bool{}
		for _, d := range dead {
			if !k.may(d, at(20*time.Minute)) {
				fixed++
			}
		}
		for _, d := range gone {
			if seen[d.ID] || !k.may(d, at(20*time.Minute)) {
				t.Fatalf("seed %d: %+v goes", seed, d)
			}
			seen[d.ID] = true
		}
		if left := len(dead) - len(gone); k.Total >= 0 && left > max(k.Total, fixed) {
			t.Fatalf("seed %d: %d stay, %+v, of which %d have to", seed, left, k, fixed)
		}
	}
}
