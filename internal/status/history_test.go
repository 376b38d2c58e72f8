package status_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/status"
)

var histories = flag.Uint64("histories", 100, "how many random histories to run")

// TestHistories holds what is true of any pod's statuses, whatever happens to it and in whatever order it is heard of.
func TestHistories(t *testing.T) {
	for seed := range *histories {
		h := &history{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 7)), now: start}
		h.in = situation()
		h.in.Observed, h.in.Memory, h.in.Desired.Pod = pod.Observed{}, plan.Memory{}, h.newPod()
		h.in.Desired.Source = []pod.Source{pod.FromAPI, pod.FromFile}[h.rand.IntN(2)]
		h.in.Facts = plan.Facts{SourcesReady: true, RuntimeUp: true, NetworkReady: true, Verdict: plan.Verdict{Judged: true, Admit: h.rand.IntN(10) > 0}}
		h.live()
		if t.Failed() {
			return
		}
	}
}

// history is a pod's life in a runtime that does what it likes; its reports arrive late, twice and in any order.
type history struct {
	t    *testing.T
	seed uint64
	rand *rand.Rand
	now  time.Time
	in   status.Input

	sandboxes  []pod.Sandbox
	containers []pod.Container
	attempts   map[string]uint32
	underway   []pod.Report
}

func (h *history) newPod() *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "u1"}}
	p.Spec.RestartPolicy = []v1.RestartPolicy{v1.RestartPolicyAlways, v1.RestartPolicyOnFailure, v1.RestartPolicyNever}[h.rand.IntN(3)]
	always := v1.ContainerRestartPolicyAlways
	for i := range h.rand.IntN(3) {
		c := v1.Container{Name: fmt.Sprint("init", i), Image: "x"}
		if h.rand.IntN(2) == 0 {
			c.RestartPolicy = &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	for i := range 1 + h.rand.IntN(3) {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: fmt.Sprint("app", i), Image: "x"})
	}
	return p
}

func (h *history) live() {
	h.attempts = map[string]uint32{}
	for range 60 {
		h.now = h.now.Add(time.Duration(1+h.rand.IntN(8000)) * time.Millisecond)
		h.happen()
		h.underway = append(h.underway, pod.Report{Complete: true, Began: h.now, Sandboxes: h.seenSandboxes(), Containers: h.seenContainers()})
		for h.rand.IntN(3) > 0 {
			h.in.Observed = h.in.Observed.Merge(h.underway[h.rand.IntN(len(h.underway))])
		}
		h.order()
		p := plan.Next(plan.Input{Desired: h.in.Desired, Memory: h.in.Memory, Observed: h.in.Observed, Facts: h.in.Facts, Now: h.now})
		h.in.Memory, h.in.Now = p.Memory, h.now
		h.say()
	}
}

// order changes what is wanted of the pod now and then.
func (h *history) order() {
	d := *h.in.Desired
	switch h.rand.IntN(60) {
	case 0:
		d.Deletion = &pod.Deletion{At: h.now, Grace: time.Second}
	case 1:
		d.Wanted = false
	case 2:
		h.in.Facts.Order = &plan.Order{Reason: "Evicted", Message: "low on memory"}
	case 3: // the agent dies and begins anew; what it said last is in the API
		h.in.Memory = plan.Memory{Kept: h.in.Memory.Kept}
		h.in.Observed = pod.Observed{}
	}
	h.in.Desired = &d
}

func (h *history) happen() {
	switch pick := h.rand.IntN(10); {
	case len(h.sandboxes) == 0 || pick == 0 && !h.sandboxes[0].Ready:
		s := pod.Sandbox{ID: fmt.Sprint("s", len(h.sandboxes)), Attempt: uint32(len(h.sandboxes)), Ready: true, CreatedAt: h.now, IPs: []string{"10.0.0.1"}}
		h.sandboxes = append([]pod.Sandbox{s}, h.sandboxes...)
	case pick == 1 && h.rand.IntN(3) == 0:
		h.sandboxes[0].Ready = false
		for i := range h.containers {
			h.end(&h.containers[i], 137)
		}
	case pick < 4:
		all := append(slices.Clone(h.in.Desired.Pod.Spec.InitContainers), h.in.Desired.Pod.Spec.Containers...)
		name := all[h.rand.IntN(len(all))].Name
		n := h.attempts[name]
		h.attempts[name]++
		h.containers = append(h.containers, pod.Container{ID: fmt.Sprintf("%s-%d", name, n), Name: name, Attempt: n, SandboxID: h.sandboxes[0].ID, State: pod.Created, CreatedAt: h.now})
	case len(h.containers) > 0:
		c := &h.containers[h.rand.IntN(len(h.containers))]
		switch {
		case c.State == pod.Created:
			c.State, c.StartedAt = pod.Running, h.now
		case c.State == pod.Running:
			h.end(c, int32(h.rand.IntN(2)))
		case pick == 9: // removed
			h.containers = slices.DeleteFunc(h.containers, func(other pod.Container) bool { return other.ID == c.ID })
		}
	}
}

