package metrics

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// resized plays one pod whose resizes wait, are granted, take their time, and cannot be.
func resized(m *Metrics) {
	give := func(cpu, memory string) *v1.Pod {
		p := desired("a", func(*pod.Desired) {}).Pod
		p.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}
		if memory != "" {
			p.Spec.Containers[0].Resources.Limits = v1.ResourceList{v1.ResourceMemory: resource.MustParse(memory)}
		}
		return p
	}
	wanted := func(p *v1.Pod, generation int64) *pod.Desired {
		p.Generation = generation
		return &pod.Desired{Pod: p, Source: pod.FromAPI}
	}
	first := plan.Kept{Allocated: plan.AllocationOf(give("1", ""))}
	waits := plan.Kept{Allocated: first.Allocated, Pending: &plan.Pending{Reason: reason.Deferred, Generation: 2, Since: time.Now().Add(-time.Minute)}}
	granted := plan.Kept{Allocated: plan.AllocationOf(wanted(give("2", "1Gi"), 2).Pod), Resizing: &plan.Resizing{At: time.Now().Add(-time.Second)}}
	done := plan.Kept{Allocated: granted.Allocated}
	refused := plan.Kept{Allocated: granted.Allocated, Pending: &plan.Pending{Reason: reason.Infeasible, Generation: 3}}
	two, never := wanted(give("2", "1Gi"), 2), wanted(give("1", ""), 3)
	m.Resized(two, first, waits, plan.Resize{})
	m.Resized(two, waits, granted, plan.Resize{Fits: true, Trigger: "pods_removed"})
	m.Resized(two, granted, done, plan.Resize{})
	m.Resized(never, done, refused, plan.Resize{Detail: "swap_limitation"})
	m.Ended(two, plan.Outcome{Effect: plan.Effect{Kind: plan.UpdateContainer}, Failed: &plan.Fault{}})
}

func TestResized(t *testing.T) {
	m := New(Config{})
	resized(m)
	all := exposed(t, m.Handler())
	for _, line := range []string{
		`kubelet_container_requested_resizes_total{operation="add",requirement="limits",resource="memory"} 1`,
		`kubelet_container_requested_resizes_total{operation="decrease",requirement="requests",resource="cpu"} 1`,
		`kubelet_container_requested_resizes_total{operation="increase",requirement="requests",resource="cpu"} 1`,
		`kubelet_container_requested_resizes_total{operation="remove",requirement="limits",resource="memory"} 1`,
		`kubelet_pod_infeasible_resizes_total{reason_detail="swap_limitation"} 1`,
		`kubelet_pod_deferred_accepted_resizes_total{retry_trigger="pods_removed"} 1`,
		`kubelet_pod_resize_duration_milliseconds_count{success="true"} 1`, `kubelet_pod_resize_duration_milliseconds_count{success="false"} 1`,
		`kubelet_pod_deferred_resize_duration_seconds_count{priority_bucket="default",resolution="accepted"} 1`,
	} {
		if !strings.Contains(all, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	if n := strings.Count(all, "\nkubelet_container_requested_resizes_total{"); n != 4 {
		t.Errorf("%d kinds of requests were counted, want 4", n)
	}
}
