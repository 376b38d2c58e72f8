package narrate_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/narrate"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// TestResizes holds the words about resizes (behaviours 229, 313).
func TestResizes(t *testing.T) {
	sized := func(cpu string, generation int64) *pod.Desired {
		d := desired()
		d.Pod.Generation = generation
		d.Pod.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}
		d.Pod.Spec.InitContainers = append(d.Pod.Spec.InitContainers, v1.Container{Name: "side", RestartPolicy: new(v1.ContainerRestartPolicyAlways)})
		return d
	}
	const text = `{"initContainers":[{"name":"side","resources":{}}],"containers":[{"name":"app","resources":{"requests":{"cpu":"2"}}}],"generation":3`
	d := sized("2", 3)
	one, two := plan.AllocationOf(sized("1", 1).Pod), plan.AllocationOf(d.Pod)
	small := plan.Memory{Kept: plan.Kept{Allocated: one}}
	deferred := plan.Memory{Kept: plan.Kept{Allocated: one, Pending: &plan.Pending{Reason: "Deferred", Message: "no room", Generation: 3}}}
	infeasible := plan.Memory{Kept: plan.Kept{Allocated: one, Pending: &plan.Pending{Reason: "Infeasible", Message: "too small", Generation: 3}}}
	granted := plan.Memory{Kept: plan.Kept{Allocated: two, Resizing: &plan.Resizing{}}}
	changed := func(before, after plan.Memory, want ...string) {
		t.Helper()
		expect(t, narrate.Changed(d, before, nil, pod.Observed{}, plan.Plan{Memory: after}, start), want...)
	}
	changed(plan.Memory{}, small)
	changed(small, deferred, `Warning ResizeDeferred | Pod resize Deferred: `+text+`,"error":"no room"}`)
	changed(deferred, deferred)
	changed(deferred, infeasible, `Warning ResizeInfeasible | Pod resize Infeasible: `+text+`,"error":"too small"}`)
	changed(infeasible, small)
	undeclared := plan.Memory{Kept: plan.Kept{Allocated: one, Pending: &plan.Pending{Reason: "Infeasible", Message: "no such feature", Undeclared: true, Generation: 3}}}
	changed(small, undeclared, `Warning FailedNodeDeclaredFeaturesCheck | no such feature`, `Warning ResizeInfeasible | Pod resize Infeasible: `+text+`,"error":"no such feature"}`)
	changed(deferred, granted, `Normal ResizeStarted | Pod resize started: `+text+`}`)

	ended := func(m plan.Memory, kind plan.Kind, failed *plan.Fault, want ...string) {
		t.Helper()
		o := plan.Outcome{Effect: plan.Effect{Kind: kind, Container: "app"}, Ended: start, Failed: failed}
		expect(t, narrate.Ended(d, m, o), want...)
	}
	ended(granted, plan.UpdateContainer, nil)
	ended(plan.Memory{Kept: plan.Kept{Allocated: two}}, plan.SettlePod, nil, `Normal ResizeCompleted | Pod resize completed: `+text+`}`)
	ended(granted, plan.SettlePod, nil) // it was about something older
	failing := granted
	failing.Kept.Failures = map[string]plan.Failure{"resize container app": {Count: 1}}
	ended(failing, plan.UpdateContainer, &plan.Fault{Message: "in use"}, `Warning ResizeError | Pod resize error: `+text+`,"error":"in use"}`)
	failing.Kept.Failures = map[string]plan.Failure{"resize container app": {Count: 2}}
	ended(failing, plan.UpdateContainer, &plan.Fault{Message: "in use"})
}
