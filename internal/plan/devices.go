package plan

import (
	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/reason"
)

// devices wants what the plugins hand out for the pod's devices, and tells whether it is there. What was handed out before the machine
// was started anew does not count.
//
//	assigned (admission) ──► handed out (take devices) ──► containers
func (d *draft) devices() bool {
	if d.handed() {
		return true
	}
	if no := d.deviceless(); no != nil {
		d.wait(Wait{For: no.For, Detail: no.Message, Until: no.Until})
		return false
	}
	e := Effect{Kind: TakeDevices, Content: d.bondMark()}
	if !d.planned(e) {
		d.want(e)
	}
	return false
}

// handed tells whether the pod has what belongs to its devices, if it has any.
func (d *draft) handed() bool {
	kept := &d.mem.Kept
	return !kept.Assigned.HasDevices() || kept.Handed != nil && (kept.Handed.Boot == d.in.Facts.Boot || d.in.Facts.Boot == "")
}

// deviceless is what stands against asking the plugins. A static pod waits for them as long as it takes: nobody would bring it back.
func (d *draft) deviceless() *allocate.Obstacle {
	return d.in.Facts.Bond.Obstacle(d.in.Desired.Static(), d.in.Now)
}

// bondMark changes when a plugin of the pod's devices has come: what failed may work then.
func (d *draft) bondMark() uint64 {
	if b := d.in.Facts.Bond; b != nil {
		return b.Mark
	}
	return 0
}

// undeliverable says why the devices that the pod was admitted with can never be had; empty if they can (behaviour 238).
func (d *draft) undeliverable() string {
	if d.handed() {
		return ""
	}
	if f := d.mem.Kept.Failures[Effect{Kind: TakeDevices}.Subject()]; f.Reason == reason.UnexpectedAdmissionError {
		return f.Message
	}
	if no := d.deviceless(); no != nil && no.Reason != "" && !d.live() {
		return no.Message
	}
	return ""
}

// live tells whether a container of the pod may have a process.
func (d *draft) live() bool {
	for i := range d.obs.Containers {
		if d.obs.Containers[i].Live() {
			return true
		}
	}
	return false
}
