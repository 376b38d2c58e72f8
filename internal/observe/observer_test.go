package observe

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"k8s.io/apimachinery/pkg/types"
)

func numbered(i int) types.UID { return types.UID(fmt.Sprintf("%03d", i)) }

func TestHangingInspectionHoldsUpOnlyItsPod(t *testing.T) {
	for _, stuck := range []int{1, 3 * slotCount} {
		t.Run(fmt.Sprintf("%d hang", stuck), func(t *testing.T) {
			observing(t, func(b *bench, start func()) {
				const all = 300
				for i := range all {
					b.rt.add(numbered(i))
				}
				b.rt.set(func() {
					for i := range stuck {
						b.rt.stuck[numbered(i)] = true
					}
				})
				start()
				b.pass(slotTime*time.Duration(1+stuck/slotCount) + 300*time.Millisecond)
				if got, want := b.in.complete(), all-stuck; got != want {
					t.Errorf("%d pods were inspected, want all %d that can be", got, want)
				}
				b.pass(hungAfter)
				h := b.health()
				if h.Relisted || len(h.Hung) != stuck || b.noted(reason.FailedPodSandboxStatus) != stuck {
					t.Errorf("with %d hanging: relisted %v, %d hung, %d notes", stuck, h.Relisted, len(h.Hung), b.noted(reason.FailedPodSandboxStatus))
				}
				b.rt.exit(numbered(all - 1)) // others go on while some hang
				b.rt.remove(numbered(all - 2))
				b.pass(50 * time.Millisecond)
				b.wantState("299", "[s-299 ready c-299-0 exited]")
				b.wantState("298", "nothing")

				b.rt.set(func() { clear(b.rt.stuck) })
				b.pass(time.Millisecond)
				if h := b.health(); !h.Relisted || len(h.Hung) != 0 || b.in.complete() != all {
					t.Errorf("after the hang: relisted %v, hung %v, %d pods inspected", h.Relisted, h.Hung, b.in.complete())
				}
			})
		})
	}
}

func TestRelistedOnlyWhenEveryPodOfTheFirstListingIsDelivered(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("a")
		b.rt.add("b")
		b.rt.set(func() { b.rt.slow = 100 * time.Millisecond })
		start()
		b.pass(50 * time.Millisecond)
		if h := b.health(); h.Relisted || b.obs.Listing().Value().Began.IsZero() {
			t.Errorf("inspections under way: %+v, want listed but not Relisted", h)
		}
		b.pass(51 * time.Millisecond)
		if !b.health().Relisted {
			t.Error("not Relisted although both pods were delivered")
		}
		b.wantState("a", "[s-a ready c-a-0 running]")
		b.wantState("b", "[s-b ready c-b-0 running]")
	})
}

func TestEmptyRuntimeIsRelistedAtOnce(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		start()
		b.pass(0)
		if h := b.health(); !h.Up || !h.Relisted || !h.NetworkReady || h.RuntimeName != "fake" || h.RuntimeVersion != "1.0" {
			t.Errorf("health is %+v", h)
		}
	})
}

func TestPodOfFirstListingThatVanishesCountsAsDelivered(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("a")
		b.rt.set(func() { b.rt.stuck["a"], b.rt.mute = true, true })
		start()
		b.pass(10 * time.Second)
		b.rt.remove("a")
		b.pass(time.Minute)
		if !b.health().Relisted {
			t.Error("not Relisted although the only pod is gone")
		}
		b.wantState("a", "nothing")
		if b.in.of("a").Inspected.IsZero() {
			t.Error("the worker was not told that nothing is left")
		}
	})
}

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
		b.pass(time.Second)
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

func TestRuntimeDownAtStart(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("a")
		b.rt.set(func() { b.rt.away = true })
		start()
		b.pass(time.Minute)
		h := b.health()
		if want := "container runtime is down: " + errAway.Error(); h.Up || h.Message != want {
			t.Errorf("up %v, message %q, want %q", h.Up, h.Message, want)
		}
		if b.noted(reason.ContainerRuntimeDown) != 1 {
			t.Errorf("%d notes that the runtime is down, want 1", b.noted(reason.ContainerRuntimeDown))
		}
		b.rt.set(func() { b.rt.away = false })
		b.pass(statusSoon + b.rt.slow)
		if h := b.health(); !h.Up || !h.Relisted || h.Message != "" || b.noted(reason.ContainerRuntimeUp) != 1 {
			t.Errorf("after it came: %+v", h)
		}
		b.wantState("a", "[s-a ready c-a-0 running]")
	})
}

