package pod

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// at is a moment n seconds into the test.
func at(n int) time.Time { return time.Date(2026, 3, 1, 12, 0, n, 0, time.UTC) }

func container(id string, s ContainerState, seen int) Container {
	return Container{ID: id, SandboxID: "s1", Name: strings.TrimRight(id, "0123456789"), State: s, Seen: at(seen), CreatedAt: at(0)}
}

func sandbox(id string, ready bool, seen int) Sandbox {
	s := Sandbox{ID: id, Ready: ready, Seen: at(seen), CreatedAt: at(0)}
	if ready {
		s.IPs = []string{"10.0.0.1"}
	}
	return s
}

func look(began int, things ...any) Report  { return report(Report{Complete: true}, began, things) }
func own(began int, things ...any) Report   { return report(Report{Own: true}, began, things) }
func event(began int, things ...any) Report { return report(Report{}, began, things) }

func report(r Report, began int, things []any) Report {
	r.Began = at(began)
	for _, thing := range things {
		switch x := thing.(type) {
		case Container:
			r.Containers = append(r.Containers, x)
		case Sandbox:
			r.Sandboxes = append(r.Sandboxes, x)
		}
	}
	return r
}

// words says what an Observed holds, newest first.
func words(o Observed) string {
	var out []string
	for _, s := range o.Sandboxes {
		state := "lost"
		if s.Gone {
			state = "gone"
		} else if s.Ready {
			state = "ready"
		}
		out = append(out, s.ID+" "+state)
	}
	for _, c := range o.Containers {
		out = append(out, c.ID+" "+c.State.String())
	}
	if !o.Surprised.IsZero() {
		out = append(out, "surprised by "+strings.Join(o.Strangers, " "))
	}
	return strings.Join(out, ", ")
}

