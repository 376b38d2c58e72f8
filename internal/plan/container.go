package plan

import (
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
)

// progress is how far one container has come.
type progress uint8

const (
	busy     progress = iota // something is in flight: containers after it wait
	blocked                  // it failed and waits for its next try, or is being ended: others go on
	unproven                 // it runs and its postStart hook has succeeded, its startup probe has not yet: init containers wait
	settled                  // it runs, and its startup probe has succeeded as well
	finished                 // it ended and will not start again
)

// drive brings one container one step on. With mayStart false it only tends what is there already.
//
//	none ──► image ──► created ──► running ──► (postStart, startup probe) settled
//	  ▲                               │ exit, or killed
//	  └──── back-off ◄── exited ◄─────┘
func (d *draft) drive(c *v1.Container, current *pod.Sandbox, mayStart bool) progress {
	last := d.latest(c.Name)
	if last != nil && last.Live() && last.SandboxID != current.ID {
		d.kill(last, "Pod sandbox changed, it will be killed and re-created.", d.in.Desired.Grace(), true)
		return blocked
	}
	switch {
	case last == nil || last.State == pod.Created && last.SandboxID != current.ID:
		return d.create(c, current, mayStart)
	case last.State == pod.Exited && last.ExitCode == 0 && last.SandboxID != current.ID && d.plainInit(c):
		return d.create(c, current, mayStart) // a new sandbox is initialised from the first again (behaviour 48)
	case last.State == pod.Created:
		return d.start(c, last, mayStart)
	case last.State == pod.Exited && !d.restarts(c, last):
		return finished
	case last.State == pod.Exited:
		if until, waits := d.backoff(c, last); waits {
			d.wait(Wait{For: "back-off of " + c.Name, Detail: "restarting failed container", Until: until})
			return blocked
		}
		return d.create(c, current, mayStart)
	case last.State == pod.Unknown:
		d.kill(last, "Container is in \"unknown\" state, try killing it before restart", d.in.Desired.Grace(), true)
		return blocked
	}
	return d.tend(c, last)
}

// create wants the image, then the container.
func (d *draft) create(c *v1.Container, current *pod.Sandbox, mayStart bool) progress {
	if !mayStart {
		return busy
	}
	if d.growing() { // it is made with what the pod was given, for which there is no room yet
		return busy
	}
	switch {
	case d.ready():
	case !d.claimed():
		d.wait(Wait{For: "resource claims", Detail: "container " + c.Name + " starts once the resource claims of the pod are prepared"})
		return busy
	default:
		d.wait(Wait{For: "volumes", Detail: "container " + c.Name + " starts once the volumes of the pod are set up"})
		return busy
	}
	if !d.devices() {
		return busy
	}
	attempt := d.nextAttempt(c.Name)
	there, mounted := d.image(c, attempt), d.volumeImages(c)
	switch {
	case there && mounted:
	case d.lacksImage(c):
		return blocked
	default:
		return busy
	}
	e := Effect{Kind: CreateContainer, Container: c.Name, Attempt: attempt, SandboxID: current.ID, Image: d.mem.Session.Images[c.Name].ID, Content: d.in.Facts.Content ^ d.bondMark()}
	if !d.wantOfRuntime(e) {
		return blocked
	}
	return busy
}

// start wants a created container started. Before, it is remembered that its postStart hook is owed: so a container
// that another agent started never gets the hook from this one.
func (d *draft) start(c *v1.Container, last *pod.Container, mayStart bool) progress {
	if !mayStart {
		return busy
	}
	if c.Lifecycle != nil && c.Lifecycle.PostStart != nil && d.mem.Kept.Containers[c.Name].PostStart.ID != last.ID {
		d.remember(c.Name, func(m *ContainerMemory) { m.PostStart = Hook{ID: last.ID} })
	}
	if !d.wantOfRuntime(Effect{Kind: StartContainer, Container: c.Name, Attempt: last.Attempt, ID: last.ID}) {
		return blocked
	}
	return busy
}

// tend looks after a running container.
func (d *draft) tend(c *v1.Container, last *pod.Container) progress {
	if d.flying(StartContainer, last.ID) {
		return busy
	}
	m := d.mem.Kept.Containers[c.Name]
	health, probed := d.in.Facts.Health[last.ID]
	if said := (Proven{ID: last.ID, Started: health.Started, Ready: health.Ready}); probed && m.Proven != said {
		d.remember(c.Name, func(m *ContainerMemory) { m.Proven = said })
	}
	started := probed && health.Started || !probed && m.Proven.ID == last.ID && m.Proven.Started
	switch {
	case m.Kill.ID == last.ID:
		d.carryOut(last, m.Kill)
		return blocked
	case last.Hash != "" && last.Hash != names.HashContainer(c) && !d.plainInit(c):
		d.kill(last, "Container "+c.Name+" definition changed, will be restarted", d.in.Desired.Grace(), true)
		return blocked
	case d.restartsToResize(c, last):
		d.kill(last, "Container "+c.Name+" resize requires restart", d.in.Desired.Grace(), true)
		return blocked
	case health.Failed != "":
		grace := d.in.Desired.Grace()
		if health.Grace != nil {
			grace = *health.Grace
		}
		d.kill(last, health.Failed, grace, false)
		return blocked
	}
	if m.PostStart.ID == last.ID {
		if m.PostStart.Failure != "" {
			d.kill(last, "FailedPostStartHook", d.in.Desired.Grace(), false)
			return blocked
		}
		if !m.PostStart.Done {
			if m.PostStart.Began.IsZero() {
				d.remember(c.Name, func(m *ContainerMemory) { m.PostStart.Began = d.in.Now })
			}
			d.wantOfRuntime(Effect{Kind: PostStart, Container: c.Name, ID: last.ID, Attempt: last.Attempt})
			return busy
		}
	}
	if c.StartupProbe != nil && d.in.Facts.Probing && !started {
		d.wait(Wait{For: "startup probe of " + c.Name})
		return unproven
	}
	return settled
}

