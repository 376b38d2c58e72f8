package plan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// mustStop decides whether the pod has to end, and if so remembers why and until when.
func (d *draft) mustStop() bool {
	if d.mem.Kept.Stop != nil { // decided in an earlier life of the agent
		return true
	}
	des, facts := d.in.Desired, d.in.Facts
	switch {
	case des.Deletion != nil:
		d.stop(Deleted, "", "", des.Deletion.Grace)
	case !des.Wanted && facts.SourcesReady && des.Source == pod.FromRuntime:
		if d.obs.Inspected.IsZero() { // what it is to be spared is written on its containers
			return false
		}
		d.stop(Orphaned, "", "", des.Grace())
	case !des.Wanted && facts.SourcesReady:
		d.stop(Removed, "", "", des.Grace())
	case facts.Order != nil:
		d.obey(facts.Order)
	case d.mem.Kept.Admitted.IsZero() && facts.Verdict.Judged && !facts.Verdict.Admit:
		d.stop(Refused, facts.Verdict.Reason, "Pod was rejected: "+facts.Verdict.Message, 0)
	case d.unattachable() != "":
		d.stop(Refused, reason.VolumeAttachmentLimitExceeded, "Pod was rejected: "+d.unattachable(), 0)
	case d.undeliverable() != "":
		d.stop(Refused, reason.UnexpectedAdmissionError, "Pod was rejected: "+d.undeliverable(), 0)
	case des.Over:
		d.stop(Completed, "", "", des.Grace())
	case d.overdue():
		d.stop(Overdue, reason.DeadlineExceeded, "Pod was active on the node longer than the specified deadline", des.Grace())
	case d.completed():
		d.stop(Completed, "", "", des.Grace())
	default:
		return false
	}
	return true
}

// unattachable says why a volume can never come to this node, which has as many of its kind as it may: then the pod makes room for one
// elsewhere. Once a container of it has run, it stays and waits (behaviour 45).
func (d *draft) unattachable() string {
	if d.mem.Stage >= Initialising || d.ranBefore() {
		return ""
	}
	for i := range d.in.Desired.Pod.Spec.Volumes {
		e := Effect{Kind: SetupVolume, Volume: d.in.Desired.Pod.Spec.Volumes[i].Name}
		if f := d.mem.Kept.Failures[e.Subject()]; f.Reason == reason.VolumeAttachmentLimitExceeded {
			return f.Message
		}
	}
	return ""
}

// ranBefore tells whether a container of the pod has ever been started.
func (d *draft) ranBefore() bool {
	for i := range d.obs.Containers {
		if d.obs.Containers[i].State >= pod.Running {
			return true
		}
	}
	return false
}

// obey ends the pod as the node orders.
func (d *draft) obey(o *Order) {
	cause := Ordered
	if o.Own {
		cause = Overfull
	}
	d.stop(cause, o.Reason, o.Message, o.Grace)
	d.mem.Kept.Stop.Annotations = o.Annotations
}

// stop remembers the decision. The grace has a floor of a second (behaviour 143).
func (d *draft) stop(cause Cause, why, message string, grace time.Duration) {
	grace = max(grace, time.Second)
	ran := d.ranBefore()
	d.mem.Kept.Stop = &Stop{
		Cause: cause, Reason: why, Message: message,
		At: d.in.Now, Grace: grace, Deadline: d.in.Now.Add(grace), Ran: ran,
	}
}

// shorten brings the deadline nearer when the order to stop was tightened; it is never put off (behaviour 143).
func (d *draft) shorten() {
	s := d.mem.Kept.Stop
	nearer := func(grace time.Duration) {
		grace = max(grace, time.Second)
		if grace >= s.Grace {
			return
		}
		s.Grace = grace
		if at := d.in.Now.Add(grace); at.Before(s.Deadline) {
			s.Deadline = at
		}
	}
	if del := d.in.Desired.Deletion; del != nil {
		nearer(del.Grace)
	}
	if o := d.in.Facts.Order; o != nil {
		nearer(o.Grace)
	}
}

// overdue holds spec.activeDeadlineSeconds (behaviour 149).
func (d *draft) overdue() bool {
	at, limited := d.activeUntil()
	return limited && !d.in.Now.Before(at)
}

// wakeForDeadline asks to be woken when activeDeadlineSeconds is over.
func (d *draft) wakeForDeadline() {
	if at, limited := d.activeUntil(); limited {
		d.wake(at)
	}
}

// activeUntil is until when the pod may be active, counted from its start as its status tells it: if the API server knows of
// an earlier one than this agent, another agent had the pod before, or the ledger was lost.
func (d *draft) activeUntil() (at time.Time, limited bool) {
	des := d.in.Desired
	secs, at := des.Pod.Spec.ActiveDeadlineSeconds, d.mem.Kept.Admitted
	if secs == nil || at.IsZero() {
		return time.Time{}, false
	}
	if told := des.Pod.Status.StartTime; des.Source == pod.FromAPI && told != nil && told.Time.Before(at.Truncate(time.Second)) {
		at = told.Time
	}
	return at.Add(time.Duration(*secs) * time.Second), true
}

// completed tells whether nothing of the pod runs and nothing may start again (behaviours 48, 105, 110).
func (d *draft) completed() bool {
	if d.mem.Kept.Admitted.IsZero() || d.obs.Inspected.IsZero() || d.busyMaking() {
		return false
	}
	spec := &d.in.Desired.Pod.Spec
	if d.initFailed() {
		return true
	}
	sandboxLost := d.sandbox() == nil && d.hadContainers()
	for i := range spec.Containers {
		c := d.latest(spec.Containers[i].Name)
		switch {
		case c == nil && sandboxLost && spec.RestartPolicy == v1.RestartPolicyNever: // cannot be started any more
		case c == nil || c.State != pod.Exited || d.restarts(&spec.Containers[i], c):
			return false
		}
	}
	return true
}

// initFailed tells whether an init container failed for good.
func (d *draft) initFailed() bool {
	spec := &d.in.Desired.Pod.Spec
	if d.initialised() {
		return false
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if pod.IsSidecar(c) {
			continue
		}
		if last := d.latest(c.Name); last != nil && last.State == pod.Exited && last.ExitCode != 0 && !d.restarts(c, last) {
			return true
		}
	}
	return false
}
