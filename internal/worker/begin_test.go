package worker

import (
	"log/slog"
	"reflect"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// TestTakenOver holds 354: of a pod of the API that another agent ran, the instances that go on count as ready as the API has
// them; the ledger, where it knows the pod, knows better, and what a manifest says of its status counts for nothing.
func TestTakenOver(t *testing.T) {
	running := v1.ContainerState{Running: &v1.ContainerStateRunning{}}
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u", Namespace: "shop", Name: "web"}}
	p.Status.InitContainerStatuses = []v1.ContainerStatus{
		{Name: "init", ContainerID: "containerd://i", Ready: true, State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{}}},
		{Name: "side", ContainerID: "containerd://s", Started: ptr.To(true), Ready: true, State: running},
	}
	p.Status.ContainerStatuses = []v1.ContainerStatus{
		{Name: "app", ContainerID: "containerd://a", Started: ptr.To(true), State: running},
		{Name: "odd", ContainerID: "nonsense", Ready: true, State: running},
		{Name: "new", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{}}},
	}
	known := plan.Record{Kept: plan.Kept{Containers: map[string]plan.ContainerMemory{"app": {Proven: plan.Proven{ID: "a", Ready: true}}}}}
	for name, c := range map[string]struct {
		source     pod.Source
		remembered map[string]plan.ContainerMemory
		want       map[string]plan.ContainerMemory
	}{
		"of the API": {source: pod.FromAPI, want: map[string]plan.ContainerMemory{
			"side": {Proven: plan.Proven{ID: "s", Started: true, Ready: true}},
			"app":  {Proven: plan.Proven{ID: "a", Started: true}},
		}},
		"in the ledger":   {source: pod.FromAPI, remembered: known.Kept.Containers, want: known.Kept.Containers},
		"from a manifest": {source: pod.FromFile},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Wanted: new(latest.Cell[Wanted]).Get, Node: new(latest.Cell[Node]).Get, Log: slog.New(slog.DiscardHandler)}
			if c.remembered != nil {
				cfg.Remembered = map[types.UID]plan.Record{"u": {Kept: plan.Kept{Containers: c.remembered}}}
			}
			r := New(cfg).add(&pod.Desired{Pod: p, Source: c.source, Wanted: true}, Node{})
			if got := r.memory.Kept.Containers; !reflect.DeepEqual(got, c.want) {
				t.Errorf("remembered are %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestShareOfPodsThatNobodyNames: a pod of which only the ledger tells, because the runtime has not been listed yet, has the share of
// the node that it was given. Else another pod could be let in beside it.
func TestShareOfPodsThatNobodyNames(t *testing.T) {
	given := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{
		{Name: "app", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("3")}}},
		{Name: "side", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m")}}},
	}}}
	s := New(Config{
		Wanted: new(latest.Cell[Wanted]).Get, Node: new(latest.Cell[Node]).Get, Log: slog.New(slog.DiscardHandler),
		Remembered: map[types.UID]plan.Record{"u": {Namespace: "shop", Name: "web", Kept: plan.Kept{Admitted: time.Now(), Allocated: plan.AllocationOf(given)}}},
	})
	fresh := s.begin(Wanted{Ready: true}, Node{})
	if len(fresh) != 1 {
		t.Fatalf("%d workers, want one", len(fresh))
	}
	sum := resource.Quantity{}
	for _, c := range fresh[0].share(fresh[0].inbox.read()).Pod.Spec.Containers {
		sum.Add(c.Resources.Requests[v1.ResourceCPU])
	}
	if sum.String() != "3500m" {
		t.Errorf("it holds %s processors, want 3500m", sum.String())
	}
}
