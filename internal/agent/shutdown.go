package agent

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/shutdown"
	"github.com/bosun-project/bosun/internal/systemd"
)

// buildShutdown makes what ends the pods when the machine goes down, unless the configuration leaves them no time for that.
func (a *Agent) buildShutdown() {
	k := &a.cfg.Kubelet
	var byPriority []shutdown.Group
	for _, p := range k.ShutdownGracePeriodByPodPriority {
		byPriority = append(byPriority, shutdown.Group{Priority: p.Priority, Period: time.Duration(p.ShutdownGracePeriodSeconds) * time.Second})
	}
	groups := shutdown.Groups(k.ShutdownGracePeriod.Duration, k.ShutdownGracePeriodCriticalPods.Duration, byPriority)
	if len(groups) == 0 || !a.cfg.Gate("GracefulNodeShutdown") {
		return
	}
	config := shutdown.Config{
		Groups: groups, Dir: a.cfg.RootDir, Pods: a.endablePods, Notes: a.note, Log: a.log,
		Connect: func(ctx context.Context) (shutdown.Session, error) {
			s, err := systemd.Connect(ctx, systemd.Config{})
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	}
	if a.member != nil {
		config.Untold = a.untoldPods
	}
	a.shutdown = shutdown.New(config)
}

// ending is what runs to hear of shutdowns.
func (a *Agent) ending() []actor {
	if a.shutdown == nil {
		return nil
	}
	return []actor{{"shutdown of the machine", a.shutdown.Run}}
}

// goingDown is what there is of a shutdown of the machine, and a channel that is closed when that changes.
func (a *Agent) goingDown() (shutdown.State, <-chan struct{}) {
	if a.shutdown == nil {
		return shutdown.State{Stage: shutdown.Staying}, nil
	}
	return a.shutdown.State().Get()
}

// endablePods are the pods that a shutdown has to end. What was not let in does not run.
func (a *Agent) endablePods() ([]shutdown.Pod, <-chan struct{}) {
	entries, newer := a.set.Table().Pods()
	pods := make([]shutdown.Pod, 0, len(entries))
	for _, e := range entries {
		if e.Memory.Kept.Admitted.IsZero() {
			continue
		}
		p := e.Desired.Pod
		pods = append(pods, shutdown.Pod{UID: p.UID, Priority: qos.Priority(p), Grace: e.Desired.Grace(), Rested: e.Memory.Session.Rested})
	}
	return pods, newer
}

// untoldPods counts the pods whose end the API server has not heard of, and the node while it is ready there.
func (a *Agent) untoldPods(uids []types.UID) (n int, answers bool, newer [2]<-chan struct{}) {
	api, newerPods := a.member.byUID.Get()
	own, newerNode := a.member.ownNode()
	told := map[types.UID]bool{}
	for uid, p := range api.pods {
		if of := types.UID(p.Annotations[names.ConfigMirror]); of != "" {
			uid = of
		}
		told[uid] = p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
	}
	for _, uid := range uids {
		if heard, there := told[uid]; there && !heard {
			n++
		}
	}
	if own.object != nil && ready(own.object) {
		n++
	}
	return n, a.member.client.Link().Value().Up, [2]<-chan struct{}{newerPods, newerNode}
}

func ready(n *v1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

// shutdownTrouble is what `bosun explain` says of a shutdown, and since when that is so.
func (a *Agent) shutdownTrouble() (what string, since time.Time, message string) {
	s, _ := a.goingDown()
	switch s.Stage {
	case shutdown.Ending:
		message = fmt.Sprintf("the machine is going down: pods from priority %d on are being ended", s.Turn)
		if s.Left > 0 {
			message += fmt.Sprintf(", %d are left, for %s at most", s.Left, max(0, time.Until(s.Until)).Round(time.Second))
		}
	case shutdown.Telling:
		message = "the machine is going down: pods were ended, and the API server is being told"
	case shutdown.Gone:
		message = "the machine is going down: pods were ended"
	case shutdown.Unsure, shutdown.Staying:
		return "graceful shutdown", s.Since, s.Problem
	}
	return "shutdown of the machine", s.Last.Start, message
}

// shutdownTimes are when the last shutdown began and ended.
func (a *Agent) shutdownTimes() (began, ended time.Time) {
	s, _ := a.goingDown()
	return s.Last.Start, s.Last.End
}
