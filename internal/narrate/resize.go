package narrate

import (
	"encoding/json"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// resized tells of what a new plan changes about the pod's resources (behaviour 229). A wish that is taken back before it was
// granted is not told of, nor that the reasons for its waiting change.
func resized(d *pod.Desired, before, after plan.Kept, now time.Time) []note.Note {
	if before.Allocated == nil || after.Stop != nil {
		return nil
	}
	var notes []note.Note
	tell := func(level note.Level, why, what string, a *plan.Allocation, generation int64, failure string) {
		notes = append(notes, one(d, "", level, why, what+": "+resizeText(d, a, generation, failure), now)...)
	}
	if p, was := after.Pending, before.Pending; p != nil && (was == nil || was.Reason != p.Reason || was.Generation != p.Generation) {
		why := reason.ResizeDeferred
		if p.Reason == reason.Infeasible {
			why = reason.ResizeInfeasible
		}
		if p.Undeclared {
			notes = append(notes, one(d, "", note.Warning, reason.FailedNodeDeclaredFeaturesCheck, p.Message, now)...)
		}
		tell(note.Warning, why, "Pod resize "+p.Reason, plan.AllocationOf(d.Pod), p.Generation, p.Message)
	}
	if after.Allocated != before.Allocated {
		tell(note.Normal, reason.ResizeStarted, "Pod resize started", after.Allocated, after.Allocated.Generation, "")
	}
	return notes
}

// settled tells that a resize has come to its end, which the outcome of its last effect brought about.
func settled(d *pod.Desired, m plan.Memory, at time.Time) []note.Note {
	a := m.Kept.Allocated
	if a == nil || m.Kept.Resizing != nil {
		return nil
	}
	return one(d, "", note.Normal, reason.ResizeCompleted, "Pod resize completed: "+resizeText(d, a, a.Generation, ""), at)
}

// resizeFailed tells that a resize does not come about for now. It is tried again without another word.
func resizeFailed(d *pod.Desired, m plan.Memory, o plan.Outcome) []note.Note {
	a := m.Kept.Allocated
	if a == nil || m.Kept.Resizing == nil || m.Kept.Failures[o.Effect.Subject()].Count > 1 {
		return nil
	}
	return one(d, "", note.Warning, reason.ResizeError, "Pod resize error: "+resizeText(d, a, a.Generation, o.Failed.Message), o.Ended)
}

// resizeText tells in JSON what a resize is about, as tools read it.
func resizeText(d *pod.Desired, a *plan.Allocation, generation int64, failure string) string {
	type container struct {
		Name      string                  `json:"name"`
		Resources v1.ResourceRequirements `json:"resources"`
	}
	var text struct {
		Resources  *v1.ResourceRequirements `json:"resources,omitempty"`
		Inits      []container              `json:"initContainers,omitempty"`
		Containers []container              `json:"containers,omitempty"`
		Generation int64                    `json:"generation"`
		Error      string                   `json:"error,omitempty"`
	}
	p := plan.Allocated(d, a).Pod
	text.Resources, text.Generation, text.Error = p.Spec.Resources, generation, failure
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; pod.IsSidecar(c) {
			text.Inits = append(text.Inits, container{c.Name, c.Resources})
		}
	}
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		text.Containers = append(text.Containers, container{c.Name, c.Resources})
	}
	out, err := json.Marshal(text)
	if err != nil { // plain values of the API always have a JSON
		return err.Error()
	}
	return string(out)
}
