package plan

import (
	"maps"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
)

// sized reads what a container asks for: "100m/200m:64Mi/64Mi" is CPU, requested and at most, then memory.
func sized(text string) v1.ResourceRequirements {
	cpu, memory, _ := strings.Cut(text, ":")
	both := func(text string) (s Size) {
		s.Request, s.Limit, _ = strings.Cut(text, "/")
		return s
	}
	return Sizes{CPU: both(cpu), Memory: both(memory)}.In(&v1.ResourceRequirements{})
}

func sizesText(s Sizes) string {
	return s.CPU.Request + "/" + s.CPU.Limit + ":" + s.Memory.Request + "/" + s.Memory.Limit
}

// judge says of a wish for other resources what the script says admission would.
func (p *play) judge() {
	p.facts.Resize = Resize{}
	if a := p.memory.Kept.Allocated; a != nil && !a.asks(p.desired.Pod) && (p.room.Fits || p.room.Reason != "") {
		p.facts.Resize = p.room
		p.facts.Resize.Of = AllocationOf(p.desired.Pod)
	}
}

// made gives a new container what the pod was given, and the annotation that tells of it.
func (p *play) made(c *pod.Container) {
	whole := Allocated(p.desired, p.memory.Kept.Allocated).Pod
	spec, _ := pod.FindContainer(whole, c.Name)
	p.has[c.ID] = GivenOf(whole, spec)
	if a := p.memory.Kept.Allocated; !p.foreign && a != nil && len(a.Containers) > 0 {
		c.Annotations = map[string]string{names.ContainerSizes: p.has[c.ID].String()}
	}
}

// resize does to the pod's cgroup and to containers what an effect says.
func (p *play) resize(e Effect) {
	all := map[string]int64{} // the sum of memory limits, if every container has one
	if a := p.memory.Kept.Allocated; a != nil {
		sum := int64(0)
		limited := true
		eachContainer(p.desired.Pod, func(c *v1.Container) {
			text := a.Containers[c.Name].Memory.Limit
			limited = limited && text != ""
			if q, err := resource.ParseQuantity(text); err == nil {
				sum += q.Value()
			}
		})
		if limited {
			all["memory"] = sum
		}
	}
	switch had := p.cgroup; {
	case e.Kind == UpdateContainer:
		p.has[e.ID] = e.Given
	case e.Kind == GrowPod && had != nil:
		if now, limited := all["memory"]; limited {
			if before, was := had["memory"]; was {
				all["memory"] = max(now, before)
			} else {
				all = maps.Clone(had)
			}
		}
		p.cgroup = all
	case e.Kind == MakePod && had != nil && p.memory.Kept.Resizing != nil:
	default:
		p.cgroup = all
	}
	p.holds()
}

// holds checks that what containers may use together is never more than their pod may: so that none is killed for what it was
// allowed to use.
func (p *play) holds() {
	most, limited := p.cgroup["memory"]
	if !limited {
		return
	}
	sum := int64(0)
	for i := range p.containers {
		c := &p.containers[i]
		if c.State != pod.Created && !c.Live() {
			continue
		}
		text := p.has[c.ID].memoryLimit()
		q, err := resource.ParseQuantity(text)
		if err != nil {
			p.t.Errorf("%s has no memory limit, and its pod has", c.Name)
			return
		}
		sum += q.Value()
	}
	if sum > most {
		p.t.Errorf("the containers may use %d bytes of memory, their pod %d", sum, most)
	}
}
