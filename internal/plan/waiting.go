package plan

import "cmp"

// waiting holds a pod back until the node can take it: the runtime was inspected, no older version of the pod is
// still ending, and admission said yes. An admitted pod is never judged again (pains, row 1).
func (d *draft) waiting() {
	switch facts := d.in.Facts; {
	case !d.fresh():
	case facts.Rival != "":
		d.wait(Wait{For: "older version", Detail: "pod " + string(facts.Rival) + " of the same name has not ended yet"})
	case !d.mem.Kept.Admitted.IsZero():
		d.mem.Stage = Preparing
	case !facts.Verdict.Judged:
		d.wait(Wait{For: cmp.Or(facts.Verdict.For, "admission"), Detail: facts.Verdict.Message, Until: facts.Verdict.Until})
	default: // a refusal was answered by mustStop
		d.mem.Kept.Admitted = d.in.Now
		if facts.Verdict.Of != nil {
			d.mem.Kept.Allocated = facts.Verdict.Of
		}
		d.mem.Kept.Assigned, d.mem.Kept.Handed = facts.Verdict.Assigned, facts.Verdict.Handed
		d.mem.Stage = Preparing
	}
}
