package status_test

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/status"
)

func TestConditions(t *testing.T) {
	gate := spec(func(s *v1.PodSpec) { s.ReadinessGates = []v1.PodReadinessGate{{ConditionType: "example.com/lb"}} })
	theirs := func(status v1.ConditionStatus) change {
		return withPrevious(v1.PodStatus{Conditions: []v1.PodCondition{{Type: "example.com/lb", Status: status}}})
	}
	never := policy(v1.RestartPolicyNever)
	for name, c := range map[string]struct {
		changes []change
		of      v1.PodConditionType
		want    string
	}{
		"273 a sandbox with a network":        {[]change{containers("a")}, v1.PodReadyToStartContainers, "True"},
		"273 no sandbox":                      {[]change{containers("a"), nothing}, v1.PodReadyToStartContainers, "False PodSandboxNotReady no pod sandbox exists"},
		"273 a sandbox without an address":    {[]change{containers("a"), sandboxes(pod.Sandbox{ID: "s0", Ready: true})}, v1.PodReadyToStartContainers, "False PodSandboxNotReady"},
		"273 in the node's network":           {[]change{containers("a"), sandboxes(pod.Sandbox{ID: "s0", Ready: true, HostNetwork: true})}, v1.PodReadyToStartContainers, "True"},
		"273 false again on termination":      {[]change{containers("a"), stopped(plan.Cleaning, plan.Deleted, "", "")}, v1.PodReadyToStartContainers, "False PodSandboxNotReady pod sandbox is not ready"},
		"272 nothing to initialise":           {[]change{containers("a"), nothing}, v1.PodInitialized, "True"},
		"272 initialising":                    {[]change{inits("i", "j"), sidecars("s"), containers("a"), exited("i#0", 0), running("j#0")}, v1.PodInitialized, "False ContainersNotInitialized containers with incomplete status: [j s]"},
		"272 initialised":                     {[]change{inits("i"), sidecars("s"), containers("a"), exited("i#0", 0), running("s#0")}, v1.PodInitialized, "True"},
		"272 initialised, a sidecar restarts": {[]change{sidecars("s"), containers("a"), exited("s#0", 1), running("a#0")}, v1.PodInitialized, "True"},
		"272 no statuses":                     {[]change{inits("i"), containers("a"), nothing, refused}, v1.PodInitialized, "False UnknownContainerStatuses"},
		"272 succeeded":                       {[]change{never, inits("i"), containers("a"), exited("i#0", 0), exited("a#0", 0), stopped(plan.Cleaning, plan.Completed, "", "")}, v1.PodInitialized, "True PodCompleted"},
		"271 ready":                           {[]change{containers("a", "b"), running("a#0"), running("b#0")}, v1.PodReady, "True"},
		"271 unready":                         {[]change{sidecars("s"), containers("b", "a", "c"), running("c#0")}, v1.PodReady, "False ContainersNotReady containers with unready status: [s b a]"},
		"271 containers ready":                {[]change{containers("a")}, v1.ContainersReady, "False ContainersNotReady containers with unready status: [a]"},
		"123 a sidecar counts":                {[]change{sidecars("s"), containers("a"), running("a#0"), created("s#0")}, v1.ContainersReady, "False ContainersNotReady containers with unready status: [s]"},
		"271 completed":                       {[]change{never, containers("a"), exited("a#0", 0), stopped(plan.Cleaning, plan.Completed, "", "")}, v1.PodReady, "False PodCompleted"},
		"271 failed":                          {[]change{never, containers("a"), exited("a#0", 1), stopped(plan.Cleaning, plan.Completed, "", "")}, v1.ContainersReady, "False PodFailed"},
		"131 the gate does not exist":         {[]change{containers("a"), running("a#0"), gate}, v1.PodReady, `False ReadinessGatesNotReady corresponding condition of pod readiness gate "example.com/lb" does not exist.`},
		"131 the gate is closed":              {[]change{containers("a"), running("a#0"), gate, theirs(v1.ConditionFalse)}, v1.PodReady, `False ReadinessGatesNotReady the status of pod readiness gate "example.com/lb" is not "True", but False`},
		"131 the gate is open":                {[]change{containers("a"), running("a#0"), gate, theirs(v1.ConditionTrue)}, v1.PodReady, "True"},
		"131 the gate is not the containers'": {[]change{containers("a"), running("a#0"), gate}, v1.ContainersReady, "True"},
		"270 scheduled":                       {[]change{containers("a")}, v1.PodScheduled, "True"},
		"150 disrupted":                       {[]change{containers("a"), running("a#0"), stopped(plan.Stopping, plan.Ordered, "Terminated", "node shutdown")}, v1.DisruptionTarget, "True TerminationByKubelet node shutdown"},
		"253 evicted":                         {[]change{containers("a"), running("a#0"), stopped(plan.Stopping, plan.Ordered, "Evicted", "low on memory")}, v1.DisruptionTarget, "True TerminationByKubelet low on memory"},
		"255 over its own limits":             {[]change{containers("a"), running("a#0"), stopped(plan.Stopping, plan.Overfull, "Evicted", "x")}, v1.DisruptionTarget, ""},
		"150 a deadline is no disruption":     {[]change{containers("a"), running("a#0"), stopped(plan.Stopping, plan.Overdue, "DeadlineExceeded", "x")}, v1.DisruptionTarget, ""},
		"150 another's disruption stays":      {[]change{containers("a"), withPrevious(v1.PodStatus{Conditions: []v1.PodCondition{{Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: "EvictionByEvictionAPI"}}})}, v1.DisruptionTarget, "True EvictionByEvictionAPI"},
		"114 all containers have to end": {[]change{containers("s", "a"), exited("s#0", 88, early), running("a#0"), renewal}, v1.AllContainersRestarting,
			"True ContainerExited Container s exited with code 88, triggering pod restart"},
		"114 they have ended":                    {[]change{containers("s", "a"), exited("s#0", 88, early), exited("a#0", 137), renewal}, v1.AllContainersRestarting, "False"},
		"114 the pod is to end anyway":           {[]change{containers("s", "a"), exited("s#0", 88, early), running("a#0"), renewal, stopped(plan.Stopping, plan.Deleted, "", "")}, v1.AllContainersRestarting, "False"},
		"114 no container has such a rule":       {[]change{containers("s", "a"), running("a#0")}, v1.AllContainersRestarting, ""},
		"114 it stays initialised":               {[]change{inits("i"), containers("s"), exited("i#0", 0, early), exited("s#0", 88, early), running("i#1"), renewal}, v1.PodInitialized, "True"},
		"114 it is not ready":                    {[]change{inits("i"), containers("s"), exited("i#0", 0, early), exited("s#0", 88, early), running("i#1"), renewal}, v1.PodReady, "False ContainersNotReady containers with unready status: [s]"},
		"24 nothing is known of the sandbox yet": {[]change{containers("a"), unheardOf, after(situation(containers("a"), running("a#0")))}, v1.PodReadyToStartContainers, "True"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, c2 := range status.Of(situation(c.changes...)).Conditions {
				if c2.Type == c.of {
					got += strings.TrimSpace(string(c2.Status) + " " + strings.TrimSpace(c2.Reason+" "+c2.Message))
				}
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// withPrevious makes a status the one that was said last, and that the API has.
func withPrevious(s v1.PodStatus) change {
	return func(in *status.Input) { in.Previous, in.Desired.Pod.Status = &s, s }
}

func TestTransitionTimes(t *testing.T) {
	first := situation(containers("a"), running("a#0"))
	s := status.Of(first)
	begun := metav1.NewTime(at(time.Minute).Truncate(time.Second))
	for _, c := range s.Conditions {
		if !c.LastTransitionTime.Time.Equal(begun.Time) {
			t.Errorf("%s turned at %s, want %s", c.Type, c.LastTransitionTime, begun)
		}
	}
	later := func(in *status.Input) { in.Now = at(time.Hour) }
	for _, c := range status.Of(situation(containers("a"), running("a#0"), after(first), later)).Conditions {
		if !c.LastTransitionTime.Equal(&begun) {
			t.Errorf("267 %s did not turn, and its time became %s", c.Type, c.LastTransitionTime)
		}
	}
	for _, c := range status.Of(situation(containers("a"), exited("a#0", 1), after(first), later)).Conditions {
		turned := c.Type == v1.PodReady || c.Type == v1.ContainersReady
		if turned == c.LastTransitionTime.Equal(&begun) {
			t.Errorf("%s: turned %v, time %s", c.Type, turned, c.LastTransitionTime)
		}
	}
}
