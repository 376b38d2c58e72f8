package plan

import (
	"reflect"
	"testing"
	"time"
)

// TestRebase holds that a clock that was set back makes nobody wait longer than it was decided.
func TestRebase(t *testing.T) {
	now := noon(0)
	hour := now.Add(time.Hour)
	ahead := Kept{
		Admitted: hour,
		Stop:     &Stop{At: hour, Grace: 30 * time.Second, Deadline: hour.Add(30 * time.Second)},
		Containers: map[string]ContainerMemory{"app": {
			Backoff: Backoff{Delay: 20 * time.Second, Until: hour},
			Kill:    Kill{ID: "c1", Grace: 5 * time.Second, Deadline: hour},
		}},
		Failures: map[string]Failure{"run sandbox": {Delay: 10 * time.Second, RetryAt: hour}},
	}
	got := ahead.Rebase(now)
	for what, have := range map[string][2]time.Time{
		"the stop":     {got.Stop.Deadline, noon(30)},
		"the back-off": {got.Containers["app"].Backoff.Until, noon(20)},
		"the kill":     {got.Containers["app"].Kill.Deadline, noon(5)},
		"the retry":    {got.Failures["run sandbox"].RetryAt, noon(10)},
		"admission":    {got.Admitted, now},
	} {
		if !have[0].Equal(have[1]) {
			t.Errorf("%s: %s, want %s", what, have[0], have[1])
		}
	}
	if !ahead.Stop.Deadline.Equal(hour.Add(30*time.Second)) || !ahead.Containers["app"].Backoff.Until.Equal(hour) {
		t.Error("it changed what it was given")
	}
	if again := got.Rebase(now); !reflect.DeepEqual(again, got) {
		t.Errorf("twice is not once:\n%+v\n%+v", again, got)
	}
	if later := got.Rebase(noon(7)); !reflect.DeepEqual(later, got) {
		t.Errorf("time that goes on puts off nothing:\n%+v\n%+v", later, got)
	}
	if empty := (Kept{}).Rebase(now); !reflect.DeepEqual(empty, Kept{}) {
		t.Errorf("of nothing: %+v", empty)
	}
}

// TestLearnLeavesItsInputAlone holds that memory is a value.
func TestLearnLeavesItsInputAlone(t *testing.T) {
	full := func() Memory {
		return Memory{
			Kept: Kept{
				Stop:       &Stop{Cause: Removed},
				Containers: map[string]ContainerMemory{"app": {PreStop: Hook{ID: "c1"}, PostStart: Hook{ID: "c1"}}},
				Failures:   map[string]Failure{"run sandbox": {Count: 1}},
				Renewal:    &Renewal{Container: "app", Since: map[string]uint32{"app": 1}},
			},
			Session: Session{
				Attempts: map[string]uint32{"app": 1}, Volumes: map[string]uint64{"v": 1}, Images: map[string]ResolvedImage{"app": {ID: "i"}},
				Hooks: map[string]bool{"x": true}, Read: map[string]bool{"c0": true},
			},
		}
	}
	m := full()
	c := m.Clone()
	c.Kept.Stop.Grace, c.Kept.Renewal.ExitCode, c.Kept.Renewal.Since["app"] = 1, 1, 2
	if !reflect.DeepEqual(m, full()) {
		t.Fatal("a clone shares what it holds")
	}
	for k := Look; k <= ForgetPod; k++ {
		for _, failed := range []*Fault{nil, {}, {Class: Soon}, {Class: Cancelled}} {
			e := Effect{Kind: k, Container: "app", Volume: "w", ID: "c1", Attempt: 7, Image: "j"}
			Learn(m, Outcome{Effect: e, Ended: noon(1), Failed: failed, LogAttempts: map[string]uint32{"app": 9}})
			if !reflect.DeepEqual(m, full()) {
				t.Fatalf("%s (%+v) changed what it was given", k, failed)
			}
		}
	}
}

func TestLearn(t *testing.T) {
	hooked := Memory{Kept: Kept{Containers: map[string]ContainerMemory{"app": {PreStop: Hook{ID: "c1"}, PostStart: Hook{ID: "c1"}}}}}
	learn := func(e Effect, failed *Fault) Memory {
		return Learn(hooked, Outcome{Effect: e, Ended: noon(1), Failed: failed})
	}
	hook := func(m Memory, k Kind) Hook {
		if k == PreStop {
			return m.Kept.Containers["app"].PreStop
		}
		return m.Kept.Containers["app"].PostStart
	}
	for _, k := range []Kind{PreStop, PostStart} {
		e := Effect{Kind: k, Container: "app", ID: "c1"}
		if h := hook(learn(e, nil), k); !h.Done || h.Failure != "" {
			t.Errorf("%s worked: %+v", k, h)
		}
		if h := hook(learn(e, &Fault{Message: "exit 1"}), k); !h.Done || h.Failure != "exit 1" {
			t.Errorf("%s failed: %+v", k, h)
		}
		if h := hook(learn(e, &Fault{Class: Cancelled, Message: "cut"}), k); h.Done != (k == PreStop) {
			t.Errorf("%s was cut short: %+v; only preStop is over", k, h)
		}
		other := Effect{Kind: k, Container: "app", ID: "c0"}
		if h := hook(learn(other, nil), k); h.Done {
			t.Errorf("%s of another instance: %+v", k, h)
		}
		if m := learn(Effect{Kind: k, Container: "log", ID: "c1"}, nil); len(m.Kept.Containers) != 1 {
			t.Errorf("%s of an unknown container: %+v", k, m.Kept)
		}
	}
	for k := Look; k <= ForgetPod; k++ {
		m := learn(Effect{Kind: k, Container: "log"}, &Fault{Class: Cancelled})
		if stale := !m.Session.Stale.IsZero(); stale != (Effect{Kind: k}).InRuntime() {
			t.Errorf("%s was cut short: stale %v", k, stale)
		}
		if len(m.Kept.Failures) > 0 {
			t.Errorf("%s was cut short by the agent, and that counts as a failure", k)
		}
	}
	m := Learn(Memory{}, Outcome{Effect: Effect{Kind: MakePod}, LogAttempts: map[string]uint32{"app": 4}})
	m = Learn(m, Outcome{Effect: Effect{Kind: CreateContainer, Container: "app", Attempt: 2}})
	if !m.Session.Made || m.Session.Attempts["app"] != 4 {
		t.Errorf("attempts: %+v", m.Session)
	}
}