func TestMerge(t *testing.T) {
	running, exited, gone := container("c1", Running, 2), container("c1", Exited, 5), container("c1", Gone, 6)
	cases := []struct {
		name    string
		reports []Report
		want    string
	}{
		{"nothing", nil, ""},
		{"an inspection brings in everything", []Report{look(2, sandbox("s1", true, 2), running)}, "s1 ready, c1 running"},
		{"an own report brings in something", []Report{own(2, running)}, "c1 running"},
		{"an event brings in nothing, but surprises", []Report{event(2, sandbox("s1", true, 2), running)}, "surprised by s1 c1"},
		{"an inspection that began later ends the surprise", []Report{event(2, running), look(3)}, ""},
		{"one that began earlier does not", []Report{event(2, running), look(1)}, "surprised by c1"},
		{"own reports of everything strange end it, too", []Report{event(2, sandbox("s1", true, 2), running), own(2, sandbox("s1", true, 2)), own(3, running)}, "s1 ready, c1 running"},
		{"an own report of something else does not", []Report{event(2, running), own(3, container("d1", Running, 3))}, "d1 running, surprised by c1"},
		{"two events of one stranger", []Report{event(2, running), event(3, running), event(4, container("d1", Running, 4))}, "surprised by c1 d1"},
		{"an event older than the inspection surprises nobody", []Report{look(3), event(2, running)}, ""},
		{"that something unknown is gone surprises nobody", []Report{look(1), event(2, gone, Sandbox{ID: "s1", Gone: true, Seen: at(2)})}, ""},
		{"an event tells of what is known", []Report{look(2, running), event(5, exited)}, "c1 exited"},
		{"an old event never resurrects", []Report{look(2, running), event(5, exited), event(3, container("c1", Running, 3))}, "c1 exited"},
		{"nor does an event that claims to be newer", []Report{look(2, running), event(5, exited), event(9, container("c1", Running, 9))}, "c1 exited"},
		{"nor an old inspection", []Report{own(2, running), event(5, exited), look(3, container("c1", Created, 3))}, "c1 exited"},
		{"a call makes nothing that has ended", []Report{look(2), own(5, exited)}, ""},
		{"what is gone stays gone until an inspection forgets it", []Report{look(2, running), own(6, gone), look(4, exited)}, "c1 gone"},
		{"an inspection forgets what it does not find", []Report{look(2, running), look(7)}, ""},
		{"unless it began before that was seen", []Report{own(2, running), look(1)}, "c1 running"},
		{"at the same moment nobody knows", []Report{own(2, running), look(2)}, "c1 running"},
		{"an inspection overtaken by another brings in nothing, but surprises", []Report{look(4), look(3, running)}, "surprised by c1"},
		{"and the next one tells", []Report{look(4), look(3, running), look(5)}, ""},
		{"an own report overtaken by an inspection is the same", []Report{look(4), own(3, running)}, "surprised by c1"},
		{"the runtime loses track and finds it again", []Report{look(2, running), event(3, container("c1", Unknown, 3)), event(4, container("c1", Running, 4))}, "c1 running"},
		{"and an older story does not undo that", []Report{look(2, running), event(4, container("c1", Running, 4)), event(3, container("c1", Unknown, 3))}, "c1 running"},
		{"a sandbox never gets ready again", []Report{look(2, sandbox("s1", true, 2)), event(4, sandbox("s1", false, 4)), event(9, sandbox("s1", true, 9))}, "s1 lost"},
		{"a sandbox that is gone", []Report{look(2, sandbox("s1", true, 2)), own(4, Sandbox{ID: "s1", Gone: true, Seen: at(4)}), look(3, sandbox("s1", true, 3))}, "s1 gone"},
		{"an inspection forgets a sandbox", []Report{look(2, sandbox("s1", true, 2)), look(4)}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var o Observed
			for _, r := range c.reports {
				o = o.Merge(r)
			}
			if got := words(o); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestTerseReports holds that a report that tells less does not make anybody forget.
func TestTerseReports(t *testing.T) {
	full := Container{
		ID: "c1", SandboxID: "s1", Name: "app", Attempt: 3, State: Running, Seen: at(1), Hash: "h", Image: "i", ImageID: "sha", CreatedAt: at(1), StartedAt: at(2),
		Message: "m", LogPath: "l", Annotations: map[string]string{"a": "b"}, User: &User{UID: 7}, StopSignal: "SIGINT",
	}
	ended := full
	ended.State, ended.Seen, ended.FinishedAt, ended.ExitCode, ended.Reason = Exited, at(5), at(4), 3, "Error"
	s := Sandbox{ID: "s1", Attempt: 2, Ready: true, Seen: at(1), CreatedAt: at(1), IPs: []string{"10.0.0.1"}, HostNetwork: true, Handler: "runc"}
	var o Observed
	o = o.Merge(look(1, s, full))
	o = o.Merge(event(3, Sandbox{ID: "s1", Seen: at(3)}, Container{ID: "c1", State: Running, Seen: at(3)}))
	want := full
	want.Seen = at(3)
	if got := *o.Container("c1"); !reflect.DeepEqual(got, want) {
		t.Errorf("running:\n got %+v\nwant %+v", got, want)
	}
	s.Ready, s.Seen = false, at(3)
	if !reflect.DeepEqual(o.Sandboxes[0], s) {
		t.Errorf("sandbox:\n got %+v\nwant %+v", o.Sandboxes[0], s)
	}
	o = o.Merge(event(5, ended)).Merge(own(6, Container{ID: "c1", State: Gone, Seen: at(6)}))
	ended.State, ended.Seen = Gone, at(6)
	if got := *o.Container("c1"); !reflect.DeepEqual(got, ended) {
		t.Errorf("gone:\n got %+v\nwant %+v", got, ended)
	}
}

// TestNewestFirst holds that attempts tell what is newer, not a clock that may have been set back.
func TestNewestFirst(t *testing.T) {
	instance := func(id string, attempt uint32, made int) Container {
		return Container{ID: id, SandboxID: "s" + id, Name: "app", Attempt: attempt, State: Exited, Seen: at(9), CreatedAt: at(made)}
	}
	var o Observed
	o = o.Merge(look(9,
		Sandbox{ID: "old", Attempt: 0, Seen: at(9), CreatedAt: at(5000)}, Sandbox{ID: "new", Attempt: 1, Ready: true, Seen: at(9), CreatedAt: at(4)},
		instance("1", 0, 5000), instance("3", 2, 4), instance("2", 1, 4900),
		Container{ID: "4", Name: "app", Attempt: 9, State: Gone, Seen: at(9)},
	))
	if o.Sandboxes[0].ID != "new" {
		t.Errorf("newest sandbox %s", o.Sandboxes[0].ID)
	}
	if c := o.Latest("app"); c == nil || c.ID != "3" {
		t.Errorf("latest %+v", c)
	}
	if c := o.LatestIn("s2", "app"); c == nil || c.ID != "2" {
		t.Errorf("latest in s2 %+v", c)
	}
	if o.Latest("ghost") != nil || o.LatestIn("s9", "app") != nil || o.Container("9") != nil {
		t.Error("found what is not there")
	}
}

func TestStates(t *testing.T) {
	for s, want := range map[ContainerState]string{0: "none", Created: "created", Running: "running", Unknown: "unknown", Exited: "exited", Gone: "gone"} {
		c := Container{State: s}
		if s.String() != want || c.Live() != (s == Running || s == Unknown) {
			t.Errorf("%d: %s, live %v", s, s, c.Live())
		}
	}
}

// TestMergeConverges holds, over random lives of a pod: whatever reports come, in whatever order and however often, in
// the end everybody knows the same as if they had come once and in order; nothing goes back in its life on the way;
// and what an inspection did not find does not come back.
func TestMergeConverges(t *testing.T) {
	for seed := range uint64(400) {
		dice := rand.New(rand.NewPCG(seed, 7))
		life := newLife(dice)
		for range 5 + dice.IntN(30) {
			life.step()
		}
		life.clock++
		last := life.snapshot()
		last.Complete = true
		var ordered Observed
		for _, r := range append(life.reports, last) {
			ordered = ordered.Merge(r)
		}
		if want := (Observed{Inspected: last.Began}).Merge(last); words(ordered) != words(want) {
			t.Fatalf("seed %d: in order %q, the truth is %q", seed, words(ordered), words(want))
		}
		for range 5 {
			mixed := append(slices.Clone(life.reports), last)
			mixed = append(mixed, mixed[dice.IntN(len(mixed))], mixed[dice.IntN(len(mixed))])
			dice.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
			o := walk(t, seed, mixed)
			life.clock++
			closing := life.snapshot()
			closing.Complete = true
			if got := (*o).Merge(closing); !reflect.DeepEqual(got, ordered.Merge(closing)) {
				t.Fatalf("seed %d: mixed up and inspected once more:\n got %+v\nwant %+v", seed, got, ordered.Merge(closing))
			}
			o.Surprised, o.Strangers = ordered.Surprised, ordered.Strangers
			if !reflect.DeepEqual(*o, ordered) {
				t.Fatalf("seed %d: mixed up:\n got %s\nwant %s", seed, words(*o), words(ordered))
			}
		}
	}
}

// walk merges reports and watches that nothing goes back.
func walk(t *testing.T, seed uint64, reports []Report) *Observed {
	t.Helper()
	var o Observed
	lost := map[string]time.Time{} // what was known, and when the inspection began that did not find it
	for _, r := range reports {
		before := o
		o = o.Merge(r)
		if o.Inspected.Before(before.Inspected) {
			t.Fatalf("seed %d: the last inspection went back", seed)
		}
		for i := range before.Containers {
			was := &before.Containers[i]
			now := o.Container(was.ID)
			switch {
			case now == nil && !r.Complete:
				t.Fatalf("seed %d: %s vanished without an inspection", seed, was.ID)
			case now == nil:
				lost[was.ID] = r.Began
			case now.State.rank() < was.State.rank():
				t.Fatalf("seed %d: %s went back from %s to %s", seed, was.ID, was.State, now.State)
			}
		}
		for i := range o.Containers {
			if c := &o.Containers[i]; !lost[c.ID].IsZero() {
				t.Fatalf("seed %d: %s came back as %s after it was not found", seed, c.ID, c.State)
			}
		}
	}
	return &o
}

// life is a pod in a runtime: it only ever goes on, and reports what an inspection, an event or a call would. Its
// sandboxes have no addresses: those that one had are known only to who has heard of them in time.
type life struct {
	dice       *rand.Rand
	clock      int
	next       int
	sandboxes  []Sandbox
	containers []Container
	reports    []Report
}

func newLife(dice *rand.Rand) *life { return &life{dice: dice} }

func (l *life) snapshot() Report {
	r := Report{Began: at(l.clock)}
	for _, s := range l.sandboxes {
		s.Seen = r.Began
		r.Sandboxes = append(r.Sandboxes, s)
	}
	for _, c := range l.containers {
		c.Seen = r.Began
		r.Containers = append(r.Containers, c)
	}
	return r
}

// say reports a change as the agent's own call, as an event, or not at all.
func (l *life) say(own Report) {
	l.clock++
	own.Own, own.Began = true, at(l.clock)
	for i := range own.Containers {
		own.Containers[i].Seen = own.Began
	}
	for i := range own.Sandboxes {
		own.Sandboxes[i].Seen = own.Began
	}
	if l.dice.IntN(3) > 0 {
		l.reports = append(l.reports, own)
	}
	l.clock++
	if l.dice.IntN(2) == 0 {
		l.reports = append(l.reports, l.snapshot())
	}
}

func (l *life) step() {
	l.clock++
	switch l.dice.IntN(6) {
	case 0:
		s := Sandbox{ID: fmt.Sprint("s", l.next), Attempt: uint32(l.next), Ready: true, CreatedAt: at(l.clock)}
		l.next++
		l.sandboxes = append(l.sandboxes, s)
		l.say(Report{Sandboxes: []Sandbox{s}})
	case 1:
		c := Container{ID: fmt.Sprint("c", l.next), Name: "app", Attempt: uint32(l.next), State: Created, CreatedAt: at(l.clock), Hash: "h"}
		l.next++
		l.containers = append(l.containers, c)
		l.say(Report{Containers: []Container{c}})
	case 2, 3:
		if len(l.containers) > 0 {
			l.age(l.dice.IntN(len(l.containers)))
		}
	case 4:
		if len(l.sandboxes) > 0 {
			s := &l.sandboxes[l.dice.IntN(len(l.sandboxes))]
			s.Ready = false
			l.say(Report{Sandboxes: []Sandbox{*s}})
		}
	case 5:
		r := l.snapshot()
		r.Complete = true
		l.reports = append(l.reports, r)
	}
}

// age moves a container on in its life.
func (l *life) age(i int) {
	c := l.containers[i]
	switch c.State {
	case Created:
		c.State, c.StartedAt = Running, at(l.clock)
	case Running, Unknown:
		if l.dice.IntN(4) == 0 {
			c.State = Running + Unknown - c.State
		} else {
			c.State, c.FinishedAt, c.ExitCode, c.Reason = Exited, at(l.clock), 1, "Error"
		}
	case Exited:
		c.State = Gone
		l.containers = slices.Delete(l.containers, i, i+1)
		l.say(Report{Containers: []Container{c}})
		return
	}
	l.containers[i] = c
	l.say(Report{Containers: []Container{c}})
}
