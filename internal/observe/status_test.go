package observe

import (
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/reason"
)

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
