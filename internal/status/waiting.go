package status

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// waiting is the state of a container that is still to be started: why it cannot, or that it is being made
// (behaviours 64, 65). newest is its instance that was made but not started, nil if there is none.
func (v *view) waiting(c *v1.Container, as role, newest *pod.Container) v1.ContainerState {
	if w := v.stuck(c, newest); w != nil {
		return v1.ContainerState{Waiting: w}
	}
	why := reason.ContainerCreating
	if len(v.pod.Spec.InitContainers) > 0 && as != ephemeral {
		why = reason.PodInitializing
	}
	return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: why}}
}

// stuck tells why a container cannot be started, nil if nothing is known to be in its way. newest is its newest
// instance, nil if there is none.
func (v *view) stuck(c *v1.Container, newest *pod.Container) *v1.ContainerStateWaiting {
	m := v.in.Memory.Kept.Containers[c.Name]
	if newest != nil && newest.State == pod.Exited && m.Backoff.For == newest.ID && v.in.Now.Before(m.Backoff.Until) {
		return &v1.ContainerStateWaiting{Reason: reason.CrashLoopBackOff, Message: fmt.Sprintf(
			"back-off %s restarting failed container=%s pod=%s", m.Backoff.Delay, c.Name, pod.Describe(v.pod))}
	}
	if w := v.failure(c); w != nil {
		return w
	}
	if newest != nil && newest.State == pod.Exited && m.PostStart.ID == newest.ID && m.PostStart.Failure != "" {
		// What the hook said is for those who may look into the node: a status is read by more people.
		return &v1.ContainerStateWaiting{Reason: reason.PostStartHookError, Message: "PostStartHook failed"}
	}
	return nil
}

// failure is the latest failure on the way to the container's start.
func (v *view) failure(c *v1.Container) *v1.ContainerStateWaiting {
	var latest plan.Failure
	var of plan.Effect
	look := func(e plan.Effect) {
		f := v.in.Memory.Kept.Failures[e.Subject()]
		if e.Kind == plan.EnsureImage && f.Of != "" && f.Image() != e.Image { // of an image the pod no longer names
			return
		}
		if f.Count > 0 && (latest.Count == 0 || f.At.After(latest.At)) {
			latest, of = f, e
		}
	}
	look(plan.Effect{Kind: plan.EnsureImage, Container: c.Name, Image: c.Image})
	for _, volume := range pod.ImageVolumes(v.pod, c) {
		look(plan.Effect{Kind: plan.EnsureImage, Volume: volume.Name, Image: volume.Image.Reference})
	}
	look(plan.Effect{Kind: plan.CreateContainer, Container: c.Name})
	look(plan.Effect{Kind: plan.StartContainer, Container: c.Name})
	if latest.Count == 0 {
		return nil
	}
	why := latest.Reason
	switch {
	case of.Kind == plan.EnsureImage:
		return pullFailure(of.Image, latest, v.in.Now)
	case why == "" && of.Kind == plan.CreateContainer:
		why = reason.CreateContainerError
	case why == "":
		why = reason.RunContainerError
	}
	return &v1.ContainerStateWaiting{Reason: why, Message: latest.Message}
}

// pullFailure tells of an image. The first failed pull, and one that is being tried again, show their own reason;
// while a later one is put off that is said, with what went wrong (behaviour 156).
func pullFailure(image string, f plan.Failure, now time.Time) *v1.ContainerStateWaiting {
	why := f.Reason
	if why == "" {
		why = reason.ErrImagePull
	}
	pulled := why == reason.ErrImagePull || why == reason.RegistryUnavailable || why == reason.SignatureValidationFailed
	if pulled && f.Class == plan.Again && f.Count > 1 && now.Before(f.RetryAt) {
		return &v1.ContainerStateWaiting{Reason: reason.ImagePullBackOff,
			Message: fmt.Sprintf("Back-off pulling image %q: %s: %s", image, why, f.Message)}
	}
	return &v1.ContainerStateWaiting{Reason: why, Message: f.Message}
}
