package shutdown

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bosun-project/bosun/internal/latest"
)

var two = []Group{{0, 20 * s}, {2000000000, 10 * s}}

// in runs a test in a bubble.
func in(t *testing.T, test func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newNode(t)) })
}

// TestShutdown holds behaviours 305 to 310 from the announcement to the end.
func TestShutdown(t *testing.T) {
	in(t, func(t *testing.T, n *node) {
		n.pod("web", 0, 30*s, 4*s)
		n.pod("slow", 0, 30*s, time.Hour)
		n.pod("db", 2000000000, 5*s, 2*s)
		stop := n.run(two)
		synctest.Wait()
		n.holds(true)
		n.is(Staying)
		pass(time.Second)
		n.machine.announce(true)
		synctest.Wait()
		state := n.is(Ending) // at once
		if !state.Down() || state.Left != 2 || state.Turn != 0 || time.Until(state.Until) != 20*s {
			t.Errorf("the state is %+v", state)
		}
		n.ordered("web", 1*s, 20*s)
		n.ordered("slow", 1*s, 20*s)
		pass(20*s - time.Millisecond)
		n.holds(true)
		n.is(Ending)
		pass(time.Millisecond)
		synctest.Wait()
		n.ordered("db", 21*s, 5*s)
		pass(2 * s)
		synctest.Wait()
		state = n.is(Gone)
		n.holds(false)
		if began, ended := state.Last.Start.Sub(n.start), state.Last.End.Sub(n.start); began != 1*s || ended != 23*s {
			t.Errorf("it lasted from %v to %v", began, ended)
		}
		if want := []string{"Node Shutdown: Shutdown manager detected shutdown event"}; !slices.Equal(n.notes, want) {
			t.Errorf("noted was %q, want %q", n.notes, want)
		}
		if text, err := os.ReadFile(filepath.Join(n.dir, "graceful_node_shutdown_state")); err != nil || !strings.Contains(string(text), `{"startTime":"2000-01-01T00:00:01Z","endTime":"2000-01-01T00:00:23Z"}`) {
			t.Errorf("remembered is %s (%v)", text, err)
		}
		n.pod("late", 0, 30*s, time.Hour) // it must not outlive the machine either
		synctest.Wait()
		n.ordered("late", 23*s, s)
		stop()
		n.machine.change(func() { n.machine.down = false })
		defer n.run(two)() // another life of the machine: the numbers stay (behaviour 309)
		if got := n.loop.State().Value().Last; !got.Start.Equal(state.Last.Start) || !got.End.Equal(state.Last.End) {
			t.Errorf("in the next life it knows of %v, want %v", got, state.Last)
		}
	})
}

// TestNothingToEnd holds that a node without pods does not hold up anybody.
func TestNothingToEnd(t *testing.T) {
	in(t, func(t *testing.T, n *node) {
		defer n.run(two)()
		synctest.Wait()
		n.machine.announce(true)
		synctest.Wait()
		n.is(Gone)
		n.holds(false)
		if time.Since(n.start) != 0 {
			t.Errorf("it took %v", time.Since(n.start))
		}
	})
}

// TestCalledOff holds behaviour 308, at every stage.
func TestCalledOff(t *testing.T) {
	for name, after := range map[string]time.Duration{"while pods end": 5 * s, "when all is done": 25 * s} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, n *node) {
				n.pod("web", 0, 30*s, 20*s)
				n.pod("db", 2000000000, 30*s, 1*s)
				defer n.run(two)()
				synctest.Wait()
				n.machine.announce(true)
				pass(after)
				_, ended := n.began["db"]
				n.machine.announce(false)
				synctest.Wait()
				state := n.is(Staying)
				n.holds(true)
				if len(state.Orders) != 0 || state.Down() || state.Last.End.IsZero() {
					t.Errorf("the state is %+v", state)
				}
				pass(time.Hour)
				if _, still := n.began["db"]; still != ended {
					t.Error("a pod was ordered to end after the shutdown was called off")
				}
				if len(n.notes) != 2 || n.notes[1] != "Node Shutdown: Shutdown manager detected shutdown cancellation" {
					t.Errorf("noted was %q", n.notes)
				}
				n.pod("new", 0, 30*s, 3*s)
				n.machine.announce(true) // and the next one counts
				synctest.Wait()
				n.ordered("new", time.Since(n.start), 20*s)
				pass(time.Minute)
				n.is(Gone)
				n.holds(false)
			})
		})
	}
}

