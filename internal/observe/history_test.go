package observe

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/pod"
)

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
		b.obs.inbox.want(uid, true)
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