func (h *history) end(c *pod.Container, code int32) {
	if c.State == pod.Running {
		c.State, c.FinishedAt, c.ExitCode = pod.Exited, h.now, code
	}
}

func (h *history) seenSandboxes() []pod.Sandbox {
	out := slices.Clone(h.sandboxes)
	for i := range out {
		out[i].Seen = h.now
	}
	return out
}

func (h *history) seenContainers() []pod.Container {
	out := slices.Clone(h.containers)
	for i := range out {
		out[i].Seen = h.now
	}
	return out
}

// say works out the next status and holds it against the one before.
func (h *history) say() {
	asked := ""
	if h.rand.IntN(8) == 0 {
		asked = text(h.t, h.in)
	}
	s := status.Of(h.in)
	if again := status.Of(h.in); !reflect.DeepEqual(s, again) {
		h.fail("the same input gave two statuses:\n%s\n%s", text(h.t, s), text(h.t, again))
	}
	if asked != "" && text(h.t, h.in) != asked {
		h.fail("the input was changed:\n%s\n%s", asked, text(h.t, h.in))
	}
	live := slices.ContainsFunc(h.in.Observed.Containers, func(c pod.Container) bool { return c.Live() })
	if before := h.in.Previous; before != nil {
		ended := before.Phase == v1.PodSucceeded || before.Phase == v1.PodFailed
		if ended && (s.Phase != before.Phase || s.Reason != before.Reason || s.Message != before.Message) {
			h.fail("%s left for %s", brief(*before), brief(s))
		}
		if !ended && s.Phase != before.Phase && (s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed) && live {
			h.fail("%s although containers run", brief(s))
		}
		if before.StartTime != nil && !before.StartTime.Equal(s.StartTime) {
			h.fail("start time moved from %s to %s", before.StartTime, s.StartTime)
		}
		h.holdConditions(before, &s)
		h.holdCounts(before, &s)
	}
	h.holdStates(&s)
	in := h.in
	in.Previous = &s
	if again := status.Of(in); !reflect.DeepEqual(again, s) {
		h.fail("saying it again changed it:\n%s\n%s", text(h.t, s), text(h.t, again))
	}
	h.in.Previous = &s
}

func (h *history) holdConditions(before, s *v1.PodStatus) {
	for _, old := range before.Conditions {
		i := slices.IndexFunc(s.Conditions, func(c v1.PodCondition) bool { return c.Type == old.Type })
		if i < 0 {
			h.fail("condition %s is gone", old.Type)
		} else if c := s.Conditions[i]; c.Status == old.Status && !c.LastTransitionTime.Equal(&old.LastTransitionTime) {
			h.fail("condition %s did not turn, but its time moved", old.Type)
		}
	}
}

func (h *history) holdCounts(before, s *v1.PodStatus) {
	for _, old := range append(slices.Clone(before.InitContainerStatuses), before.ContainerStatuses...) {
		for _, c := range append(slices.Clone(s.InitContainerStatuses), s.ContainerStatuses...) {
			if c.Name == old.Name && c.RestartCount < old.RestartCount {
				h.fail("restarts of %s went from %d to %d", c.Name, old.RestartCount, c.RestartCount)
			}
		}
	}
}

// holdStates holds that every container is told of, in exactly one state.
func (h *history) holdStates(s *v1.PodStatus) {
	if stop := h.in.Memory.Kept.Stop; stop != nil && stop.Cause == plan.Refused {
		return
	}
	spec := &h.in.Desired.Pod.Spec
	if len(s.InitContainerStatuses) != len(spec.InitContainers) || len(s.ContainerStatuses) != len(spec.Containers) {
		h.fail("%d and %d statuses of %d and %d containers", len(s.InitContainerStatuses), len(s.ContainerStatuses), len(spec.InitContainers), len(spec.Containers))
	}
	for _, c := range append(slices.Clone(s.InitContainerStatuses), s.ContainerStatuses...) {
		states := 0
		for _, is := range []bool{c.State.Waiting != nil, c.State.Running != nil, c.State.Terminated != nil} {
			if is {
				states++
			}
		}
		if states != 1 || c.State.Waiting != nil && c.State.Waiting.Reason == "" {
			h.fail("%s is in %d states: %+v", c.Name, states, c.State)
		}
		if c.Ready && c.State.Waiting != nil {
			h.fail("%s waits and is ready", c.Name)
		}
	}
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("seed %d, %s: %s", h.seed, h.now.Sub(start), fmt.Sprintf(format, args...))
}

func text(t *testing.T, v any) string {
	t.Helper()
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
