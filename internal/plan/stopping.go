package plan

import (
	"time"

	"github.com/bosun-project/bosun/internal/pod"
)

// stopping ends all containers: their preStop hooks run at once, sidecars get their TERM after the containers that
// lean on them, and everybody shares one absolute deadline (behaviours 111, 133, 143, 144). Then the pod's ResourceClaims are given back.
func (d *draft) stopping() {
	d.shorten()
	live := false
	for i := range d.obs.Containers {
		c := &d.obs.Containers[i]
		if !c.Live() {
			continue
		}
		live = true
		deadline, why := d.deadlineOf(c)
		if d.preStopping(c, deadline) {
			continue
		}
		if d.in.Now.Before(deadline) && d.leanedOn(c) {
			d.wait(Wait{For: "end of the containers before sidecar " + c.Name, Until: deadline})
			continue
		}
		d.end(c, deadline, why)
	}
	if live || !d.settledDown() || !d.unclaimed() {
		return
	}
	d.mem.Stage = Cleaning
}

// deadlineOf is when a container has to be gone: with the pod, or earlier if it was being killed already.
func (d *draft) deadlineOf(c *pod.Container) (time.Time, string) {
	deadline := d.mem.Kept.Stop.Deadline
	k := d.mem.Kept.Containers[c.Name].Kill
	if k.ID != c.ID {
		return deadline, ""
	}
	if k.Deadline.Before(deadline) {
		deadline = k.Deadline
	}
	return deadline, k.Why
}

// settledDown tells whether nothing can come to life any more that the agent does not know of.
func (d *draft) settledDown() bool {
	if d.busyMaking() {
		d.wait(Wait{For: "cancelled start"})
		return false
	}
	for _, e := range d.in.InFlight {
		if e.Kind == StopContainer || e.Kind == RemoveContainer || e.Kind == RemoveSandbox {
			d.wait(Wait{For: "end of " + e.Key()})
			return false
		}
	}
	return d.fresh()
}

// leanedOn tells whether a sidecar has to wait: regular containers, or sidecars declared after it, still run.
func (d *draft) leanedOn(c *pod.Container) bool {
	inits := d.in.Desired.Pod.Spec.InitContainers
	at := -1
	for i := range inits {
		if inits[i].Name == c.Name && pod.IsSidecar(&inits[i]) {
			at = i
		}
	}
	if at < 0 {
		return false
	}
	before := map[string]bool{}
	for i := range inits[:at+1] {
		if pod.IsSidecar(&inits[i]) {
			before[inits[i].Name] = true
		}
	}
	for i := range d.obs.Containers {
		if other := &d.obs.Containers[i]; other.Live() && !before[other.Name] {
			return true
		}
	}
	return false
}
