package observe

import (
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"k8s.io/apimachinery/pkg/types"
)

func TestEventIsDeliveredAtOnce(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("a")
		start()
		b.pass(30 * time.Second)
		_, before, _ := b.rt.counts("a")
		b.rt.exit("a")
		b.pass(0)
		b.wantState("a", "[s-a ready c-a-0 exited]")
		b.pass(time.Second)
		if _, after, _ := b.rt.counts("a"); after != before {
			t.Errorf("%d inspections for an event that left nothing open", after-before)
		}
	})
}

func TestDeletions(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("a")
		start()
		b.pass(30 * time.Second)
		b.rt.restart("a")
		b.pass(time.Second)
		b.rt.dropOldest("a") // the event names the pod
		b.pass(b.rt.slow)
		if o := b.in.of("a"); len(o.Containers) != 1 || o.Containers[0].Attempt != 1 {
			t.Errorf("after the oldest was removed the worker knows %s", states(o))
		}
		b.pass(time.Second)
		listed, _, _ := b.rt.counts("a")
		b.rt.remove("a") // the event does not name the pod
		b.pass(b.rt.slow)
		b.wantState("a", "nothing")
		if now, _, _ := b.rt.counts("a"); now != listed {
			t.Error("a listing was needed although the sandbox was known")
		}
		b.rt.set(func() {
			b.rt.send(engine.Event{Kind: engine.Deleted, ObjectID: "never-heard-of", At: time.Now()})
		})
		b.pass(relistGap)
		if now, _, _ := b.rt.counts("a"); now != listed+1 {
			t.Errorf("%d listings after an event about something unknown, want 1", now-listed)
		}
	})
}

func TestManyDeletionsAreFewInspections(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("a")
		start()
		b.pass(30 * time.Second)
		_, before, _ := b.rt.counts("a")
		for range 40 {
			b.rt.set(func() { b.rt.emit("a", engine.Deleted, "c-a-gone") })
			b.pass(time.Millisecond)
		}
		b.pass(time.Second)
		if _, after, _ := b.rt.counts("a"); after-before < 2 || after-before > 3 {
			t.Errorf("%d inspections for 40 events in 40 ms, want one at once and one after the last", after-before)
		}
	})
}

func TestStreamEndFallsBackToListing(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("a")
		start()
		b.pass(10 * time.Second)
		if !b.health().EventStream {
			t.Fatal("the event stream does not count as standing")
		}
		listed, _, _ := b.rt.counts("a")
		b.pass(10 * time.Minute)
		if now, _, _ := b.rt.counts("a"); now-listed != 10 {
			t.Errorf("%d listings in 10 minutes with a stream, want 10", now-listed)
		}
		b.rt.set(func() { b.rt.mute, b.rt.noEvent = true, true; b.rt.endStreams() })
		b.pass(time.Millisecond)
		if b.health().EventStream || !b.health().Up {
			t.Errorf("after the stream ended health is %+v", b.health())
		}
		b.rt.exit("a")
		b.pass(1100 * time.Millisecond)
		b.wantState("a", "[s-a ready c-a-0 exited]")
		b.rt.remove("a")
		b.pass(1100 * time.Millisecond)
		b.wantState("a", "nothing")

		b.rt.set(func() { b.rt.noEvent = false }) // found within a minute, and then listings are slow again
		b.pass(time.Minute + 2*time.Second)
		if !b.health().EventStream {
			t.Error("the stream was not tried again")
		}
		listed, _, _ = b.rt.counts("a")
		b.pass(10 * time.Minute)
		if now, _, _ := b.rt.counts("a"); now-listed != 10 {
			t.Errorf("%d listings in 10 minutes with a stream, want 10", now-listed)
		}
	})
}

func TestSilentStreamIsBackedByListings(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.set(func() { b.rt.mute = true })
		b.rt.add("a")
		start()
		b.pass(10 * time.Second)
		b.rt.restart("a")
		b.pass(time.Minute)
		if o := b.in.of("a"); len(o.Containers) != 2 {
			t.Errorf("a lost event was not made good by the listing: %s", states(o))
		}
	})
}

func TestReplayedEventsChangeNothing(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("old")
		b.rt.add("gone")
		b.pass(time.Minute)
		b.rt.set(func() {
			for _, uid := range []types.UID{"old", "gone"} {
				e := engine.Event{UID: uid, Kind: engine.Started, ObjectID: "c-" + string(uid) + "-0", At: time.Now(), Whole: true, Report: b.rt.look(uid)}
				b.rt.replay = append(b.rt.replay, e)
			}
		})
		b.pass(time.Minute)
		b.rt.exit("old")
		b.rt.remove("gone")
		start()
		b.pass(2 * time.Second)
		b.wantState("old", "[s-old ready c-old-0 exited]")
		b.wantState("gone", "nothing")
		if b.in.of("gone").Inspected.IsZero() {
			t.Error("nobody looked whether the pod of an old event is still there")
		}
		b.rt.set(b.rt.endStreams) // all is replayed again
		b.pass(5 * time.Second)
		b.wantState("old", "[s-old ready c-old-0 exited]")
		b.wantState("gone", "nothing")
	})
}

func TestChangeBeforeTheStreamStandsIsFound(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("a")
		b.rt.add("b")
		start()
		b.pass(300 * time.Millisecond)
		b.rt.set(func() { b.rt.mute = true })
		b.rt.exit("a")
		b.rt.set(func() { b.rt.mute = false })
		b.rt.exit("b") // its event shows that the stream stands
		b.pass(relistGap + b.rt.slow)
		b.wantState("a", "[s-a ready c-a-0 exited]")
	})
}

func TestPodThatComesWhileListingIsNotTakenForGone(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.set(func() { b.rt.listSlow = 2 * time.Second })
		start()
		b.pass(time.Second)
		b.rt.add("new") // not in the list that is under way
		b.pass(500 * time.Millisecond)
		b.rt.set(func() { b.rt.mute = true })
		b.rt.remove("new")
		removed := time.Now()
		b.pass(2 * time.Minute)
		b.wantState("new", "nothing")
		if b.in.of("new").Inspected.Before(removed) {
			t.Error("nobody told that the pod is gone")
		}
	})
}
