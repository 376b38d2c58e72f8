package plan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Undeclared is the Detail of a resize that needs a feature that the node does not declare.
const Undeclared = "node_declared_features"

// Resize is what admission says of a pod that is wanted with other resources than it was given (behaviours 223-225).
type Resize struct {
	// Of is what was judged; nil if nothing was.
	Of   *Allocation
	Fits bool
	// Reason is Deferred or Infeasible if it does not fit, and Message says why.
	Reason, Message string
	// Detail is why it can never be, in the one word that metrics have for it.
	Detail string
	// Trigger is what made room for a pod that had to wait, in the one word that metrics have for it.
	Trigger string
}

// Pending is the remembered answer to a wish for other resources that cannot be had, or not now.
type Pending struct {
	// Reason is Deferred or Infeasible.
	Reason string `json:"reason"`
	// Message is why, as it was when this was decided.
	Message string `json:"message,omitempty"`
	// Undeclared tells that it needs a feature that the node does not declare.
	Undeclared bool `json:"undeclared,omitempty"`
	// Generation is that of the pod object with the wish, Since when it was first heard.
	Generation int64     `json:"generation,omitempty"`
	Since      time.Time `json:"since"`
}

// Resizing tells that cgroup and containers have still to be brought to what the pod was given.
type Resizing struct {
	At time.Time `json:"at"`
}

// GivenTo is what the runtime was told last of one container instance, and what it was to be told when that is not known to have
// come about: it may have one or the other.
type GivenTo struct {
	ID string `json:"id,omitempty"`
	Given
	Tried *Given `json:"tried,omitempty"`
}

// allocate decides what the pod is given. What is asked for when it is admitted is what it gets; another wish needs another
// answer of admission, and is granted as a whole or not at all.
//
//	wanted ≠ given: Pending ──► (fits) Resizing: pod cgroup, containers ──► at rest
func (d *draft) allocate() {
	k := &d.mem.Kept
	if k.Admitted.IsZero() || d.wanted.Source == pod.FromRuntime {
		return
	}
	if k.Assigned == nil { // another agent gave it something
		k.Assigned = d.in.Facts.Verdict.Assigned
	}
	if k.Allocated == nil { // nobody remembers: it was admitted before this was remembered at all
		k.Allocated = d.firstAllocation()
	}
	d.in.Desired = d.wanted
	if k.Allocated.asks(d.wanted.Pod) {
		k.Pending = nil
		return
	}
	d.in.Desired = Allocated(d.wanted, k.Allocated)
	switch answer := d.in.Facts.Resize; {
	case answer.Of == nil || !answer.Of.asks(d.wanted.Pod):
		d.wait(Wait{For: "resize", Detail: "other resources are wanted; the node has not said yet whether it has them"})
	case answer.Fits:
		d.grant(answer.Of)
	default:
		d.wait(Wait{For: "resize", Detail: answer.Message})
		if p := k.Pending; p == nil || p.Reason != answer.Reason || p.Generation != d.wanted.Pod.Generation {
			since := d.in.Now
			if p != nil && p.Generation == d.wanted.Pod.Generation {
				since = p.Since
			}
			k.Pending = &Pending{Reason: answer.Reason, Message: answer.Message, Undeclared: answer.Detail == Undeclared, Generation: d.wanted.Pod.Generation, Since: since}
		}
	}
}

// firstAllocation is what a pod has that nobody remembers having given it anything: what an earlier agent said that its
// containers have, else what it asks for.
func (d *draft) firstAllocation() *Allocation {
	a := AllocationOf(d.wanted.Pod)
	told := map[string]*v1.ResourceRequirements{}
	for _, list := range [][]v1.ContainerStatus{d.wanted.Pod.Status.InitContainerStatuses, d.wanted.Pod.Status.ContainerStatuses} {
		for i := range list {
			if list[i].State.Running != nil {
				told[list[i].Name] = list[i].Resources
			}
		}
	}
	for name := range a.Containers {
		if r := told[name]; r != nil && d.wanted.Source == pod.FromAPI {
			a.Containers[name] = SizesOf(r)
		}
	}
	return a
}

