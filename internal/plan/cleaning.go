package plan

import (
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// cleaning takes away what the pod used, in the order in which it may go: sandboxes, volumes, cgroup. A pod that has
// ended but is still wanted then rests: its ended containers and logs stay to be looked at, until its source drops it
// (behaviours 146, 260, 365).
func (d *draft) cleaning() {
	d.shorten()
	for i := range d.obs.Containers {
		if d.obs.Containers[i].Live() { // somebody started it again from outside
			d.mem.Stage = Stopping
			return
		}
	}
	d.mem.Session.Rested = false
	if d.stopSandboxes() || !d.tornDown() {
		return
	}
	d.mem.Session.Rested = true
	if d.outlived() { // its records and logs stay, as they do when a container starts again
		if d.settledDown() {
			d.mem.Stage = Done
		}
		return
	}
	// A pod that was dropped and is wanted again begins a new life when this one is over (behaviour 26).
	dropped := d.mem.Kept.Stop.Cause == Removed || d.mem.Kept.Stop.Cause == Orphaned
	if d.in.Desired.Wanted && !dropped || !d.in.Facts.SourcesReady {
		d.rest()
		return
	}
	if d.removeRecords() || !d.settledDown() {
		return
	}
	if !d.mem.Session.Forgotten {
		d.want(Effect{Kind: ForgetPod})
		return
	}
	d.mem.Stage = Done
}

// outlived tells whether the pod has ended for a shutdown that is over, or did not come about, and is to begin anew.
func (d *draft) outlived() bool {
	des, facts, stop := d.in.Desired, d.in.Facts, d.mem.Kept.Stop
	if !facts.Staying || facts.Order != nil || !des.Own() || !des.Wanted {
		return false
	}
	return stop.Cause == Ordered && stop.Reason == reason.Terminated || stop.Cause == Refused && stop.Reason == reason.NodeShutdown
}

func (d *draft) stopSandboxes() bool {
	found := false
	for i := range d.obs.Sandboxes {
		if s := &d.obs.Sandboxes[i]; !s.Gone && (s.Ready || d.flying(StopSandbox, s.ID)) {
			found = true
			d.wantOfRuntime(Effect{Kind: StopSandbox, ID: s.ID, Attempt: s.Attempt})
		}
	}
	return found
}

func (d *draft) tornDown() bool {
	switch s := d.mem.Session; {
	case !s.Torn:
		d.want(Effect{Kind: TearVolumes})
	case !s.Unmade:
		d.want(Effect{Kind: UnmakePod})
	default:
		return true
	}
	return false
}

// rest keeps ended instances of each container and waits for the pod to be dropped. Of an evicted pod it keeps none: the
// node needs the room (behaviour 260).
func (d *draft) rest() {
	d.wait(Wait{For: "removal", Detail: "the pod has ended; its records and logs stay until its source drops it"})
	if !d.fresh() {
		return
	}
	dead := map[string]int{}
	for i := range d.obs.Containers {
		c := &d.obs.Containers[i]
		switch {
		case c.State == pod.Created, c.State == pod.Exited && (d.evicted() || !d.stays(c, dead[c.Name], false)):
			d.wantOfRuntime(Effect{Kind: RemoveContainer, Container: c.Name, ID: c.ID, Attempt: c.Attempt})
		case c.State == pod.Exited:
			dead[c.Name]++
		}
	}
}

// evicted tells whether the node has ended the pod to have more room, so that nothing but its logs may stay.
func (d *draft) evicted() bool {
	stop := d.mem.Kept.Stop
	return stop.Reason == reason.Evicted && (stop.Cause == Ordered || stop.Cause == Overfull)
}

// removeRecords removes all containers and sandboxes from the runtime; it tells whether any are left.
func (d *draft) removeRecords() bool {
	left := false
	for i := range d.obs.Containers {
		if c := &d.obs.Containers[i]; c.State != pod.Gone {
			left = true
			d.wantOfRuntime(Effect{Kind: RemoveContainer, Container: c.Name, ID: c.ID, Attempt: c.Attempt})
		}
	}
	if left {
		return true
	}
	for i := range d.obs.Sandboxes {
		if s := &d.obs.Sandboxes[i]; !s.Gone {
			left = true
			d.wantOfRuntime(Effect{Kind: RemoveSandbox, ID: s.ID, Attempt: s.Attempt})
		}
	}
	return left
}
