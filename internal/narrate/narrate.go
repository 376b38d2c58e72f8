package narrate

import (
	"time"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Begun tells of an effect that has just begun.
func Begun(d *pod.Desired, e plan.Effect, now time.Time) []note.Note {
	switch e.Kind {
	case plan.StopContainer:
		why := e.Why
		if why == "" {
			why = "Stopping container " + e.Container
		}
		return one(d, e.Container, note.Normal, reason.Killing, why, now)
	default:
		return nil
	}
}

// Ended tells of an effect that has just ended.
func Ended(d *pod.Desired, o plan.Outcome) []note.Note {
	if o.Failed != nil {
		return nil
	}
	switch e := o.Effect; e.Kind {
	case plan.CreateContainer:
		return one(d, e.Container, note.Normal, reason.Created, "Container created", o.Ended)
	case plan.StartContainer:
		return one(d, e.Container, note.Normal, reason.Started, "Container started", o.Ended)
	default:
		return nil
	}
}

// Changed tells of what a new plan changes beside effects: back-offs, refusals, deadlines. waits are those of the
// plan before.
func Changed(d *pod.Desired, before plan.Memory, waits []string, after plan.Plan, now time.Time) []note.Note {
	return nil
}

func one(d *pod.Desired, container string, level note.Level, why, message string, at time.Time) []note.Note {
	about := note.About{Kind: "Pod", Namespace: d.Pod.Namespace, Name: d.Pod.Name, UID: d.Pod.UID, Container: container}
	if container != "" {
		_, about.FieldPath = pod.FindContainer(d.Pod, container)
	}
	return []note.Note{{At: at, About: about, Level: level, Reason: why, Message: message}}
}

// Pulling tells that a pull has really begun.
func Pulling(d *pod.Desired, container, image string, now time.Time) []note.Note {
	return one(d, container, note.Normal, reason.Pulling, "Pulling image \""+image+"\"", now)
}
