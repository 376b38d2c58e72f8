package simworld

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// claim is a ResourceClaim: the pods that it was prepared for, or may have been, and whether it is prepared.
type claim struct {
	users    map[types.UID]bool
	prepared bool
}

// prepareClaims prepares the claims of a pod; with half, only the first one, as a call does whose answer is lost. The caller holds mu.
func (w *World) prepareClaims(d *pod.Desired, half bool) plan.Outcome {
	for i, c := range pod.Claims(d.Pod) {
		if half && i > 0 {
			break
		}
		if w.claims[c.Object] == nil {
			w.claims[c.Object] = &claim{users: map[types.UID]bool{}}
		}
		w.claims[c.Object].users[d.UID()], w.claims[c.Object].prepared = true, true
	}
	return plan.Outcome{}
}

// unprepareClaims gives back what a pod has of claims. The caller holds mu.
func (w *World) unprepareClaims(uid types.UID) plan.Outcome {
	for _, c := range w.containers {
		if c.uid == uid && c.state == pod.Running {
			w.violate("%s: its claims are given back while %s#%d lives", uid, c.name, c.attempt)
		}
	}
	for name, c := range w.claims {
		delete(c.users, uid)
		if len(c.users) == 0 {
			delete(w.claims, name)
		}
	}
	return plan.Outcome{}
}

// checkClaims holds that nothing of a pod comes to life whose claims are not prepared for it. The caller holds mu.
func (w *World) checkClaims(d *pod.Desired, what string) {
	for _, c := range pod.Claims(d.Pod) {
		if have := w.claims[c.Object]; have == nil || !have.prepared || !have.users[d.UID()] {
			w.violate("%s: %s comes before claim %s is prepared", d.UID(), what, c.Object)
		}
	}
}

// Claims are the claims that are prepared, or may be, in order.
func (w *World) Claims() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.claims))
}

// claimsOf counts the claims that are prepared, or may be, for a pod. The caller holds mu.
func (w *World) claimsOf(uid types.UID) int {
	n := 0
	for _, c := range w.claims {
		if c.users[uid] {
			n++
		}
	}
	return n
}
