package evict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/reason"
)

// Disk is how much of a file system something takes up.
type Disk struct{ Bytes, Inodes int64 }

// Add is the sum of two.
func (d Disk) Add(o Disk) Disk { return Disk{d.Bytes + o.Bytes, d.Inodes + o.Inodes} }

func (d Disk) of(s Signal) int64 {
	if s.inodes() {
		return d.Inodes
	}
	return d.Bytes
}

// Usage is what a pod uses. What was not asked for is zero.
type Usage struct {
	// Memory is the working set in bytes, Processes counts processes and threads.
	Memory, Processes int64
	// Containers are those that were measured, by name; Volumes are the emptyDirs on disk, by name.
	Containers map[string]ContainerUsage
	Volumes    map[string]Disk
}

// ContainerUsage is what a container uses.
type ContainerUsage struct {
	// Memory is the working set in bytes.
	Memory int64
	// Writable is what it has written to its own file system, Logs its logs.
	Writable, Logs Disk
}

// Parts says what of a pod lies on a file system.
type Parts struct{ Writable, Logs, Volumes bool }

// PartsOn is what pods are weighed by when a signal of a disk is short (behaviour 257). Where the images alone have a file
// system of their own, nothing of a pod is there.
func PartsOn(s Signal, l Layout) Parts {
	if s.onImageFS() {
		return Parts{Writable: l != Split, Logs: l == One, Volumes: l == One}
	}
	return Parts{Writable: l != Dedicated, Logs: true, Volumes: true}
}

// Steps tells what is to be cleared away before any pod has to go: ended containers, unused images (behaviour 250).
func Steps(s Signal, l Layout) (containers, images bool) {
	switch {
	case s.Condition() != v1.NodeDiskPressure:
		return false, false
	case s.onImageFS():
		return l != Split, true
	}
	return l != Dedicated, l == One
}

// sum is what the parts of a pod take up.
func (u Usage) sum(p Parts) (d Disk) {
	for _, c := range u.Containers {
		if p.Writable {
			d = d.Add(c.Writable)
		}
		if p.Logs {
			d = d.Add(c.Logs)
		}
	}
	if p.Volumes {
		for _, v := range u.Volumes {
			d = d.Add(v)
		}
	}
	return d
}

// of is what a pod uses of what is short.
func (u Usage) of(s Signal, l Layout) int64 {
	switch s.Condition() {
	case v1.NodeMemoryPressure:
		return u.Memory
	case v1.NodePIDPressure:
		return u.Processes
	}
	return u.sum(PartsOn(s, l)).of(s)
}

// Candidate is a pod that may have to go.
type Candidate struct {
	Pod *pod.Desired
	// IDs are those of its containers that run, by name.
	IDs   map[string]string
	Usage Usage
}

// Need says what is to be measured of pods.
type Need struct {
	Memory, Processes bool
	Disk              Parts
}

// NeedFor is what pods are ranked by when a signal is short.
func NeedFor(s Signal, l Layout) Need {
	switch s.Condition() {
	case v1.NodeMemoryPressure:
		return Need{Memory: true}
	case v1.NodePIDPressure:
		return Need{Processes: true}
	}
	return Need{Disk: PartsOn(s, l)}
}

// Spared tells whether a pod never has to go for the node's sake (behaviours 12, 252).
func Spared(d *pod.Desired) bool { return qos.Critical(d) }

// Rank sorts the pods that may go, the one that has to go first in front: pods that use more than they asked for before
// others, then those of lower priority, then those that use most beyond what they asked for; for process numbers priority and
// number alone (behaviour 251).
func Rank(s Signal, l Layout, all []Candidate) []Candidate {
	out := slices.DeleteFunc(slices.Clone(all), func(c Candidate) bool { return Spared(c.Pod) })
	beyond := func(c Candidate) int64 {
		used := c.Usage.of(s, l)
		if s == PIDAvailable {
			return used
		}
		asked := qos.Requests(c.Pod.Pod)[s.Resource()]
		return used - asked.Value()
	}
	exceeds := func(c Candidate) int {
		if s != PIDAvailable && beyond(c) > 0 {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b Candidate) int {
		return cmp.Or(
			cmp.Compare(exceeds(a), exceeds(b)),
			cmp.Compare(qos.Priority(a.Pod.Pod), qos.Priority(b.Pod.Pod)),
			cmp.Compare(beyond(b), beyond(a)),
			cmp.Compare(a.Pod.UID(), b.Pod.UID()),
		)
	})
	return out
}

// atOnce is the time that a pod has when it has to go at once.
const atOnce = time.Second

// Victim is a pod that has to go.
type Victim struct {
	UID   types.UID
	Order *plan.Order
	// Signal is why, as the metrics have it.
	Signal string
}

// The keys of annotations that tell tools of an eviction (behaviour 253).
const (
	starvedResource     = "starved_resource"
	offendingContainers = "offending_containers"
	offendingUsage      = "offending_containers_usage"
)

// Evict makes a pod go for a shortage (behaviours 247, 253).
func (s Settings) Evict(short Shortage, c Candidate) Victim {
	grace := atOnce
	if short.Soft {
		grace = max(min(s.MostGrace, c.Pod.Grace()), atOnce)
	}
	least := short.Least.Of(short.Signal, short.Reading.Capacity)
	available := short.Signal.quantity(short.Reading.Available)
	what := short.Signal.Resource()
	var text strings.Builder
	fmt.Fprintf(&text, "The node was low on resource: %s. Threshold quantity: %s, available: %s. ", what, least.String(), available.String())
	var greedy, amounts []string
	for _, container := range containersOf(c.Pod.Pod) {
		used, asked, known := c.Usage.container(container, what)
		if !known || used.Cmp(asked) <= 0 {
			continue
		}
		fmt.Fprintf(&text, "Container %s was using %s, request is %s, has larger consumption of %s. ", container.Name, used.String(), asked.String(), what)
		greedy, amounts = append(greedy, container.Name), append(amounts, used.String())
	}
	return Victim{UID: c.Pod.UID(), Signal: string(short.Signal), Order: &plan.Order{
		Reason: reason.Evicted, Message: text.String(), Grace: grace,
		Annotations: map[string]string{
			starvedResource: string(what), offendingContainers: strings.Join(greedy, ","), offendingUsage: strings.Join(amounts, ","),
		},
	}}
}

// container is what a container uses of a resource that it could ask for, and what it asked for.
func (u Usage) container(c *v1.Container, what v1.ResourceName) (used, asked resource.Quantity, known bool) {
	use, known := u.Containers[c.Name]
	asked = c.Resources.Requests[what]
	switch what {
	case v1.ResourceMemory:
		used = *resource.NewQuantity(use.Memory, resource.BinarySI)
	case v1.ResourceEphemeralStorage:
		used = *resource.NewQuantity(use.disk().Bytes, resource.BinarySI)
	default:
		return used, asked, false
	}
	return used, asked, known
}

func (u ContainerUsage) disk() Disk { return u.Writable.Add(u.Logs) }

// containersOf are the containers that a specification names, in its order.
func containersOf(p *v1.Pod) []*v1.Container {
	var all []*v1.Container
	for i := range p.Spec.InitContainers {
		all = append(all, &p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		all = append(all, &p.Spec.Containers[i])
	}
	return all
}
