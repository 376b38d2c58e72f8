package narrate

import (
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Begun tells of an effect that has just begun: that a container is being ended, before its preStop hook runs if it
// has one. m is what is remembered as the effect begins.
func Begun(d *pod.Desired, m plan.Memory, e plan.Effect, now time.Time) []note.Note {
	switch e.Kind {
	case plan.PreStop:
	case plan.StopContainer:
		if m.Kept.Containers[e.Container].PreStop.ID == e.ID { // told when the hook began
			return nil
		}
	default:
		return nil
	}
	if m.Kept.Failures[e.Subject()].Count > 0 { // one more try
		return nil
	}
	return one(d, e.Container, note.Normal, reason.Killing, whyKilled(m, e), now)
}

// sandboxChanged is why containers of a lost sandbox are ended. The pod is told so once; for its containers it is an
// end like any other.
const sandboxChanged = "Pod sandbox changed, it will be killed and re-created."

func whyKilled(m plan.Memory, e plan.Effect) string {
	why := e.Why
	if k := m.Kept.Containers[e.Container].Kill; why == "" && k.ID == e.ID && m.Kept.Stop == nil {
		why = k.Why
	}
	if why == "" || why == sandboxChanged {
		return "Stopping container " + e.Container
	}
	return why
}

// Pulling tells that the pull of a container's image has really begun. image is as the pod spells it.
func Pulling(d *pod.Desired, container, image string, now time.Time) []note.Note {
	return one(d, container, note.Normal, reason.Pulling, `Pulling image "`+image+`"`, now)
}

// NoPullSecret tells that logins to registries are missing which the pod names. The pull is tried all the same.
func NoPullSecret(p *v1.Pod, names []string, at time.Time) note.Note {
	return note.Note{
		At: at, About: note.About{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
		Level: note.Warning, Reason: reason.FailedToRetrieveImagePullSecret,
		Message: "Unable to retrieve some image pull secrets (" + strings.Join(names, ", ") + "); attempting to pull the image may not succeed.",
	}
}

// minor marks notes that a log need not show.
func minor(notes []note.Note) []note.Note {
	for i := range notes {
		notes[i].Minor = true
	}
	return notes
}

func one(d *pod.Desired, container string, level note.Level, why, message string, at time.Time) []note.Note {
	about := note.About{Kind: "Pod", Namespace: d.Pod.Namespace, Name: d.Pod.Name, UID: d.Pod.UID, Container: container}
	if container != "" {
		_, about.FieldPath = pod.FindContainer(d.Pod, container)
	}
	return []note.Note{{At: at, About: about, Level: level, Reason: why, Message: message}}
}
