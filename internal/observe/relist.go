package observe

import (
	"context"
	"time"

	"github.com/bosun-project/bosun/internal/pod"
)

const (
	// relistGap is the least time between two listings that were asked for.
	relistGap        = 200 * time.Millisecond
	firstRelistPause = 100 * time.Millisecond
	lastRelistPause  = 3 * time.Second
)

// relist lists what the runtime has, again and again, and asks for an inspection of every pod that has changed.
func (o *Observer) relist(ctx context.Context) {
	var last time.Time
	pause := firstRelistPause
	for o.untilAnswering(ctx) {
		select {
		case <-o.relistNow: // what was asked for before now is answered by this listing
		default:
		}
		began := time.Now()
		if m := o.cfg.Metrics.RelistInterval; m != nil && !last.IsZero() {
			m(began.Sub(last))
		}
		last = began
		if !o.relistOnce(ctx, began) {
			if !rest(ctx, pause) {
				return
			}
			pause = longer(pause, lastRelistPause)
			continue
		}
		pause = firstRelistPause
		if !o.restBeforeRelist(ctx, began) {
			return
		}
	}
}

// relistOnce tells whether the runtime gave a list.
func (o *Observer) relistOnce(ctx context.Context, began time.Time) bool {
	briefs, err := o.cfg.Runtime.List(ctx)
	if err != nil {
		if ctx.Err() == nil {
			o.cfg.Log.Debug("listing the container runtime's pods failed", "err", err)
		}
		return false
	}
	took := time.Since(began)
	changed, gone, done := o.roster.compare(briefs, began)
	o.listing.Set(Listing{Began: began, Took: took})
	for _, uid := range gone {
		o.cfg.Receiver.Deliver(uid, pod.Report{Complete: true, Began: began})
	}
	if done {
		o.relisted()
	}
	for _, uid := range changed {
		o.inbox.want(uid, true)
	}
	if m := o.cfg.Metrics.Relisted; m != nil {
		m(took)
	}
	if m := o.cfg.Metrics.LastSeen; m != nil {
		m(began)
	}
	return true
}

// relisted is called when everything of the first listing has been delivered.
func (o *Observer) relisted() {
	if !o.health.Value().Relisted {
		o.change(func(h *Health) { h.Relisted = true })
	}
}

// restBeforeRelist waits until the next listing is due or asked for.
func (o *Observer) restBeforeRelist(ctx context.Context, began time.Time) bool {
	for {
		h, newer := o.health.Get()
		every := o.cfg.RelistEvery
		if !h.EventStream {
			every = min(every, o.cfg.RelistWithoutEvents)
		}
		due := time.NewTimer(every - time.Since(began))
		select {
		case <-ctx.Done():
			due.Stop()
			return false
		case <-due.C:
			return true
		case <-o.relistNow:
			due.Stop()
			return rest(ctx, relistGap-time.Since(began))
		case <-newer:
			due.Stop()
		}
	}
}