// plainInit tells whether c is a regular init container: a change of its image is ignored (behaviour 106).
func (d *draft) plainInit(c *v1.Container) bool {
	for i := range d.in.Desired.Pod.Spec.InitContainers {
		if d.in.Desired.Pod.Spec.InitContainers[i].Name == c.Name {
			return !pod.IsSidecar(c)
		}
	}
	return false
}

// kill decides to end one instance, once, and wants that done. With restart it starts again whatever its policy.
func (d *draft) kill(c *pod.Container, why string, grace Duration, restart bool) {
	if d.mem.Kept.Containers[c.Name].Kill.ID != c.ID {
		grace = max(grace, floor)
		d.remember(c.Name, func(m *ContainerMemory) {
			m.Kill = Kill{ID: c.ID, Why: why, At: d.in.Now, Grace: grace, Deadline: d.in.Now.Add(grace), Restart: restart}
		})
	}
	d.carryOut(c, d.mem.Kept.Containers[c.Name].Kill)
}

// carryOut wants the preStop hook, then the end, of an instance that has to go.
func (d *draft) carryOut(c *pod.Container, k Kill) {
	if d.preStopping(c, k.Deadline) {
		return
	}
	d.end(c, k.Deadline, k.Why)
}

// stopGrace is the least time an instance has between TERM and KILL (behaviour 144).
const stopGrace = 2 * time.Second

// end wants an instance told to end, and killed at the deadline. When it was first told is remembered, so that what it
// has at least is not given anew by each life of the agent.
func (d *draft) end(c *pod.Container, deadline Time, why string) {
	if d.in.Facts.RuntimeUp && d.mem.Kept.Containers[c.Name].Term.ID != c.ID {
		d.remember(c.Name, func(m *ContainerMemory) { m.Term = Term{ID: c.ID, At: d.in.Now} })
	}
	if t := d.mem.Kept.Containers[c.Name].Term; t.ID == c.ID {
		deadline = later(deadline, t.At.Add(stopGrace))
	}
	d.wantOfRuntime(Effect{Kind: StopContainer, Container: c.Name, ID: c.ID, Attempt: c.Attempt, Deadline: deadline, Why: why})
}

// preStopping tells whether the preStop hook of an instance is still to be waited for, and wants it if it has not run.
// A hook runs once: one that a crash of the agent cut short is not begun again (pains, row 2).
func (d *draft) preStopping(c *pod.Container, deadline Time) bool {
	if c.State != pod.Running || !d.hasPreStop(c) || !d.in.Now.Before(deadline) {
		return false
	}
	h, k := d.mem.Kept.Containers[c.Name].PreStop, d.mem.Kept.Containers[c.Name].Kill
	switch {
	case k.ID == c.ID && k.All: // it was told to end already
		return false
	case h.ID != c.ID:
		d.remember(c.Name, func(m *ContainerMemory) { m.PreStop = Hook{ID: c.ID, Began: d.in.Now} })
		d.began(PreStop, c.ID)
	case h.Done || !d.hasBegun(PreStop, c.ID):
		return false
	}
	d.wake(deadline)
	d.wantOfRuntime(Effect{Kind: PreStop, Container: c.Name, ID: c.ID, Attempt: c.Attempt, Deadline: deadline})
	return true
}

func (d *draft) hasPreStop(c *pod.Container) bool {
	spec, _ := pod.FindContainer(d.in.Desired.Pod, c.Name)
	return spec != nil && spec.Lifecycle != nil && spec.Lifecycle.PreStop != nil
}

// killedToRestart tells whether an instance was ended in order to be started again.
func (d *draft) killedToRestart(c *pod.Container) bool {
	k := d.mem.Kept.Containers[c.Name].Kill
	return k.ID == c.ID && k.Restart
}

// restarts tells whether an ended container may start again (behaviours 89, 105, 109, 114, 140).
func (d *draft) restarts(c *v1.Container, last *pod.Container) bool {
	if d.killedToRestart(last) || d.mem.Past(last) {
		return true
	}
	policy := d.in.Desired.Pod.Spec.RestartPolicy
	if c.RestartPolicy != nil {
		policy = v1.RestartPolicy(*c.RestartPolicy)
	}
	switch ruleFor(c, last.ExitCode) {
	case v1.ContainerRestartRuleActionRestart, v1.ContainerRestartRuleActionRestartAllContainers:
		return true
	}
	switch policy {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return last.ExitCode != 0
	case v1.RestartPolicyAlways:
	}
	if d.plainInit(c) { // Always means: until it has succeeded
		return last.ExitCode != 0
	}
	return true
}

// definition identifies what a crash history belongs to: another image or other resources start a new one (behaviour 138).
func definition(c *v1.Container) string {
	return names.HashContainer(c) + "/" + strconv.FormatUint(uint64(names.Fingerprint(c.Resources)), 16)
}