// grant gives the pod what it asks for. Containers that do not carry what they have themselves are remembered with what they
// had.
func (d *draft) grant(to *Allocation) {
	before := d.in.Desired.Pod
	for i := range d.obs.Containers {
		c := &d.obs.Containers[i]
		spec, _ := pod.FindContainer(before, c.Name)
		if _, known := d.mem.given(c); !known && spec != nil && (c.Live() || c.State == pod.Created) {
			d.remember(c.Name, func(m *ContainerMemory) { m.Given = GivenTo{ID: c.ID, Given: GivenOf(before, spec)} })
		}
	}
	granted := *to
	granted.Generation, granted.Resized = d.wanted.Pod.Generation, true
	d.mem.Kept.Allocated, d.mem.Kept.Pending = &granted, nil
	d.mem.Kept.Resizing = &Resizing{At: d.in.Now}
	d.in.Desired = d.wanted
}

// given is what the runtime was told of an instance, if that is known.
func (m *Memory) given(c *pod.Container) (Given, bool) {
	if g := m.Kept.Containers[c.Name].Given; g.ID == c.ID {
		return g.Given, true
	}
	return ParseGiven(c.Annotations[names.ContainerSizes])
}

// GivenTo is what the runtime was told of an instance. allocated is the pod with what it was given.
func (m *Memory) GivenTo(c *pod.Container, allocated *v1.Pod) Given {
	if m.Kept.Allocated != nil && m.Kept.Allocated.Resized {
		if g, known := m.given(c); known {
			return g
		}
	}
	if spec, _ := pod.FindContainer(allocated, c.Name); spec != nil {
		return GivenOf(allocated, spec)
	}
	return Given{}
}

// resize brings the pod's cgroup and its containers to what the pod was given. The pod's cgroup has room for both what was
// and what comes until all containers have theirs; and no container gets more memory before all have given back what they
// are to give back, so that what all may use together is never more than the pod may (behaviour 226).
func (d *draft) resize() {
	a := d.mem.Kept.Allocated
	if a == nil || !a.Resized || !d.mem.Session.Made {
		return
	}
	if d.growing() {
		d.want(Effect{Kind: GrowPod, Content: a.mark(), Why: "room for more"})
		return
	}
	stale, shrink := d.stale()
	for _, e := range stale {
		if !shrink || e.Lowers {
			d.change(e)
		}
	}
	if d.mem.Kept.Resizing == nil || len(stale) > 0 || d.restarting() {
		return
	}
	for _, e := range d.in.InFlight { // it may have been begun with what was
		if e.Kind == CreateContainer || e.Kind == UpdateContainer {
			return
		}
	}
	d.want(Effect{Kind: SettlePod, Content: a.mark(), Why: "no more than it needs"})
}

// growing tells whether the pod's cgroup has still to be made large enough before a container may get more.
func (d *draft) growing() bool {
	return d.mem.Kept.Resizing != nil && d.mem.Session.Grown != d.mem.Kept.Allocated.mark()
}

// stale are the changes of instances that have something else than they were given, and can be changed while they run. It
// tells whether one of them has to give memory back.
func (d *draft) stale() (changes []Effect, shrink bool) {
	mark := d.mem.Kept.Allocated.mark()
	eachContainer(d.in.Desired.Pod, func(c *v1.Container) {
		last := d.latest(c.Name)
		if last == nil || last.State != pod.Created && last.State != pod.Running || d.ending(last) || d.restartsToResize(c, last) {
			return
		}
		now, to := d.mem.GivenTo(last, d.in.Desired.Pod), GivenOf(d.in.Desired.Pod, c)
		lowers := to.LowersMemory(now)
		switch tried := d.tried(last); {
		case tried != nil:
			lowers = lowers || to.LowersMemory(*tried)
		case now == to:
			return
		}
		shrink = shrink || lowers
		changes = append(changes, Effect{
			Kind: UpdateContainer, Container: c.Name, ID: last.ID, Attempt: last.Attempt, Given: to, Lowers: lowers, Content: mark,
		})
	})
	return changes, shrink
}

