package status

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Owned tells whether a condition is the node agent's to write. DisruptionTarget has several writers.
func Owned(t v1.PodConditionType) bool {
	switch t {
	case v1.PodScheduled, v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.AllContainersRestarting,
		v1.PodResizePending, v1.PodResizeInProgress:
		return true
	}
	return false
}

// conditions fills in those that are the agent's; the others are their writers' and stay (behaviours 270-273, 282).
func (v *view) conditions(out *v1.PodStatus) {
	containers := v.containersReady(out)
	own := []v1.PodCondition{
		v.sandboxed(),
		v.initialized(out),
		v.ready(containers),
		containers,
		{Type: v1.PodScheduled, Status: v1.ConditionTrue},
	}
	if mayRenew(&v.pod.Spec) {
		own = append(own, v.restarting())
	}
	if stop := v.in.Memory.Kept.Stop; stop != nil && stop.Cause == plan.Ordered {
		own = append(own, v1.PodCondition{
			Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: reason.TerminationByKubelet, Message: stop.Message,
		})
	}
	for i := range own {
		v.keepTime(&own[i])
	}
	for _, c := range v.resizes() {
		of := c.ObservedGeneration // what was asked for then, whatever the pod's generation is now
		v.keepTime(&c)
		c.ObservedGeneration = of
		own = append(own, c)
	}
	for i := range v.prev.Conditions {
		theirs := &v.prev.Conditions[i]
		if !resizing(theirs.Type) && !slices.ContainsFunc(own, func(c v1.PodCondition) bool { return c.Type == theirs.Type }) {
			own = append(own, *theirs.DeepCopy())
		}
	}
	out.Conditions = own
}

// keepTime keeps the time of the last transition while the condition stays as it is.
func (v *view) keepTime(c *v1.PodCondition) {
	c.ObservedGeneration = v.pod.Generation
	c.LastTransitionTime = moment(v.in.Now)
	if old := v.condition(c.Type); old != nil && old.Status == c.Status && !old.LastTransitionTime.IsZero() {
		c.LastTransitionTime = old.LastTransitionTime
	}
}

func (v *view) condition(t v1.PodConditionType) *v1.PodCondition {
	for i := range v.prev.Conditions {
		if v.prev.Conditions[i].Type == t {
			return &v.prev.Conditions[i]
		}
	}
	return nil
}

// sandboxed is PodReadyToStartContainers: whether the pod has a sandbox with a network.
func (v *view) sandboxed() v1.PodCondition {
	switch {
	case !v.inspected && v.sandbox == nil && v.condition(v1.PodReadyToStartContainers) != nil:
		return *v.condition(v1.PodReadyToStartContainers).DeepCopy()
	case readyToStart(v.sandbox):
		return v1.PodCondition{Type: v1.PodReadyToStartContainers, Status: v1.ConditionTrue}
	}
	no := v1.PodCondition{Type: v1.PodReadyToStartContainers, Status: v1.ConditionFalse, Reason: reason.PodSandboxNotReady}
	switch {
	case v.sandbox == nil:
		no.Message = "no pod sandbox exists"
	case !v.sandbox.Ready:
		no.Message = "pod sandbox is not ready"
	}
	return no
}

// initialized is Initialized: whether the init containers have done their work.
func (v *view) initialized(out *v1.PodStatus) v1.PodCondition {
	yes := v1.PodCondition{Type: v1.PodInitialized, Status: v1.ConditionTrue}
	no := v1.PodCondition{Type: v1.PodInitialized, Status: v1.ConditionFalse, Reason: reason.ContainersNotInitialized}
	inits := v.pod.Spec.InitContainers
	switch {
	case len(inits) == 0:
		if out.Phase == v1.PodSucceeded {
			yes.Reason = reason.PodCompleted
		}
		return yes
	case len(out.InitContainerStatuses) == 0:
		no.Reason = reason.UnknownContainerStatuses
		return no
	}
	var incomplete []string
	for i := range inits {
		s := find(out.InitContainerStatuses, inits[i].Name)
		done := s != nil && s.Ready
		if pod.IsSidecar(&inits[i]) {
			done = s != nil && s.Started != nil && *s.Started
		}
		if !done {
			incomplete = append(incomplete, inits[i].Name)
		}
	}
	switch {
	case out.Phase == v1.PodSucceeded:
		yes.Reason = reason.PodCompleted
		return yes
	case len(incomplete) == 0 || v.begun && v.anyBegun(out):
		return yes
	}
	if was := v.condition(v1.PodInitialized); was != nil && was.Status == v1.ConditionTrue && v.beginsAgain() {
		return yes
	}
	no.Message = "containers with incomplete status: [" + strings.Join(incomplete, " ") + "]"
	return no
}

