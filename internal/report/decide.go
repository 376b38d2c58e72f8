package report

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/reason"
)

// A verb is what should be done about a pod in the API.
type verb int

const (
	nothing verb = iota
	tell         // patch the status
	remove       // delete the pod for good
)

// Ranks: what goes first when there is a queue. The ends of pods let others begin, readiness routes traffic, the rest is
// for people to read.
const (
	rankEnd = iota
	rankReady
	rankDetail
)

// An order is what should be done about a pod in the API next.
type order struct {
	verb verb
	rank int
	// want is the status to be told.
	want *v1.PodStatus
}

// decide tells what should be done about a pod, given what the API server has of it and what the node says; a nil status
// says that the node has nothing of it and knows nothing of it. Rested tells that nothing of the pod is left on the node. The
// last status comes before the delete, always: a controller that counts outcomes must find it (behaviours 146, 280).
func decide(api *v1.Pod, ours *v1.PodStatus, rested bool, now time.Time) order {
	deleted := api.DeletionTimestamp != nil && !isMirror(api)
	want := api.Status.DeepCopy()
	normalise(api, want)
	if ours != nil {
		*want = merge(api, ours)
	}
	if rested && deleted && !terminal(want.Phase) {
		finish(api, want, now)
	}
	have := api.Status.DeepCopy()
	normalise(api, have)
	over := rested && deleted && !awaitsFinalizers(api)
	switch news := len(changes(have, want)) > 0; {
	case over && (!news || terminal(have.Phase) && sameButSandbox(have, want)):
		return order{verb: remove, rank: rankEnd}
	case news && over:
		return order{verb: tell, want: want, rank: rankEnd}
	case news:
		return order{verb: tell, want: want, rank: rank(have, want)}
	}
	return order{}
}

// sameButSandbox tells that nothing is new but that the sandbox is no longer ready: of a pod that has ended and goes with the
// next call, nobody waits for that.
func sameButSandbox(have, want *v1.PodStatus) bool {
	c := find(want.Conditions, v1.PodReadyToStartContainers)
	if c == nil || c.Status == v1.ConditionTrue {
		return false
	}
	old := have.DeepCopy()
	was := find(old.Conditions, v1.PodReadyToStartContainers)
	if was == nil {
		return false
	}
	*was = *c
	return len(changes(old, want)) == 0
}

// awaitsFinalizers tells that the pod was deleted for good, and goes by itself once others have taken their marks off.
func awaitsFinalizers(api *v1.Pod) bool {
	grace := api.DeletionGracePeriodSeconds
	return len(api.Finalizers) > 0 && grace != nil && *grace == 0
}

func rank(have, want *v1.PodStatus) int {
	switch {
	case terminal(want.Phase) && !terminal(have.Phase):
		return rankEnd
	case want.Phase != have.Phase || ready(want) != ready(have):
		return rankReady
	}
	return rankDetail
}

func ready(s *v1.PodStatus) bool {
	c := find(s.Conditions, v1.PodReady)
	return c != nil && c.Status == v1.ConditionTrue
}

// What is said of containers of which nothing was found (behaviours 148, 278).
const (
	notLocated     = "The container could not be located when the pod was terminated"
	killedExitCode = 137
)

// finish makes of a status that of a pod of which nothing is left: what ran has ended without a trace, what never had its
// turn keeps saying what it waited for (behaviours 278, 362).
func finish(api *v1.Pod, s *v1.PodStatus, now time.Time) {
	begun := lose(s.ContainerStatuses)
	lose(s.InitContainerStatuses)
	lose(s.EphemeralContainerStatuses)
	s.Phase = v1.PodFailed
	if begun && len(s.ContainerStatuses) == len(api.Spec.Containers) && allSucceeded(s.ContainerStatuses) {
		s.Phase = v1.PodSucceeded
	}
	why := reason.PodFailed
	if s.Phase == v1.PodSucceeded {
		why = reason.PodCompleted
	}
	for t, because := range map[v1.PodConditionType]string{
		v1.PodReady: why, v1.ContainersReady: why, v1.PodReadyToStartContainers: reason.PodSandboxNotReady,
	} {
		if c := find(s.Conditions, t); c != nil {
			if c.Status != v1.ConditionFalse {
				c.LastTransitionTime = metav1.NewTime(now.UTC().Truncate(time.Second))
			}
			c.Status, c.Reason, c.Message = v1.ConditionFalse, because, ""
		}
	}
}

// lose ends the containers that ran, and tells whether any had ever begun.
func lose(list []v1.ContainerStatus) (begun bool) {
	for i := range list {
		s := &list[i]
		if s.State.Running != nil {
			s.State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
				ExitCode: killedExitCode, Reason: reason.ContainerStatusUnknown, Message: notLocated, ContainerID: s.ContainerID,
			}}
			s.Ready = false
			if s.Started != nil {
				s.Started = new(bool)
			}
		}
		begun = begun || s.State.Terminated != nil
	}
	return begun
}

func allSucceeded(list []v1.ContainerStatus) bool {
	for i := range list {
		if t := list[i].State.Terminated; t == nil || t.ExitCode != 0 {
			return false
		}
	}
	return true
}
