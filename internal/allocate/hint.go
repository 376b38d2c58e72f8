package allocate

import (
	"math/bits"
	"strconv"
	"strings"
)

// Nodes is a set of NUMA nodes: bit n stands for node n. There are at most 64.
type Nodes uint64

// NodesOf is the set of these NUMA nodes. Numbers below 0 and above 63 are left out.
func NodesOf(ids ...int) Nodes {
	var s Nodes
	for _, id := range ids {
		if id >= 0 && id < 64 {
			s |= 1 << id
		}
	}
	return s
}

// Len is how many nodes the set has.
func (s Nodes) Len() int { return bits.OnesCount64(uint64(s)) }

// Has reports whether the set has this node.
func (s Nodes) Has(id int) bool { return id >= 0 && id < 64 && s&(1<<id) != 0 }

// IDs lists the nodes, the lowest number first.
func (s Nodes) IDs() []int {
	ids := make([]int, 0, s.Len())
	for rest := uint64(s); rest != 0; rest &= rest - 1 {
		ids = append(ids, bits.TrailingZeros64(rest))
	}
	return ids
}

// Within reports whether all nodes of the set are in other.
func (s Nodes) Within(other Nodes) bool { return s&^other == 0 }

// String is the set as a list: "0,2".
func (s Nodes) String() string {
	ids := s.IDs()
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(id)
	}
	return strings.Join(words, ",")
}

// A Hint is one place where something can come from: all of it from these NUMA nodes.
type Hint struct {
	// Nodes are the NUMA nodes; empty means that no node is better than another.
	Nodes Nodes
	// Preferred says that no smaller set of nodes of the whole machine would do, when nothing were taken.
	Preferred bool
}

// An Offer is what one resource says of where it can come from for one container (or pod).
type Offer struct {
	// Resource is what the offer is of: "cpu", "memory", "vendor.com/device".
	Resource string
	// Anywhere says that the resource has no opinion; Hints are not read then.
	Anywhere bool
	// Hints are all sets of nodes from which the whole of it can come now. No hints, and not Anywhere: from no set that is known.
	Hints []Hint
}

// Anywhere is the offer of a resource to which NUMA nodes mean nothing.
func Anywhere(resource string) Offer { return Offer{Resource: resource, Anywhere: true} }

// Subsets calls yield for every set of these nodes that is not empty, smaller sets first, then those of lower nodes, until
// yield answers false.
func (s Nodes) Subsets(yield func(Nodes) bool) {
	ids := s.IDs()
	for size := 1; size <= len(ids); size++ {
		if !choose(ids, size, 0, yield) {
			return
		}
	}
}

// choose yields taken together with every choice of size among ids.
func choose(ids []int, size int, taken Nodes, yield func(Nodes) bool) bool {
	if size == 0 {
		return yield(taken)
	}
	for i := 0; i+size <= len(ids); i++ {
		if !choose(ids[i+1:], size-1, taken|NodesOf(ids[i]), yield) {
			return false
		}
	}
	return true
}
