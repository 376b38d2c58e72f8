package observe

import (
	"fmt"
	"testing"
	"time"

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
		b.obs.inbox.want("a", true)
		b.pass(100 * time.Millisecond)
		b.rt.set(func() { b.rt.mute = true })
		b.rt.add("a") // too late for the inspection that is running
		b.obs.inbox.want("a", true)
		b.obs.inbox.want("a", true)
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

func TestPodsThatHungBeforeTakeNoSlots(t *testing.T) {
	observing(t, func(b *bench, start func()) {
		const bad = 3 * slotCount
		everyBad := func(of map[types.UID]bool, is bool) {
			b.rt.set(func() {
				for i := range bad {
					of[numbered(i)] = is
				}
			})
		}
		for i := range bad {
			b.rt.add(numbered(i))
		}
		b.rt.add("good")
		everyBad(b.rt.stuck, true)
		start()
		b.pass(10 * time.Second)
		everyBad(b.rt.failing, true)
		everyBad(b.rt.stuck, false)
		b.pass(0)
		everyBad(b.rt.stuck, true) // and so they hang again when they are tried again
		b.pass(firstInspectPause + b.rt.slow)
		_, before, _ := b.rt.counts("good")
		b.rt.set(func() { b.rt.mute = true })
		b.rt.exit("good")
		b.obs.inbox.want("good", true)
		b.pass(b.rt.slow)
		if _, after, _ := b.rt.counts("good"); after != before+1 {
			t.Error("an inspection had to wait for pods that are known to hang")
		}
		b.wantState("good", "[s-good ready c-good-0 exited]")
	})
}
