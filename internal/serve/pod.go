package serve

import (
	"cmp"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/worker"
)

// Pod explains one pod.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	Node      string `json:"node,omitempty"`
	// Source is where the specification came from, Origin the file or URL.
	Source string `json:"source"`
	Origin string `json:"origin,omitempty"`
	// Summary says in a sentence how the pod fares and why.
	Summary string `json:"summary"`
	// Status is one word, as kubectl shows it.
	Status string      `json:"status"`
	Phase  v1.PodPhase `json:"phase"`
	// Ready of Containers regular containers (and sidecars) are ready.
	Ready      int `json:"ready"`
	Containers int `json:"containers"`
	Restarts   int `json:"restarts"`
	// Settled tells that nothing has to happen before the pod is as it should be: it is ready, or has ended.
	Settled     bool      `json:"settled"`
	LastRestart time.Time `json:"lastRestart,omitzero"`
	IPs         []string  `json:"ips,omitempty"`
	Seen        time.Time `json:"seen"`
	// Started is when the newest sandbox was made.
	Started time.Time `json:"started,omitzero"`

	Stage    string            `json:"stage"`
	Stages   []worker.StageAt  `json:"stages"`
	Waits    []worker.Waiting  `json:"waits,omitempty"`
	InFlight []worker.InFlight `json:"inFlight,omitempty"`
	// Failures are effects that failed when they were last tried, the newest first.
	Failures []Failure      `json:"failures,omitempty"`
	Recent   []worker.Ended `json:"recent,omitempty"`
	Stop     *plan.Stop     `json:"stop,omitempty"`
	Parts    []Part         `json:"parts"`
	// DefaultContainer is the one meant when none is named.
	DefaultContainer string `json:"defaultContainer,omitempty"`
}

// Failure is an effect that failed when it was last tried.
type Failure struct {
	Effect  string    `json:"effect"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message"`
	Count   int       `json:"count"`
	Since   time.Time `json:"since"`
	At      time.Time `json:"at"`
	RetryAt time.Time `json:"retryAt"`
}

// Part is one container of a pod. Kind is init, sidecar, container or ephemeral.
type Part struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Image string `json:"image"`
	// State is waiting, running or terminated; Since when, if that is known.
	State    string    `json:"state"`
	Since    time.Time `json:"since,omitzero"`
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	ExitCode *int32    `json:"exitCode,omitempty"`
	Ready    bool      `json:"ready"`
	Restarts int32     `json:"restarts"`
	// LastExit tells how the instance before ended.
	LastExit *Exit  `json:"lastExit,omitempty"`
	ID       string `json:"id,omitempty"`
	// RetryAt is when it starts again, if it is held back.
	RetryAt time.Time `json:"retryAt,omitzero"`
}

