package plan

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/pod"
)

// Input is everything a plan may depend on.
type Input struct {
	Desired  *pod.Desired
	Memory   Memory
	Observed pod.Observed
	// InFlight holds the effects that have not returned yet, cancelled ones included.
	InFlight []Effect
	Facts    Facts
	Now      time.Time
}

// Facts is what the node as a whole tells a pod.
type Facts struct {
	// SourcesReady is true once every source has spoken: before, nothing may be deleted (behaviour 6).
	SourcesReady bool
	// RuntimeUp is whether the runtime answers; RuntimeMessage says why not.
	RuntimeUp      bool
	RuntimeMessage string
	// NetworkReady is whether pods that want a network of their own can have one.
	NetworkReady   bool
	NetworkMessage string
	// Rival is another pod of the same full name that has not ended yet; empty if there is none (behaviour 16).
	Rival types.UID
	// Verdict is what admission says.
	Verdict Verdict
	// Boot identifies since when the machine runs; empty if that is not known. Bond is how the devices that the pod has fare; nil if
	// it has none.
	Boot string
	Bond *allocate.Bond
	// Claimed are how the devices of ResourceClaims fare that a container has, by its name, as its status tells.
	Claimed map[string][]v1.ResourceStatus
	// Resize is what admission says of other resources that the pod is wanted with.
	Resize Resize
	// Order makes the pod stop for the node's sake; nil if nothing does.
	Order *Order
	// Staying tells that the machine is known not to be going down: a static pod that a shutdown has ended begins anew then,
	// for there is nobody else who would bring it back (behaviours 308, 310).
	Staying bool
	// Health is what the probes say, by container ID. A container with probes and no entry has not been probed yet.
	Health map[string]Health
	// Probing is true while the agent probes; otherwise containers count as started and healthy when they run.
	Probing bool
	// Content grows whenever an object changes that the pod's volumes or environment are made from: then volumes are set up
	// anew, and what failed for want of an object is tried at once. Zero if the pod uses none.
	Content uint64
	// Logins grows whenever the pod's own logins to registries change: then an image that could not be had is asked for at
	// once. Zero if they never have.
	Logins uint64
	// Keep says how many ended instances of each container stay; nil keeps one. Doomed are those, by ID, that have to go though
	// they would stay.
	Keep   *Keep
	Doomed map[string]bool
	// CrashCap is the longest crash back-off; zero means 5 minutes.
	CrashCap time.Duration
}

// Verdict is the answer of admission (behaviours 29-45).
type Verdict struct {
	Judged bool
	Admit  bool
	// Reason and Message say why a pod is refused, or what it has to wait for while it is not judged: For names that, "admission" if
	// it is empty.
	Reason, Message, For string
	// Detail is what it is that the pod cannot have for itself, in the one word that metrics have for it: cpu, memory, topology; with
	// Victims it is the resource that they have to give up first.
	Detail string
	// Victims are the pods that have to give way before a critical pod can be judged once more (behaviour 43).
	Victims []types.UID
	// Until is when a pod that is not judged has to be looked at again, whatever else happens; zero if time changes nothing.
	Until time.Time
	// Of is what was asked for when the pod was judged, which is what it is given; nil means what it asks for now.
	Of *Allocation
	// Assigned is what it gets of the node for itself alone; nil for nothing. Handed is what plugins have handed out for that to an
	// earlier agent; nil if they have to be asked.
	Assigned *allocate.Assigned
	Handed   *allocate.Handed
}

// Order is a stop for the node's sake: eviction, preemption, shutdown.
type Order struct {
	Reason, Message string
	Grace           time.Duration
	// Own tells that the pod has gone over a limit of its own, so that nobody disrupts it (behaviour 255).
	Own bool
	// Annotations are for the event that tells of it; tools read them.
	Annotations map[string]string
}

// Health is what the probes say of one container instance.
type Health struct {
	// Started is whether the startup probe has succeeded, or there is none.
	Started bool
	Ready   bool
	// Failed is set when the liveness or startup probe has failed for good: the container must be killed.
	Failed string
	// Grace overrides the pod's grace for that kill; nil if it does not.
	Grace *time.Duration
}

// Plan is the answer: what should be in flight, what to remember first, what the pod waits for, when to look again.
type Plan struct {
	Memory  Memory
	Effects []Effect
	// WakeAt is when time alone changes the answer; zero for never.
	WakeAt time.Time
	Waits  []Wait
}

// Wait is something the pod waits for, in words a user can act on.
type Wait struct {
	// For names it in a word or two: "image of app", "network".
	For    string
	Detail string
	// Until is when it ends by itself; zero if that is not known.
	Until time.Time
}

// Next is the one decision of a pod's life. The same input gives the same plan.
func Next(in Input) Plan {
	d := &draft{in: in, wanted: in.Desired, mem: in.Memory.Clone(), obs: in.Observed}
	d.mem.Kept.rebase(in.Now) // the clock may be set back while the agent runs
	for range int(Done) + 2 { // each pass but the last moves to another stage; Preparing can be entered twice
		before := d.mem.Stage
		d.effects, d.waits, d.wakeAt = nil, nil, time.Time{}
		d.pass()
		if d.mem.Stage == before {
			break
		}
	}
	return Plan{Memory: d.mem, Effects: d.effects, WakeAt: d.wakeAt, Waits: d.waits}
}

func (d *draft) pass() {
	if d.mem.Stage < Stopping && d.mustStop() {
		d.mem.Stage = Stopping
	}
	if d.mem.Stage < Stopping {
		d.allocate()
	}
	switch d.mem.Stage {
	case Waiting:
		d.waiting()
	case Preparing:
		d.preparing()
	case Initialising:
		d.initialising()
	case Running:
		d.running()
	case Stopping:
		d.stopping()
	case Cleaning:
		d.cleaning()
	case Done:
	}
	d.finish()
	d.readEnds()
}

// readEnds wants the termination message of each container that has ended (behaviour 82).
func (d *draft) readEnds() {
	if d.mem.Stage == Done || d.in.Desired.Source == pod.FromRuntime {
		return
	}
	for i := range d.obs.Containers {
		if c := &d.obs.Containers[i]; c.State == pod.Exited && !d.mem.Session.Read[c.ID] && !d.wants(RemoveContainer, c.ID) {
			d.want(Effect{Kind: ReadEnd, Container: c.Name, ID: c.ID, Attempt: c.Attempt})
		}
	}
}
