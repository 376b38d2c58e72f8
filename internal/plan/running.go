package plan

import (
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

// running keeps sidecars and regular containers running: each one is created, started and has finished its
// postStart hook before the next one is begun; one that fails does not hold up the next (behaviour 58).
func (d *draft) running() {
	d.wakeForDeadline()
	if !d.fresh() {
		return
	}
	current := d.sandbox()
	if current == nil {
		d.mem.Stage = Preparing
		return
	}
	if d.renew() || d.renewing() {
		d.mem.Stage = Initialising
		return
	}
	d.prepare()
	spec := &d.in.Desired.Pod.Spec
	d.prefetch(current)
	may := true
	for i := range spec.InitContainers {
		if pod.IsSidecar(&spec.InitContainers[i]) {
			may = d.drive(&spec.InitContainers[i], current, may) != busy && may
		}
	}
	for i := range spec.Containers {
		may = d.drive(&spec.Containers[i], current, may) != busy && may
	}
	d.ephemerals(current)
	d.prune(current)
}

// ephemerals starts each ephemeral container once; it never restarts (behaviour 113). They are for finding out what is
// wrong, so they wait for no other container.
func (d *draft) ephemerals(current *pod.Sandbox) {
	all := d.in.Desired.Pod.Spec.EphemeralContainers
	for i := range all {
		c := v1.Container(all[i].EphemeralContainerCommon)
		if last := d.obs.Latest(c.Name); last == nil || last.State == pod.Created {
			d.drive(&c, current, true)
		}
	}
}

// prune removes what nobody asks for any more: ended instances but the newest of each container, instances that never
// ran and belong to the past or to an old sandbox, and old sandboxes with nothing left in them (behaviours 107, 260-262).
func (d *draft) prune(current *pod.Sandbox) {
	kept := map[string]bool{}
	inUse := map[string]bool{current.ID: true}
	for i := range d.obs.Containers {
		c := &d.obs.Containers[i]
		switch {
		case c.State == pod.Gone:
			continue
		case c.State == pod.Created && d.flying(StartContainer, c.ID): // it may run at any moment
		case c.State == pod.Exited && kept[c.Name], c.State == pod.Created && (c.SandboxID != current.ID || d.mem.Past(c)):
			d.wantOfRuntime(Effect{Kind: RemoveContainer, Container: c.Name, ID: c.ID, Attempt: c.Attempt})
		case c.State == pod.Exited:
			kept[c.Name] = true
		}
		inUse[c.SandboxID] = true
	}
	for i := range d.obs.Sandboxes {
		s := &d.obs.Sandboxes[i]
		switch {
		case s.Gone || s.ID == current.ID || d.liveIn(s.ID): // its containers end first, with their grace
		case s.Ready:
			d.wantOfRuntime(Effect{Kind: StopSandbox, ID: s.ID, Attempt: s.Attempt})
		case !inUse[s.ID]:
			d.wantOfRuntime(Effect{Kind: RemoveSandbox, ID: s.ID, Attempt: s.Attempt})
		}
	}
}
