package status

import (
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// What is said of containers that nobody can ask any more (behaviour 148).
const (
	notLocatedAtEnd = "The container could not be located when the pod was terminated"
	notLocated      = "The container could not be located when the pod was deleted.  The container used to be Running"
	killedExitCode  = 137
)

// absent is the status of a container of which the runtime has nothing: it is still to be made, or its record is gone.
func (v *view) absent(c *v1.Container, as role, prev *v1.ContainerStatus) v1.ContainerStatus {
	if as == initial && v.passed(c.Name) {
		return passedInit(c, prev)
	}
	out := plain(c, as)
	if prev == nil {
		out.State = v.waiting(c, as, nil)
		return out
	}
	out.RestartCount = prev.RestartCount
	out.LastTerminationState = *prev.LastTerminationState.DeepCopy()
	was := prev.State
	switch {
	case was.Terminated != nil && !v.wasToRestart(c, as, was.Terminated):
		return *prev.DeepCopy()
	case was.Terminated != nil:
		out.LastTerminationState = v1.ContainerState{Terminated: was.Terminated.DeepCopy()}
	case was.Running != nil && v.stopping:
		out = *prev.DeepCopy()
		lose(&out, notLocatedAtEnd)
		return out
	case was.Running != nil && as == ephemeral:
		out = *prev.DeepCopy()
		lose(&out, notLocated)
		return out
	case was.Running != nil:
		gone := prev.DeepCopy()
		lose(gone, notLocated)
		out.LastTerminationState = gone.State
		out.RestartCount++
	}
	out.State = v.waiting(c, as, nil)
	return out
}

// wasToRestart is runsAgain for an instance known from the previous status only.
func (v *view) wasToRestart(c *v1.Container, as role, was *v1.ContainerStateTerminated) bool {
	ended := &pod.Container{Name: c.Name, State: pod.Exited, ExitCode: was.ExitCode}
	return !v.stopping && as != ephemeral && (as == initial || plan.Restarts(v.in.Desired, v.in.Memory, c, ended))
}

// passed tells whether an init container must have succeeded, though its record is gone: a later container of its
// sandbox has begun (behaviours 107, 108).
func (v *view) passed(name string) bool {
	if v.begun {
		return true
	}
	if v.sandbox == nil {
		return false
	}
	inits := v.pod.Spec.InitContainers
	for i := len(inits) - 1; i >= 0 && inits[i].Name != name; i-- {
		if c := v.in.Observed.LatestIn(v.sandbox.ID, inits[i].Name); c != nil && !v.in.Memory.Past(c) {
			return true
		}
	}
	return false
}

func passedInit(c *v1.Container, prev *v1.ContainerStatus) v1.ContainerStatus {
	if prev != nil && prev.State.Terminated != nil {
		return *prev.DeepCopy()
	}
	out := plain(c, initial)
	out.Ready = true
	out.State.Terminated = &v1.ContainerStateTerminated{Reason: reason.Completed,
		Message: "The record of this init container is gone. It had succeeded: the pod is initialised"}
	if prev != nil {
		out.RestartCount, out.ContainerID, out.ImageID = prev.RestartCount, prev.ContainerID, prev.ImageID
	}
	return out
}

// lose makes a container one that ended without a trace.
func lose(s *v1.ContainerStatus, message string) {
	end := &v1.ContainerStateTerminated{ExitCode: killedExitCode, Reason: reason.ContainerStatusUnknown, Message: message}
	if s.State.Running != nil || s.State.Terminated != nil {
		end.ContainerID = s.ContainerID
	}
	s.State, s.Ready = v1.ContainerState{Terminated: end}, false
	if s.Started != nil {
		no := false
		s.Started = &no
	}
}

// locateAll makes every container of an ended pod say that it ended. What never had its turn keeps saying what it
// waited for (behaviour 278).
func (v *view) locateAll(out *v1.PodStatus) {
	if v.pastInit(out) {
		for i := range out.ContainerStatuses {
			if s := &out.ContainerStatuses[i]; s.State.Terminated == nil {
				lose(s, notLocatedAtEnd)
			}
		}
	}
	last := -1
	for i := range out.InitContainerStatuses {
		if hasBegun(&out.InitContainerStatuses[i]) {
			last = i
		}
	}
	for i := range out.InitContainerStatuses[:last+1] {
		if s := &out.InitContainerStatuses[i]; s.State.Terminated == nil {
			lose(s, notLocatedAtEnd)
		}
	}
}

// pastInit tells whether the pod's regular containers had their turn.
func (v *view) pastInit(out *v1.PodStatus) bool {
	if v.begun {
		return true
	}
	for i := range out.ContainerStatuses {
		if hasBegun(&out.ContainerStatuses[i]) {
			return true
		}
	}
	inits := v.pod.Spec.InitContainers
	for i := range inits {
		s := find(out.InitContainerStatuses, inits[i].Name)
		if s == nil || pod.IsSidecar(&inits[i]) && !hasBegun(s) || !pod.IsSidecar(&inits[i]) && !s.Ready {
			return false
		}
	}
	return true
}
