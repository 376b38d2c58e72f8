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
