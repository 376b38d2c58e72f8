package plan

import (
	"hash/fnv"

	"github.com/bosun-project/bosun/internal/pod"
)

// claim wants the pod's ResourceClaims prepared, all at once: a driver is asked in one call for all it has part in (behaviour 241).
func (d *draft) claim() {
	if !d.claimed() {
		d.want(Effect{Kind: PrepareClaims, Content: d.in.Facts.Content ^ d.claimMark()})
	}
}

// claimed tells whether the pod's ResourceClaims are prepared, or it has none.
func (d *draft) claimed() bool { return d.mem.Session.Claimed || !pod.UsesClaims(d.in.Desired.Pod) }

// claimMark changes when other ResourceClaims are the pod's: those from templates are made after the pod.
func (d *draft) claimMark() uint64 {
	h := fnv.New64a()
	for _, c := range pod.Claims(d.in.Desired.Pod) {
		_, _ = h.Write([]byte(c.Name + "=" + c.Object + ",")) // it never fails
	}
	return h.Sum64()
}

// unclaimed tells whether nothing of the pod's ResourceClaims is prepared any more, and wants that if it may be. It comes when no
// container lives, and before the pod is told to have ended: from then on the cluster may give its devices to another one. What a pod
// that nobody knows any more has used is written elsewhere.
func (d *draft) unclaimed() bool {
	if d.mem.Session.Unclaimed || d.in.Desired.Source != pod.FromRuntime && !pod.UsesClaims(d.in.Desired.Pod) {
		return true
	}
	for _, e := range d.in.InFlight {
		if e.Kind == PrepareClaims {
			d.wait(Wait{For: "cancelled preparation of resource claims"})
			return false
		}
	}
	d.want(Effect{Kind: UnprepareClaims, Content: d.in.Facts.Content})
	return false
}