func TestRuntimeRestart(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("a")
		b.rt.add("b")
		b.rt.add("same")
		start()
		b.pass(33 * time.Second)
		_, before, _ := b.rt.counts("same")
		b.rt.die()
		b.pass(time.Millisecond)
		if h := b.health(); h.Up || h.EventStream || !h.Relisted {
			t.Errorf("a moment after its death: up %v, stream %v, relisted %v", h.Up, h.EventStream, h.Relisted)
		}
		b.pass(time.Minute)
		b.rt.exit("a")
		b.rt.remove("b")
		b.rt.set(func() { b.rt.away, b.rt.version = false, "1.1" })
		b.pass(statusSoon + b.rt.slow)
		b.wantState("a", "[s-a ready c-a-0 exited]")
		b.wantState("b", "nothing")
		if _, after, _ := b.rt.counts("same"); after != before+1 {
			t.Errorf("%d inspections of a pod that looks the same: something may have happened to it, want 1", after-before)
		}
		b.pass(5 * time.Second)
		if h := b.health(); !h.Up || !h.EventStream || h.RuntimeVersion != "1.1" {
			t.Errorf("after its return: %+v", h)
		}
		b.rt.restart("a")
		b.pass(0)
		if o := b.in.of("a"); len(o.Containers) != 1 || o.Surprised.IsZero() {
			t.Errorf("the new stream does not deliver: %s", states(o))
		}
	})
}

func TestHangingRuntimeIsDown(t *testing.T) {
	tests := []struct {
		name  string
		hang  func(f *fakeRuntime)
		after time.Duration
	}{
		{"stream ends", func(f *fakeRuntime) { f.set(func() { f.frozen = true; f.endStreams() }) }, time.Second},
		{"all is silent", func(f *fakeRuntime) { f.set(func() { f.frozen = true }) }, 5*time.Second + calmLimit + time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			observing(t, func(b *bench, start func()) {
				b.rt.add("a")
				start()
				b.pass(12 * time.Second)
				test.hang(b.rt)
				b.pass(test.after)
				if h := b.health(); h.Up || h.Message != "container runtime is down: it does not answer" {
					t.Errorf("up %v, %q", h.Up, h.Message)
				}
				b.rt.set(func() { b.rt.mute = true })
				b.rt.exit("a")
				b.pass(time.Minute)
				b.rt.set(func() { b.rt.frozen = false })
				b.pass(statusSoon + b.rt.slow)
				b.wantState("a", "[s-a ready c-a-0 exited]")
				if !b.health().Up {
					t.Error("still down after it answered")
				}
			})
		})
	}
}

func TestHangWhileStatusIsAskedIsCutShortByTheStreamsEnd(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		start()
		b.pass(4 * time.Second)
		b.rt.set(func() { b.rt.frozen = true })
		b.pass(2 * time.Second) // the question of second 5 hangs
		b.rt.set(b.rt.endStreams)
		b.pass(time.Second)
		if b.health().Up {
			t.Error("still up a second after the stream has ended")
		}
	})
}

func TestNetworkIsWatchedCloselyUntilReady(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.set(func() { b.rt.network = false })
		start()
		b.pass(30 * time.Second)
		h := b.health()
		want := "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:no CNI configuration"
		if !h.Up || h.NetworkReady || h.NetworkMessage != want || b.noted(reason.NetworkNotReady) != 1 {
			t.Errorf("up %v, network ready %v %q, %d notes", h.Up, h.NetworkReady, h.NetworkMessage, b.noted(reason.NetworkNotReady))
		}
		b.rt.set(func() { b.rt.network = true })
		b.pass(statusSoon)
		if h := b.health(); !h.NetworkReady || h.NetworkMessage != "" {
			t.Errorf("network is ready but health says %v %q", h.NetworkReady, h.NetworkMessage)
		}
		b.rt.set(func() { b.rt.network = false })
		b.pass(10 * time.Minute)
		_, _, before := b.rt.counts("")
		b.pass(time.Minute)
		if _, _, after := b.rt.counts(""); after-before > 61 {
			t.Errorf("asked %d times in a minute for a network that never came", after-before)
		}
	})
}

func TestIdleIsIdle(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		for i := range 50 {
			b.rt.add(numbered(i))
		}
		start()
		b.pass(90 * time.Second)
		listed, inspected, asked := b.rt.counts("000")
		_, newer := b.obs.Health().Get()
		b.pass(time.Hour)
		select {
		case <-newer:
			t.Errorf("nothing changed but the readers of Health were woken: %+v", b.health())
		default:
		}
		nowListed, nowInspected, nowAsked := b.rt.counts("000")
		if nowListed-listed != 60 || nowInspected != inspected || nowAsked-asked != 720 {
			t.Errorf("an idle hour had %d listings, %d inspections of a pod, %d status calls; want 60, 0, 720",
				nowListed-listed, nowInspected-inspected, nowAsked-asked)
		}
	})
}

func TestLookInspectsAgainThoughOneIsRunning(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.set(func() { b.rt.slow = 300 * time.Millisecond })
		start()
		b.pass(time.Second)
		b.obs.Look("a")
		b.pass(100 * time.Millisecond)
		b.rt.set(func() { b.rt.mute = true })
		b.rt.add("a") // too late for the inspection that is running
		b.obs.Look("a")
		b.obs.Look("a")
		b.pass(200 * time.Millisecond)
		b.wantState("a", "nothing")
		b.pass(300 * time.Millisecond)
		b.wantState("a", "[s-a ready c-a-0 running]")
		if _, inspected, _ := b.rt.counts("a"); inspected != 2 {
			t.Errorf("%d inspections, want 2", inspected)
		}
	})
}

