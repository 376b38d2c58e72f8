package allocate

import (
	"cmp"
	"slices"
)

// The policies of the topology manager, by their names in the configuration.
const (
	PolicyNone       = "none"
	PolicyBestEffort = "best-effort"
	PolicyRestricted = "restricted"
	PolicySingleNode = "single-numa-node"
)

// A Topology says how the offers of several resources become one place.
type Topology struct {
	// Policy is one of the four above; empty is none.
	Policy string
	// WholePod joins the offers of a pod as a whole (scope pod), not of each of its containers (scope container).
	WholePod bool
	// Closest takes, of sets of the same size, the one whose nodes are nearest to each other (prefer-closest-numa-nodes).
	Closest bool
	// Most is how many NUMA nodes the machine may have (max-allowable-numa-nodes); 0 is 8. With more, there is no policy.
	Most int
	// Nodes are the NUMA nodes of the machine.
	Nodes Nodes
	// Distance is what the firmware says of how far one node is from another; nil when it says nothing.
	Distance func(from, to int) int
}

// mostNodes is how many NUMA nodes a machine may have by default: the number of sets of them doubles with each.
const mostNodes = 8

// Asks reports whether offers are to be asked for at all.
func (t Topology) Asks() bool { return t.Policy != "" && t.Policy != PolicyNone && !t.TooLarge() }

// TooLarge reports whether the machine has more NUMA nodes than the policy may be used with.
func (t Topology) TooLarge() bool {
	most := cmp.Or(t.Most, mostNodes)
	return t.Policy != "" && t.Policy != PolicyNone && t.Nodes.Len() > most
}

// Merge finds the place that suits all offers, and whether the policy lets the pod in with it. A Hint without nodes says: no
// matter where.
//
//	preferred:     the same nodes are the preferred ones of each resource that has an opinion
//	not preferred: what is common to one hint of each
//
// A preferred place is better than one that is not; then the smaller, then the closer one, then that of the lower nodes. Of places that are not
// preferred, one as large as the largest resource needs at least is best: fewer nodes would only split that resource.
func (t Topology) Merge(offers []Offer) (Hint, bool) {
	if !t.Asks() {
		return Hint{}, true
	}
	single := t.Policy == PolicySingleNode
	offers = t.opinions(offers, single)
	if len(offers) == 0 {
		return Hint{Preferred: true}, true
	}
	best, ok := t.preferred(offers)
	if !ok {
		if t.Policy != PolicyBestEffort {
			return Hint{}, false
		}
		best = t.second(offers)
	}
	return best, true
}

// opinions are the offers that name nodes. With single, only hints of one node count.
func (t Topology) opinions(offers []Offer, single bool) []Offer {
	var all []Offer
	for _, o := range offers {
		if o.Anywhere || slices.ContainsFunc(o.Hints, func(h Hint) bool { return h.Nodes == 0 && h.Preferred }) {
			continue
		}
		kept := Offer{Resource: o.Resource}
		for _, h := range o.Hints {
			h.Nodes &= t.Nodes
			if h.Nodes != 0 && (!single || h.Nodes.Len() == 1) {
				kept.Hints = append(kept.Hints, h)
			}
		}
		all = append(all, kept)
	}
	return all
}

// preferred is the best of the sets that every offer prefers.
func (t Topology) preferred(offers []Offer) (Hint, bool) {
	var best Nodes
	for _, h := range offers[0].Hints {
		everyone := h.Preferred
		for _, o := range offers[1:] {
			everyone = everyone && slices.Contains(o.Hints, h)
		}
		if everyone && (best == 0 || t.compare(h.Nodes, best) < 0) {
			best = h.Nodes
		}
	}
	return Hint{Nodes: best, Preferred: true}, best != 0
}

// second is the best of what is common to one hint of each offer. Offers without hints have no say: they get what there is.
func (t Topology) second(offers []Offer) Hint {
	common := map[Nodes]bool{t.Nodes: true}
	need := 0
	for _, o := range offers {
		if len(o.Hints) == 0 {
			continue
		}
		least := 64
		next := map[Nodes]bool{}
		for _, h := range o.Hints {
			least = min(least, h.Nodes.Len())
			for c := range common {
				if both := c & h.Nodes; both != 0 {
					next[both] = true
				}
			}
		}
		need, common = max(need, least), next
	}
	var best Nodes
	for c := range common {
		if best == 0 || t.compareSecond(c, best, need) < 0 {
			best = c
		}
	}
	if best == t.Nodes {
		best = 0 // all nodes: no matter where
	}
	return Hint{Nodes: best}
}

// compareSecond orders places that nobody prefers: as large as needed, then the largest below that, then the smallest above.
func (t Topology) compareSecond(a, b Nodes, need int) int {
	rank := func(n Nodes) int {
		if n.Len() <= need {
			return need - n.Len()
		}
		return n.Len() // above all that are too small
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), t.compare(a, b))
}

// compare orders places: smaller, then closer if that is asked for, then lower nodes.
func (t Topology) compare(a, b Nodes) int {
	if by := cmp.Compare(a.Len(), b.Len()); by != 0 {
		return by
	}
	if t.Closest && t.Distance != nil {
		if by := cmp.Compare(t.spread(a), t.spread(b)); by != 0 {
			return by
		}
	}
	return cmp.Compare(a, b)
}

// spread is the sum of the distances from each node of the set to each, itself included. Sets of the same size compare by it.
func (t Topology) spread(s Nodes) int {
	sum := 0
	for _, from := range s.IDs() {
		for _, to := range s.IDs() {
			sum += t.Distance(from, to)
		}
	}
	return sum
}
