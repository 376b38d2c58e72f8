package mirror

import (
	"cmp"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/pod"
)

// Static is what the node knows of static pods.
type Static struct {
	// Wanted are those that should run. Of two with one full name the first counts.
	Wanted []*pod.Desired
	// Ending are those that no manifest names any more, or not in this version, while something of them is left.
	Ending []*pod.Desired
	// Alive tells of those that have not ended, nor begun to. What a mirror says of an end is of an earlier life of them then.
	Alive map[types.UID]bool
	// Ready tells that every source has spoken, so that a pod that nobody wants is known to be unwanted.
	Ready bool
}

// Input is everything that the mirror pods depend on.
type Input struct {
	Static
	// API are the pods bound to this node in the API, mirror pods and others.
	API []*v1.Pod
	// Node is the Node object; nil while it is not known. Nothing can be created before.
	Node *v1.Node
}

// Kind is what should be done.
type Kind int

// The kinds of actions. A Clash is nothing to be done, but somebody should know: a pod that is no mirror pod has the name.
const (
	Create Kind = iota
	Delete
	Clash
)

// String is for tests and logs.
func (k Kind) String() string { return [...]string{"create", "delete", "clash"}[k] }

// Action is what should be done next about the mirror pod of a full name.
type Action struct {
	Kind Kind
	// Static is the static pod; nil when a mirror pod is deleted of which there is none.
	Static *pod.Desired
	// Object is the pod in the API that is to be deleted or is in the way.
	Object *v1.Pod
}

// FullName is what the action is about.
func (a Action) FullName() pod.FullName {
	if a.Static != nil {
		return pod.FullNameOf(a.Static.Pod)
	}
	return pod.FullNameOf(a.Object)
}

// Decide tells what should be done next about each full name, one action at most, in the order of names. When all are done
// there is exactly one mirror pod for each static pod that is wanted, and no other.
func Decide(in Input) []Action {
	wanted := map[pod.FullName]*pod.Desired{}
	for _, d := range in.Wanted {
		if name := pod.FullNameOf(d.Pod); wanted[name] == nil {
			wanted[name] = d
		}
	}
	ending := map[pod.FullName]map[types.UID]bool{}
	for _, d := range in.Ending {
		name := pod.FullNameOf(d.Pod)
		if ending[name] == nil {
			ending[name] = map[types.UID]bool{}
		}
		ending[name][d.UID()] = true
	}
	there := map[pod.FullName]*v1.Pod{}
	for _, p := range in.API {
		if name := pod.FullNameOf(p); hash(p) != "" || wanted[name] != nil {
			there[name] = p
		}
	}
	all := maps.Clone(there)
	for name, d := range wanted {
		all[name] = cmp.Or(all[name], d.Pod)
	}
	var out []Action
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if a, ok := decideOne(in, wanted[name], ending[name], there[name]); ok {
			out = append(out, a)
		}
	}
	return out
}

// decideOne decides about one full name: the static pod that is wanted, if any, the UIDs of those that are ending, and the
// pod that has the name in the API, if any.
func decideOne(in Input, d *pod.Desired, ending map[types.UID]bool, have *v1.Pod) (Action, bool) {
	switch {
	case have == nil:
		// While an older version is ending, the new one does not run yet and has no mirror (behaviour 16).
		return Action{Kind: Create, Static: d}, d != nil && in.Node != nil && (len(ending) == 0 || ending[d.UID()])
	case hash(have) == "":
		return Action{Kind: Clash, Static: d, Object: have}, true
	case goesByItself(have):
		return Action{}, false
	case d == nil && !in.Ready:
		return Action{}, false // its manifest may just not have been read
	}
	right := d != nil && hash(have) == d.UID() || ending[hash(have)]
	if ended := have.Status.Phase == v1.PodSucceeded || have.Status.Phase == v1.PodFailed; ended && in.Alive[hash(have)] {
		right = false // a phase that ends is never left (behaviour 269), so it has to be another object
	}
	if right && have.DeletionTimestamp == nil && (in.Node == nil || ownedBy(have, in.Node)) {
		return Action{}, false
	}
	return Action{Kind: Delete, Static: d, Object: have}, true
}

// goesByItself tells that a pod was deleted for good, and goes once others have taken their finalizers off.
func goesByItself(p *v1.Pod) bool {
	return p.DeletionTimestamp != nil && len(p.Finalizers) > 0 && p.DeletionGracePeriodSeconds != nil && *p.DeletionGracePeriodSeconds == 0
}
