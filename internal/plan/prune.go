package plan

import (
	"time"

	"github.com/bosun-project/bosun/internal/pod"
)

// Keep says how many ended instances of each container stay.
type Keep struct {
	// Dead is how many; less than 0 means all. While the pod goes on, a container's newest instance stays in any case: it says
	// whether the container starts again, and when.
	Dead int
	// MinAge is how long an instance has to have ended before it goes.
	MinAge time.Duration
}

// stays tells whether an ended instance stays, of which container newer ended ones stay (behaviour 260). Last tells
// that the last instance of a container does.
func (d *draft) stays(c *pod.Container, newer int, last bool) bool {
	keep := Keep{Dead: 1}
	if d.in.Facts.Keep != nil {
		keep = *d.in.Facts.Keep
	}
	latest := d.obs.Latest(c.Name)
	switch {
	case last && latest != nil && latest.ID == c.ID:
		return true
	case d.in.Facts.Doomed[c.ID]:
		return false
	case keep.Dead < 0 || newer < keep.Dead:
		return true
	}
	ended := c.FinishedAt
	if ended.After(d.in.Now) { // the clock was set back
		ended = d.in.Now
	}
	at := ended.Add(keep.MinAge)
	d.wake(at)
	return d.in.Now.Before(at)
}

// prune removes what nobody asks for any more: ended instances but the newest of each container, instances that never ran
// and belong to the past or to an old sandbox, and old sandboxes with nothing left in them (behaviours 107, 260-262).
func (d *draft) prune(current *pod.Sandbox) {
	dead := map[string]int{}
	inUse := map[string]bool{current.ID: true}
	for i := range d.obs.Containers {
		c := &d.obs.Containers[i]
		switch {
		case c.State == pod.Gone:
			continue
		case c.State == pod.Created && d.flying(StartContainer, c.ID): // it may run at any moment
		case c.State == pod.Exited && !d.stays(c, dead[c.Name], true), c.State == pod.Created && (c.SandboxID != current.ID || d.mem.Past(c)):
			d.wantOfRuntime(Effect{Kind: RemoveContainer, Container: c.Name, ID: c.ID, Attempt: c.Attempt})
		case c.State == pod.Exited:
			dead[c.Name]++
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
