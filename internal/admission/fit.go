package admission

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/reason"
)

// shortage is a resource of which too little is left. Amounts are thousandths of a CPU, bytes, or numbers.
type shortage struct {
	name                      v1.ResourceName
	requested, used, capacity int64
}

func (s shortage) refusal() *refusal {
	return refuse(reason.OutOf+string(s.name), "Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d",
		s.name, s.requested, s.used, s.capacity)
}

// missing is how much more there would have to be.
func (s shortage) missing() int64 { return s.requested + s.used - s.capacity }

// shortages are the resources a pod asks for that the node has not got left (behaviours 33, 34): its place among the pods
// first, then CPU, memory and storage, then the others by name.
func shortages(p *v1.Pod, running []*pod.Desired, node Node) []shortage {
	var out []shortage
	check := func(s shortage) {
		if s.missing() > 0 {
			out = append(out, s)
		}
	}
	if node.MaxPods > 0 {
		check(shortage{v1.ResourcePods, 1, int64(len(running)), int64(node.MaxPods)})
	}
	if node.Allocatable == nil {
		return out
	}
	wanted := qos.Requests(p)
	for _, name := range checked(wanted, node) {
		if requested := amount(wanted, name); requested > 0 {
			check(shortage{name, requested, used(running, name), amount(node.Allocatable, name)})
		}
	}
	return out
}

// checked are the resources that count. One that the node does not advertise belongs to somebody else, such as the
// scheduler (behaviour 34).
func checked(wanted v1.ResourceList, node Node) []v1.ResourceName {
	first := []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage}
	out := first
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		_, advertised := node.Allocatable[name]
		if !slices.Contains(first, name) && name != v1.ResourcePods && (advertised || !allocate.Extended(string(name))) {
			out = append(out, name)
		}
	}
	return out
}

func used(running []*pod.Desired, name v1.ResourceName) int64 {
	sum := int64(0)
	for _, d := range running {
		sum += takes(d, name)
	}
	return sum
}

// takes is how much of a resource a pod takes.
func takes(d *pod.Desired, name v1.ResourceName) int64 {
	if name == v1.ResourcePods {
		return 1
	}
	return amount(qos.Requests(d.Pod), name)
}

func amount(list v1.ResourceList, name v1.ResourceName) int64 {
	q := list[name]
	if name == v1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}
