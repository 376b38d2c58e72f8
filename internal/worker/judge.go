package worker

import (
	"cmp"
	"slices"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// judge asks admission about the pods it has not spoken of, oldest first. A pod that the ledger knows as admitted, or
// that has containers, is not judged again (pains, row 1). No resize is judged before all pods are known that may have a share
// of the node. The verdicts are the Set's own.
func (s *Set) judge(listed, ready bool) {
	var open []*running
	var residents []resident
	var ending []*pod.Desired
	for _, w := range s.workers {
		in := w.inbox.read()
		switch {
		case in.released:
		case in.stopping:
			ending = append(ending, w.share(in))
		case !in.desired.Wanted: // it is about to end
			if in.admitted || len(in.observed.Containers) > 0 {
				ending = append(ending, w.share(in))
			}
		case w.verdict.Judged && w.verdict.Admit:
			residents = append(residents, resident{running: w, in: in})
		case w.verdict.Judged:
		case in.admitted || len(in.observed.Containers) > 0:
			w.verdict = plan.Verdict{Judged: true, Admit: true}
			residents = append(residents, resident{running: w, in: in})
		default:
			open = append(open, w)
		}
	}
	s.fewer = len(residents)+len(ending) < s.residents
	s.resizes(residents, ending, listed && ready)
	staying := shares(residents, nil)
	slices.SortFunc(open, func(a, b *running) int { return cmp.Compare(a.order, b.order) })
	for _, w := range open {
		in := w.inbox.read()
		switch {
		case in.observed.Inspected.IsZero() || !listed: // it, or an older version of it, may have containers
			w.verdict = plan.Verdict{Message: "what the runtime has of the pod is not known yet"}
		case s.rival(w) != "": // the older version holds what this one needs
			w.verdict = plan.Verdict{Message: "an older version of the pod has not ended yet"}
		default:
			w.verdict = s.weigh(in.desired, staying, ending)
		}
		switch {
		case !w.verdict.Judged:
		case w.verdict.Admit:
			w.verdict.Of, w.let = plan.AllocationOf(in.desired.Pod), in.desired
			staying = append(staying, in.desired)
		case s.cfg.Rejected != nil:
			s.cfg.Rejected(w.verdict.Reason)
		}
	}
}

// weigh judges one pod. What is still ending holds its share of the node: a pod that fits only when that is gone waits
// for it, and is not refused. Pods that have to give way to a critical one are told to (behaviour 43).
func (s *Set) weigh(d *pod.Desired, staying, ending []*pod.Desired) plan.Verdict {
	v := s.cfg.Judge(d, staying)
	for _, uid := range v.Victims {
		if victim := s.workers[uid]; victim != nil && victim.preempted == nil {
			victim.preempted = &plan.Order{
				Reason: reason.Preempting, Message: "Preempted in order to admit critical pod", Grace: victim.inbox.read().desired.Grace(),
			}
		}
	}
	if !v.Judged || !v.Admit || len(ending) == 0 {
		return v
	}
	if all := s.cfg.Judge(d, slices.Concat(staying, ending)); !all.Judged || !all.Admit {
		return plan.Verdict{Message: "room is made by pods that are ending: " + all.Message}
	}
	return v
}
