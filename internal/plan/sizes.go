package plan

import (
	"encoding/json"
	"hash/fnv"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/pod"
)

// Size is how much of one resource is requested, and how much may be used: quantities as people write them, empty if there
// is none.
type Size struct {
	Request string `json:"request,omitempty"`
	Limit   string `json:"limit,omitempty"`
}

// Sizes are the resources that can be changed while a pod runs (behaviour 221). Two values are equal if they say the same.
type Sizes struct {
	CPU    Size `json:"cpu,omitzero"`
	Memory Size `json:"memory,omitzero"`
}

// SizesOf reads the sizes out of what a container, or a pod as a whole, asks for.
func SizesOf(r *v1.ResourceRequirements) Sizes {
	size := func(name v1.ResourceName) (s Size) {
		if q, ok := r.Requests[name]; ok {
			s.Request = q.String()
		}
		if q, ok := r.Limits[name]; ok {
			s.Limit = q.String()
		}
		return s
	}
	return Sizes{CPU: size(v1.ResourceCPU), Memory: size(v1.ResourceMemory)}
}

// In returns requirements with these sizes in place of their own. Nothing is shared with r.
func (s Sizes) In(r *v1.ResourceRequirements) v1.ResourceRequirements {
	out := *r.DeepCopy()
	put := func(list *v1.ResourceList, name v1.ResourceName, text string) {
		q, err := resource.ParseQuantity(text)
		switch {
		case text == "" || err != nil: // what was written from a quantity always is one
			delete(*list, name)
		case *list == nil:
			*list = v1.ResourceList{name: q}
		default:
			(*list)[name] = q
		}
	}
	put(&out.Requests, v1.ResourceCPU, s.CPU.Request)
	put(&out.Limits, v1.ResourceCPU, s.CPU.Limit)
	put(&out.Requests, v1.ResourceMemory, s.Memory.Request)
	put(&out.Limits, v1.ResourceMemory, s.Memory.Limit)
	return out
}

// less tells whether one amount is less than another one. None is no limit, and so more than any; of requests it is least,
// which none says to.
func less(a, b string, none bool) bool {
	if a == "" || b == "" {
		return none && a != "" && b == "" || !none && a == "" && b != ""
	}
	x, errX := resource.ParseQuantity(a)
	y, errY := resource.ParseQuantity(b)
	return errX == nil && errY == nil && x.Cmp(y) < 0
}

// Allocation is what the node has set aside for a pod, or what a pod is wanted to have. It is never changed once made.
type Allocation struct {
	// Generation is that of the pod object that asks for it.
	Generation int64 `json:"generation,omitempty"`
	// Pod are the sizes of the pod as a whole, Containers those of its containers that ask for anything.
	Pod        Sizes            `json:"pod,omitzero"`
	Containers map[string]Sizes `json:"containers,omitempty"`
	// Resized tells that the pod was given something else before.
	Resized bool `json:"resized,omitempty"`
}

// AllocationOf is what a pod object asks for.
func AllocationOf(p *v1.Pod) *Allocation {
	a := &Allocation{Generation: p.Generation}
	if p.Spec.Resources != nil {
		a.Pod = SizesOf(p.Spec.Resources)
	}
	eachContainer(p, func(c *v1.Container) {
		s := SizesOf(&c.Resources)
		if s == (Sizes{}) {
			return
		}
		if a.Containers == nil {
			a.Containers = map[string]Sizes{}
		}
		a.Containers[c.Name] = s
	})
	return a
}

// eachContainer calls f with the init containers, sidecars and regular containers. Ephemeral ones have no resources.
func eachContainer(p *v1.Pod, f func(*v1.Container)) {
	for i := range p.Spec.InitContainers {
		f(&p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		f(&p.Spec.Containers[i])
	}
}

// Same tells whether two allocations give the same, whoever asked for it. Either may be nil.
func (a *Allocation) Same(b *Allocation) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a == b || a.Pod == b.Pod && maps.Equal(a.Containers, b.Containers)
}

// asks tells whether a pod object asks for just this.
func (a *Allocation) asks(p *v1.Pod) bool {
	if p.Spec.Resources != nil && SizesOf(p.Spec.Resources) != a.Pod || p.Spec.Resources == nil && a.Pod != (Sizes{}) {
		return false
	}
	same := true
	eachContainer(p, func(c *v1.Container) { same = same && SizesOf(&c.Resources) == a.Containers[c.Name] })
	return same
}

