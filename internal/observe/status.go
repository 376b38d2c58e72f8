package observe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

const (
	// calmLimit is how long the runtime may take to tell its status while nothing else is amiss.
	calmLimit = 5 * time.Second
	// hurryLimit is how long it may take after the event stream has ended.
	hurryLimit = 700 * time.Millisecond
	// statusSoon is the pause between questions while the runtime or its network is not ready.
	statusSoon = 200 * time.Millisecond
	// A network that was not ready for networkPatience is asked for every statusPatient only: there may never be one.
	networkPatience = 2 * time.Minute
	statusPatient   = time.Second
)

// answer is what the runtime said of itself.
type answer struct {
	version engine.Version
	status  engine.Status
	err     error
}

// watchStatus asks the runtime how it fares: now and then while all is well, often while it is not, and at once when
// the event stream ends.
func (o *Observer) watchStatus(ctx context.Context) {
	var who engine.Version
	var networkLost time.Time
	limit := calmLimit
	for {
		a := o.askStatus(ctx, who, limit)
		if ctx.Err() != nil {
			return
		}
		who = a.version
		o.tellStatus(a)
		pause := statusSoon
		switch {
		case a.err != nil || !a.status.Runtime.OK:
		case a.status.Network.OK:
			networkLost, pause = time.Time{}, o.cfg.StatusEvery
		case networkLost.IsZero():
			networkLost = time.Now()
		case time.Since(networkLost) > networkPatience:
			pause = max(statusSoon, min(statusPatient, o.cfg.StatusEvery))
		}
		limit = calmLimit
		select {
		case <-ctx.Done():
			return
		case <-o.statusNow:
			limit = hurryLimit
		case <-time.After(pause):
		}
	}
}

// askStatus asks once. It also asks who the runtime is, if that is not known. A nudge shortens the wait.
func (o *Observer) askStatus(ctx context.Context, who engine.Version, limit time.Duration) answer {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		a := answer{version: who}
		if a.version.Name == "" {
			a.version, a.err = o.cfg.Runtime.Version(ctx)
		}
		if a.err == nil {
			a.status, a.err = o.cfg.Runtime.Status(ctx)
		}
		if a.err != nil {
			a.version = engine.Version{} // it may be another one that comes back
		}
		answers <- a
	}()
	var hurry <-chan time.Time
	for {
		select {
		case a := <-answers:
			return a
		case <-o.statusNow:
			if hurry == nil {
				hurry = time.After(hurryLimit)
			}
		case <-hurry:
			cancel()
		}
	}
}

// tellStatus publishes an answer and starts what follows from a runtime that has come back.
func (o *Observer) tellStatus(a answer) {
	now := time.Now()
	before := o.change(func(h *Health) { h.take(a, now) })
	after := o.health.Value()
	if after.answers && !before.answers {
		o.roster.forgetRead() // whatever happened meanwhile
		nudge(o.relistNow)
	}
	about := note.About{Kind: "Node"}
	switch {
	case after.Up && !before.Up:
		o.cfg.Notes(note.Note{At: now, About: about, Level: note.Normal, Reason: reason.ContainerRuntimeUp,
			Message: fmt.Sprintf("Container runtime %s %s is up", after.RuntimeName, after.RuntimeVersion)})
	case !after.Up && (before.Up || before.Message == notAskedYet):
		o.cfg.Notes(note.Note{At: now, About: about, Level: note.Warning, Reason: reason.ContainerRuntimeDown,
			Message: after.Message})
	}
	if after.Up && !after.NetworkReady && (before.NetworkReady || !before.Up) {
		o.cfg.Notes(note.Note{At: now, About: about, Level: note.Warning, Reason: reason.NetworkNotReady,
			Message: after.NetworkMessage})
	}
}

// take adds what the runtime said of itself. The stream and the listings have other writers.
func (h *Health) take(a answer, now time.Time) {
	h.Asked = true
	wasUp := h.Up
	switch {
	case a.err != nil:
		h.Up, h.answers, h.NetworkReady = false, false, false
		h.Message = "container runtime is down: " + silence(a.err)
		h.NetworkMessage = h.Message
	default:
		h.answers, h.Up, h.NetworkReady = true, a.status.Runtime.OK, a.status.Network.OK
		h.Message, h.NetworkMessage = "", ""
		if !h.Up {
			h.Message = "container runtime not ready: " + unmet("RuntimeReady", a.status.Runtime)
		}
		if !h.NetworkReady {
			h.NetworkMessage = "container runtime network not ready: " + unmet("NetworkReady", a.status.Network)
		}
		h.RuntimeName, h.RuntimeVersion = a.version.Name, a.version.Version
		h.Handlers, h.Features = slices.Clone(a.status.Handlers), a.status.Features
	}
	if h.Up != wasUp || h.Since.IsZero() {
		h.Since = now
	}
}

func unmet(name string, c engine.Condition) string {
	return fmt.Sprintf("%s=false reason:%s message:%s", name, c.Reason, c.Message)
}

// silence says why there was no answer.
func silence(err error) string {
	if errors.Is(err, fault.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return "it does not answer"
	}
	return err.Error()
}
