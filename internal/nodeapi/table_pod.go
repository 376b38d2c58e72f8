package nodeapi

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

func podTable() table {
	columns := []metav1.TableColumnDefinition{
		nameColumn(), column("Ready"), column("Status"), column("Restarts"), column("Age"), wide("IP"), wide("Node"), wide("Nominated Node"), wide("Readiness Gates"),
	}
	return table{columns, podCells}
}

func podCells(o object, now time.Time) []any {
	p := o.(*v1.Pod)
	ready, total := 0, len(p.Spec.Containers)
	for i := range p.Spec.InitContainers {
		if pod.IsSidecar(&p.Spec.InitContainers[i]) {
			total++
		}
	}
	for _, s := range slices.Concat(sidecarStatuses(p), p.Status.ContainerStatuses) {
		if s.Ready && s.State.Running != nil {
			ready++
		}
	}
	gates := "<none>"
	if len(p.Spec.ReadinessGates) > 0 {
		met := 0
		for _, g := range p.Spec.ReadinessGates {
			if condition(p, g.ConditionType) == v1.ConditionTrue {
				met++
			}
		}
		gates = fmt.Sprintf("%d/%d", met, len(p.Spec.ReadinessGates))
	}
	return []any{
		p.Name, fmt.Sprintf("%d/%d", ready, total), word(p), restarts(p, now), age(p.CreationTimestamp, now), orNone(p.Status.PodIP), orNone(p.Spec.NodeName),
		orNone(p.Status.NominatedNodeName), gates,
	}
}

// word says in one word how a pod fares, the way kubectl get always has.
func word(p *v1.Pod) string {
	w := cmp.Or(p.Status.Reason, string(p.Status.Phase))
	if beginning := initWord(p); beginning != "" {
		w = beginning
	} else if now := containersWord(p); now != "" {
		w = now
	}
	if p.DeletionTimestamp != nil && p.Status.Phase != v1.PodFailed && p.Status.Phase != v1.PodSucceeded {
		return "Terminating"
	}
	return w
}

// initWord is about the init containers, empty once they are done.
func initWord(p *v1.Pod) string {
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		at := slices.IndexFunc(p.Status.InitContainerStatuses, func(s v1.ContainerStatus) bool { return s.Name == c.Name })
		if at < 0 {
			continue
		}
		s := &p.Status.InitContainerStatuses[at]
		switch t, waits := s.State.Terminated, s.State.Waiting; {
		case t != nil && t.ExitCode == 0:
			continue
		case pod.IsSidecar(c) && s.Started != nil && *s.Started:
			continue
		case t != nil:
			return "Init:" + ended(t)
		case waits != nil && waits.Reason != "" && waits.Reason != "PodInitializing":
			return "Init:" + waits.Reason
		}
		return fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
	}
	return ""
}

func ended(t *v1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return "Signal:" + strconv.Itoa(int(t.Signal))
	}
	return "ExitCode:" + strconv.Itoa(int(t.ExitCode))
}

// containersWord is about the first container that does not run; empty if all do, or none is known.
func containersWord(p *v1.Pod) string {
	w, running := "", false
	for _, s := range slices.Backward(p.Status.ContainerStatuses) {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "":
			w = s.State.Waiting.Reason
		case s.State.Terminated != nil:
			w = ended(s.State.Terminated)
		case s.Ready && s.State.Running != nil:
			running = true
		}
	}
	if w == "Completed" && running {
		if condition(p, v1.PodReady) == v1.ConditionTrue {
			return "Running"
		}
		return "NotReady"
	}
	return w
}

// restarts counts those of the containers that live as long as the pod; while it begins, those of its init containers.
func restarts(p *v1.Pod, now time.Time) string {
	list := slices.Concat(sidecarStatuses(p), p.Status.ContainerStatuses)
	if initWord(p) != "" {
		list = p.Status.InitContainerStatuses
	}
	count, last := 0, metav1.Time{}
	for _, s := range list {
		count += int(s.RestartCount)
		if t := s.LastTerminationState.Terminated; t != nil && last.Before(&t.FinishedAt) {
			last = t.FinishedAt
		}
	}
	if count > 0 && !last.IsZero() {
		return fmt.Sprintf("%d (%s ago)", count, age(last, now))
	}
	return strconv.Itoa(count)
}

func sidecarStatuses(p *v1.Pod) []v1.ContainerStatus {
	var out []v1.ContainerStatus
	for _, s := range p.Status.InitContainerStatuses {
		if slices.ContainsFunc(p.Spec.InitContainers, func(c v1.Container) bool { return c.Name == s.Name && pod.IsSidecar(&c) }) {
			out = append(out, s)
		}
	}
	return out
}

func condition(p *v1.Pod, of v1.PodConditionType) v1.ConditionStatus {
	for _, c := range p.Status.Conditions {
		if c.Type == of {
			return c.Status
		}
	}
	return v1.ConditionUnknown
}
