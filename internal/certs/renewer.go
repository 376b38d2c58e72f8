package certs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/backoff"
)

// slowLook is how often files and clock are looked at though nothing was heard of them.
const slowLook = 5 * time.Minute

// A renewer makes one attempt at a time to get what is wanted, with pauses between failures, and drives the loop of whoever
// wants it. It belongs to the goroutine of that loop.
type renewer struct {
	board  *board
	log    *slog.Logger
	failed func()                     // counts failures; may be nil
	seed   string                     // spreads the pauses of nodes
	watch  func(*slog.Logger) watcher // newDirWatch if nil
	every  time.Duration              // slowLook if zero

	flight *flight
	wanted string        // what the pauses are about
	pause  time.Duration // after the last attempt; zero after what was wanted is there
	next   time.Time     // no attempt before; zero: at once
	got    time.Time     // when the last attempt came to a good end; zero if it did not
}

// hurry is the shortest pause after a success.
const hurry = 10 * time.Second

// A flight is an attempt under way.
type flight struct {
	what   string
	cancel context.CancelFunc
	done   chan error
}

// The pauses after a failure, and after somebody said no.
var (
	failurePauses = backoff.Series{Initial: 2 * time.Second, Max: 5 * time.Minute}
	refusalPauses = backoff.Series{Initial: time.Minute, Max: time.Hour}
)

// A wish is what is to be had next. An empty what stands for nothing; another what than before ends the attempt.
type wish struct {
	what string
	try  func(context.Context) error
}

// steer starts, keeps or ends the attempt so that it serves the wish.
func (r *renewer) steer(ctx context.Context, w wish, now time.Time) {
	if w.what != r.wanted {
		r.land()
		r.wanted, r.pause, r.next, r.got = w.what, 0, time.Time{}, time.Time{}
		r.board.complain(troubleRequest, "")
	}
	// What lives so briefly that it is due at birth must not run out during a pause.
	if life := r.board.cell.Value().NotAfter.Sub(r.got); !r.got.IsZero() && life > 0 {
		if soon := r.got.Add(max(life/3, hurry)); soon.Before(r.next) {
			r.next = soon
		}
	}
	if w.what == "" || r.flight != nil || now.Before(r.next) {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &flight{what: w.what, cancel: cancel, done: make(chan error, 1)}
	r.flight = f
	go func() { f.done <- w.try(ctx) }()
}

// land ends the attempt and waits for its end.
func (r *renewer) land() {
	if r.flight != nil {
		r.flight.cancel()
		<-r.flight.done
		r.flight = nil
	}
}

func (r *renewer) landed() <-chan error {
	if r.flight == nil {
		return nil
	}
	return r.flight.done
}

// take learns from an attempt that has ended. There is a pause after a success, too: it counts when what was wanted is
// wanted still, since the certificate is due for renewal at birth, or its signer has left out a name.
func (r *renewer) take(err error, now time.Time) {
	r.flight.cancel()
	r.flight = nil
	refused := new(refusal)
	if err == nil || errors.As(err, &refused) && refused.final {
		r.pause = refusalPauses.Next(r.pause)
	} else {
		r.pause = failurePauses.Next(r.pause)
	}
	r.next, r.got = now.Add(backoff.Jitter(r.pause, 0.2, r.seed)), time.Time{}
	if err == nil {
		r.got = now
		r.board.complain(troubleRequest, "")
		return
	}
	if r.failed != nil {
		r.failed()
	}
	r.board.complain(troubleRequest, err.Error())
}

// A round is what a turn of the loop asks for.
type round struct {
	files []string        // another round when one of these changes
	at    time.Time       // and at this time, if not zero
	more  <-chan struct{} // and when this is closed or gives something
	wish  wish
	done  bool // no more rounds
}

// rounds calls turn at once and whenever there is a reason to, until it is done or ctx ends.
func (r *renewer) rounds(ctx context.Context, turn func(now time.Time) round) error {
	ctx, cancel := context.WithCancel(ctx)
	var hearing sync.WaitGroup
	if r.watch == nil {
		r.watch = newDirWatch
	}
	if r.every == 0 {
		r.every = slowLook
	}
	w := r.watch(r.log)
	hearing.Go(func() { w.run(ctx) })
	defer hearing.Wait()
	defer cancel()
	defer r.land()
	timer := time.NewTimer(r.every)
	defer timer.Stop()
	for {
		now := time.Now()
		next := turn(now)
		// Each look may find that the way to a file leads elsewhere, and what changed before the watch began is not told.
		for !next.done && w.follow(next.files) && ctx.Err() == nil {
			next = turn(now)
		}
		if next.done {
			return nil
		}
		r.steer(ctx, next.wish, now)
		timer.Reset(r.sleep(next.at, now))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.changes():
		case <-next.more:
		case <-timer.C:
		case err := <-r.landed():
			r.take(err, time.Now())
		}
	}
}

// sleep is how long nothing is to be done unless something is heard.
func (r *renewer) sleep(at, now time.Time) time.Duration {
	d := r.every
	if !at.IsZero() {
		d = min(d, at.Sub(now))
	}
	if r.wanted != "" && r.flight == nil && !r.next.IsZero() {
		d = min(d, r.next.Sub(now))
	}
	return max(d, 0)
}
