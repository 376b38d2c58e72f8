package plan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/pod"
)

// preparing makes everything that containers need, side by side: directories and cgroup first, then volumes, ResourceClaims, images
// and the sandbox at once; but the sandbox of a pod with claims is made when these are prepared.
func (d *draft) preparing() {
	d.wakeForDeadline()
	if !d.fresh() {
		return
	}
	current := d.sandbox()
	if current != nil && (d.ready() || d.anyIn(current.ID)) {
		d.mem.Stage = Initialising
		return
	}
	d.renew()
	if d.renewing() {
		d.prepare()
		return
	}
	d.prepare()
	if current == nil {
		d.newSandbox()
	}
	d.prefetch(current)
}

// prepare wants directories, cgroup, ResourceClaims and volumes; all of it may be done again without harm.
func (d *draft) prepare() {
	if !d.mem.Session.Made {
		d.want(Effect{Kind: MakePod})
		return
	}
	d.resize()
	d.claim()
	if !d.live() { // or only when a container has to be made
		d.devices()
	}
	for i := range d.in.Desired.Pod.Spec.Volumes {
		v := &d.in.Desired.Pod.Spec.Volumes[i]
		if v.Image != nil { // the runtime's to mount
			continue
		}
		content := d.contentOf(v)
		if at, done := d.mem.Session.Volumes[v.Name]; !done || at != content {
			d.want(Effect{Kind: SetupVolume, Volume: v.Name, Content: content})
		}
	}
}

// contentOf is what a volume's content is made from now; zero if that never changes.
func (d *draft) contentOf(v *v1.Volume) uint64 {
	if !content.Live(v) {
		return 0
	}
	return d.in.Facts.Content ^ content.Mark(d.in.Desired.Pod, v)
}

// ready tells whether directories, cgroup, ResourceClaims and volumes are there.
func (d *draft) ready() bool {
	if !d.mem.Session.Made || !d.claimed() {
		return false
	}
	for i := range d.in.Desired.Pod.Spec.Volumes {
		v := &d.in.Desired.Pod.Spec.Volumes[i]
		if _, done := d.mem.Session.Volumes[v.Name]; !done && v.Image == nil {
			return false
		}
	}
	return true
}

// anyIn tells whether a container was started in a sandbox.
func (d *draft) anyIn(sandboxID string) bool {
	for i := range d.obs.Containers {
		if c := &d.obs.Containers[i]; c.SandboxID == sandboxID && c.State >= pod.Running && c.State != pod.Gone {
			return true
		}
	}
	return false
}

// newSandbox replaces what is there of sandboxes by a new one: first everything that lives in an old one ends
// (behaviours 47, 54).
func (d *draft) newSandbox() {
	if d.endOldSandboxes() || !d.mem.Session.Made || !d.claimed() {
		return
	}
	if d.busyMakingOther(RunSandbox) {
		d.wait(Wait{For: "cancelled start"})
		return
	}
	if !d.in.Desired.Pod.Spec.HostNetwork && !d.in.Facts.NetworkReady {
		d.wait(Wait{For: "network", Detail: "network is not ready: " + d.in.Facts.NetworkMessage})
		return
	}
	for _, e := range d.in.InFlight {
		if e.Kind == RunSandbox { // it may be seen half made: there must be no other beside it
			d.keep(e)
			return
		}
	}
	attempt := uint32(0)
	for i := range d.obs.Sandboxes {
		attempt = max(attempt, d.obs.Sandboxes[i].Attempt+1)
	}
	if attempt > 1 && d.shortLived(&d.obs.Sandboxes[0]) {
		return
	}
	d.wantOfRuntime(Effect{Kind: RunSandbox, Attempt: attempt})
}

// sandboxLife is how long a sandbox has to have lived for the next one to be made at once.
const sandboxLife = 10 * time.Second

// shortLived makes a pod wait whose sandboxes are lost again and again as soon as they are made. The first loss is
// made good at once.
func (d *draft) shortLived(last *pod.Sandbox) bool {
	until := last.CreatedAt.Add(sandboxLife)
	if left := until.Sub(d.in.Now); left <= 0 || left > sandboxLife { // long ago, or made before the clock was set back
		return false
	}
	d.wait(Wait{For: "next sandbox", Detail: "the last sandbox was lost as soon as it was made", Until: until})
	return true
}

// liveIn tells whether a container of a sandbox may have a process.
func (d *draft) liveIn(sandboxID string) bool {
	for i := range d.obs.Containers {
		if c := &d.obs.Containers[i]; c.SandboxID == sandboxID && c.Live() {
			return true
		}
	}
	return false
}

// endOldSandboxes ends containers and sandboxes that must not be there beside a new sandbox; it tells whether there are any.
func (d *draft) endOldSandboxes() bool {
	found := false
	restart := d.in.Desired.Pod.Spec.RestartPolicy != v1.RestartPolicyNever // such a pod gets no other sandbox (behaviour 48)
	for i := range d.obs.Containers {
		if c := &d.obs.Containers[i]; c.Live() {
			d.kill(c, "Pod sandbox changed, it will be killed and re-created.", d.in.Desired.Grace(), restart)
			found = true
		}
	}
	for i := range d.obs.Sandboxes {
		if s := &d.obs.Sandboxes[i]; s.Ready && !s.Gone {
			if !found {
				d.wantOfRuntime(Effect{Kind: StopSandbox, ID: s.ID, Attempt: s.Attempt})
			}
			found = true
		}
	}
	return found
}

// busyMakingOther is busyMaking without one kind.
func (d *draft) busyMakingOther(but Kind) bool {
	for _, e := range d.in.InFlight {
		if e.Kind != but && e.Makes() {
			return true
		}
	}
	return false
}

// prefetch wants the images of all containers that are still to be started, so that they come while the sandbox
// is made and while init containers run.
func (d *draft) prefetch(current *pod.Sandbox) {
	if !d.mem.Session.Made {
		return
	}
	spec := &d.in.Desired.Pod.Spec
	if current == nil || !d.initialisedIn(current.ID) {
		for i := range spec.InitContainers {
			d.prefetchOne(current, &spec.InitContainers[i])
		}
	}
	for i := range spec.Containers {
		d.prefetchOne(current, &spec.Containers[i])
	}
}

func (d *draft) prefetchOne(current *pod.Sandbox, c *v1.Container) {
	last := d.latest(c.Name)
	if last != nil && (current != nil && last.SandboxID == current.ID || last.State == pod.Exited && !d.restarts(c, last)) {
		return
	}
	d.image(c, d.nextAttempt(c.Name))
	d.volumeImages(c)
}

// image wants the image of a container's next instance; it tells whether it is there.
func (d *draft) image(c *v1.Container, attempt uint32) bool {
	if got, ok := d.mem.Session.Images[c.Name]; ok && got.Attempt == attempt && got.Name == c.Image {
		return true
	}
	e := Effect{Kind: EnsureImage, Container: c.Name, Attempt: attempt, Image: c.Image, Content: d.in.Facts.Logins}
	if !d.planned(e) {
		d.wantOfRuntime(e)
	}
	return false
}
