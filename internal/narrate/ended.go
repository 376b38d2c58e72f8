package narrate

import (
	"fmt"
	"strings"
	"time"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Ended tells of an effect that has just ended. m is what is remembered after its outcome was learnt.
func Ended(d *pod.Desired, m plan.Memory, o plan.Outcome) []note.Note {
	if o.Failed == nil {
		return succeeded(d, m, o)
	}
	switch {
	case o.Failed.Class == plan.Cancelled:
		return nil
	case o.Failed.Class == plan.Soon && m.Kept.Failures[o.Effect.Subject()].Count > 1: // it is tried each second: once is enough
		return nil
	}
	return failed(d, m, o)
}

func succeeded(d *pod.Desired, m plan.Memory, o plan.Outcome) []note.Note {
	switch e := o.Effect; e.Kind {
	case plan.EnsureImage:
		if o.Pulled == nil {
			return nil
		}
		notes := one(d, e.Container, note.Normal, reason.Pulled, pulled(imageOf(d, e), o.Pulled), o.Ended)
		if o.Pulled.Present {
			notes = minor(notes)
		}
		return notes
	case plan.CreateContainer:
		return minor(one(d, e.Container, note.Normal, reason.Created, "Container created", o.Ended))
	case plan.StartContainer:
		return one(d, e.Container, note.Normal, reason.Started, "Container started", o.Ended)
	case plan.SettlePod:
		return settled(d, m, o.Ended)
	default:
		return nil
	}
}

func pulled(image string, p *plan.Pulled) string {
	if p.Present && p.Open {
		return fmt.Sprintf("Container image %q already present on machine", image)
	}
	if p.Present {
		return fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", image)
	}
	return fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.",
		image, p.Took.Truncate(time.Millisecond), p.Waited.Truncate(time.Millisecond), p.Bytes)
}

// failed tells of a failure in the words of the effect.
func failed(d *pod.Desired, m plan.Memory, o plan.Outcome) []note.Note {
	e, why := o.Effect, o.Failed.Message
	warn := func(reason, message string) []note.Note {
		return one(d, e.Container, note.Warning, reason, message, o.Ended)
	}
	switch e.Kind {
	case plan.Look:
		return warn(reason.FailedSync, "error determining status: "+why)
	case plan.MakePod:
		return warn(reason.FailedCreatePodContainer, "unable to ensure pod container exists: "+why)
	case plan.SetupVolume:
		return mountFailed(d, m, o)
	case plan.PrepareClaims:
		return warn(reason.FailedPrepareDynamicResources, "Failed to prepare dynamic resources: "+why)
	case plan.EnsureImage:
		return imageFailed(d, o)
	case plan.RunSandbox:
		if m.Kept.Stop != nil { // nobody waits for it any more (behaviour 359)
			return nil
		}
		return warn(reason.FailedCreatePodSandBox, "Failed to create pod sandbox: "+why)
	case plan.CreateContainer, plan.StartContainer:
		return warn(reason.Failed, "Error: "+why)
	case plan.PostStart:
		return warn(reason.FailedPostStartHook, why)
	case plan.PreStop:
		return warn(reason.FailedPreStopHook, why)
	case plan.StopContainer, plan.StopSandbox, plan.UnprepareClaims, plan.UnmakePod:
		e.Container = "" // it is the pod that cannot be ended
		return warn(reason.FailedKillPod, "error killing pod: "+why)
	case plan.UpdateContainer, plan.GrowPod, plan.SettlePod:
		return resizeFailed(d, m, o)
	case plan.TakeDevices:
		if o.Failed.Reason != "" { // then the pod is refused, and that is told
			return nil
		}
		return warn(reason.FailedSync, "error allocating devices: "+why)
	case plan.ReadEnd, plan.RemoveContainer, plan.RemoveSandbox, plan.TearVolumes, plan.ForgetPod:
	}
	return nil // cleaning up: the pod itself is well; `bosun explain` shows it
}

// waitForMounts is how long a pod's volumes may take before the pod as a whole is said to hang on them (behaviour 171).
const waitForMounts = 2*time.Minute + 3*time.Second

// unmounted begins what is said of a pod that hangs on its volumes.
const unmounted = "Unable to attach or mount volumes:"

func mountFailed(d *pod.Desired, m plan.Memory, o plan.Outcome) []note.Note {
	why, message := reason.FailedMount, fmt.Sprintf("MountVolume.SetUp failed for volume %q : %s", o.Effect.Volume, o.Failed.Message)
	if o.Failed.Reason != "" { // the message says by itself what failed
		why, message = o.Failed.Reason, o.Failed.Message
	}
	notes := one(d, "", note.Warning, why, message, o.Ended)
	if strings.HasPrefix(message, unmounted) || o.Ended.Sub(m.Kept.Failures[o.Effect.Subject()].Since) < waitForMounts {
		return notes
	}
	var missing []string
	for i := range d.Pod.Spec.Volumes {
		v := &d.Pod.Spec.Volumes[i]
		if _, done := m.Session.Volumes[v.Name]; !done && v.Image == nil {
			missing = append(missing, v.Name)
		}
	}
	if len(missing) == 0 { // all were there once: containers go on with what they have
		return notes
	}
	return append(notes, one(d, "", note.Warning, reason.FailedMount, fmt.Sprintf(
		unmounted+" unmounted volumes=[%s], unattached volumes=[], failed to process volumes=[]: timed out waiting for the condition",
		strings.Join(missing, " ")), o.Ended)...)
}

// imageFailed tells why an image is not there and, where that is a failed pull, that the next one is put off
// (behaviours 153-156).
func imageFailed(d *pod.Desired, o plan.Outcome) []note.Note {
	c, image := o.Effect.Container, imageOf(d, o.Effect)
	why := o.Failed.Reason
	if why == "" {
		why = reason.ErrImagePull
	}
	warn := func(reason, message string) []note.Note { return one(d, c, note.Warning, reason, message, o.Ended) }
	then := minor(warn(reason.Failed, "Error: "+why))
	switch why {
	case reason.ErrImageNeverPull:
		return append(warn(reason.ErrImageNeverPull, o.Failed.Message), then...)
	case reason.InvalidImageName, reason.ImageInspectError:
		return append(warn(reason.InspectFailed, o.Failed.Message), then...)
	}
	notes := append(warn(reason.Failed, fmt.Sprintf("Failed to pull image %q: %s", image, o.Failed.Message)), then...)
	if o.Failed.Class == plan.Soon {
		return notes
	}
	notes = append(notes, minor(one(d, c, note.Normal, reason.BackOff, fmt.Sprintf("Back-off pulling image %q", image), o.Ended))...)
	return append(notes, minor(warn(reason.Failed, "Error: "+reason.ImagePullBackOff))...)
}

// imageOf is the image that an effect is about, as the pod spells it.
func imageOf(d *pod.Desired, e plan.Effect) string {
	for i := range d.Pod.Spec.Volumes {
		if v := &d.Pod.Spec.Volumes[i]; e.Volume != "" && v.Name == e.Volume && v.Image != nil {
			return v.Image.Reference
		}
	}
	if c, _ := pod.FindContainer(d.Pod, e.Container); c != nil {
		return c.Image
	}
	return ""
}
