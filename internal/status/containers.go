package status

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// role is what a container is in its pod.
type role uint8

const (
	regular role = iota
	initial      // an init container that has to succeed
	sidecar      // an init container that keeps running
	ephemeral
)

// containers are the statuses of all containers: init containers in the order of the pod, the others by name
// (behaviour 267). A refused pod has none: nothing of it was ever begun (behaviour 30).
func (v *view) containers(out *v1.PodStatus) {
	out.InitContainerStatuses, out.ContainerStatuses, out.EphemeralContainerStatuses = nil, nil, nil
	if stop := v.in.Memory.Kept.Stop; stop != nil && stop.Cause == plan.Refused && !stop.Ran {
		return
	}
	spec := &v.pod.Spec
	for i := range spec.InitContainers {
		c, as := &spec.InitContainers[i], initial
		if pod.IsSidecar(c) {
			as = sidecar
		}
		out.InitContainerStatuses = append(out.InitContainerStatuses, v.container(c, as))
	}
	for i := range spec.Containers {
		out.ContainerStatuses = append(out.ContainerStatuses, v.container(&spec.Containers[i], regular))
	}
	for i := range spec.EphemeralContainers {
		c := v1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		out.EphemeralContainerStatuses = append(out.EphemeralContainerStatuses, v.container(&c, ephemeral))
	}
	if v.final {
		v.locateAll(out)
	}
	v.shareMessages(out)
	byName := func(a, b v1.ContainerStatus) int { return strings.Compare(a.Name, b.Name) }
	slices.SortStableFunc(out.ContainerStatuses, byName)
	slices.SortStableFunc(out.EphemeralContainerStatuses, byName)
}

// previous is what was said last of a container.
func (v *view) previous(name string, as role) *v1.ContainerStatus {
	switch as {
	case regular:
		return find(v.prev.ContainerStatuses, name)
	case ephemeral:
		return find(v.prev.EphemeralContainerStatuses, name)
	case initial, sidecar:
	}
	return find(v.prev.InitContainerStatuses, name)
}

// container is the status of one container.
func (v *view) container(c *v1.Container, as role) v1.ContainerStatus {
	prev := v.previous(c.Name, as)
	newest := v.newest(c.Name)
	if newest == nil && !v.inspected && prev != nil {
		return *prev.DeepCopy()
	}
	if newest == nil {
		return v.absent(c, as, prev)
	}
	out := v.describe(c, newest)
	out.RestartCount = v.restarts(c.Name, prev)
	over := v.state(&out, c, as, newest)
	out.LastTerminationState = v.lastState(c.Name, over, prev, &out)
	v.healthy(&out, c, as, newest, prev)
	return out
}

// state fills in the state and returns the ended instance that it shows as its own, nil if it shows none.
func (v *view) state(out *v1.ContainerStatus, c *v1.Container, as role, newest *pod.Container) (shown *pod.Container) {
	switch newest.State {
	case pod.Created:
		out.State = v.waiting(c, as, newest)
	case pod.Running, pod.Unknown: // what the runtime lost track of is ended by the plan before anything else happens
		out.State = v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: moment(newest.StartedAt)}}
	case pod.Exited:
		if v.runsAgain(c, as, newest) {
			out.State = v1.ContainerState{Waiting: v.stuck(c, newest)}
			if as == initial && v.elsewhere(newest) || v.in.Memory.Past(newest) && !v.renewing {
				out.State = v.waiting(c, as, newest)
			}
		}
		if out.State.Waiting == nil {
			out.State = v1.ContainerState{Terminated: v.ended(newest)}
			return newest
		}
	case pod.Gone:
	}
	return nil
}

// runsAgain tells whether an ended container will be started once more.
func (v *view) runsAgain(c *v1.Container, as role, ended *pod.Container) bool {
	if v.stopping || as == ephemeral {
		return false
	}
	if as == initial && v.elsewhere(ended) {
		return true // a new sandbox is initialised from the first again (behaviour 48)
	}
	return plan.Restarts(v.in.Desired, v.in.Memory, c, ended)
}

// elsewhere tells whether an instance ended in a sandbox that has been replaced.
func (v *view) elsewhere(c *pod.Container) bool {
	return v.sandbox != nil && v.sandbox.Ready && c.SandboxID != v.sandbox.ID && !v.begun
}

// restarts is how often a container was started again: the number of its newest instance that was started. It never
// gets less, even when records are gone (behaviours 61, 276).
func (v *view) restarts(name string, prev *v1.ContainerStatus) int32 {
	count := int32(0)
	if prev != nil {
		count = prev.RestartCount
	}
	for i := range v.in.Observed.Containers {
		c := &v.in.Observed.Containers[i]
		switch {
		case c.Name != name:
		case c.State == pod.Created: // not started yet; but the one before it was, some time
			count = max(count, int32(c.Attempt)-1)
		default:
			count = max(count, int32(c.Attempt))
		}
	}
	return count
}

// lastState is the end of the newest instance that ended before the one that is shown.
func (v *view) lastState(name string, shown *pod.Container, prev *v1.ContainerStatus, out *v1.ContainerStatus) v1.ContainerState {
	for i := range v.in.Observed.Containers {
		if c := &v.in.Observed.Containers[i]; c.Name == name && c.State == pod.Exited && c != shown {
			return v1.ContainerState{Terminated: v.ended(c)}
		}
	}
	if prev == nil {
		return v1.ContainerState{}
	}
	if t := prev.State.Terminated; t != nil && t.ContainerID != "" && t.ContainerID != out.ContainerID {
		return v1.ContainerState{Terminated: t.DeepCopy()} // its record was removed meanwhile (behaviour 355)
	}
	return *prev.LastTerminationState.DeepCopy()
}

// healthy fills in ready and started (behaviours 118, 353, 354).
func (v *view) healthy(out *v1.ContainerStatus, c *v1.Container, as role, newest *pod.Container, prev *v1.ContainerStatus) {
	started, ready := false, false
	if newest.State == pod.Running {
		started, ready = v.probed(c, newest, prev)
	}
	switch as {
	case initial:
		ready = out.State.Terminated != nil && out.State.Terminated.ExitCode == 0
		started = newest.State == pod.Running
	case ephemeral: // it has no probes, and nothing waits for it
		out.Started = nil
		return
	case regular, sidecar:
	}
	out.Started, out.Ready = &started, ready
}

func (v *view) probed(c *v1.Container, newest *pod.Container, prev *v1.ContainerStatus) (started, ready bool) {
	hook := v.in.Memory.Kept.Containers[c.Name].PostStart
	hooked := hook.ID != newest.ID || hook.Done && hook.Failure == ""
	if h, ok := v.in.Facts.Health[newest.ID]; ok {
		started = h.Started && hooked
		return started, started && h.Ready
	}
	if !v.in.Facts.Probing {
		return hooked, hooked
	}
	if p := v.in.Memory.Kept.Containers[c.Name].Proven; p.ID == newest.ID { // asked by an earlier life of the agent
		return p.Started, p.Started && p.Ready
	}
	if prev != nil && prev.ContainerID == v.id(newest) && prev.State.Running != nil { // seen by an earlier life of the agent
		return prev.Started != nil && *prev.Started || c.StartupProbe == nil && hooked,
			prev.Ready || c.ReadinessProbe == nil && c.StartupProbe == nil && hooked
	}
	started = c.StartupProbe == nil && hooked
	return started, started && c.ReadinessProbe == nil
}
