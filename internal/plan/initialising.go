package plan

import "github.com/bosun-project/bosun/internal/pod"

// initialising runs init containers one after the other; a sidecar counts as done once it has started
// (behaviours 104-109).
func (d *draft) initialising() {
	d.wakeForDeadline()
	if !d.fresh() {
		return
	}
	current := d.sandbox()
	if current == nil {
		d.mem.Stage = Preparing
		return
	}
	d.renew()
	if d.renewing() {
		d.prepare()
		d.prefetch(current)
		d.prune(current)
		return
	}
	if d.initialisedIn(current.ID) {
		d.mem.Stage = Running
		return
	}
	d.prepare()
	d.prefetch(current)
	if d.initContainers(current) {
		d.mem.Stage = Running
	}
	d.ephemerals(current)
	d.prune(current)
}

// initContainers drives the init containers and tells whether all are done.
func (d *draft) initContainers(current *pod.Sandbox) bool {
	containers := d.in.Desired.Pod.Spec.InitContainers
	begun := 0 // init containers up to the last one that was started in this sandbox
	for i := range containers {
		if d.startedIn(current.ID, containers[i].Name) {
			begun = i + 1
		}
	}
	done := true
	for i := range containers {
		c := &containers[i]
		if pod.IsSidecar(c) {
			at := d.drive(c, current, done || i < begun)
			done = done && (at == settled || i+1 < begun) // it had started when a later one began
			continue
		}
		last := d.latestIn(current.ID, c.Name)
		switch {
		case last == nil && i+1 < begun: // its record was pruned: a later one has begun, so it had succeeded
		case last != nil && last.State == pod.Exited && last.ExitCode == 0 && !d.killedToRestart(last):
		default:
			if d.drive(c, current, done) == settled {
				d.wait(Wait{For: "init container " + c.Name, Detail: "it runs; the next container starts when it has succeeded"})
			}
			done = false
		}
	}
	return done
}

// initialised tells whether a regular container has been started in the sandbox the pod lives in (behaviour 108).
func (d *draft) initialised() bool {
	current := d.sandbox()
	return current != nil && d.initialisedIn(current.ID)
}

func (d *draft) initialisedIn(sandboxID string) bool {
	spec := &d.in.Desired.Pod.Spec
	if len(spec.InitContainers) == 0 {
		return true
	}
	for i := range spec.Containers {
		if d.startedIn(sandboxID, spec.Containers[i].Name) {
			return true
		}
	}
	return false
}

// startedIn tells whether an instance of a container was started in a sandbox since the pod last began there.
func (d *draft) startedIn(sandboxID, name string) bool {
	for i := range d.obs.Containers {
		c := &d.obs.Containers[i]
		if c.Name == name && c.SandboxID == sandboxID && c.State != pod.Created && c.State != pod.Gone && !d.mem.Past(c) {
			return true
		}
	}
	return false
}
