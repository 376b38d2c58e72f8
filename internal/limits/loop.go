package limits

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

const (
	// every is the time between two times of writing everything.
	every = time.Minute
	// gap is the least time between two looks at the pods: a burst of changes costs one.
	gap = time.Second
)

// Cgroups are the cgroups that are written.
type Cgroups interface {
	// Limit writes the limits of all pods together, and those of what is reserved.
	Limit(ctx context.Context) error
	// Weigh writes what follows from what the pods ask for.
	Weigh(ctx context.Context, of Sums) error
}

// Sums are what follows from what the pods ask for together.
type Sums struct {
	// Shares is the weight of the burstable class, as cpu.shares.
	Shares uint64
	// Memory is what all pods ask for, and Burstable what the burstable ones do, in bytes, to be kept from being reclaimed; 0 if none is.
	Memory, Burstable int64
}

// Config is what a Loop is built from.
type Config struct {
	// Up tells whether the runtime answers, Pods which pods run or are about to; each with a channel that is closed
	// when that may have changed.
	Up   func() (bool, <-chan struct{})
	Pods func() ([]*v1.Pod, <-chan struct{})
	// Sum adds up what these pods ask for.
	Sum     func([]*v1.Pod) Sums
	Cgroups Cgroups
	// Enforced tells whether limits are set at all; otherwise earlier ones are lifted, and nobody needs to hear of it.
	Enforced bool
	// Node is the node's name, for notes.
	Node  string
	Notes note.Sink
}

// Loop keeps the limits.
type Loop struct {
	cfg Config
	// due is when everything has to be written again; sums is what was written last.
	due  time.Time
	sums Sums
	// limited and failed are what was told last.
	limited bool
	failed  string
}

// New builds a Loop. Nothing is written before Run.
func New(cfg Config) *Loop { return &Loop{cfg: cfg} }

// Run keeps the limits until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		up, newerUp := l.cfg.Up()
		pods, newerPods := l.cfg.Pods()
		var alarm <-chan time.Time
		if up {
			l.write(ctx, pods)
			timer.Reset(time.Until(l.due))
			alarm = timer.C
		} else {
			newerPods = nil // nothing can be written for them
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newerUp:
			continue
		case <-alarm:
			continue
		case <-newerPods:
		}
		timer.Reset(gap)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// write writes what is due: everything, or sums that have changed. What failed is tried again when all is due.
func (l *Loop) write(ctx context.Context, pods []*v1.Pod) {
	now := time.Now()
	all := !now.Before(l.due)
	sums := l.cfg.Sum(pods)
	if !all && sums == l.sums {
		return
	}
	var err error
	if all {
		l.due = now.Add(every)
		err = l.cfg.Cgroups.Limit(ctx)
	}
	l.sums = sums
	if weigh := l.cfg.Cgroups.Weigh(ctx, sums); weigh != nil && (err == nil || weigh.Error() != err.Error()) { // most often both fail for one reason
		err = errors.Join(err, weigh)
	}
	if ctx.Err() == nil && (all || err != nil) {
		l.tell(err)
	}
}

// tell makes a note of what is new.
func (l *Loop) tell(err error) {
	n := note.Note{At: time.Now(), About: note.About{Kind: "Node", Name: l.cfg.Node}}
	switch {
	case err != nil:
		if l.failed == err.Error() {
			return
		}
		l.failed, l.limited = err.Error(), false
		n.Level, n.Reason, n.Message = note.Warning, reason.FailedNodeAllocatableEnforcement, "Failed to update Node Allocatable Limits: "+err.Error()
	case l.limited || !l.cfg.Enforced:
		l.failed = ""
		return
	default:
		l.failed, l.limited = "", true
		n.Reason, n.Message = reason.NodeAllocatableEnforced, "Updated Node Allocatable limit across pods"
	}
	l.cfg.Notes(n)
}