// tried is what the runtime was to be told of an instance, if it is not known whether it was; nil otherwise.
func (d *draft) tried(c *pod.Container) *Given {
	if g := d.mem.Kept.Containers[c.Name].Given; g.ID == c.ID {
		return g.Tried
	}
	return nil
}

// change wants an instance changed. Before, it is remembered that this may have come about.
func (d *draft) change(e Effect) {
	if !d.wantOfRuntime(e) {
		return
	}
	for _, f := range d.in.InFlight { // what is under way was remembered; it comes to its end first
		if f.Kind == UpdateContainer && f.ID == e.ID {
			return
		}
	}
	if now := d.mem.Kept.Containers[e.Container].Given; now.ID != e.ID || now.Tried == nil || *now.Tried != e.Given {
		was := d.mem.GivenTo(d.obs.Container(e.ID), d.in.Desired.Pod)
		if tried := now.Tried; now.ID == e.ID && tried != nil && was.LowersMemory(*tried) { // it may have as much as that
			was.Memory, was.Pod.Memory = tried.Memory, tried.Pod.Memory
		}
		d.remember(e.Container, func(m *ContainerMemory) { m.Given = GivenTo{e.ID, was, &e.Given} })
	}
}

// ending tells whether an instance has to end anyway.
func (d *draft) ending(c *pod.Container) bool { return d.mem.Kept.Containers[c.Name].Kill.ID == c.ID }

// restarting tells whether an instance that lives has to end before the resize is through.
func (d *draft) restarting() bool {
	any := false
	eachContainer(d.in.Desired.Pod, func(c *v1.Container) {
		last := d.latest(c.Name)
		any = any || last != nil && last.Live() && (d.ending(last) || d.restartsToResize(c, last))
	})
	return any
}

// restartsToResize tells whether a running instance has to be replaced because its resources changed (behaviour 228).
func (d *draft) restartsToResize(c *v1.Container, last *pod.Container) bool {
	a := d.mem.Kept.Allocated
	if a == nil || !a.Resized || last.State != pod.Running {
		return false
	}
	now, to := d.mem.GivenTo(last, d.in.Desired.Pod), GivenOf(d.in.Desired.Pod, c)
	for _, p := range c.ResizePolicy {
		if p.RestartPolicy != v1.RestartContainer {
			continue
		}
		switch p.ResourceName {
		case v1.ResourceCPU:
			if now.CPU != to.CPU {
				return true
			}
		case v1.ResourceMemory:
			if now.Memory != to.Memory {
				return true
			}
		}
	}
	return false
}

// ResizeFailure is why a resize does not come to its end, empty if nothing is known to be in its way.
func ResizeFailure(m Memory, p *v1.Pod) string {
	if m.Kept.Resizing == nil || m.Kept.Allocated == nil {
		return ""
	}
	of := failureOf(Effect{Content: m.Kept.Allocated.mark()})
	why := ""
	look := func(e Effect) {
		if f := m.Kept.Failures[e.Subject()]; f.Count > 0 && f.Of == of && f.Class == Again && why == "" {
			why = f.Message
		}
	}
	look(Effect{Kind: GrowPod}) // or SettlePod: they are one subject
	eachContainer(p, func(c *v1.Container) { look(Effect{Kind: UpdateContainer, Container: c.Name}) })
	return why
}

// learnResize remembers what has come of a change of resources.
func learnResize(m *Memory, e Effect) {
	switch k := &m.Kept; e.Kind {
	case GrowPod:
		m.Session.Grown = e.Content
	case UpdateContainer:
		if k.Containers == nil {
			k.Containers = map[string]ContainerMemory{}
		}
		c := k.Containers[e.Container]
		c.Given = GivenTo{ID: e.ID, Given: e.Given}
		k.Containers[e.Container] = c
	case SettlePod:
		if k.Allocated == nil || k.Allocated.mark() != e.Content {
			return
		}
		k.Resizing = nil
		for name := range k.Containers { // of instances that ended before it came about
			delete(k.Failures, Effect{Kind: UpdateContainer, Container: name}.Subject())
		}
	}
}

// Deferred tells whether a pod waits for room to be resized.
func (k *Kept) Deferred() bool { return k.Pending != nil && k.Pending.Reason == reason.Deferred }