// mark identifies what an allocation gives; it is never zero.
func (a *Allocation) mark() uint64 {
	h := fnv.New64a()
	write := func(name string, s Sizes) {
		for _, text := range []string{name, s.CPU.Request, s.CPU.Limit, s.Memory.Request, s.Memory.Limit} {
			h.Write([]byte(text))
			h.Write([]byte{0})
		}
	}
	write("", a.Pod)
	for _, name := range slices.Sorted(maps.Keys(a.Containers)) {
		write(name, a.Containers[name])
	}
	return max(h.Sum64(), 1)
}

// Allocated is a pod with the resources it was given in place of those it is wanted with. It is d itself if they are the same,
// or if nothing is known of the former.
func Allocated(d *pod.Desired, a *Allocation) *pod.Desired {
	if a == nil || a.asks(d.Pod) {
		return d
	}
	out, p := *d, *d.Pod
	if p.Spec.Resources != nil || a.Pod != (Sizes{}) {
		r := p.Spec.Resources
		if r == nil {
			r = &v1.ResourceRequirements{}
		}
		given := a.Pod.In(r)
		p.Spec.Resources = &given
	}
	p.Spec.InitContainers, p.Spec.Containers = slices.Clone(p.Spec.InitContainers), slices.Clone(p.Spec.Containers)
	eachContainer(&p, func(c *v1.Container) { c.Resources = a.Containers[c.Name].In(&c.Resources) })
	out.Pod = &p
	return &out
}

// Larger is a pod with the larger requests of what it has and what it may be about to have: as long as it is not known which
// of the two holds, nobody else may have either.
func Larger(has, may *pod.Desired) *pod.Desired {
	a, b := AllocationOf(has.Pod), AllocationOf(may.Pod)
	out := &Allocation{Pod: larger(a.Pod, b.Pod), Containers: maps.Clone(a.Containers)}
	for name, s := range b.Containers {
		if out.Containers == nil {
			out.Containers = map[string]Sizes{}
		}
		out.Containers[name] = larger(out.Containers[name], s)
	}
	return Allocated(has, out)
}

func larger(a, b Sizes) Sizes {
	if less(a.CPU.Request, b.CPU.Request, false) {
		a.CPU = b.CPU
	}
	if less(a.Memory.Request, b.Memory.Request, false) {
		a.Memory = b.Memory
	}
	return a
}

// Given is what the runtime was told of one container's resources: its own sizes and, where it has no limit of its own, that
// of its pod.
type Given struct {
	Sizes
	Pod Sizes `json:"pod,omitzero"`
}

// GivenOf is what the runtime has to be told of a container of a pod object.
func GivenOf(p *v1.Pod, c *v1.Container) Given {
	g := Given{Sizes: SizesOf(&c.Resources)}
	if p.Spec.Resources == nil {
		return g
	}
	whole := SizesOf(p.Spec.Resources)
	if g.CPU.Limit == "" {
		g.Pod.CPU.Limit = whole.CPU.Limit
	}
	if g.Memory.Limit == "" {
		g.Pod.Memory.Limit = whole.Memory.Limit
	}
	return g
}

// String is how an annotation on the container holds it.
func (g Given) String() string {
	text, err := json.Marshal(g)
	if err != nil { // plain strings always have a JSON
		return ""
	}
	return string(text)
}

// ParseGiven reads what String has written; false if it was not that.
func ParseGiven(text string) (Given, bool) {
	var g Given
	if text == "" || json.Unmarshal([]byte(text), &g) != nil {
		return Given{}, false
	}
	return g, true
}

// memoryLimit is the limit that holds for the container.
func (g Given) memoryLimit() string {
	if g.Memory.Limit != "" {
		return g.Memory.Limit
	}
	return g.Pod.Memory.Limit
}

// LowersMemory tells whether a container would have less memory than now, so that what it uses may be more (behaviour 227).
func (g Given) LowersMemory(now Given) bool { return less(g.memoryLimit(), now.memoryLimit(), true) }

// AsksForMore tells whether a pod is wanted with more than it was given of something that is set aside for it.
func AsksForMore(wanted, given *pod.Desired) bool {
	a, b := AllocationOf(wanted.Pod), AllocationOf(given.Pod)
	more := a.Pod.more(b.Pod)
	for name, s := range a.Containers {
		more = more || s.more(b.Containers[name])
	}
	return more
}

func (s Sizes) more(than Sizes) bool {
	return less(than.CPU.Request, s.CPU.Request, false) || less(than.Memory.Request, s.Memory.Request, false)
}
