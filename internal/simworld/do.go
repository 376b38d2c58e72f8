package simworld

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// roundTrip is what a record looks like after it was written and read.
func roundTrip(r plan.Record) plan.Record {
	text, err := json.Marshal(r)
	if err != nil {
		return r
	}
	var out plan.Record
	if json.Unmarshal(text, &out) != nil {
		return r
	}
	return out
}

// Do implements worker.Doer: it takes a while, may fail, and does to the world what the effect says.
func (a *Agent) Do(ctx context.Context, d *pod.Desired, e plan.Effect, _ plan.Seen) plan.Outcome {
	w := a.world
	w.mu.Lock()
	w.effects++
	mine := w.effects
	w.names[d.UID()] = d.Pod.Name
	if d.Source != pod.FromRuntime {
		w.sources[d.UID()] = d.Source
	}
	delay := w.delay()
	begun := !a.dead
	if begun {
		w.note("%s begins %s", d.UID(), e.Key())
		w.checkBegin(d, e)
	}
	if w.crashBefore > 0 && mine >= w.crashBefore {
		w.crashBefore = 0
		a.die("agent crashes before " + e.Key())
	}
	w.mu.Unlock()
	if !sleep(ctx, delay) && w.flip() {
		w.mu.Lock()
		if e.Kind == plan.PrepareClaims && !a.dead && w.chance(0.5) {
			w.prepareClaims(d, true)
		}
		w.mu.Unlock()
		a.landLate(d, e, delay, begun)
		return failed("cancelled", plan.Again)
	}
	w.mu.Lock()
	down := w.faults.RuntimeDown && (e.InRuntime() || e.Kind == plan.UpdateContainer || e.Kind == plan.Look || e.Kind == plan.EnsureImage)
	before, after := w.chance(w.faults.FailBefore), w.chance(w.faults.FailAfter)
	dead := a.dead
	w.mu.Unlock()
	switch {
	case dead:
		a.landLate(d, e, delay, begun)
		return failed("dead", plan.Again)
	case down:
		return failed("runtime is away", plan.Soon)
	case before:
		if e.Kind == plan.PrepareClaims && w.flip() {
			w.mu.Lock()
			w.prepareClaims(d, true)
			w.mu.Unlock()
		}
		return failed("injected before", plan.Again)
	}
	o := a.carryOut(ctx, d, e)
	w.crashIfDue(a, mine)
	if after && o.Failed == nil {
		return failed("injected after", plan.Again)
	}
	return o
}

// landLate lets a call to the runtime that a crashed agent had begun take effect after a while, as a runtime may that
// does not notice that its caller is gone.
func (a *Agent) landLate(d *pod.Desired, e plan.Effect, after time.Duration, begun bool) {
	w := a.world
	w.mu.Lock()
	late := begun && a.dead && w.faults.LandLate && e.InRuntime() && e.Kind != plan.StopContainer
	w.mu.Unlock()
	if !late {
		return
	}
	time.AfterFunc(after, func() {
		w.mu.Lock()
		w.note("%s %s lands late", d.UID(), e.Key())
		w.do(d, e)
		w.mu.Unlock()
		w.event(d.UID())
	})
}

func (w *World) flip() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.chance(0.5)
}

