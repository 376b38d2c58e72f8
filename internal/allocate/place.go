package allocate

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	helper "k8s.io/component-helpers/resource"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/reason"
)

// Rules are the policies of a node, and the machine for which they hold.
type Rules struct {
	Machine  Machine
	CPU      CPURules
	Memory   MemoryRules
	Topology Topology
}

// Idle reports whether the rules give nobody anything: neither processors nor memory, nor do places matter.
func (r *Rules) Idle() bool {
	return r == nil || !r.CPU.Static && !r.Memory.Static && !r.Topology.Asks()
}

// Asks counts the containers of a pod that ask for processors, and for memory of certain NUMA nodes.
func (r *Rules) Asks(p *v1.Pod) (cpus, memory int) {
	if r.Idle() || !mayOwn(p) {
		return 0, 0
	}
	x, y := newProcessors(&r.Machine, r.CPU, nil), newMemory(&r.Machine, r.Memory, nil)
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if x.request(&list[i]) > 0 {
				cpus++
			}
			if len(y.request(&list[i])) > 0 {
				memory++
			}
		}
	}
	return cpus, memory
}

// mayOwn tells whether containers of a pod may have processors and memory for themselves. Those of pods with resources as a whole may not.
func mayOwn(p *v1.Pod) bool {
	return qos.ClassOf(p) == v1.PodQOSGuaranteed && !helper.IsPodLevelResourcesSet(p)
}

// Choice is the choice of devices for the containers of one pod, one after the other in the order in which they begin.
type Choice interface {
	// Offers are the places from which the devices of the next container can come, on a machine of these NUMA nodes.
	Offers(c *v1.Container, machine Nodes) []Offer
	// Take chooses the devices of the next container, by resource, near to a place if that names any nodes.
	Take(p *v1.Pod, c *v1.Container, place Hint) (map[string][]string, *Obstacle)
}

// Place chooses what a pod gets for itself, where held is what others have; nil if it gets nothing. choice chooses its devices, nil if there
// are none to choose. The rules may be nil: then only devices are chosen, and their place does not matter.
//
// Containers are served one after the other, in the order in which they begin. Each one's place is settled first, from what all resources
// offer for it (or for the pod as a whole), then each resource gives what is nearest to that (behaviours 232 to 236).
func Place(p *v1.Pod, r *Rules, held []*Assigned, choice Choice) (*Assigned, *Obstacle) {
	if r == nil {
		r = &Rules{}
	}
	d := &draft{
		pod: p, rules: r, devices: choice,
		cpus: newProcessors(&r.Machine, r.CPU, held), memory: newMemory(&r.Machine, r.Memory, held),
		own: mayOwn(p),
	}
	var place Hint
	if r.Topology.Asks() && r.Topology.WholePod {
		var no *Obstacle
		if place, no = d.place(d.whole()); no != nil {
			return nil, no
		}
	}
	out := Assigned{}
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			c := &list[i]
			if r.Topology.Asks() && !r.Topology.WholePod {
				var no *Obstacle
				if place, no = d.place(c); no != nil {
					return nil, no
				}
			}
			part, no := d.take(c, place)
			if no != nil {
				return nil, no
			}
			if len(part.Devices)+len(part.Memory)+len(part.CPUs) > 0 {
				if out.Containers == nil {
					out.Containers = map[string]Part{}
				}
				out.Containers[c.Name] = part
			}
		}
	}
	if out.Containers == nil {
		return nil, nil
	}
	return &out, nil
}

// draft is what a pod gets, while it is chosen.
type draft struct {
	pod     *v1.Pod
	rules   *Rules
	cpus    *processors
	memory  *memory
	devices Choice
	// own tells that its containers may have processors and memory for themselves.
	own bool
}

// place settles where a container's resources shall come from.
func (d *draft) place(c *v1.Container) (Hint, *Obstacle) {
	nodes := d.rules.Topology.Nodes
	var offers []Offer
	if d.devices != nil {
		offers = d.devices.Offers(c, nodes)
	}
	if d.own {
		offers = append(offers, d.cpus.offer(d.cpus.request(c), nodes), d.memory.offer(d.memory.request(c), nodes))
	}
	place, ok := d.rules.Topology.Merge(offers)
	if !ok {
		return Hint{}, &Obstacle{Reason: reason.TopologyAffinityError, Detail: "topology", Message: "Resources cannot be allocated with Topology locality"}
	}
	return place, nil
}

// take gives a container its part.
func (d *draft) take(c *v1.Container, place Hint) (part Part, no *Obstacle) {
	if d.own {
		over := ends(d.pod, c)
		if part.CPUs, no = d.cpus.take(d.cpus.request(c), place, over); no != nil {
			return Part{}, no
		}
		if part.Memory, no = d.memory.take(d.memory.request(c), place, over, d.rules.Topology); no != nil {
			return Part{}, no
		}
	}
	if d.devices != nil {
		if part.Devices, no = d.devices.Take(d.pod, c, place); no != nil {
			return Part{}, no
		}
	}
	return part, nil
}

// whole is a container that asks for what all containers of the pod have at once at most. Of processors only those count that containers get for
// themselves.
func (d *draft) whole() *v1.Container {
	sum, most := v1.ResourceList{}, v1.ResourceList{} // sum is what runs on
	each := func(c *v1.Container, f func(v1.ResourceName, resource.Quantity)) {
		for name := range limitsAndRequests(c) {
			if name == v1.ResourceCPU && d.cpus.request(c) == 0 {
				continue
			}
			f(name, request(c, name))
		}
	}
	add := func(name v1.ResourceName, q resource.Quantity) {
		have := sum[name]
		have.Add(q)
		sum[name] = have
	}
	for i := range d.pod.Spec.InitContainers {
		c := &d.pod.Spec.InitContainers[i]
		if pod.IsSidecar(c) {
			each(c, add)
			continue
		}
		each(c, func(name v1.ResourceName, q resource.Quantity) {
			q.Add(sum[name])
			if have := most[name]; q.Cmp(have) > 0 {
				most[name] = q
			}
		})
	}
	for i := range d.pod.Spec.Containers {
		each(&d.pod.Spec.Containers[i], add)
	}
	for name, q := range most {
		if have := sum[name]; q.Cmp(have) > 0 {
			sum[name] = q
		}
	}
	return &v1.Container{Resources: v1.ResourceRequirements{Requests: sum, Limits: sum}}
}

func limitsAndRequests(c *v1.Container) map[v1.ResourceName]bool {
	names := map[v1.ResourceName]bool{}
	for name := range c.Resources.Limits {
		names[name] = true
	}
	for name := range c.Resources.Requests {
		names[name] = true
	}
	return names
}

// request is how much a container asks for of a resource: its limit, as the API server defaults it, where it names nothing else.
func request(c *v1.Container, name v1.ResourceName) resource.Quantity {
	q, ok := c.Resources.Requests[name]
	if !ok {
		q = c.Resources.Limits[name]
	}
	return q.DeepCopy()
}

// ends tells whether a container has ended when the next one begins.
func ends(p *v1.Pod, c *v1.Container) bool {
	return !pod.IsSidecar(c) && slices.ContainsFunc(p.Spec.InitContainers, func(i v1.Container) bool { return i.Name == c.Name })
}

// unexpected words a refusal as upstream does (behaviour 40).
func unexpected(detail, why string) *Obstacle {
	return &Obstacle{Reason: reason.UnexpectedAdmissionError, Detail: detail, Message: "Allocate failed due to " + strings.TrimSpace(why) + ", which is unexpected"}
}
