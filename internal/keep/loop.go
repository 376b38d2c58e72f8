package keep

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/pod"
)

// LoopConfig is what a Loop is built from.
type LoopConfig struct {
	Store *Store
	// Accepted are the pods of the API that the node has taken on, and a channel that is closed when there are newer ones.
	Accepted func() (map[types.UID]*pod.Desired, <-chan struct{})
	// Wanted tells whether the API server still names a pod; it answers false only if it knows.
	Wanted func(types.UID) bool
	// Synced tells whether the API server has told which pods there are.
	Synced func() bool
	// Kept are the pods that were kept when the agent started.
	Kept []types.UID
	Log  *slog.Logger
}

// Loop keeps each accepted pod in the Store, as it was last wanted.
type Loop struct {
	cfg  LoopConfig
	have map[types.UID]*pod.Desired // nil for a version of an earlier life
	ill  bool
	// started is when Run began; sweepAt is when objects of earlier lives are dropped, zero until that is known.
	started, sweepAt time.Time
}

// NewLoop builds a Loop.
func NewLoop(cfg LoopConfig) *Loop {
	l := &Loop{cfg: cfg, have: map[types.UID]*pod.Desired{}}
	for _, uid := range cfg.Kept {
		l.have[uid] = nil
	}
	return l
}

const (
	// retry is how soon what could not be written is tried again.
	retry = 5 * time.Second
	// sweepAfter is how long after the API server has told of the pods the objects that these use have surely been kept anew.
	sweepAfter = 5 * time.Minute
)

// Run follows the accepted pods until the context ends.
func (l *Loop) Run(ctx context.Context) error {
	l.started = time.Now()
	for {
		accepted, newer := l.cfg.Accepted()
		var again <-chan time.Time
		wait, err := l.sweep(time.Now())
		if err = errors.Join(l.turn(accepted), err); err != nil {
			if !l.ill {
				l.cfg.Log.Warn("pods cannot be kept for times without an API server", "err", err)
			}
			wait = retry
		}
		l.ill = err != nil
		if wait > 0 {
			again = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		case <-again:
		}
	}
}

func (l *Loop) turn(accepted map[types.UID]*pod.Desired) error {
	var wrong error
	for uid, d := range accepted {
		if l.have[uid] == d {
			continue
		}
		if err := l.cfg.Store.KeepPod(d.Pod); err != nil {
			wrong = err
			continue
		}
		l.have[uid] = d
	}
	for uid := range l.have {
		if accepted[uid] != nil || l.cfg.Wanted(uid) {
			continue
		}
		if err := l.cfg.Store.DropPod(uid); err != nil {
			wrong = err
			continue
		}
		delete(l.have, uid)
	}
	return wrong
}

// sweep drops, once, the objects that only pods of earlier lives used. It returns how long to wait for that, zero if it is not
// to be waited for.
func (l *Loop) sweep(now time.Time) (time.Duration, error) {
	switch {
	case l.started.IsZero() || !l.cfg.Synced():
		return 0, nil
	case l.sweepAt.IsZero():
		l.sweepAt = now.Add(sweepAfter)
	}
	if wait := l.sweepAt.Sub(now); wait > 0 {
		return wait, nil
	}
	if err := l.cfg.Store.DropObjectsBefore(l.started); err != nil {
		return 0, err
	}
	l.started = time.Time{}
	return 0, nil
}
