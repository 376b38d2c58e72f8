package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"github.com/bosun-project/bosun/internal/backoff"
	"github.com/bosun-project/bosun/internal/note"
)

const (
	// mostQueued is how many notes wait at most; of more, the oldest are dropped.
	mostQueued = 1000
	// parting is how long Run goes on sending when its context has ended.
	parting = time.Second
	// calm is the pause between events, once so many were told atOnce; of more than mostCalm that wait, the others go first and
	// without pause. What is told slowly leaves the CPUs of the node, and of an API server beside it, to what it tells of.
	calm     = 100 * time.Millisecond
	atOnce   = 10
	mostCalm = 100
	// mostRefusals is how often an event is sent that is forbidden; it takes about six seconds.
	mostRefusals = 6
	// mostKnown is how many different events, and objects, the correlator remembers of each.
	mostKnown = 1000
)

// pauses are those between attempts to send while the API server is away.
var pauses = backoff.Series{Initial: 200 * time.Millisecond, Max: 10 * time.Second}

// Sender writes events. It limits their rate and each call's time.
type Sender interface {
	CreateEvent(ctx context.Context, event *corev1.Event) (*corev1.Event, error)
	// PatchEvent changes an event with a strategic merge patch.
	PatchEvent(ctx context.Context, namespace, name string, patch []byte) (*corev1.Event, error)
	// Unreachable tells that an error of these may pass, because the API server is away or has no time.
	Unreachable(err error) bool
	// Back returns a channel that is closed when the API server has come back.
	Back() <-chan struct{}
}

// Config says whose events are sent, and how.
type Config struct {
	// Node is the node's name.
	Node   string
	Sender Sender
	// Version returns the resourceVersion of a pod, empty if it has none; nil is fine.
	Version func(types.UID) string
	// NodeUID returns the UID of the node's object, empty if it is not known; nil is fine.
	NodeUID func() types.UID
	Log     *slog.Logger
}

// Counts says what became of notes since the start.
type Counts struct {
	// Sent were written, as an event of their own or counted on an earlier one.
	Sent uint64
	// Silenced were too many about their object.
	Silenced uint64
	// Dropped could not wait any longer for an API server that is away.
	Dropped uint64
	// Rejected were refused by the API server.
	Rejected uint64
}

// Loop sends notes to the API server as events.
type Loop struct {
	cfg Config

	mu     sync.Mutex
	queue  []note.Note
	queued chan struct{}

	sent, silenced, dropped, rejected atomic.Uint64

	// The following belong to Run.

	correlator *record.EventCorrelator
	named      int64
	// open is until when the time for what was told is used up.
	open       time.Time
	complained string
}

// New builds a loop.
func New(c Config) *Loop {
	if c.Version == nil {
		c.Version = func(types.UID) string { return "" }
	}
	if c.NodeUID == nil {
		c.NodeUID = func() types.UID { return "" }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Loop{cfg: c, queued: make(chan struct{}, 1), correlator: record.NewEventCorrelatorWithOptions(record.CorrelatorOptions{LRUCacheSize: mostKnown})}
}

// Sink takes a note in. It never blocks: while the API server is away, the newest thousand wait.
func (l *Loop) Sink(n note.Note) {
	if !public(n) {
		return
	}
	l.mu.Lock()
	if len(l.queue) >= mostQueued {
		l.queue = l.queue[1:]
		l.dropped.Add(1)
	}
	l.queue = append(l.queue, n)
	l.mu.Unlock()
	select {
	case l.queued <- struct{}{}:
	default:
	}
}

// Counts says what became of notes so far.
func (l *Loop) Counts() Counts {
	return Counts{Sent: l.sent.Load(), Silenced: l.silenced.Load(), Dropped: l.dropped.Load(), Rejected: l.rejected.Load()}
}

func (l *Loop) next() (note.Note, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.queue = nil // what grew in an outage is given back
		return note.Note{}, false
	}
	n := l.queue[0]
	l.queue = l.queue[1:]
	return n, true
}