func TestFailingInspectionIsTriedAgainAndNotedOnce(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		b.rt.add("a")
		b.rt.add("b")
		b.rt.set(func() { b.rt.failing["a"] = true })
		start()
		b.pass(time.Minute)
		b.wantState("b", "[s-b ready c-b-0 running]")
		if _, n, _ := b.rt.counts("a"); n < 6 || n > 16 {
			t.Errorf("tried %d times in a minute, want pauses from %v to %v", n, firstInspectPause, lastInspectPause)
		}
		if n := b.noted(reason.FailedPodSandboxStatus); n != 1 {
			t.Errorf("%d notes, want 1", n)
		}
		b.rt.set(func() { b.rt.failing["a"] = false })
		b.pass(lastInspectPause + b.rt.slow)
		b.wantState("a", "[s-a ready c-a-0 running]")
		if !b.health().Relisted {
			t.Error("not Relisted after the last pod was delivered")
		}
	})
}

func TestMetrics(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		counts := make(chan string, 1000)
		count := func(name string) func(time.Duration) { return func(time.Duration) { counts <- name } }
		b.obs.cfg.Metrics = Metrics{
			Relisted: count("relisted"), RelistInterval: count("interval"), Inspected: count("inspected"), EventDelay: count("delay"),
			LastSeen:     func(time.Time) { counts <- "seen" },
			StreamUp:     func() { counts <- "stream up" },
			StreamFailed: func() { counts <- "stream failed" },
		}
		b.rt.add("a")
		start()
		b.pass(5 * time.Second)
		b.rt.exit("a")
		b.pass(0)
		b.rt.set(b.rt.endStreams)
		b.pass(500 * time.Millisecond)
		b.pass(5 * time.Second)
		got := map[string]int{}
		for len(counts) > 0 {
			got[<-counts]++
		}
		for name, atLeast := range map[string]int{
			"relisted": 3, "interval": 2, "seen": 3, "inspected": 2, "delay": 1, "stream up": 2, "stream failed": 1,
		} {
			if got[name] < atLeast {
				t.Errorf("%s was counted %d times, want at least %d", name, got[name], atLeast)
			}
		}
	})
}

// TestRandomHistories lets pods come, change and go while the runtime dies, freezes, hangs and loses events. Once it
// is well again, everybody must know what is true.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			observing(t, func(b *bench, start func()) {
				dice := rand.New(rand.NewPCG(seed, 1))
				start()
				for range 150 {
					randomStep(b, dice)
					b.pass(time.Duration(dice.IntN(2000)) * time.Millisecond)
				}
				b.rt.set(func() {
					b.rt.away, b.rt.frozen, b.rt.mute, b.rt.noEvent = false, false, false, false
					clear(b.rt.stuck)
				})
				b.pass(3 * time.Minute)
				b.compareAll()
			})
		})
	}
}

func randomStep(b *bench, dice *rand.Rand) {
	uid := numbered(dice.IntN(12))
	exists := b.rt.pods[uid] != nil
	switch n := dice.IntN(20); {
	case n < 9 && !exists:
		b.rt.add(uid)
	case n < 4:
		b.rt.restart(uid)
	case n < 6:
		b.rt.exit(uid)
	case n < 8:
		b.rt.dropOldest(uid)
	case n < 9:
		b.rt.remove(uid)
	case n == 9:
		b.rt.set(b.rt.endStreams)
	case n == 10:
		b.rt.die()
	case n == 11:
		b.rt.set(func() { b.rt.frozen = !b.rt.frozen })
	case n == 12:
		b.rt.set(func() { b.rt.mute = !b.rt.mute })
	case n == 13:
		b.rt.set(func() { b.rt.noEvent = !b.rt.noEvent })
	case n == 14:
		b.rt.set(func() { b.rt.stuck[uid] = !b.rt.stuck[uid] })
	case n == 15:
		b.obs.Look(uid)
	default:
		b.rt.set(func() { b.rt.away, b.rt.frozen = false, false })
	}
}

// compareAll compares what workers know with what there is.
func (b *bench) compareAll() {
	b.Helper()
	if h := b.health(); !h.Up || !h.EventStream || !h.Relisted || len(h.Hung) != 0 {
		b.Errorf("the runtime is well but health is %+v", h)
	}
	for i := range 12 {
		uid := numbered(i)
		b.rt.mu.Lock()
		truth := pod.Observed{}
		if p := b.rt.pods[uid]; p != nil {
			truth.Sandboxes, truth.Containers = p.Sandboxes, p.Containers
		}
		want := states(truth)
		b.rt.mu.Unlock()
		b.wantState(uid, want)
	}
}
