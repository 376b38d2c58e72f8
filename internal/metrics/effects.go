package metrics

import (
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// The types of containers, as labels spell them.
const (
	regular   = "container"
	initial   = "init_container"
	ephemeral = "ephemeral_container"
	sandbox   = "podsandbox"
)

// Ended takes the outcome of an effect. Cancelled ones do not count: nobody wanted them any more.
func (m *Metrics) Ended(d *pod.Desired, o plan.Outcome) {
	if o.Failed != nil && o.Failed.Class == plan.Cancelled {
		return
	}
	took := o.Ended.Sub(o.Began)
	m.workerTook.WithLabelValues(operation(o.Effect.Kind)).Observe(took.Seconds())
	m.started(d, o)
	switch o.Effect.Kind {
	case plan.RunSandbox:
		m.sandboxEnded(d, o, took)
	case plan.CreateContainer:
		m.imageVolumesEnded(d, o)
		if o.Failed != nil { // one that was created is counted when it starts
			m.containerEnded(d, o)
		}
	case plan.StartContainer:
		m.containerEnded(d, o)
	case plan.SetupVolume:
		m.volumeEnded(d, o)
	case plan.EnsureImage:
		if o.Effect.Volume != "" {
			m.imageVolumesRequested.Inc()
		}
		if p := o.Pulled; o.Failed == nil && p != nil && !p.Present {
			m.pullTook.WithLabelValues(sizeClass(p.Bytes)).Observe(p.Took.Seconds())
		}
	case plan.ForgetPod:
		if o.Failed == nil && d.Source == pod.FromRuntime {
			m.orphans.Inc()
		}
	case plan.UpdateContainer, plan.GrowPod, plan.SettlePod:
		m.resizeFailed(o)
	case plan.Look, plan.MakePod, plan.PostStart, plan.PreStop, plan.StopContainer, plan.ReadEnd, plan.RemoveContainer,
		plan.StopSandbox, plan.RemoveSandbox, plan.PrepareClaims, plan.UnprepareClaims, plan.TearVolumes, plan.TakeDevices, plan.UnmakePod:
	}
}

func (m *Metrics) sandboxEnded(d *pod.Desired, o plan.Outcome, took time.Duration) {
	const handler = "" // of the default runtime class; others need an API server
	userns := d.Pod.Spec.HostUsers != nil && !*d.Pod.Spec.HostUsers
	m.sandboxTook.WithLabelValues(handler).Observe(took.Seconds())
	m.podsStarted.Inc()
	m.containersStarted.WithLabelValues(sandbox).Inc()
	if userns {
		m.usernsStarted.Inc()
	}
	if o.Failed == nil {
		return
	}
	m.sandboxErrors.WithLabelValues(handler).Inc()
	m.podsFailed.Inc()
	m.containersFailed.WithLabelValues(sandbox, o.Failed.Reason).Inc()
	if userns {
		m.usernsFailed.Inc()
	}
}

// imageVolumesEnded counts the image volumes of a container that was to be made: the runtime mounts them then.
func (m *Metrics) imageVolumesEnded(d *pod.Desired, o plan.Outcome) {
	c, _ := pod.FindContainer(d.Pod, o.Effect.Container)
	if c == nil || o.Failed != nil && o.Failed.Class == plan.Cancelled {
		return
	}
	counted := m.imageVolumesMounted
	if o.Failed != nil {
		counted = m.imageVolumesFailed
	}
	counted.Add(float64(len(pod.ImageVolumes(d.Pod, c))))
}

func (m *Metrics) containerEnded(d *pod.Desired, o plan.Outcome) {
	kind := containerType(d, o.Effect.Container)
	m.containersStarted.WithLabelValues(kind).Inc()
	if o.Failed != nil {
		m.containersFailed.WithLabelValues(kind, o.Failed.Reason).Inc()
	}
}

// started follows the start of a pod: when work on it began, and when its last regular container was started. A pod
// whose sandbox was made by an earlier life of the agent is not measured.
func (m *Metrics) started(d *pod.Desired, o plan.Outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	uid := d.UID()
	if o.Effect.Kind == plan.ForgetPod {
		delete(m.lives, uid)
		return
	}
	l := m.lives[uid]
	if l == nil {
		l = &life{}
		m.lives[uid] = l
	}
	switch o.Effect.Kind {
	case plan.MakePod:
		if !l.begun {
			l.begun = true
			m.workerStarted.Observe(o.Began.Sub(d.Seen).Seconds())
			m.containers.Observe(float64(len(d.Pod.Spec.Containers)))
			m.admitted(d)
		}
	case plan.RunSandbox:
		if o.Failed == nil && o.Effect.Attempt == 0 {
			l.missing = make(map[string]struct{}, len(d.Pod.Spec.Containers))
			for i := range d.Pod.Spec.Containers {
				l.missing[d.Pod.Spec.Containers[i].Name] = struct{}{}
			}
		}
	case plan.EnsureImage:
		l.pulledIn(o)
	case plan.StartContainer:
		if o.Failed != nil || l.missing == nil {
			return
		}
		delete(l.missing, o.Effect.Container)
		if len(l.missing) == 0 {
			l.missing = nil
			m.startedAll(d, l, o.Ended)
		}
	case plan.Look, plan.SetupVolume, plan.PrepareClaims, plan.UnprepareClaims, plan.CreateContainer, plan.PostStart, plan.PreStop, plan.StopContainer,
		plan.ReadEnd, plan.RemoveContainer, plan.StopSandbox, plan.RemoveSandbox, plan.TearVolumes, plan.UnmakePod, plan.ForgetPod,
		plan.UpdateContainer, plan.GrowPod, plan.SettlePod, plan.TakeDevices:
	}
}

// Seen takes what the runtime reported of a pod, and counts the containers that have ended since this process began.
func (m *Metrics) Seen(uid types.UID, r pod.Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counted := m.ended[uid]
	if r.Complete { // what is no longer there need not be remembered
		left := make(map[string]struct{}, len(counted))
		for i := range r.Containers {
			if _, ok := counted[r.Containers[i].ID]; ok {
				left[r.Containers[i].ID] = struct{}{}
			}
		}
		counted = left
	}
	for i := range r.Containers {
		c := &r.Containers[i]
		if _, done := counted[c.ID]; done || c.State != pod.Exited || c.FinishedAt.Before(m.began) {
			continue
		}
		if counted == nil {
			counted = map[string]struct{}{}
		}
		counted[c.ID] = struct{}{}
		kind := regular
		if d := m.find(uid); d != nil {
			kind = containerType(d, c.Name)
		}
		m.containersEnded.WithLabelValues(kind, strconv.Itoa(int(c.ExitCode)), c.Reason).Inc()
	}
	if len(counted) == 0 {
		delete(m.ended, uid)
	} else {
		m.ended[uid] = counted
	}
}

// operation says to which part of a pod's life an effect belongs.
func operation(k plan.Kind) string {
	switch k {
	case plan.MakePod, plan.SetupVolume, plan.PrepareClaims, plan.TakeDevices, plan.EnsureImage, plan.RunSandbox, plan.CreateContainer, plan.StartContainer, plan.PostStart:
		return "create"
	case plan.PreStop, plan.StopContainer, plan.StopSandbox, plan.UnprepareClaims, plan.TearVolumes, plan.UnmakePod, plan.ForgetPod:
		return "kill"
	case plan.Look, plan.ReadEnd, plan.RemoveContainer, plan.RemoveSandbox, plan.UpdateContainer, plan.GrowPod, plan.SettlePod:
	}
	return "sync"
}

func containerType(d *pod.Desired, name string) string {
	for i := range d.Pod.Spec.InitContainers {
		if d.Pod.Spec.InitContainers[i].Name == name {
			return initial
		}
	}
	for i := range d.Pod.Spec.EphemeralContainers {
		if d.Pod.Spec.EphemeralContainers[i].Name == name {
			return ephemeral
		}
	}
	return regular
}

// sizeClass is the class of sizes that a pull is counted in.
func sizeClass(bytes int64) string {
	if bytes <= 0 {
		return "N/A"
	}
	const mb, gb = 1 << 20, 1 << 30
	for _, class := range []struct {
		below int64
		name  string
	}{
		{10 * mb, "0-10MB"}, {100 * mb, "10MB-100MB"}, {500 * mb, "100MB-500MB"}, {gb, "500MB-1GB"}, {5 * gb, "1GB-5GB"},
		{10 * gb, "5GB-10GB"}, {20 * gb, "10GB-20GB"}, {30 * gb, "20GB-30GB"}, {40 * gb, "30GB-40GB"}, {60 * gb, "40GB-60GB"},
		{100 * gb, "60GB-100GB"},
	} {
		if bytes < class.below {
			return class.name
		}
	}
	return "GT100GB"
}