// Exit is how a container instance ended.
type Exit struct {
	At      time.Time `json:"at,omitzero"`
	Code    int32     `json:"code"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
}

const defaultContainerAnnotation = "kubectl.kubernetes.io/default-container"

// explain tells everything about one pod. It is pure.
func explain(e *worker.Entry, s v1.PodStatus, now time.Time) Pod {
	spec := e.Desired.Pod
	p := Pod{
		Namespace: spec.Namespace, Name: spec.Name, UID: string(spec.UID), Node: spec.Spec.NodeName,
		Source: string(e.Desired.Source), Origin: e.Desired.Origin, Phase: s.Phase, Seen: e.Desired.Seen,
		Stage: e.Memory.Stage.String(), Stages: e.Stages, Waits: e.Waits, InFlight: e.InFlight, Recent: e.Recent,
		Stop: e.Memory.Kept.Stop, Failures: failuresOf(e.Memory.Kept.Failures), Parts: partsOf(e, s),
	}
	for _, ip := range s.PodIPs {
		p.IPs = append(p.IPs, ip.IP)
	}
	if len(e.Observed.Sandboxes) > 0 {
		p.Started = e.Observed.Sandboxes[0].CreatedAt
	}
	for i := range p.Parts {
		part := &p.Parts[i]
		p.Restarts += int(part.Restarts)
		if part.LastExit != nil && part.LastExit.At.After(p.LastRestart) {
			p.LastRestart = part.LastExit.At
		}
		if part.Kind == "container" || part.Kind == "sidecar" {
			p.Containers++
			if part.Ready {
				p.Ready++
			}
		}
	}
	p.DefaultContainer = spec.Annotations[defaultContainerAnnotation]
	if c, _ := pod.FindContainer(spec, p.DefaultContainer); c == nil {
		p.DefaultContainer = ""
		if len(spec.Spec.Containers) > 0 {
			p.DefaultContainer = spec.Spec.Containers[0].Name
		}
	}
	ended := p.Phase == v1.PodSucceeded || p.Phase == v1.PodFailed
	p.Settled = e.Memory.Stage < plan.Stopping && p.Containers > 0 && p.Ready == p.Containers && len(p.InFlight) == 0 ||
		e.Memory.Stage >= plan.Cleaning && ended && len(p.InFlight) == 0
	p.Status = statusWord(&p, s)
	p.Summary = summary(&p, now)
	return p
}

func failuresOf(m map[string]plan.Failure) []Failure {
	out := make([]Failure, 0, len(m))
	for effect, f := range m {
		out = append(out, Failure{Effect: effect, Reason: f.Reason, Message: f.Message, Count: f.Count, Since: f.Since, At: f.At, RetryAt: f.RetryAt})
	}
	slices.SortFunc(out, func(a, b Failure) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Effect, b.Effect)) })
	return out
}

// partsOf lists the containers: first those of the specification, in its order, then what else the runtime has.
func partsOf(e *worker.Entry, s v1.PodStatus) []Part {
	spec := &e.Desired.Pod.Spec
	parts := []Part{}
	for i := range spec.InitContainers {
		kind := "init"
		if pod.IsSidecar(&spec.InitContainers[i]) {
			kind = "sidecar"
		}
		parts = append(parts, partOf(e, s, spec.InitContainers[i].Name, spec.InitContainers[i].Image, kind))
	}
	for i := range spec.Containers {
		parts = append(parts, partOf(e, s, spec.Containers[i].Name, spec.Containers[i].Image, "container"))
	}
	for i := range spec.EphemeralContainers {
		parts = append(parts, partOf(e, s, spec.EphemeralContainers[i].Name, spec.EphemeralContainers[i].Image, "ephemeral"))
	}
	if e.Desired.Source != pod.FromRuntime {
		return parts
	}
	for i := range e.Observed.Containers { // all that is known of a pod that nobody wants
		c := &e.Observed.Containers[i]
		if c.State != pod.Gone && !slices.ContainsFunc(parts, func(p Part) bool { return p.Name == c.Name }) {
			parts = append(parts, observedPart(c))
		}
	}
	return parts
}

func partOf(e *worker.Entry, s v1.PodStatus, name, image, kind string) Part {
	p := Part{Name: name, Kind: kind, Image: image, State: "waiting"}
	memory := e.Memory.Kept.Containers[name]
	status := containerStatus(s, name)
	if status == nil {
		return p
	}
	p.Ready, p.Restarts, p.ID = status.Ready, status.RestartCount, bare(status.ContainerID)
	switch now := status.State; {
	case now.Running != nil:
		p.State, p.Since = "running", now.Running.StartedAt.Time
	case now.Terminated != nil:
		t := now.Terminated
		p.State, p.Since, p.Reason, p.Message, p.ExitCode = "terminated", t.FinishedAt.Time, t.Reason, t.Message, &t.ExitCode
	case now.Waiting != nil:
		p.Reason, p.Message = now.Waiting.Reason, now.Waiting.Message
		if last := e.Observed.Latest(name); last != nil && memory.Backoff.For == last.ID {
			p.RetryAt = memory.Backoff.Until
		}
	}
	if t := status.LastTerminationState.Terminated; t != nil {
		p.LastExit = &Exit{At: t.FinishedAt.Time, Code: t.ExitCode, Reason: t.Reason, Message: t.Message}
	}
	return p
}

func observedPart(c *pod.Container) Part {
	p := Part{Name: c.Name, Kind: "container", Image: c.Image, State: "waiting", Restarts: int32(c.Attempt), ID: c.ID}
	switch {
	case c.Live():
		p.State, p.Since = "running", c.StartedAt
	case c.State == pod.Exited:
		p.State, p.Since, p.Reason, p.ExitCode = "terminated", c.FinishedAt, c.Reason, &c.ExitCode
	}
	return p
}

// bare is a container ID without the name of its runtime.
func bare(id string) string {
	if _, rest, ok := strings.Cut(id, "://"); ok {
		return rest
	}
	return id
}
