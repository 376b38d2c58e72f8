package observe

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/fault"
)

const (
	firstStreamPause = 100 * time.Millisecond
	lastStreamPause  = 3 * time.Second
	// A runtime without events is asked again now and then: it may have been replaced.
	pauseWithoutEvents = time.Minute
	// streamStands is how long a stream must last without an event to count as standing. CRI has no sign for it.
	streamStands = time.Second
	// goodStream is how long a stream must have lasted for the pauses to begin anew.
	goodStream = 10 * time.Second
)

// followEvents keeps an event stream open.
func (o *Observer) followEvents(ctx context.Context) {
	pause := firstStreamPause
	for o.untilAnswering(ctx) {
		began := time.Now()
		err := o.followOnce(ctx, began)
		if ctx.Err() != nil {
			return
		}
		o.call(o.cfg.Metrics.StreamFailed)
		before := o.change(func(h *Health) { h.EventStream = false })
		if before.EventStream {
			o.cfg.Log.Info("event stream of the container runtime ended; listing instead", "after", time.Since(began), "err", err)
		}
		nudge(o.statusNow)
		if before.EventStream || time.Since(began) > goodStream {
			pause = firstStreamPause
		}
		if errors.Is(err, fault.ErrUnsupported) {
			pause = pauseWithoutEvents
		}
		if !o.restBeforeStream(ctx, pause) {
			return
		}
		pause = longer(pause, lastStreamPause)
	}
}

// restBeforeStream waits, but no longer than until the runtime has gone and come back.
func (o *Observer) restBeforeStream(ctx context.Context, pause time.Duration) bool {
	over := time.After(pause)
	for {
		h, newer := o.health.Get()
		if !h.answers {
			return o.untilAnswering(ctx)
		}
		select {
		case <-ctx.Done():
			return false
		case <-over:
			return true
		case <-newer:
		}
	}
}

// followOnce follows one stream to its end.
func (o *Observer) followOnce(ctx context.Context, began time.Time) error {
	stands := sync.OnceFunc(o.streamStands)
	var heard atomic.Bool
	ended := make(chan error, 1)
	go func() {
		ended <- o.cfg.Runtime.Events(ctx, func(e engine.Event) {
			stands()
			heard.Store(true)
			o.hear(e, began)
		})
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(streamStands):
		stands()
		if heard.Load() { // perhaps a replay, of which the listing at its beginning saw only a part
			nudge(o.relistNow)
		}
		return <-ended
	}
}

// streamStands is called once for each stream. What happened before the stream stood is found by a listing, and so
// is that a pod of an old event, replayed when the stream began, is gone.
func (o *Observer) streamStands() {
	o.change(func(h *Health) { h.EventStream = true })
	o.call(o.cfg.Metrics.StreamUp)
	nudge(o.relistNow)
}

// hear hands an event on and asks for an inspection where the event leaves something open.
func (o *Observer) hear(e engine.Event, subscribed time.Time) {
	if late := o.cfg.Metrics.EventDelay; late != nil && !e.At.Before(subscribed) { // a replay tells nothing of the delay
		late(time.Since(e.At))
	}
	uid := e.UID
	if uid == "" {
		if uid = o.roster.ownerOf(e.ObjectID); uid == "" {
			nudge(o.relistNow)
			return
		}
		o.inbox.want(uid, false)
		return
	}
	o.cfg.Receiver.Deliver(uid, e.Report)
	o.roster.mention(uid, &e.Report)
	if !e.Whole || e.Kind == engine.Deleted || e.Kind == engine.Other {
		o.inbox.want(uid, false)
	}
}

func (o *Observer) call(f func()) {
	if f != nil {
		f()
	}
}
