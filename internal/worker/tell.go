package worker

import (
	"time"

	"github.com/bosun-project/bosun/internal/narrate"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// notice tells of what a new plan changes.
func (w *worker) notice(in inputs, p plan.Plan, now time.Time) {
	waits := make([]string, 0, len(w.story.waits))
	for _, have := range w.story.waits {
		waits = append(waits, have.For)
	}
	w.tell(narrate.Changed(in.desired, w.memory, waits, in.observed, p, now))
}

func (w *worker) tellBegun(d *pod.Desired, begun []plan.Effect, now time.Time) {
	for _, e := range begun {
		w.tell(narrate.Begun(d, w.memory, e, now))
	}
}

func (w *worker) tellEnded(o plan.Outcome) {
	w.tell(narrate.Ended(w.inbox.read().desired, w.memory, o))
}

func (w *worker) tell(notes []note.Note) {
	for _, n := range notes {
		w.notes(n)
	}
}
