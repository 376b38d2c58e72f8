package shutdown

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Session is one connection with logind. It is good until Gone.
type Session interface {
	// GoingDown tells whether the machine is about to go down already.
	GoingDown(ctx context.Context) (bool, error)
	// Announcements tells each time that it is (true), or is not after all (false).
	Announcements() <-chan bool
	// MostDelay is how long logind lets locks delay that; AllowDelay makes logind let them do so for longer, in its own time.
	MostDelay(ctx context.Context) (time.Duration, error)
	AllowDelay(ctx context.Context, most time.Duration) error
	// Delay takes a lock that delays a shutdown until it is closed. It outlives the session.
	Delay(ctx context.Context, who, why string) (io.Closer, error)
	Gone() <-chan struct{}
	Close() error
}

// Pauses before the next attempt to connect: when there was a connection before, and when there never was one, so that most
// likely there is no logind on this machine (behaviour 305).
const (
	reconnectEvery = time.Second
	connectEvery   = 30 * time.Second
)

// What people see in systemd-inhibit --list; upstream has the same name there.
const (
	who = "kubelet"
	why = "the pods of this node need time to end"
)

// heard is what is known from logind.
type heard struct {
	// known tells that logind was asked, or that there is none.
	known bool
	down  bool
	// most is how long logind lets a lock delay a shutdown; 0 while not known.
	most time.Duration
	// problem is what keeps shutdowns from being heard of, or from being delayed for as long as they should; since is
	// since when.
	problem string
	since   time.Time
	// lost tells that there is no session.
	lost bool
}

// watch keeps a session with logind until ctx ends.
func (l *Loop) watch(ctx context.Context) {
	pause := connectEvery
	for ctx.Err() == nil {
		had, err := l.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if had {
			pause = reconnectEvery
		}
		l.trouble(err)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// trouble takes in that logind cannot be heard, and says so once.
func (l *Loop) trouble(err error) {
	h := l.heard.Value()
	if !h.lost {
		l.cfg.Log.Warn("shutdowns of the machine are not heard of, so pods would not be ended gracefully; trying again", "err", err)
		h.since = time.Now()
	}
	h.known, h.lost, h.problem = true, true, err.Error()
	l.heard.Set(h)
}

var errGone = errors.New("the system bus or logind has gone")

// listen connects to logind and listens until it has gone; had tells whether it was there at all.
func (l *Loop) listen(ctx context.Context) (had bool, err error) {
	s, err := l.cfg.Connect(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	h := heard{known: true}
	if h.down, err = s.GoingDown(ctx); err != nil {
		return false, err
	}
	h.most, err = s.MostDelay(ctx)
	if err == nil && !h.down { // a lock is not given any more while the machine is going down
		err = l.delay(ctx, s)
	}
	if err != nil && !h.down {
		return true, err
	}
	if l.heard.Value().lost {
		l.cfg.Log.Info("shutdowns of the machine are heard of again")
	}
	l.heard.Set(h)
	more := &longer{}
	if !h.down {
		more = l.lengthen(ctx, s)
	}
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-s.Gone():
			return true, errGone
		case down := <-s.Announcements():
			if err := l.announced(ctx, s, down); err != nil {
				return true, err
			}
		case <-more.soon():
			more.look(ctx, l, s)
		}
	}
}

// announced takes in what logind has announced. When the machine does not go down after all, the lock is taken anew: it may have
// been given back already.
func (l *Loop) announced(ctx context.Context, s Session, down bool) error {
	h := l.heard.Value()
	h.down = down
	l.heard.Set(h)
	if down {
		return nil
	}
	return l.delay(ctx, s)
}

// delay takes the lock, in place of the one from before if there is any.
func (l *Loop) delay(ctx context.Context, s Session) error {
	c, err := s.Delay(ctx, who, why)
	if err == nil {
		l.lock.swap(c)
	}
	return err
}

// longer waits until logind lets locks delay a shutdown for as long as was asked. There is no sign of that, so it is looked at
// again, a few times.
type longer struct {
	timer *time.Timer
	pause time.Duration
	left  int
}

func (g *longer) soon() <-chan time.Time {
	if g.timer == nil {
		return nil
	}
	return g.timer.C
}

// lengthen asks logind for more time when it leaves too little.
func (l *Loop) lengthen(ctx context.Context, s Session) *longer {
	want := Total(l.cfg.Groups)
	if l.heard.Value().most >= want {
		return &longer{}
	}
	if err := s.AllowDelay(ctx, want); err != nil {
		l.short(fmt.Sprintf("logind lets pods have %v when the machine goes down, not the %v they should have: %v", l.heard.Value().most, want, err))
		return &longer{}
	}
	const first = 10 * time.Millisecond
	return &longer{timer: time.NewTimer(first), pause: first, left: 10} // ten seconds, all in all
}

// look asks logind how long it is now.
func (g *longer) look(ctx context.Context, l *Loop, s Session) {
	want, h := Total(l.cfg.Groups), l.heard.Value()
	if most, err := s.MostDelay(ctx); err == nil && most != h.most {
		h.most = most
		l.heard.Set(h)
	}
	g.pause *= 2
	g.left--
	switch {
	case h.most >= want:
		l.cfg.Log.Info("logind lets pods have more time when the machine goes down", "time", h.most)
		g.timer = nil
	case g.left == 0:
		l.short(fmt.Sprintf("logind lets pods have %v when the machine goes down, not the %v they should have: does another file in /etc/systemd/logind.conf.d set InhibitDelayMaxSec?", h.most, want))
		g.timer = nil
	default:
		g.timer.Reset(g.pause)
	}
}

// short takes in that logind leaves too little time.
func (l *Loop) short(problem string) {
	l.cfg.Log.Warn(problem)
	h := l.heard.Value()
	h.problem, h.since = problem, time.Now()
	l.heard.Set(h)
}

// lock holds what delays a shutdown.
type lock struct {
	mu   sync.Mutex
	held io.Closer
}

// swap holds another one; nil gives it back.
func (l *lock) swap(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil {
		_ = l.held.Close() // a pipe; there is nothing that could be done
	}
	l.held = c
}
