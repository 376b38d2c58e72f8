package worker

import (
	"cmp"
	"slices"

	"github.com/bosun-project/bosun/internal/allocate"
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
	s.listed = listed
	held := s.unclaimed().All()
	var leaving []*allocate.Assigned
	for _, w := range s.workers {
		in := w.inbox.read()
		switch {
		case in.released:
		case in.stopping:
			ending, leaving = append(ending, w.share(in)), s.holds(w, in, leaving)
		case !in.desired.Wanted: // it is about to end
			if in.admitted || len(in.observed.Containers) > 0 {
				ending, leaving = append(ending, w.share(in)), s.holds(w, in, leaving)
			}
		case w.verdict.Judged && w.verdict.Admit:
			residents, held = append(residents, resident{running: w, in: in}), s.holds(w, in, held)
		case w.verdict.Judged:
		case in.admitted || len(in.observed.Containers) > 0:
			w.verdict = plan.Verdict{Judged: true, Admit: true, Assigned: s.adopted(w, in)}
			if w.verdict.Assigned != nil {
				w.verdict.Handed = s.cfg.Handed[w.uid]
			}
			residents, held = append(residents, resident{running: w, in: in}), s.holds(w, in, held)
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
			w.verdict = s.weigh(in.desired, staying, ending, held, leaving)
		}
		if w.verdict.Judged && s.cfg.Judged != nil {
			s.cfg.Judged(in.desired, w.verdict)
		}
		switch {
		case !w.verdict.Judged:
		case w.verdict.Admit:
			w.verdict.Of, w.let = plan.AllocationOf(in.desired.Pod), in.desired
			staying, held = append(staying, in.desired), s.holds(w, in, held)
		case s.cfg.Rejected != nil:
			s.cfg.Rejected(w.verdict.Reason)
		}
	}
}

// weigh judges one pod. What is still ending holds its share of the node: a pod that fits only when that is gone waits
// for it, and is not refused. Pods that have to give way to a critical one are told to (behaviour 43).
func (s *Set) weigh(d *pod.Desired, staying, ending []*pod.Desired, held, leaving []*allocate.Assigned) plan.Verdict {
	v := s.cfg.Judge(d, staying, held)
	for _, uid := range v.Victims {
		if victim := s.workers[uid]; victim != nil && victim.preempted == nil {
			victim.preempted = &plan.Order{
				Reason: reason.Preempting, Message: "Preempted in order to admit critical pod", Grace: victim.inbox.read().desired.Grace(),
			}
			if s.cfg.Preempted != nil {
				s.cfg.Preempted(v.Detail)
			}
		}
	}
	if !v.Judged || !v.Admit || len(ending) == 0 {
		return v
	}
	all := s.cfg.Judge(d, slices.Concat(staying, ending), slices.Concat(held, leaving))
	switch {
	case !all.Judged && all.For != "": // not room alone is missing
		return all
	case !all.Judged || !all.Admit:
		return plan.Verdict{Message: "room is made by pods that are ending: " + all.Message}
	}
	return all // it has nothing for itself that a pod which is ending has still got
}

// hold is what a pod has for itself, nil for nothing: what it has remembered, or until then what admission gave it, or an earlier agent.
func (s *Set) hold(w *running, in inputs) *allocate.Assigned {
	switch {
	case in.assigned != nil:
		return in.assigned
	case w.verdict.Assigned != nil:
		return w.verdict.Assigned
	case len(in.observed.Containers) > 0 || !s.listed:
		return s.adopted(w, in)
	}
	return nil
}

// holds adds what a pod has for itself, if it has anything.
func (s *Set) holds(w *running, in inputs, all []*allocate.Assigned) []*allocate.Assigned {
	if a := s.hold(w, in); a != nil {
		return append(all, a)
	}
	return all
}

// Owners are the pods that have something of the node for themselves, those included of which only the ledger or an earlier agent tells yet.
func (s *Set) Owners() allocate.Owners {
	s.mu.Lock()
	defer s.mu.Unlock()
	owners := s.unclaimed()
	for uid, w := range s.workers {
		if in := w.inbox.read(); !in.released {
			if a := s.hold(w, in); a != nil {
				owners[uid] = a
			}
		}
	}
	return owners
}

// adopted is what an earlier agent gave to a pod that runs; nil if nothing, or if the ledger knows better.
func (s *Set) adopted(w *running, in inputs) *allocate.Assigned {
	if in.assigned != nil {
		return nil
	}
	return s.cfg.Adopted[w.uid]
}

// unclaimed is what pods have for themselves that nobody has named yet, and that may run: as the ledger tells, or an earlier agent of pods
// that the runtime has.
func (s *Set) unclaimed() allocate.Owners {
	all := allocate.Owners{}
	for uid, a := range s.cfg.Adopted {
		if s.workers[uid] == nil && (!s.listed || len(s.strays[uid].observed.Containers) > 0) {
			all[uid] = a
		}
	}
	for uid, r := range s.cfg.Remembered {
		if r.Kept.Assigned != nil && s.workers[uid] == nil {
			all[uid] = r.Kept.Assigned
		}
	}
	return all
}
