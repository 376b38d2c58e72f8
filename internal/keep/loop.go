package keep

import (
	"context"
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
	// Kept are the pods that were kept when the agent started.
	Kept []types.UID
	Log  *slog.Logger
}

// Loop keeps each accepted pod in the Store, as it was last wanted.
type Loop struct {
	cfg  LoopConfig
	have map[types.UID]*pod.Desired // nil for a version of an earlier life
	ill  bool
}

// NewLoop builds a Loop.
func NewLoop(cfg LoopConfig) *Loop {
	l := &Loop{cfg: cfg, have: map[types.UID]*pod.Desired{}}
	for _, uid := range cfg.Kept {
		l.have[uid] = nil
	}
	return l
}

// retry is how soon what could not be written is tried again.
const retry = 5 * time.Second

// Run follows the accepted pods until the context ends.
func (l *Loop) Run(ctx context.Context) error {
	for {
		accepted, newer := l.cfg.Accepted()
		var again <-chan time.Time
		if err := l.turn(accepted); err != nil {
			if !l.ill {
				l.cfg.Log.Warn("pods cannot be kept for times without an API server", "err", err)
			}
			again = time.After(retry)
		}
		l.ill = again != nil
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