func (w *World) crashIfDue(a *Agent, mine int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crashAt > 0 && mine >= w.crashAt && !a.dead {
		w.crashAt = 0
		a.die(fmt.Sprint("agent crashes after effect ", mine))
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func failed(message string, class plan.Class) plan.Outcome {
	return plan.Outcome{Failed: &plan.Fault{Message: message, Class: class}}
}

// checkBegin looks for effects that must not begin.
func (w *World) checkBegin(d *pod.Desired, e plan.Effect) {
	if w.faults.LedgerFull || w.refused[d.UID()] { // what cannot be remembered may be decided anew after a crash; freeing goes on all the same
		delete(w.deadlines, e.ID)
		return
	}
	switch e.Kind {
	case plan.RunSandbox, plan.CreateContainer, plan.StartContainer:
		if r, ok := w.ledger[d.UID()]; ok && r.Kept.Stop != nil {
			w.violate("%s: %s begins although the pod is stopping", d.UID(), e.Key())
		}
		if r, ok := w.ledger[d.UID()]; !ok || r.Kept.Admitted.IsZero() {
			w.violate("%s: %s begins although admission is not remembered", d.UID(), e.Key())
		}
	case plan.PreStop:
		w.preStops[e.ID]++
		if w.preStops[e.ID] > 1 {
			w.violate("%s: preStop of %s runs again", d.UID(), e.ID)
		}
	case plan.StopContainer:
		if before, ok := w.deadlines[e.ID]; ok && e.Deadline.After(before.Add(time.Millisecond)) {
			w.violate("%s: %s gets more time than before: %s", d.UID(), e.Key(), e.Deadline.Sub(before))
		}
		w.deadlines[e.ID] = e.Deadline
	}
}

func (a *Agent) carryOut(ctx context.Context, d *pod.Desired, e plan.Effect) plan.Outcome {
	w := a.world
	uid := d.UID()
	switch e.Kind {
	case plan.PreStop, plan.PostStart:
		if !sleep(ctx, 500*time.Millisecond) {
			return failed("cut short", plan.Again)
		}
		w.hooked(e)
		return plan.Outcome{}
	case plan.StopContainer:
		a.stopContainer(ctx, e)
		return a.look(d)
	case plan.Look:
		return a.look(d)
	case plan.ReadEnd:
		return plan.Outcome{}
	case plan.MakePod, plan.SetupVolume, plan.PrepareClaims, plan.UnprepareClaims, plan.EnsureImage, plan.RunSandbox, plan.CreateContainer, plan.StartContainer,
		plan.UpdateContainer, plan.RemoveContainer, plan.StopSandbox, plan.RemoveSandbox, plan.TearVolumes, plan.GrowPod, plan.SettlePod, plan.TakeDevices,
		plan.UnmakePod, plan.ForgetPod:
	}
	w.mu.Lock()
	o := w.do(d, e)
	w.checkMemory(d, e)
	w.mu.Unlock()
	if e.InRuntime() {
		w.event(uid)
	}
	return o
}

func (a *Agent) look(d *pod.Desired) plan.Outcome {
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	r := a.world.report(d.UID())
	return plan.Outcome{Report: &r}
}

// stopContainer behaves as CRI's StopContainer: TERM once, wait, KILL at the deadline; cancelled, it only stops waiting.
func (a *Agent) stopContainer(ctx context.Context, e plan.Effect) {
	w := a.world
	w.mu.Lock()
	c := w.containers[e.ID]
	if c == nil || c.state != pod.Running {
		w.mu.Unlock()
		return
	}
	stopped := c.stopped
	w.term(c)
	w.mu.Unlock()
	timer := time.NewTimer(max(time.Until(e.Deadline), 0))
	defer timer.Stop()
	select {
	case <-stopped:
	case <-ctx.Done():
	case <-timer.C:
		w.End(e.ID, 137, "")
	}
}

// do changes the world at once. The caller holds mu.
func (w *World) do(d *pod.Desired, e plan.Effect) plan.Outcome {
	uid := d.UID()
	switch e.Kind {
	case plan.MakePod:
		w.dirs[uid], w.cgroups[uid] = true, true
		w.limit(d, w.ledger[uid].Kept.Resizing != nil)
	case plan.GrowPod, plan.SettlePod:
		w.limit(d, e.Kind == plan.GrowPod)
	case plan.UpdateContainer:
		return w.updateContainer(e)
	case plan.SetupVolume:
		return w.setupVolume(d, e)
	case plan.PrepareClaims:
		return w.prepareClaims(d, false)
	case plan.UnprepareClaims:
		return w.unprepareClaims(uid)
	case plan.TakeDevices:
		return w.takeDevices(uid)
	case plan.EnsureImage:
		c, _ := pod.FindContainer(d.Pod, e.Container)
		if w.scripts[c.Image].NoImage {
			return failed("no such image", plan.Again)
		}
		return plan.Outcome{Image: plan.ResolvedImage{ID: c.Image}}
	case plan.RunSandbox:
		return w.runSandbox(d, e)
	case plan.CreateContainer:
		return w.createContainer(d, e)
	case plan.StartContainer:
		return w.startContainer(d, e)
	case plan.RemoveContainer:
		v := pod.Container{ID: e.ID, Name: e.Container, Attempt: e.Attempt} // it may be gone already: then it is no other way
		if c := w.containers[e.ID]; c != nil {
			delete(w.containers, e.ID)
			v = c.view()
		}
		v.State = pod.Gone
		return plan.Outcome{Report: &pod.Report{Own: true, Began: time.Now(), Containers: []pod.Container{v}}}
	case plan.StopSandbox:
		if s := w.sandboxes[e.ID]; s != nil {
			w.stopSandbox(s)
		}
		r := w.report(uid)
		return plan.Outcome{Report: &r}
	case plan.RemoveSandbox:
		w.removeSandbox(e.ID)
		r := w.report(uid)
		return plan.Outcome{Report: &r}
	case plan.TearVolumes:
		delete(w.volumes, uid)
	case plan.UnmakePod:
		delete(w.cgroups, uid)
		delete(w.memory, uid)
	case plan.ForgetPod:
		delete(w.dirs, uid)
	}
	return plan.Outcome{}
}

func (w *World) setupVolume(d *pod.Desired, e plan.Effect) plan.Outcome {
	uid := d.UID()
	from := ^uint64(0) // what is made of no object is never old
	for i := range d.Pod.Spec.Volumes {
		if v := &d.Pod.Spec.Volumes[i]; v.Name == e.Volume && v.ConfigMap != nil {
			if w.objects[uid].missing {
				return failed("configmap not found", plan.Again)
			}
			from = w.objects[uid].revision
		}
	}
	if w.volumes[uid] == nil {
		w.volumes[uid] = map[string]uint64{}
	}
	w.volumes[uid][e.Volume] = from
	return plan.Outcome{}
}

func (w *World) runSandbox(d *pod.Desired, e plan.Effect) plan.Outcome {
	for _, s := range w.sandboxes {
		if s.uid == d.UID() && s.attempt == e.Attempt {
			return failed("name is reserved", plan.Again)
		}
	}
	if !w.cgroups[d.UID()] {
		w.violate("%s: sandbox without a cgroup", d.UID())
	}
	w.checkClaims(d, "a sandbox")
	s := &sandbox{id: w.id("s"), uid: d.UID(), attempt: e.Attempt, ready: true, created: time.Now(), host: d.Pod.Spec.HostNetwork}
	w.sandboxes[s.id] = s
	w.checkSandbox(s)
	return plan.Outcome{Report: &pod.Report{Own: true, Began: time.Now(), Sandboxes: []pod.Sandbox{s.view()}}}
}

func (w *World) removeSandbox(id string) {
	s := w.sandboxes[id]
	if s == nil {
		return
	}
	w.stopSandbox(s)
	for cid, c := range w.containers {
		if c.sandbox == id {
			delete(w.containers, cid)
		}
	}
	delete(w.sandboxes, id)
}

func (w *World) createContainer(d *pod.Desired, e plan.Effect) plan.Outcome {
	spec, _ := pod.FindContainer(d.Pod, e.Container)
	s := w.sandboxes[e.SandboxID]
	switch {
	case s == nil || !s.ready:
		return failed("sandbox is not ready", plan.Again)
	case len(w.volumes[d.UID()]) < len(d.Pod.Spec.Volumes):
		w.violate("%s: container %s without its volumes", d.UID(), e.Container)
	}
	for _, c := range w.containers {
		if c.uid == d.UID() && c.name == e.Container && c.attempt == e.Attempt {
			return failed("name is reserved", plan.Again)
		}
	}
	annotations, err := translate.ContainerAnnotations(d.Pod, spec, e.Attempt)
	if err != nil {
		return failed(err.Error(), plan.Again)
	}
	c := &container{
		annotations: annotations,
		id:          w.id("c"), sandbox: e.SandboxID, name: e.Container, uid: d.UID(), attempt: e.Attempt, state: pod.Created,
		hash: names.HashContainer(spec), image: spec.Image, created: time.Now(), given: plan.GivenOf(d.Pod, spec),
	}
	w.containers[c.id] = c
	return plan.Outcome{Report: &pod.Report{Own: true, Began: time.Now(), Containers: []pod.Container{c.view()}}}
}

func (w *World) startContainer(d *pod.Desired, e plan.Effect) plan.Outcome {
	c := w.containers[e.ID]
	if c == nil || c.state != pod.Created {
		return failed("not in created state", plan.Again)
	}
	if s := w.sandboxes[c.sandbox]; s == nil || !s.ready {
		return failed("sandbox is not ready", plan.Again)
	}
	w.checkInitOrder(d, c)
	w.checkClaims(d, "container "+c.name)
	w.checkDevices(d, c)
	w.start(c)
	return plan.Outcome{Report: &pod.Report{Own: true, Began: time.Now(), Containers: []pod.Container{c.view()}}}
}

// checkInitOrder holds that an init container runs after the ones before it, and regular ones after all of them.
func (w *World) checkInitOrder(d *pod.Desired, c *container) {
	if w.past(c) { // its start was under way when all were to end
		return
	}
	for i := range d.Pod.Spec.InitContainers {
		init := &d.Pod.Spec.InitContainers[i]
		if init.Name == c.name {
			return
		}
		ok := false
		for _, other := range w.containers {
			if other.uid != c.uid || other.name != init.Name || other.sandbox != c.sandbox || w.past(other) {
				continue
			}
			ok = ok || pod.IsSidecar(init) && other.state >= pod.Running || other.state == pod.Exited && other.code == 0
		}
		if !ok && !w.regularIn(d, c.sandbox) {
			w.violate("%s: %s started before init container %s was done", d.UID(), c.name, init.Name)
		}
	}
}

func (w *World) regularIn(d *pod.Desired, sandbox string) bool {
	for _, c := range w.containers {
		for i := range d.Pod.Spec.Containers {
			if c.sandbox == sandbox && c.name == d.Pod.Spec.Containers[i].Name && c.state >= pod.Running && !w.past(c) {
				return true
			}
		}
	}
	return false
}
