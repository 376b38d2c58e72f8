package admission_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/admission"
	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/pod"
)

// TestJudgeOwn holds 29 and 40: what a pod gets for itself is part of the verdict, and why it cannot have it is told before any want of room.
func TestJudgeOwn(t *testing.T) {
	rules := &allocate.Rules{CPU: allocate.CPURules{Static: true, Reserved: allocate.CPUsOf(0)}}
	for id := range 4 { // two nodes with one core of two threads each
		rules.Machine.CPUs = append(rules.Machine.CPUs, allocate.CPU{ID: id, Core: id / 2 * 2, Node: id / 2, Socket: id / 2})
	}
	rules.Topology = allocate.Topology{Nodes: allocate.NodesOf(0, 1)}
	full, single := *rules, *rules
	full.CPU.FullCores, single.Topology.Policy = true, allocate.PolicySingleNode
	held := []*allocate.Assigned{{Containers: map[string]allocate.Part{"x": {CPUs: allocate.CPUsOf(2)}}}}
	for name, c := range map[string]struct {
		rules   *allocate.Rules
		held    []*allocate.Assigned
		cpus    string
		has     string
		refusal string
	}{
		"40 has them":                {rules: rules, cpus: "2", has: "2-3"},
		"40 beside others":           {rules: rules, held: held, cpus: "2", has: "1,3"},
		"40 no whole cores":          {rules: &full, cpus: "1", refusal: "SMTAlignmentError: SMT Alignment Error: requested 1 cpus not multiple cpus per core = 2"},
		"40 no one node":             {rules: &single, held: held, cpus: "2", refusal: "TopologyAffinityError: Resources cannot be allocated with Topology locality"},
		"40 not enough":              {rules: rules, held: held, cpus: "3", refusal: "UnexpectedAdmissionError: Allocate failed due to not enough cpus available to satisfy request: requested=3, available=2, which is unexpected"},
		"29 before the want of room": {rules: &full, cpus: "99", refusal: "SMTAlignmentError: SMT Alignment Error: requested 99 cpus not multiple cpus per core = 2"},
		"no rules":                   {cpus: "2"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default", UID: "a"}}
			p.Spec.Containers = []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{Limits: v1.ResourceList{
				"cpu": resource.MustParse(c.cpus), "memory": resource.MustParse("1Mi"),
			}}}}
			v := admission.Judge(&pod.Desired{Pod: p, Source: pod.FromAPI, Wanted: true}, nil, admission.Node{
				Name: "n", Rules: c.rules, Held: c.held, Allocatable: v1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("1Gi")},
			})
			refusal := ""
			if !v.Admit {
				refusal = v.Reason + ": " + v.Message
			}
			if got := v.Assigned.Part("c").CPUs.String(); !v.Judged || refusal != c.refusal || got != c.has {
				t.Errorf("it has %q, %q; want %q, %q", got, refusal, c.has, c.refusal)
			}
		})
	}
}
