package pressure

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/evict"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/reason"
)

// relieve does what there is to do about a shortage: it clears away what nobody needs, and if that is not enough makes one pod
// go (behaviours 249 to 252). It tells whether one goes.
func (l *Loop) relieve(ctx context.Context, short evict.Shortage) bool {
	now := time.Now()
	if now.Sub(l.fruitless[short.Signal]) < evict.Every-time.Second {
		return false // the kernel may tell more often than there is something new to try
	}
	if short.Signal.OnDisk() && l.memory.Last.Layout == evict.Unknown {
		return false // what would help is not known before the runtime answers
	}
	l.fruitless[short.Signal] = now
	l.cfg.Notes(note.Note{
		At: now, Level: note.Warning, About: note.About{Kind: "Node"},
		Reason: reason.EvictionThresholdMet, Message: fmt.Sprintf("Attempting to reclaim %s", short.Signal.Resource()),
	})
	for more := true; more; {
		var did bool
		if did, more = l.clearAway(ctx, short); !did {
			break
		}
		now, still := l.look(ctx).Urgent()
		if !still {
			clear(l.fruitless)
			return false
		}
		if now.Key() != short.Key() { // another one has its own things to clear away
			return true
		}
		short = now
	}
	if ctx.Err() != nil {
		return false
	}
	layout, at := l.memory.Last.Layout, l.memory.Last.At
	pods, _ := l.cfg.Pods()
	ranked := evict.Rank(short.Signal, layout, l.cfg.Measure(ctx, l.candidates(pods), evict.NeedFor(short.Signal, layout)))
	if len(ranked) == 0 || ctx.Err() != nil {
		return false
	}
	l.end(ctx, []evict.Victim{l.cfg.Settings.Evict(short, ranked[0])}, at)
	clear(l.fruitless)
	return true
}

// clearAway clears away what helps against a shortage before any pod has to go (behaviour 250): no more images than it takes
// (pains, row 18). It tells whether there was anything that it may clear away, and whether there may be more: what an image frees
// is not known before.
func (l *Loop) clearAway(ctx context.Context, short evict.Shortage) (did, more bool) {
	containers, images := evict.Steps(short.Signal, l.memory.Last.Layout)
	if containers && l.cfg.Containers != nil {
		did = true
		if err := l.cfg.Containers(ctx); err != nil && ctx.Err() == nil {
			l.cfg.Log.Warn("not all ended containers could be removed to have more room", "err", err)
		}
	}
	if images && l.cfg.Images != nil {
		did = true
		freed, err := l.cfg.Images(ctx, short.LackingBytes())
		if err != nil && ctx.Err() == nil {
			l.cfg.Log.Warn("not all unused images could be removed to have more room", "err", err)
		}
		more = freed > 0 && ctx.Err() == nil
	}
	return did, more
}

// candidates are the pods that may have to go. Those that were waited for in vain come only when there are no others.
func (l *Loop) candidates(pods []Pod) []evict.Candidate {
	var out, late []evict.Candidate
	for _, p := range pods {
		c := evict.Candidate{Pod: p.Desired, IDs: p.IDs}
		switch {
		case p.Gone || evict.Spared(p.Desired):
		case l.waited[p.Desired.UID()]:
			late = append(late, c)
		default:
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return late
	}
	return out
}

// patience is how long pods that go are waited for (behaviour 252).
const patience = 30 * time.Second

// end makes pods go, and returns when they have gone, or after a while. at is when what was known was read.
func (l *Loop) end(ctx context.Context, victims []evict.Victim, at time.Time) {
	orders := maps.Clone(l.orders.Value())
	if orders == nil {
		orders = map[types.UID]*plan.Order{}
	}
	waiting := map[types.UID]bool{}
	for _, v := range victims {
		waiting[v.UID] = true
		if orders[v.UID] != nil {
			continue
		}
		orders[v.UID] = v.Order
		if l.cfg.Evicted != nil {
			l.cfg.Evicted(v.Signal, time.Since(at))
		}
		l.cfg.Log.Warn("a pod has to go", "uid", v.UID, "signal", v.Signal, "grace", v.Order.Grace, "why", v.Order.Message)
	}
	l.orders.Set(orders)
	late := time.NewTimer(patience)
	defer late.Stop()
	defer l.await(nil)
	for {
		pods, newer := l.cfg.Pods()
		left := map[types.UID]bool{}
		for _, p := range pods {
			if uid := p.Desired.UID(); waiting[uid] && !p.Gone {
				left[uid] = true
			}
		}
		if len(left) == 0 {
			return
		}
		l.await(left)
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			l.cfg.Log.Warn("pods that have to go have not gone; others may have to go before", "pods", len(left), "after", patience)
			maps.Copy(l.waited, left)
			return
		case <-newer:
		}
	}
}

// await publishes which pods are waited for.
func (l *Loop) await(left map[types.UID]bool) {
	s := l.state.Value()
	if waiting := slices.Sorted(maps.Keys(left)); !slices.Equal(waiting, s.Waiting) {
		s.Waiting = waiting
		l.state.Set(s)
	}
}

// lazier is how much longer than measuring a pod the pause after that is: measuring is to cost next to nothing, however much a
// pod has written.
const lazier = 250

// overfull measures the pods with limits of the disk of their own, and returns those that exceed one (behaviour 255).
func (l *Loop) overfull(ctx context.Context, pods []Pod) (over []evict.Victim) {
	if l.cfg.NoLimits {
		return nil
	}
	for _, p := range pods {
		uid := p.Desired.UID()
		need := evict.Need{Disk: evict.Limited(p.Desired)}
		now := time.Now()
		if p.Gone || !need.Disk.Any() || l.orders.Value()[uid] != nil || now.Before(l.limits[uid]) {
			continue
		}
		measured := l.cfg.Measure(ctx, []evict.Candidate{{Pod: p.Desired, IDs: p.IDs}}, need)
		if ctx.Err() != nil {
			return nil
		}
		// A little less than the pause between looks, lest each second look comes too early.
		l.limits[uid] = now.Add(max(evict.Every-time.Second, lazier*time.Since(now)))
		if v, exceeds := evict.Overfull(measured[0]); exceeds {
			over = append(over, v)
		}
	}
	return over
}