// Run sends what Sink takes in, until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	sending, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	last := time.AfterFunc(parting, end)
	last.Stop()
	defer last.Stop()
	defer context.AfterFunc(ctx, func() { last.Reset(parting) })()
	for {
		n, ok := l.next()
		switch {
		case ok:
			l.pace(ctx)
			l.tell(ctx, sending, n)
		case ctx.Err() != nil:
			return nil
		default:
			select {
			case <-ctx.Done():
			case <-l.queued:
			}
		}
		if sending.Err() != nil {
			return nil
		}
	}
}

// pace waits when much is told, unless ctx has ended.
func (l *Loop) pace(ctx context.Context) {
	now := time.Now()
	l.mu.Lock()
	waiting := len(l.queue)
	l.mu.Unlock()
	if waiting >= mostCalm {
		return
	}
	if rested := now.Add(-atOnce * calm); l.open.Before(rested) {
		l.open = rested
	}
	l.open = l.open.Add(calm)
	if !l.open.After(now) {
		return
	}
	timer := time.NewTimer(l.open.Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// tell sends one note, as often as needed. When ctx has ended it tries once; sending ends when there is no more time.
func (l *Loop) tell(ctx, sending context.Context, n note.Note) {
	if time.Since(n.At) > stale {
		l.dropped.Add(1)
		return
	}
	l.named = max(l.named+1, n.At.UnixNano())
	event := eventOf(n, l.cfg.Node, l.cfg.NodeUID(), l.cfg.Version(n.About.UID), l.named)
	result, err := l.correlator.EventCorrelate(event)
	if err != nil {
		l.reject(event, fmt.Errorf("correlate events: %w", err))
		return
	}
	if result.Skip {
		l.silenced.Add(1)
		return
	}
	pause := time.Duration(0)
	for tries := 1; ; tries++ {
		back := l.cfg.Sender.Back()
		err := l.send(sending, result)
		switch {
		case err == nil:
			l.sent.Add(1)
			l.complained = ""
			return
		case errors.Is(err, context.Canceled):
			l.dropped.Add(1)
			return
		case !l.mayPass(err, tries):
			l.reject(event, err)
			return
		}
		pause = pauses.Next(pause)
		if !l.wait(ctx, pause, back) || time.Since(n.At) > stale {
			l.dropped.Add(1)
			return
		}
	}
}

// mayPass tells whether it is of use to try again: what is refused may be allowed when a certificate was renewed, or when an API server that
// has just started knows who may do what.
func (l *Loop) mayPass(err error, tries int) bool {
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return false
	case apierrors.IsForbidden(err):
		return tries < mostRefusals
	}
	return l.cfg.Sender.Unreachable(err) || apierrors.IsUnauthorized(err)
}

// wait makes a pause, which ends early when the API server is back. It is false when there is no time for one.
func (l *Loop) wait(ctx context.Context, pause time.Duration, back <-chan struct{}) bool {
	timer := time.NewTimer(backoff.Jitter(pause, 0.5, l.cfg.Node))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-back:
	}
	return true
}

// send writes an event that is new, or counts up one that is there.
func (l *Loop) send(ctx context.Context, result *record.EventCorrelateResult) error {
	event := result.Event
	var written *corev1.Event
	var err error
	if event.Count > 1 {
		written, err = l.cfg.Sender.PatchEvent(ctx, event.Namespace, event.Name, result.Patch)
	}
	if event.Count <= 1 || apierrors.IsNotFound(err) { // the API server forgets events after an hour
		event.ResourceVersion = ""
		written, err = l.cfg.Sender.CreateEvent(ctx, event)
	}
	if err == nil {
		l.correlator.UpdateState(written)
	}
	return err
}

// reject gives up an event. That it was there already, or its namespace not any more, is nothing to speak of.
func (l *Loop) reject(event *corev1.Event, err error) {
	l.rejected.Add(1)
	say := l.cfg.Log.Warn
	if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) ||
		l.complained == event.Reason {
		say = l.cfg.Log.Debug
	} else {
		l.complained = event.Reason
	}
	say("The API server does not take an event", "object", event.InvolvedObject.Namespace+"/"+event.InvolvedObject.Name, "reason", event.Reason, "err", err)
}
