package report

import (
	"cmp"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/reason"
)

// merge is the status that the API server should have of a pod: ours where the node is to say it, and what the API
// server has where others are (behaviour 282). What only grows does not shrink: a terminal phase stays (269), the start time
// stays (274), restarts are not forgotten, an older generation is not reported after a newer one. Nothing is shared with
// what came in.
func merge(api *v1.Pod, ours *v1.PodStatus) v1.PodStatus {
	have, says := api.Status.DeepCopy(), ours.DeepCopy()
	normalise(api, have)
	normalise(api, says)
	generation := func(g int64) int64 { return g }
	if isMirror(api) {
		// A mirror with the right hash is what runs, so its generation is what was observed. The manifest has none.
		generation = func(int64) int64 { return api.Generation }
	}
	want := *have
	want.ObservedGeneration = max(have.ObservedGeneration, generation(says.ObservedGeneration))
	mergePhase(&want, says)
	want.StartTime = cmp.Or(have.StartTime, says.StartTime)
	want.QOSClass = cmp.Or(have.QOSClass, says.QOSClass) // the API server's to set, and never changed
	want.HostIP, want.HostIPs = says.HostIP, says.HostIPs
	want.PodIP, want.PodIPs = says.PodIP, says.PodIPs
	want.InitContainerStatuses = counted(have.InitContainerStatuses, says.InitContainerStatuses)
	want.ContainerStatuses = counted(have.ContainerStatuses, says.ContainerStatuses)
	want.EphemeralContainerStatuses = counted(have.EphemeralContainerStatuses, says.EphemeralContainerStatuses)
	if says.AllocatedResources != nil {
		want.AllocatedResources = says.AllocatedResources
	}
	want.Resources = cmp.Or(says.Resources, have.Resources)
	if says.VolumeHealth != nil {
		want.VolumeHealth = says.VolumeHealth
	}
	want.Conditions = mergeConditions(have.Conditions, says.Conditions, generation)
	if terminal(want.Phase) {
		unready(&want, have.Conditions)
	}
	return want
}

// mergePhase keeps a terminal phase with its reason and message; it only fills in why, if nobody has said. While the phase
// stays, a reason that somebody else has given stays too, unless the node has one (behaviour 269).
func mergePhase(want, says *v1.PodStatus) {
	same := want.Phase == says.Phase
	silent := says.Reason == "" && says.Message == ""
	told := want.Reason != "" || want.Message != ""
	switch {
	case terminal(want.Phase) && (!same || told):
	case same && silent:
	default:
		want.Phase, want.Reason, want.Message = says.Phase, says.Reason, says.Message
	}
}

// owned tells whether a condition is the node's to report, as ours has it (behaviour 270).
func owned(c *v1.PodCondition) bool {
	switch c.Type {
	case v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled,
		v1.PodResizePending, v1.PodResizeInProgress, v1.AllContainersRestarting:
		return true
	case v1.DisruptionTarget: // others report it too, each for their own reason
		return c.Reason == reason.TerminationByKubelet
	}
	return false
}

// mergeConditions are the node's conditions as the node says, and the others as they are. A condition whose status is as it
// was keeps the time at which it became so.
func mergeConditions(have, says []v1.PodCondition, generation func(int64) int64) []v1.PodCondition {
	var out []v1.PodCondition
	for i := range says {
		c := says[i]
		if !owned(&c) || find(out, c.Type) != nil {
			continue
		}
		c.ObservedGeneration = generation(c.ObservedGeneration)
		if was := find(have, c.Type); was != nil {
			c.LastProbeTime = was.LastProbeTime
			c.ObservedGeneration = max(c.ObservedGeneration, was.ObservedGeneration)
			if was.Status == c.Status && !was.LastTransitionTime.IsZero() {
				c.LastTransitionTime = was.LastTransitionTime
			}
		}
		out = append(out, c)
	}
	for i := range have {
		if c := &have[i]; find(out, c.Type) == nil && (!owned(c) || lasting(c.Type)) {
			out = append(out, *c)
		}
	}
	return out
}

// lasting are conditions of the node that stay when the node says nothing of them. The others are taken back that way.
func lasting(t v1.PodConditionType) bool {
	return t != v1.PodResizePending && t != v1.PodResizeInProgress && t != v1.AllContainersRestarting
}

// unready makes sure that a pod that has ended for the API server is not ready there, whatever still runs of it.
func unready(s *v1.PodStatus, have []v1.PodCondition) {
	why := reason.PodFailed
	if s.Phase == v1.PodSucceeded {
		why = reason.PodCompleted
	}
	for _, t := range []v1.PodConditionType{v1.PodReady, v1.ContainersReady} {
		c, was := find(s.Conditions, t), find(have, t)
		switch {
		case c == nil || c.Status != v1.ConditionTrue:
		case was != nil && was.Status == v1.ConditionFalse:
			*c = *was
		default:
			c.Status, c.Reason, c.Message = v1.ConditionFalse, why, ""
		}
	}
}

// counted are container statuses as the node says, with no fewer restarts than the API server knows of.
func counted(have, says []v1.ContainerStatus) []v1.ContainerStatus {
	for i := range says {
		s := &says[i]
		for j := range have {
			if have[j].Name == s.Name {
				s.RestartCount = max(s.RestartCount, have[j].RestartCount)
			}
		}
	}
	return says
}

// normalise brings a status into the form in which two of them can be compared: times to the second, containers by
// name, init containers in the order of the specification (behaviour 267).
func normalise(pod *v1.Pod, s *v1.PodStatus) {
	if s.StartTime != nil {
		second(s.StartTime)
	}
	for i := range s.Conditions {
		second(&s.Conditions[i].LastProbeTime)
		second(&s.Conditions[i].LastTransitionTime)
	}
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			for _, state := range []*v1.ContainerState{&list[i].State, &list[i].LastTerminationState} {
				if state.Running != nil {
					second(&state.Running.StartedAt)
				}
				if state.Terminated != nil {
					second(&state.Terminated.StartedAt)
					second(&state.Terminated.FinishedAt)
				}
			}
		}
	}
	byName := func(a, b v1.ContainerStatus) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortStableFunc(s.ContainerStatuses, byName)
	slices.SortStableFunc(s.EphemeralContainerStatuses, byName)
	place := func(name string) int {
		return slices.IndexFunc(pod.Spec.InitContainers, func(c v1.Container) bool { return c.Name == name })
	}
	slices.SortStableFunc(s.InitContainerStatuses, func(a, b v1.ContainerStatus) int {
		return cmp.Compare(place(a.Name), place(b.Name))
	})
}

func second(t *metav1.Time) {
	if !t.IsZero() {
		t.Time = t.UTC().Truncate(time.Second)
	}
}

func terminal(p v1.PodPhase) bool { return p == v1.PodSucceeded || p == v1.PodFailed }

func isMirror(p *v1.Pod) bool { return p.Annotations[names.ConfigMirror] != "" }

func find(list []v1.PodCondition, t v1.PodConditionType) *v1.PodCondition {
	for i := range list {
		if list[i].Type == t {
			return &list[i]
		}
	}
	return nil
}
