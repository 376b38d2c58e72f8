package plan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

// Renewal is the restart of all containers of a pod in place, which the end of one of them asked for (behaviour 114). The
// sandbox, its addresses and the volumes stay. What was made before it ends quickly and without hooks; then the pod begins
// again with its first init container, whatever the containers' own restart policies say. Ephemeral containers end with the
// others and do not come back.
type Renewal struct {
	// Container is whose end asked for it, ID the instance that ended.
	Container string    `json:"container"`
	ID        string    `json:"id"`
	ExitCode  int32     `json:"exitCode"`
	At        time.Time `json:"at"`
	// Since is the first attempt of each container that belongs to the pod as it begins again. An instance of an earlier
	// attempt is of the past: no rule but that of its end looks at it.
	Since map[string]uint32 `json:"since,omitempty"`
}

// Past tells whether an instance was made before all containers were restarted for the last time.
func (m *Memory) Past(c *pod.Container) bool {
	r := m.Kept.Renewal
	return r != nil && c.Attempt < r.Since[c.Name]
}

// Renewing tells whether instances of the past still run.
func (m *Memory) Renewing(o pod.Observed) bool {
	for i := range o.Containers {
		if c := &o.Containers[i]; c.Live() && m.Past(c) {
			return true
		}
	}
	return false
}

// Renews tells whether a container has a rule that may restart all containers of its pod.
func Renews(c *v1.Container) bool {
	for i := range c.RestartPolicyRules {
		if c.RestartPolicyRules[i].Action == v1.ContainerRestartRuleActionRestartAllContainers {
			return true
		}
	}
	return false
}

// latest is the newest instance of a container that is not of the past, or nil.
func (d *draft) latest(name string) *pod.Container { return d.present(d.obs.Latest(name)) }

// latestIn is latest among the containers of one sandbox.
func (d *draft) latestIn(sandboxID, name string) *pod.Container {
	return d.present(d.obs.LatestIn(sandboxID, name))
}

func (d *draft) present(c *pod.Container) *pod.Container {
	if c == nil || d.mem.Past(c) {
		return nil
	}
	return c
}

// hadContainers tells whether the pod had containers that are not of the past.
func (d *draft) hadContainers() bool {
	for i := range d.obs.Containers {
		if !d.mem.Past(&d.obs.Containers[i]) {
			return true
		}
	}
	return false
}

// renew decides to restart all containers if the end of one asks for it. It tells whether it did.
func (d *draft) renew() bool {
	spec := &d.in.Desired.Pod.Spec
	for _, list := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			c := &list[i]
			last := d.latest(c.Name)
			if last == nil || last.State != pod.Exited || d.killedToRestart(last) ||
				ruleFor(c, last.ExitCode) != v1.ContainerRestartRuleActionRestartAllContainers {
				continue
			}
			d.backoff(c, last) // the pod as a whole waits as long as this container would
			d.mem.Kept.Renewal = &Renewal{Container: c.Name, ID: last.ID, ExitCode: last.ExitCode, At: d.in.Now, Since: d.attempts()}
			return true
		}
	}
	return false
}

// attempts are the next attempts of all containers that have ever been made, or may just be.
func (d *draft) attempts() map[string]uint32 {
	out := map[string]uint32{}
	for i := range d.obs.Containers {
		name := d.obs.Containers[i].Name
		out[name] = d.nextAttempt(name)
	}
	for _, e := range d.in.InFlight {
		if e.Kind == CreateContainer {
			out[e.Container] = max(out[e.Container], d.nextAttempt(e.Container), e.Attempt+1)
		}
	}
	return out
}

// renewing ends what is of the past. It tells whether the pod cannot begin again yet: because something of the past runs, or
// because the pause is not over that the container has earned whose end it was.
func (d *draft) renewing() bool {
	r := d.mem.Kept.Renewal
	if r == nil {
		return false
	}
	busy := false
	for i := range d.obs.Containers {
		if c := &d.obs.Containers[i]; c.Live() && d.mem.Past(c) {
			d.endOfPast(c, r)
			busy = true
		}
	}
	for _, e := range d.in.InFlight {
		busy = busy || (e.Kind == CreateContainer || e.Kind == StartContainer) && e.Attempt < r.Since[e.Container]
	}
	if busy {
		d.wait(Wait{For: "end of all containers", Detail: "container " + r.Container + " has asked for a restart of all"})
		return true
	}
	c, _ := pod.FindContainer(d.in.Desired.Pod, r.Container)
	b := d.mem.Kept.Containers[r.Container].Backoff
	if c != nil && b.For == r.ID && b.Of == definition(c) && d.in.Now.Before(b.Until) {
		d.wait(Wait{For: "back-off of " + r.Container, Detail: "restarting all containers", Until: b.Until})
		return true
	}
	return false
}

// endOfPast ends one instance of the past, with no more grace than there must be and without its hook.
func (d *draft) endOfPast(c *pod.Container, r *Renewal) {
	k := d.mem.Kept.Containers[c.Name].Kill
	if k.ID != c.ID || !k.All {
		k = Kill{
			ID: c.ID, At: d.in.Now, Grace: floor, Deadline: d.in.Now.Add(floor), Restart: true, All: true,
			Why: "Container " + r.Container + " asked for a restart of all containers",
		}
		d.remember(c.Name, func(m *ContainerMemory) { m.Kill = k })
	}
	d.end(c, k.Deadline, k.Why)
}

// ruleFor is the action of the first rule of a container that is about an exit code; empty if there is none.
func ruleFor(c *v1.Container, code int32) v1.ContainerRestartRuleAction {
	for i := range c.RestartPolicyRules {
		if rule := &c.RestartPolicyRules[i]; ruleMatches(rule.ExitCodes, code) {
			return rule.Action
		}
	}
	return ""
}

func ruleMatches(on *v1.ContainerRestartRuleOnExitCodes, code int32) bool {
	if on == nil {
		return false
	}
	in := false
	for _, v := range on.Values {
		in = in || v == code
	}
	return in == (on.Operator == v1.ContainerRestartRuleOnExitCodesOpIn)
}
