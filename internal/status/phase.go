package status

import (
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// phase fills in the phase with its reason and message. Succeeded and Failed are never left, and they are told only when
// nothing of the pod runs any more (behaviours 147, 151, 268, 269).
func (v *view) phase(out *v1.PodStatus) {
	if terminal(v.prev.Phase) {
		return // out has it, with reason and message
	}
	out.Phase = v.running(out)
	if out.Phase == v1.PodPending && v.prev.Phase == v1.PodRunning && v.beginsAgain() {
		out.Phase = v1.PodRunning
	}
	if v.final {
		v.end(out)
	} else if terminal(out.Phase) { // all has ended but sidecars, or the plan has not seen it yet
		out.Phase = v1.PodRunning
		if !v.pastInit(out) {
			out.Phase = v1.PodPending
		}
	}
	if out.Phase != v.prev.Phase && !terminal(out.Phase) {
		out.Reason, out.Message = "", ""
	}
}

// end is the phase of a pod of which nothing runs any more.
func (v *view) end(out *v1.PodStatus) {
	stop := v.in.Memory.Kept.Stop
	switch stop.Cause {
	case plan.Refused, plan.Overdue, plan.Ordered, plan.Overfull:
		out.Phase, out.Reason, out.Message = v1.PodFailed, stop.Reason, stop.Message
		return
	case plan.Removed, plan.Orphaned:
		if v.in.Desired.Static() && !terminal(out.Phase) {
			return // it was not to end by itself, and nobody waits for an outcome
		}
	case plan.Deleted, plan.Completed:
	}
	out.Reason, out.Message = "", ""
	out.Phase = v1.PodSucceeded
	for i := range out.ContainerStatuses {
		if t := out.ContainerStatuses[i].State.Terminated; t == nil || t.ExitCode != 0 {
			out.Phase = v1.PodFailed
		}
	}
	if len(out.ContainerStatuses) == 0 {
		out.Phase = v1.PodFailed
	}
}

// running is the phase by the states of the containers alone (behaviour 268).
func (v *view) running(out *v1.PodStatus) v1.PodPhase {
	if !v.begun {
		switch pending, failed := v.initialising(out); {
		case failed:
			return v1.PodFailed
		case pending:
			return v1.PodPending
		}
	}
	waiting, running, stopped, failed, again := 0, 0, 0, 0, 0
	for i := range v.pod.Spec.Containers {
		c := &v.pod.Spec.Containers[i]
		s := find(out.ContainerStatuses, c.Name)
		switch {
		case s == nil:
			return v1.PodPending
		case s.State.Running != nil:
			running++
		case s.State.Waiting != nil && s.LastTerminationState.Terminated == nil:
			waiting++
		case s.State.Waiting != nil:
			stopped, again = stopped+1, again+1
		default:
			stopped++
			if s.State.Terminated.ExitCode != 0 {
				failed++
			}
			if v.startsAgain(c, s) {
				again++
			}
		}
	}
	switch {
	case waiting > 0 || running+stopped == 0:
		return v1.PodPending
	case running > 0 || again > 0:
		return v1.PodRunning
	case failed > 0:
		return v1.PodFailed
	}
	return v1.PodSucceeded
}

// startsAgain tells whether an ended container is one that starts again, be it that the pod has to end meanwhile.
func (v *view) startsAgain(c *v1.Container, s *v1.ContainerStatus) bool {
	ended := &pod.Container{Name: c.Name, State: pod.Exited, ExitCode: s.State.Terminated.ExitCode}
	if newest := v.newest(c.Name); newest != nil {
		ended.ID = newest.ID
	}
	return plan.Restarts(v.in.Desired, v.in.Memory, c, ended)
}

// initialising tells whether init containers still have work to do, and whether one has failed for good.
func (v *view) initialising(out *v1.PodStatus) (pending, failed bool) {
	for i := range v.pod.Spec.InitContainers {
		c := &v.pod.Spec.InitContainers[i]
		s := find(out.InitContainerStatuses, c.Name)
		switch {
		case s == nil:
			pending = true
		case pod.IsSidecar(c):
			pending = pending || s.Started == nil || !*s.Started
		case s.State.Terminated == nil:
			pending = true
		case s.State.Terminated.ExitCode != 0 && v.startsAgain(c, s):
			pending = true
		case s.State.Terminated.ExitCode != 0:
			failed = true
		}
	}
	return pending, failed
}
