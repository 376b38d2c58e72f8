package agent

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/worker"
)

// Behaviour 251: a pod is ranked by what it was given, not by what it waits for.
func TestEvictable(t *testing.T) {
	memory := func(d *v1.Pod, text string) {
		d.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceMemory: resource.MustParse(text)}
	}
	given := podUsing("u", "app:1")
	memory(given.Pod, "1Gi")
	e := &worker.Entry{Desired: podUsing("u", "app:1")}
	memory(e.Desired.Pod, "9Gi")
	e.Memory.Kept.Allocated = plan.AllocationOf(given.Pod)
	if q := evictable(e).Desired.Pod.Spec.Containers[0].Resources.Requests.Memory(); q.String() != "1Gi" {
		t.Errorf("ranked by %s, want 1Gi", q)
	}
}
