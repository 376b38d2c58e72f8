package worker

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/status"
)

// Entry is what the table shows of one pod: everything its worker knew when it last looked. It is never changed.
type Entry struct {
	At       time.Time
	Desired  *pod.Desired
	Memory   plan.Memory
	Observed pod.Observed
	Facts    plan.Facts
	// Status is what the API would be told of the pod.
	Status   v1.PodStatus
	InFlight []InFlight
	Waits    []Waiting
	// Stages holds when each stage was entered, in order.
	Stages []StageAt
	// Recent holds the effects that ended last, oldest first.
	Recent []Ended
}

// InFlight is an effect under way.
type InFlight struct {
	Effect    string    `json:"effect"`
	Since     time.Time `json:"since"`
	Cancelled bool      `json:"cancelled,omitempty"`
}

// Waiting is something the pod waits for, and since when.
type Waiting struct {
	For    string    `json:"for"`
	Detail string    `json:"detail,omitempty"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`
}

// StageAt is when a stage was entered.
type StageAt struct {
	Stage string    `json:"stage"`
	At    time.Time `json:"at"`
}

// Ended is an effect that is over.
type Ended struct {
	Effect string        `json:"effect"`
	Began  time.Time     `json:"began"`
	Took   time.Duration `json:"took"`
	Error  string        `json:"error,omitempty"`
}

// mostRecent bounds how many ended effects a story keeps: enough for a start with a few containers and their retries.
const mostRecent = 40

// story is the part of an entry that only grows: what happened so far.
type story struct {
	stages []StageAt
	recent []Ended
	waits  []Waiting
	// node is what status tells of the node; said is the status that was said last.
	node func() status.Node
	said *v1.PodStatus
}

func (s *story) ended(o plan.Outcome) {
	e := Ended{Effect: o.Effect.Key(), Began: o.Began, Took: o.Ended.Sub(o.Began)}
	if o.Failed != nil {
		e.Error = o.Failed.Message
		if o.Failed.Class == plan.Cancelled {
			e.Error = "cancelled: " + e.Error
		}
	}
	if len(s.recent) >= mostRecent {
		s.recent = append(s.recent[:0:0], s.recent[1:]...)
	}
	s.recent = append(s.recent, e)
}

// entry is the pod as it is now. What the story holds is copied where it may still grow.
func (s *story) entry(in inputs, m plan.Memory, flying []InFlight, waits []plan.Wait, now time.Time) *Entry {
	if name := m.Stage.String(); len(s.stages) == 0 || s.stages[len(s.stages)-1].Stage != name {
		s.stages = append(slices.Clone(s.stages), StageAt{Stage: name, At: now})
	}
	s.waits = since(s.waits, waits, now)
	says := status.Of(status.Input{
		Desired: in.desired, Memory: m, Observed: in.observed, Facts: in.facts, Node: s.node(), Previous: s.said, Now: now,
	})
	s.said = &says
	return &Entry{
		Status: says,
		At:     now, Desired: in.desired, Memory: m, Observed: in.observed, Facts: in.facts, InFlight: flying,
		Waits: s.waits, Stages: s.stages, Recent: s.recent[:len(s.recent):len(s.recent)],
	}
}

// since carries over when each wait began.
func since(old []Waiting, waits []plan.Wait, now time.Time) []Waiting {
	if len(waits) == 0 {
		return nil
	}
	out := make([]Waiting, 0, len(waits))
	for _, w := range waits {
		began := now
		if i := slices.IndexFunc(old, func(o Waiting) bool { return o.For == w.For }); i >= 0 {
			began = old[i].Since
		}
		out = append(out, Waiting{For: w.For, Detail: w.Detail, Since: began, Until: w.Until})
	}
	return out
}

func sortInFlight(f []InFlight) {
	slices.SortFunc(f, func(a, b InFlight) int { return strings.Compare(a.Effect, b.Effect) })
}

// encode is the record as the ledger would keep it; two records of the same text need no second write.
func encode(r plan.Record) []byte {
	text, err := json.Marshal(r)
	if err != nil { // plain values of our own always have a JSON
		return nil
	}
	return text
}
