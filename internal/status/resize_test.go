package status_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/status"
)

// sized gives the first container CPU.
func sized(cpu string) change {
	return spec(func(s *v1.PodSpec) {
		s.Containers[0].Resources = v1.ResourceRequirements{
			Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), "example.com/gpu": resource.MustParse("1")},
			Limits:   v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)},
		}
	})
}

// given remembers that the pod as it is was given what it asks for, by an older version of it.
func given(in *status.Input) {
	in.Memory.Kept.Allocated = plan.AllocationOf(in.Desired.Pod)
	in.Memory.Kept.Allocated.Generation = 2
}

func pending(reason, message string) change {
	return func(in *status.Input) {
		in.Memory.Kept.Pending = &plan.Pending{Reason: reason, Message: message, Generation: in.Desired.Pod.Generation}
	}
}

// granted makes what the pod asks for what it was given, while its instances have what they had.
func granted(in *status.Input) {
	was := in.Memory.Kept.Allocated
	for i := range in.Observed.Containers {
		c := &in.Observed.Containers[i]
		in.Memory.Kept.Containers[c.Name] = plan.ContainerMemory{Given: plan.GivenTo{ID: c.ID, Given: plan.Given{Sizes: was.Containers[c.Name]}}}
	}
	given(in)
	in.Memory.Kept.Allocated.Resized, in.Memory.Kept.Allocated.Generation = true, in.Desired.Pod.Generation
	in.Memory.Kept.Resizing = &plan.Resizing{At: at(30 * time.Second)}
}

// stuck lets the first thing that a resize does fail.
func stuck(class plan.Class) change {
	return func(in *status.Input) {
		in.Memory.Session.Made = true
		in.Facts.RuntimeUp = true
		for _, e := range plan.Next(plan.Input{Desired: in.Desired, Memory: in.Memory, Observed: in.Observed, Facts: in.Facts, Now: in.Now}).Effects {
			if e.Kind == plan.GrowPod {
				in.Memory = plan.Learn(in.Memory, plan.Outcome{Effect: e, Ended: in.Now, Failed: &plan.Fault{Message: "no room in there", Class: class}})
			}
		}
	}
}

// TestResizing holds what the status tells of a pod whose resources change (behaviours 221, 223, 227, 231, 270).
func TestResizing(t *testing.T) {
	before := []change{containers("a", "b"), sized("1"), running("a#0"), running("b#0"), given}
	then := func(more ...change) []change { return append(before[:len(before):len(before)], more...) }
	said := func(of *plan.Allocation, message string) change {
		return func(in *status.Input) {
			in.Facts.Resize = plan.Resize{Of: of, Reason: "Deferred", Message: message}
			if of == nil {
				in.Facts.Resize.Of = plan.AllocationOf(in.Desired.Pod)
			}
		}
	}
	for name, c := range map[string]struct {
		changes []change
		want    string
	}{
		"at rest":                          {before, "a has 1/1 of 1"},
		"it waits":                         {then(sized("2"), pending("Deferred", "no room")), "a has 1/1 of 1; PodResizePending True Deferred no room (3)"},
		"why it waits changes":             {then(sized("2"), pending("Deferred", "no room"), said(nil, "less room")), "a has 1/1 of 1; PodResizePending True Deferred less room (3)"},
		"of another wish":                  {then(sized("2"), pending("Deferred", "no room"), said(&plan.Allocation{}, "x")), "a has 1/1 of 1; PodResizePending True Deferred no room (3)"},
		"it can never be":                  {then(sized("9"), pending("Infeasible", "too much")), "a has 1/1 of 1; PodResizePending True Infeasible too much (3)"},
		"it is under way":                  {then(sized("2"), granted), "a has 1/1 of 2; PodResizeInProgress True (3)"},
		"something is in the way":          {then(sized("2"), granted, stuck(plan.Again)), "a has 1/1 of 2; PodResizeInProgress True Error no room in there (3)"},
		"something that will soon be over": {then(sized("2"), granted, stuck(plan.Soon)), "a has 1/1 of 2; PodResizeInProgress True (3)"},
		"one under way, another one waits": {then(sized("2"), granted, sized("3"), generation(4), pending("Deferred", "no room")),
			"a has 1/1 of 2; PodResizePending True Deferred no room (4); PodResizeInProgress True (3)"},
		"the pod ends": {then(sized("2"), granted, stopped(plan.Stopping, plan.Deleted, "", "")), "a has 1/1 of 2"},
		"what does not run tells what it will have": {[]change{containers("a", "b"), sized("1"), exited("a#0", 1), running("b#0"), given, sized("2"), granted},
			"a has 2/2 of 2; PodResizeInProgress True (3)"},
	} {
		t.Run(name, func(t *testing.T) {
			s := status.Of(situation(c.changes...))
			if got := briefSizes(s); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if gpu := s.ContainerStatuses[0].AllocatedResources["example.com/gpu"]; gpu.Value() != 1 {
				t.Errorf("what cannot be resized is lost: %v", s.ContainerStatuses[0])
			}
		})
	}
}

