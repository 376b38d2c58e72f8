package plan

import (
	"strconv"
	"strings"
	"time"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Learn adds the outcome of an effect to memory. What the outcome tells of the runtime goes into Observed, not here.
func Learn(m Memory, o Outcome) Memory {
	m = m.Clone()
	subject := o.Effect.Subject()
	if o.Effect.Kind == RunSandbox && o.Failed == nil && withoutAddress(o.Report) {
		o.Failed = &Fault{Reason: reason.FailedCreatePodSandBox, Message: "the network has given the sandbox no address"}
	}
	if o.Effect.InRuntime() && o.Failed != nil {
		m.Session.Stale = o.Ended // whether it happened is not known: look
	}
	switch {
	case o.Failed == nil:
		delete(m.Kept.Failures, subject)
		learnSuccess(&m, o)
	case o.Effect.Kind == PreStop: // also when the agent itself cut it short: it runs once
		learnHook(&m, o, o.Failed.Message)
	case o.Failed.Class == Cancelled:
	case o.Effect.Kind == PostStart:
		learnHook(&m, o, o.Failed.Message)
	default:
		if m.Kept.Failures == nil {
			m.Kept.Failures = map[string]Failure{}
		}
		m.Kept.Failures[subject] = nextFailure(m.Kept.Failures[subject], o)
		if o.Effect.Kind == CreateContainer && o.Failed.Missing { // somebody may have removed an image that was there
			delete(m.Session.Images, o.Effect.Container)
			m.Session.VolumeImages = nil
		}
	}
	return m
}

// withoutAddress tells whether a new sandbox is of no use because the network gave it no address (behaviour 47).
func withoutAddress(r *pod.Report) bool {
	if r == nil {
		return false
	}
	for i := range r.Sandboxes {
		if s := &r.Sandboxes[i]; s.Ready && !s.HostNetwork && len(s.IPs) == 0 {
			return true
		}
	}
	return false
}

func learnSuccess(m *Memory, o Outcome) {
	s := &m.Session
	switch e := o.Effect; e.Kind {
	case MakePod:
		if o.Uprooted != "" { // remembered before the cgroup is made: after that nobody could tell
			m.Kept.Uprooted = o.Uprooted
			return
		}
		s.Made = true
		for name, attempt := range o.LogAttempts {
			noteAttempt(s, name, attempt)
		}
	case SetupVolume:
		if s.Volumes == nil {
			s.Volumes = map[string]uint64{}
		}
		s.Volumes[e.Volume] = e.Content
	case PrepareClaims:
		s.Claimed, s.Unclaimed = true, false
	case UnprepareClaims:
		s.Claimed, s.Unclaimed = false, true
	case EnsureImage:
		if s.Images == nil {
			s.Images = map[string]ResolvedImage{}
		}
		image := o.Image
		image.Attempt, image.Name = e.Attempt, e.Image
		if e.Volume != "" {
			learnVolumeImage(m, e.Volume, image)
			return
		}
		s.Images[e.Container] = image
	case CreateContainer:
		noteAttempt(s, e.Container, e.Attempt)
		delete(s.Images, e.Container)
	case PostStart, PreStop:
		learnHook(m, o, "")
	case ReadEnd:
		if s.Read == nil {
			s.Read = map[string]bool{}
		}
		s.Read[e.ID] = true
	case TearVolumes:
		s.Torn, s.Volumes = true, nil
	case UnmakePod:
		s.Unmade, s.Made = true, false
	case ForgetPod:
		s.Forgotten = true
	case TakeDevices:
		m.Kept.Handed = o.Handed
	case GrowPod, UpdateContainer, SettlePod:
		learnResize(m, e)
	case Look, RunSandbox, StartContainer, StopContainer, RemoveContainer, StopSandbox, RemoveSandbox:
	}
}

func noteAttempt(s *Session, name string, attempt uint32) {
	if s.Attempts == nil {
		s.Attempts = map[string]uint32{}
	}
	if have, ok := s.Attempts[name]; !ok || attempt > have {
		s.Attempts[name] = attempt
	}
}

// learnHook remembers that a hook is over; a hook that failed is over, too (behaviours 132, 134).
func learnHook(m *Memory, o Outcome, failure string) {
	c, ok := m.Kept.Containers[o.Effect.Container]
	if !ok {
		return
	}
	h := &c.PreStop
	if o.Effect.Kind == PostStart {
		h = &c.PostStart
	}
	if h.ID != o.Effect.ID {
		return
	}
	h.Done, h.Failure = true, failure
	m.Kept.Containers[o.Effect.Container] = c
}

// series is how the pauses of a kind of effect grow.
type series struct{ first, most time.Duration }

func seriesOf(k Kind) series {
	switch k {
	case EnsureImage: // behaviour 156
		return series{10 * time.Second, 5 * time.Minute}
	case SetupVolume, TearVolumes: // behaviour 172
		return series{500 * time.Millisecond, 2*time.Minute + 2*time.Second}
	case PrepareClaims, UnprepareClaims: // what can be told to be mended is tried at once
		return series{time.Second, time.Minute}
	case UpdateContainer, GrowPod, SettlePod: // memory that is in use is given back some time, or never
		return series{time.Second, time.Minute}
	case Look, MakePod, RunSandbox, CreateContainer, StartContainer, PostStart, PreStop, StopContainer, ReadEnd, RemoveContainer,
		StopSandbox, RemoveSandbox, UnmakePod, ForgetPod: // upstream pauses 10 s at once (behaviour 19)
	}
	return series{time.Second, 10 * time.Second}
}

func nextFailure(f Failure, o Outcome) Failure {
	of := failureOf(o.Effect)
	if f.Of != of {
		f = Failure{}
	}
	s := seriesOf(o.Effect.Kind)
	switch o.Failed.Reason {
	case reason.ErrImageNeverPull, reason.InvalidImageName, reason.ImageInspectError: // no registry is bothered by another try
		s = series{10 * time.Second, 10 * time.Second}
	}
	delay := min(max(2*f.Delay, s.first), s.most)
	if o.Failed.Class == Soon {
		delay = time.Second
	}
	if f.Count == 0 {
		f.Since = o.Ended
	}
	return Failure{
		Count: f.Count + 1, Reason: o.Failed.Reason, Message: o.Failed.Message, Class: o.Failed.Class,
		Since: f.Since, At: o.Ended, Delay: delay, RetryAt: o.Ended.Add(delay), Of: of,
	}
}

// Image is the image that could not be had; empty of other failures, and of those that an older agent remembered.
func (f Failure) Image() string {
	image, _, _ := strings.Cut(f.Of, logins)
	return image
}

// logins stands between an image and what it was asked for with, in Failure.Of.
const logins = " logins "

// failureOf is what Failure.Of says of an effect.
func failureOf(e Effect) string {
	switch {
	case e.Kind == EnsureImage && e.Content != 0:
		return e.Image + logins + strconv.FormatUint(e.Content, 10)
	case e.Kind == EnsureImage:
		return e.Image
	case e.Content != 0:
		return "content " + strconv.FormatUint(e.Content, 10)
	}
	return ""
}
