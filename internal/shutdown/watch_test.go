package shutdown

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestNoBus holds that a node without logind goes on without, says so once, and looks now and then.
func TestNoBus(t *testing.T) {
	in(t, func(t *testing.T, n *node) {
		n.machine.absent = true
		defer n.run(two)()
		synctest.Wait()
		if state := n.is(Staying); state.Problem != errNoBus.Error() || !state.Since.Equal(n.start) {
			t.Errorf("the state is %+v", state)
		}
		pass(time.Hour)
		if n.said("level=WARN") != 1 || n.machine.dials > 125 {
			t.Errorf("in an hour it has dialled %d times and said:\n%s", n.machine.dials, &n.log)
		}
		n.machine.change(func() { n.machine.absent = false })
		pass(time.Minute)
		n.holds(true)
		if state := n.is(Staying); state.Problem != "" || n.said("heard of again") != 1 {
			t.Errorf("the state is %+v, and it has said:\n%s", state, &n.log)
		}
	})
}

// TestBusComesBack holds that the lock is taken anew within a second, and that what was announced meanwhile is not missed
// (behaviour 305).
func TestBusComesBack(t *testing.T) {
	in(t, func(t *testing.T, n *node) {
		n.pod("web", 0, 30*s, 20*s)
		defer n.run(two)()
		synctest.Wait()
		n.machine.leave(true)
		pass(10 * s)
		n.holds(true) // logind keeps it
		n.machine.change(func() { n.machine.absent = false })
		pass(time.Second)
		n.holds(true)
		if _, taken := n.machine.locks(); taken != 2 {
			t.Errorf("%d locks were taken, want another one after the bus came back", taken)
		}
		n.machine.leave(true)
		n.machine.change(func() { n.machine.absent, n.machine.down = false, true }) // unheard
		pass(time.Second)
		synctest.Wait()
		n.is(Ending)
		n.holds(true)
		n.machine.leave(true) // the pods are ended all the same
		pass(21 * s)
		synctest.Wait()
		n.is(Gone)
		n.machine.change(func() { n.machine.absent, n.machine.down = false, false }) // called off, unheard
		pass(time.Second)
		synctest.Wait()
		n.is(Staying)
		n.holds(true)
	})
}

// TestLonger holds that logind is asked for more time when it leaves too little, and that pods are content with what there is
// when it does not give it.
func TestLonger(t *testing.T) {
	in(t, func(t *testing.T, n *node) {
		n.machine.most = 5 * s
		n.machine.reloads = func(want time.Duration) time.Duration { return want }
		n.pod("web", 0, 30*s, 20*s)
		defer n.run(two)()
		pass(time.Minute)
		if want := []time.Duration{30 * s}; !slices.Equal(n.machine.asked, want) {
			t.Errorf("asked was for %v, want %v", n.machine.asked, want)
		}
		if state := n.is(Staying); state.Problem != "" || n.said("level=WARN") != 0 {
			t.Errorf("the state is %+v, and it has said:\n%s", state, &n.log)
		}
		n.machine.announce(true)
		synctest.Wait()
		n.ordered("web", time.Minute, 20*s)
	})
	for name, reloads := range map[string]func(time.Duration) time.Duration{
		"read only": nil, "overruled": func(time.Duration) time.Duration { return 6 * s },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, n *node) {
				n.machine.most = 6 * s
				n.machine.reloads = reloads
				n.pod("web", 0, 30*s, time.Hour)
				n.pod("db", 2000000000, 30*s, time.Hour)
				defer n.run(two)()
				pass(time.Minute)
				synctest.Wait()
				if state := n.is(Staying); !strings.HasPrefix(state.Problem, "logind lets pods have 6s when the machine goes down, not the 30s they should have") || n.said("level=WARN") != 1 {
					t.Errorf("the state is %+v, and it has said:\n%s", state, &n.log)
				}
				n.holds(true)
				n.machine.announce(true)
				pass(5 * s)
				n.ordered("web", time.Minute, 4*s)
				n.ordered("db", time.Minute+4*s, 2*s)
				pass(3 * s)
				n.is(Gone)
				n.holds(false)
			})
		})
	}
}

// TestLeaves holds that an agent that ends gives its lock back, and ends nobody.
func TestLeaves(t *testing.T) {
	in(t, func(t *testing.T, n *node) {
		n.pod("web", 0, 30*s, 20*s)
		stop := n.run(two)
		synctest.Wait()
		n.holds(true)
		stop()
		n.holds(false)
		if len(n.began) != 0 || n.loop.State().Value().Down() {
			t.Errorf("pods %v were ordered to end", n.began)
		}
	})
}