// TestResizeEnds holds that the conditions go when there is nothing more to tell, whatever the API server still has, and keep
// their time while there is.
func TestResizeEnds(t *testing.T) {
	waiting := situation(containers("a"), sized("1"), running("a#0"), given, sized("2"), pending("Deferred", "no room"))
	first := status.Of(waiting)
	waiting.Previous, waiting.Now = &first, at(time.Hour)
	later := status.Of(waiting)
	if a, b := first.Conditions[len(first.Conditions)-1], later.Conditions[len(later.Conditions)-1]; a != b {
		t.Errorf("it waits on, and the condition changes from %+v to %+v", a, b)
	}
	over := situation(containers("a"), sized("1"), running("a#0"), given, withPrevious(later))
	over.Desired.Pod.Status = later
	if got := briefSizes(status.Of(over)); got != "a has 1/1 of 1" {
		t.Error(got)
	}
	if !status.Owned(v1.PodResizePending) || !status.Owned(v1.PodResizeInProgress) {
		t.Error("what comes back from the API server would count as somebody else's")
	}
}

// TestWholePodSizes holds that a pod that asks for something as a whole tells what it has of that (behaviours 217, 230).
func TestWholePodSizes(t *testing.T) {
	whole := func(cpu string) change {
		return spec(func(s *v1.PodSpec) {
			s.Resources = &v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}}
		})
	}
	tell := func(s v1.PodStatus) string {
		has, of := s.Resources.Requests[v1.ResourceCPU], s.AllocatedResources[v1.ResourceCPU]
		return has.String() + " of " + of.String()
	}
	before := status.Of(situation(containers("a"), whole("1"), running("a#0"), given))
	if got := tell(before); got != "1 of 1" {
		t.Error(got)
	}
	under := situation(containers("a"), whole("1"), running("a#0"), given, whole("2"), granted, withPrevious(before))
	if got := tell(status.Of(under)); got != "1 of 2" {
		t.Errorf("under way: %s", got)
	}
	under.Memory.Kept.Resizing = nil
	if got := tell(status.Of(under)); got != "2 of 2" {
		t.Errorf("over: %s", got)
	}
}

func generation(n int64) change { return func(in *status.Input) { in.Desired.Pod.Generation = n } }

// briefSizes is what the first container has and was given, and what is told of resizes.
func briefSizes(s v1.PodStatus) string {
	c := s.ContainerStatuses[0]
	request, limit, of := c.Resources.Requests[v1.ResourceCPU], c.Resources.Limits[v1.ResourceCPU], c.AllocatedResources[v1.ResourceCPU]
	out := fmt.Sprintf("%s has %s/%s of %s", c.Name, request.String(), limit.String(), of.String())
	for _, c := range s.Conditions {
		if c.Type == v1.PodResizePending || c.Type == v1.PodResizeInProgress {
			out += fmt.Sprintf("; %s (%d)", strings.Join(strings.Fields(fmt.Sprint(c.Type, " ", c.Status, " ", c.Reason, " ", c.Message)), " "), c.ObservedGeneration)
		}
	}
	return out
}
