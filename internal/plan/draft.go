package plan

import (
	"time"

	"github.com/bosun-project/bosun/internal/pod"
)

// draft is a plan being written. It never leaves Next.
type draft struct {
	// in.Desired is the pod with the resources it was given, until it has to stop; wanted is as its source says.
	in     Input
	wanted *pod.Desired
	mem    Memory
	obs    pod.Observed

	effects []Effect
	waits   []Wait
	wakeAt  time.Time
}

// want asks for an effect, unless it failed lately and its pause is not over. It tells whether the effect is wanted now.
func (d *draft) want(e Effect) bool {
	if f, ok := d.mem.Kept.Failures[e.Subject()]; ok && d.in.Now.Before(f.RetryAt) && f.Of == failureOf(e) {
		d.wait(Wait{For: e.Subject(), Detail: f.Message, Until: f.RetryAt})
		return false
	}
	d.effects = append(d.effects, e)
	return true
}

// wantOfRuntime is want for what only a runtime that answers can do.
func (d *draft) wantOfRuntime(e Effect) bool {
	if !d.in.Facts.RuntimeUp {
		d.wait(Wait{For: "runtime", Detail: d.in.Facts.RuntimeMessage})
		return false
	}
	return d.want(e)
}

func (d *draft) wait(w Wait) {
	for _, have := range d.waits {
		if have.For == w.For {
			return
		}
	}
	d.waits = append(d.waits, w)
	if !w.Until.IsZero() {
		d.wake(w.Until)
	}
}

// wake asks to be woken at a time to come; what is past has been considered.
func (d *draft) wake(at time.Time) {
	if !at.After(d.in.Now) {
		return
	}
	if d.wakeAt.IsZero() || at.Before(d.wakeAt) {
		d.wakeAt = at
	}
}

// fresh tells whether what is observed can be trusted to be complete. If not, it asks for an inspection and leaves
// everything that is in flight as it is: not knowing is no reason to cut anything short. An event about something
// unknown means little while this agent is making something: it will be told what.
func (d *draft) fresh() bool {
	newest := d.obs.Inspected
	known := !newest.IsZero() && newest.After(d.mem.Session.Stale)
	if known && (d.obs.Surprised.IsZero() || d.busyMaking()) {
		return true
	}
	d.wait(Wait{For: "inspection", Detail: "what the runtime has of the pod is not known yet"})
	d.wantOfRuntime(Effect{Kind: Look})
	for _, e := range d.in.InFlight {
		d.keep(e)
	}
	return false
}

// keep goes on wanting an effect that is in flight.
func (d *draft) keep(e Effect) {
	if !d.planned(e) {
		d.effects = append(d.effects, e)
	}
}

// planned tells whether the plan has an effect about the same thing already.
func (d *draft) planned(e Effect) bool {
	key := e.Key()
	for i := range d.effects {
		if d.effects[i].Key() == key {
			return true
		}
	}
	return false
}

// wants tells whether an effect of a kind on a container or sandbox is in the plan.
func (d *draft) wants(k Kind, id string) bool {
	for i := range d.effects {
		if d.effects[i].Kind == k && d.effects[i].ID == id {
			return true
		}
	}
	return false
}

// finish lets calls that are under way come to their end though the runtime has told already what they bring about:
// cut short, a sandbox would keep half its network, or a container its log unlinked.
func (d *draft) finish() {
	for _, e := range d.in.InFlight {
		switch e.Kind {
		case StopContainer, StopSandbox, RemoveContainer, RemoveSandbox:
			d.keep(e)
		case StartContainer, CreateContainer, RunSandbox, UpdateContainer:
			if d.mem.Stage < Stopping {
				d.keep(e)
			}
		case Look, MakePod, SetupVolume, PrepareClaims, EnsureImage, PostStart, PreStop, ReadEnd, UnprepareClaims, TearVolumes, GrowPod, SettlePod,
			UnmakePod, ForgetPod:
		}
	}
}

// flying tells whether an effect of a kind on a container or sandbox is in flight.
func (d *draft) flying(k Kind, id string) bool {
	for _, e := range d.in.InFlight {
		if e.Kind == k && e.ID == id {
			return true
		}
	}
	return false
}

// busyMaking tells whether something is still in flight that may bring a sandbox or container to life.
func (d *draft) busyMaking() bool {
	for _, e := range d.in.InFlight {
		if e.Makes() {
			return true
		}
	}
	return false
}

// remember changes what is kept of a container.
func (d *draft) remember(name string, change func(*ContainerMemory)) {
	if d.mem.Kept.Containers == nil {
		d.mem.Kept.Containers = map[string]ContainerMemory{}
	}
	c := d.mem.Kept.Containers[name]
	change(&c)
	d.mem.Kept.Containers[name] = c
}

// began notes that this process runs a hook of a container instance.
func (d *draft) began(k Kind, id string) {
	if d.mem.Session.Hooks == nil {
		d.mem.Session.Hooks = map[string]bool{}
	}
	d.mem.Session.Hooks[k.String()+" "+id] = true
}

func (d *draft) hasBegun(k Kind, id string) bool { return d.mem.Session.Hooks[k.String()+" "+id] }

// nextAttempt is the number of a container's next instance, one more than any ever known (behaviour 61).
func (d *draft) nextAttempt(name string) uint32 {
	next := uint32(0)
	if highest, ok := d.mem.Session.Attempts[name]; ok {
		next = highest + 1
	}
	for i := range d.obs.Containers {
		if c := &d.obs.Containers[i]; c.Name == name && c.Attempt >= next {
			next = c.Attempt + 1
		}
	}
	if r := d.mem.Kept.Renewal; r != nil { // records and logs may be gone, but what comes now is not of the past
		next = max(next, r.Since[name])
	}
	return next
}

// sandbox is the sandbox the pod lives in: the newest one, if it is good. Nil means that a new one is needed
// (behaviour 47).
func (d *draft) sandbox() *pod.Sandbox {
	for i := range d.obs.Sandboxes {
		s := &d.obs.Sandboxes[i]
		if s.Gone {
			continue
		}
		host := d.in.Desired.Pod.Spec.HostNetwork
		if s.Ready && s.HostNetwork == host && (host || len(s.IPs) > 0) && s.ID != d.mem.Kept.Uprooted {
			return s
		}
		return nil
	}
	return nil
}