func (v *view) anyBegun(out *v1.PodStatus) bool {
	return slices.ContainsFunc(out.ContainerStatuses, func(s v1.ContainerStatus) bool { return hasBegun(&s) || s.ContainerID != "" })
}

// restarting is AllContainersRestarting: whether containers have to end because all of the pod's are restarted.
func (v *view) restarting() v1.PodCondition {
	if !v.renewing || v.stopping {
		return v1.PodCondition{Type: v1.AllContainersRestarting, Status: v1.ConditionFalse}
	}
	r := v.in.Memory.Kept.Renewal
	return v1.PodCondition{
		Type: v1.AllContainersRestarting, Status: v1.ConditionTrue, Reason: reason.ContainerExited,
		Message: fmt.Sprintf("Container %s exited with code %d, triggering pod restart", r.Container, r.ExitCode),
	}
}

// mayRenew tells whether a container of the pod has a rule that restarts all.
func mayRenew(s *v1.PodSpec) bool {
	renews := func(c v1.Container) bool { return plan.Renews(&c) }
	return slices.ContainsFunc(s.InitContainers, renews) || slices.ContainsFunc(s.Containers, renews)
}

// containersReady is ContainersReady: whether all containers that keep running are ready.
func (v *view) containersReady(out *v1.PodStatus) v1.PodCondition {
	no := v1.PodCondition{Type: v1.ContainersReady, Status: v1.ConditionFalse}
	switch out.Phase {
	case v1.PodSucceeded:
		no.Reason = reason.PodCompleted
		return no
	case v1.PodFailed:
		no.Reason = reason.PodFailed
		return no
	}
	if len(out.ContainerStatuses) == 0 {
		no.Reason = reason.UnknownContainerStatuses
		return no
	}
	var unready []string
	look := func(name string, s *v1.ContainerStatus) {
		if s == nil || !s.Ready {
			unready = append(unready, name)
		}
	}
	for i := range v.pod.Spec.InitContainers {
		if c := &v.pod.Spec.InitContainers[i]; pod.IsSidecar(c) {
			look(c.Name, find(out.InitContainerStatuses, c.Name))
		}
	}
	for i := range v.pod.Spec.Containers {
		name := v.pod.Spec.Containers[i].Name
		look(name, find(out.ContainerStatuses, name))
	}
	if len(unready) == 0 {
		return v1.PodCondition{Type: v1.ContainersReady, Status: v1.ConditionTrue}
	}
	no.Reason = reason.ContainersNotReady
	no.Message = "containers with unready status: [" + strings.Join(unready, " ") + "]"
	return no
}

// ready is Ready: all containers are, and so are the gates that others keep (behaviour 131).
func (v *view) ready(containers v1.PodCondition) v1.PodCondition {
	containers.Type = v1.PodReady
	if containers.Status != v1.ConditionTrue {
		return containers
	}
	var closed []string
	for _, gate := range v.pod.Spec.ReadinessGates {
		switch c := v.condition(gate.ConditionType); {
		case c == nil:
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case c.Status != v1.ConditionTrue:
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, c.Status))
		}
	}
	if len(closed) > 0 {
		containers.Status, containers.Reason, containers.Message = v1.ConditionFalse, reason.ReadinessGatesNotReady, strings.Join(closed, ", ")
	}
	return containers
}
