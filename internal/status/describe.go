package status

import (
	"cmp"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// plain is the status of a container of which there is nothing yet (behaviour 283).
func plain(c *v1.Container, as role) v1.ContainerStatus {
	out := v1.ContainerStatus{Name: c.Name, Image: c.Image}
	if as != ephemeral {
		no := false
		out.Started = &no
	}
	return out
}

// describe is what does not depend on an instance's state (behaviours 136, 165, 191, 221, 276).
func (v *view) describe(c *v1.Container, newest *pod.Container) v1.ContainerStatus {
	out := v1.ContainerStatus{
		Name: c.Name, Image: cmp.Or(newest.Image, c.Image), ImageID: newest.ImageID, ContainerID: v.id(newest),
		VolumeMounts: v.mounts(c, newest), AllocatedResourcesStatus: v.devices(c.Name),
	}
	v.resources(&out, newest)
	if u := newest.User; u != nil {
		out.User = &v1.ContainerUser{Linux: &v1.LinuxContainerUser{UID: u.UID, GID: u.GID, SupplementalGroups: slices.Clone(u.SupplementalGroups)}}
	}
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil { // that of the image is nobody's wish: upstream is silent about it too
		s := v1.Signal(cmp.Or(newest.StopSignal, string(*c.Lifecycle.StopSignal)))
		out.StopSignal = &s
	}
	return out
}

// id is a container's ID as statuses hold it: "containerd://abc".
func (v *view) id(c *pod.Container) string {
	if c.ID == "" || v.in.Node.RuntimeName == "" {
		return c.ID
	}
	return v.in.Node.RuntimeName + "://" + c.ID
}

func (v *view) mounts(c *v1.Container, newest *pod.Container) []v1.VolumeMountStatus {
	var out []v1.VolumeMountStatus
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		one := v1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		if m.ReadOnly {
			mode := v.recursive(m, newest)
			one.RecursiveReadOnly = &mode
		}
		out = append(out, one)
	}
	return out
}

// recursive is what became of a read-only mount: IfPossible turns out to be the one or the other.
func (v *view) recursive(m *v1.VolumeMount, newest *pod.Container) v1.RecursiveReadOnlyMode {
	switch {
	case m.RecursiveReadOnly == nil:
		return v1.RecursiveReadOnlyDisabled
	case *m.RecursiveReadOnly != v1.RecursiveReadOnlyIfPossible:
		return *m.RecursiveReadOnly
	}
	for i := range v.in.Observed.Sandboxes {
		if s := &v.in.Observed.Sandboxes[i]; s.ID == newest.SandboxID && v.in.Node.RecursiveReadOnly[s.Handler] {
			return v1.RecursiveReadOnlyEnabled
		}
	}
	return v1.RecursiveReadOnlyDisabled
}

// ended is how an instance ended (behaviours 277, 148).
func (v *view) ended(c *pod.Container) *v1.ContainerStateTerminated {
	why := c.Reason
	if why == "" && c.ExitCode == 0 {
		why = reason.Completed
	} else if why == "" {
		why = reason.Error
	}
	if v.in.Memory.Past(c) && !c.FinishedAt.Before(v.in.Memory.Kept.Renewal.At) { // it had to end (behaviour 114)
		why = reason.RestartingAllContainers
	}
	return &v1.ContainerStateTerminated{
		ExitCode: c.ExitCode, Reason: why, Message: c.Message, ContainerID: v.id(c),
		StartedAt: moment(c.StartedAt), FinishedAt: moment(c.FinishedAt),
	}
}

const (
	// mostMessage is the longest termination message of a container, mostMessages that of all containers of a pod
	// together, in bytes (behaviour 83).
	mostMessage  = 4096
	mostMessages = 12288
)

// shareMessages cuts termination messages so that a pod's status stays small, whatever its containers write.
func (v *view) shareMessages(out *v1.PodStatus) {
	lists := [][]v1.ContainerStatus{out.InitContainerStatuses, out.ContainerStatuses, out.EphemeralContainerStatuses}
	n := 0
	for _, list := range lists {
		n += len(list)
	}
	if n == 0 {
		return
	}
	most := min(mostMessage, mostMessages/n)
	cut := func(t *v1.ContainerStateTerminated) {
		if t != nil && len(t.Message) > most {
			t.Message = head(t.Message, most)
		}
	}
	for _, list := range lists {
		for i := range list {
			cut(list[i].State.Terminated)
			cut(list[i].LastTerminationState.Terminated)
		}
	}
}

// head is the first most bytes of a text, cut between characters.
func head(text string, most int) string {
	for most > 0 && text[most]&0xC0 == 0x80 { // in the middle of a character
		most--
	}
	return text[:most]
}
