package narrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Changed tells of what a new plan changes beside effects: refusals, deadlines, lost sandboxes, back-offs, a network that
// is not ready. before is what was remembered and waits what was waited for under the plan before; o is what the plan saw.
func Changed(d *pod.Desired, before plan.Memory, waits []string, o pod.Observed, after plan.Plan, now time.Time) []note.Note {
	var notes []note.Note
	if before.Kept.Stop == nil && after.Memory.Kept.Stop != nil {
		notes = append(notes, stopped(d, after.Memory.Kept.Stop, now)...)
	}
	if before.Stage != plan.Preparing && after.Memory.Stage == plan.Preparing && lost(d, o, after.Memory) {
		notes = append(notes, one(d, "", note.Normal, reason.SandboxChanged, sandboxChanged, now)...)
	}
	for _, w := range after.Waits {
		if w.For == "network" && !slices.Contains(waits, w.For) {
			notes = append(notes, one(d, "", note.Warning, reason.NetworkNotReady, w.Detail, now)...)
		}
	}
	notes = append(notes, resized(d, before.Kept, after.Memory.Kept, now)...)
	return append(notes, backoffs(d, before, after.Memory, now)...)
}

// stopped tells why the pod has to end, where that is not its own or its owner's doing.
func stopped(d *pod.Desired, s *plan.Stop, now time.Time) []note.Note {
	switch s.Cause {
	case plan.Refused:
		return one(d, "", note.Warning, s.Reason, strings.TrimPrefix(s.Message, "Pod was rejected: "), now)
	case plan.Overdue:
		return one(d, "", note.Normal, s.Reason, s.Message, now)
	case plan.Ordered, plan.Overfull:
		notes := one(d, "", note.Warning, s.Reason, s.Message, now)
		notes[0].Annotations = s.Annotations
		return notes
	case plan.Removed, plan.Deleted, plan.Completed, plan.Orphaned:
	}
	return nil
}

// lost tells whether the pod had a sandbox and gets a new one.
func lost(d *pod.Desired, o pod.Observed, m plan.Memory) bool {
	if d.Pod.Spec.RestartPolicy == v1.RestartPolicyNever && len(o.Containers) > 0 { // it ends (behaviour 48)
		return false
	}
	had := slices.ContainsFunc(o.Sandboxes, func(s pod.Sandbox) bool { return !s.Gone })
	s := plan.Sandbox(d, o)
	return had && (s == nil || s.ID == m.Kept.Uprooted)
}

// backoffs tells of each pause before a restart once, when the plan decides it.
func backoffs(d *pod.Desired, before, after plan.Memory, now time.Time) []note.Note {
	var notes []note.Note
	for _, name := range slices.Sorted(maps.Keys(after.Kept.Containers)) {
		b := after.Kept.Containers[name].Backoff
		if b.For == before.Kept.Containers[name].Backoff.For || !now.Before(b.Until) {
			continue
		}
		notes = append(notes, one(d, name, note.Warning, reason.BackOff,
			fmt.Sprintf("Back-off restarting failed container %s in pod %s", name, pod.Describe(d.Pod)), now)...)
	}
	return notes
}