// TestTelling holds that the machine waits for the API server to hear how the pods have ended, within bounds.
func TestTelling(t *testing.T) {
	for name, c := range map[string]struct {
		api  api
		then map[time.Duration]api
		// takes is how long the machine is held up.
		takes time.Duration
	}{
		"told at once":                   {api: api{0, true}, takes: 4 * s},
		"told later":                     {api: api{1, true}, then: map[time.Duration]api{9 * s: {0, true}}, takes: 9 * s},
		"never told":                     {api: api{1, true}, takes: 30 * s},
		"nobody answers":                 {api: api{1, false}, takes: 6 * s},
		"nobody answers, then they do":   {api: api{1, false}, then: map[time.Duration]api{5 * s: {0, true}}, takes: 5 * s},
		"the server goes away meanwhile": {api: api{1, true}, then: map[time.Duration]api{7 * s: {1, false}}, takes: 7 * s},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, n *node) {
				n.api = &latest.Cell[api]{}
				n.api.Set(c.api)
				n.pod("web", 0, 30*s, 4*s)
				defer n.run(two)()
				synctest.Wait()
				n.machine.announce(true)
				for at, then := range c.then {
					time.AfterFunc(at, func() { n.api.Set(then) })
				}
				pass(c.takes - time.Millisecond)
				synctest.Wait()
				n.holds(true)
				pass(time.Millisecond)
				synctest.Wait()
				n.is(Gone)
				n.holds(false)
			})
		})
	}
}

// TestStubborn holds that what cannot be taken down in time holds up the machine for a moment only.
func TestStubborn(t *testing.T) {
	in(t, func(t *testing.T, n *node) {
		n.pod("stuck", 0, 30*s, 0)
		n.takes["stuck"] = time.Hour
		defer n.run([]Group{{0, 3 * s}})()
		synctest.Wait()
		n.machine.announce(true)
		pass(time.Millisecond)
		n.mu.Lock()
		n.pods = append(n.pods, Pod{UID: "dead", Grace: 30 * s}) // an order is given, but it never rests
		n.began["dead"] = 0
		n.cell.Set(slices.Clone(n.pods))
		n.mu.Unlock()
		pass(3 * s)
		synctest.Wait()
		n.is(Telling)
		n.holds(true)
		pass(2 * s)
		synctest.Wait()
		n.is(Gone)
		n.holds(false)
	})
}

// TestStartedAgain holds that an agent that starts while the machine goes down goes on with what its earlier life began, in the
// time that is left, and that it never holds itself to be safe before logind was asked.
func TestStartedAgain(t *testing.T) {
	in(t, func(t *testing.T, n *node) {
		n.pod("web", 0, 30*s, 20*s)
		n.pod("db", 2000000000, 30*s, 1*s)
		stop := n.run(two)
		synctest.Wait()
		n.machine.announce(true)
		pass(5 * s)
		stop()
		n.holds(false)
		clear(n.began)
		pass(7 * s)
		release := n.machine.hang()
		stop = n.run(two)
		defer stop()
		synctest.Wait()
		if state := n.loop.State().Value(); state.Stage != Unsure {
			t.Errorf("before logind was asked the stage is %v", state.Stage)
		}
		release()
		synctest.Wait()
		state := n.is(Ending)
		n.ordered("web", 12*s, 8*s)
		if got := state.Last.Start.Sub(n.start); got != 0 {
			t.Errorf("the shutdown is taken to have begun at %v", got)
		}
		pass(8 * s)
		synctest.Wait()
		n.ordered("db", 20*s, 10*s)
		pass(s)
		synctest.Wait()
		n.is(Gone)
	})
}

// TestOldRecord holds that a shutdown of which the end was never written is not taken for the one that begins.
func TestOldRecord(t *testing.T) {
	in(t, func(t *testing.T, n *node) {
		if err := record(filepath.Join(n.dir, recordName)).save(Record{Start: n.start.Add(-time.Hour)}); err != nil {
			t.Fatal(err)
		}
		n.machine.down = true
		n.pod("web", 0, 30*s, 20*s)
		defer n.run(two)()
		synctest.Wait()
		n.ordered("web", 0, 20*s)
	})
	in(t, func(t *testing.T, n *node) {
		if err := os.WriteFile(filepath.Join(n.dir, recordName), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		defer n.run(two)()
		synctest.Wait()
		if n.is(Staying); n.said("the times of the last shutdown are not known") != 1 {
			t.Errorf("a damaged record is not spoken of: %s", &n.log)
		}
	})
}
