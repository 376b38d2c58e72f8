package allocate

import (
	"cmp"
	"slices"
)

// A CPU is one logical processor and where it is.
type CPU struct {
	ID int
	// Core, Socket and Cache tell which others it shares a core, a socket and the last cache before memory with; each is a number that only
	// those have. Cache is -1 if that is not known.
	Core, Socket, Cache int
	// Node is the NUMA node it is on.
	Node int
}

// A Bank is the memory of one NUMA node.
type Bank struct {
	Node int
	// Memory is what there is beside huge pages, HugePages what there is of these by resource name, hugepages-2Mi; in bytes.
	Memory    int64
	HugePages map[string]int64
	// Distance is how far other nodes are, by position in Machine.Banks; nil if that is not known.
	Distance []int
}

// A Machine is what the rules have to know of the machine.
type Machine struct {
	CPUs []CPU
	// Banks are in the order of their nodes.
	Banks []Bank
}

// All are the processors of the machine.
func (m *Machine) All() CPUs { return m.where(func(CPU) bool { return true }) }

// Nodes are the NUMA nodes of the machine.
func (m *Machine) Nodes() (all Nodes) {
	for _, c := range m.CPUs {
		all |= NodesOf(c.Node)
	}
	for _, b := range m.Banks {
		all |= NodesOf(b.Node)
	}
	return all
}

// On are the processors of NUMA nodes.
func (m *Machine) On(nodes Nodes) CPUs {
	return m.where(func(c CPU) bool { return nodes.Has(c.Node) })
}

// Distance is how far one node is from another, as the firmware says; 10 from itself, 20 where it says nothing.
func (m *Machine) Distance(from, to int) int {
	i := slices.IndexFunc(m.Banks, func(b Bank) bool { return b.Node == from })
	j := slices.IndexFunc(m.Banks, func(b Bank) bool { return b.Node == to })
	switch {
	case i >= 0 && j >= 0 && j < len(m.Banks[i].Distance):
		return m.Banks[i].Distance[j]
	case from == to:
		return 10
	}
	return 20
}

// ThreadsOfCore is how many processors the largest core has.
func (m *Machine) ThreadsOfCore() int {
	most, count := 1, map[int]int{}
	for _, c := range m.CPUs {
		count[c.Core]++
		most = max(most, count[c.Core])
	}
	return most
}

// where are the processors of which keep is true.
func (m *Machine) where(keep func(CPU) bool) CPUs {
	var ids []int
	for _, c := range m.CPUs {
		if keep(c) {
			ids = append(ids, c.ID)
		}
	}
	return CPUsOf(ids...)
}

// within are the places of the processors of a set.
func (m *Machine) within(s CPUs) []CPU {
	var out []CPU
	for _, c := range m.CPUs {
		if s.Has(c.ID) {
			out = append(out, c)
		}
	}
	return out
}

// wholeCores are the processors of a set whose cores are wholly in it.
func (m *Machine) wholeCores(s CPUs) CPUs {
	broken := map[int]bool{}
	for _, c := range m.CPUs {
		if !s.Has(c.ID) {
			broken[c.Core] = true
		}
	}
	return m.where(func(c CPU) bool { return s.Has(c.ID) && !broken[c.Core] })
}

// onSocketsOf are the processors of the sockets that NUMA nodes are part of.
func (m *Machine) onSocketsOf(nodes Nodes) CPUs {
	sockets := map[int]bool{}
	for _, c := range m.CPUs {
		if nodes.Has(c.Node) {
			sockets[c.Socket] = true
		}
	}
	return m.where(func(c CPU) bool { return sockets[c.Socket] })
}

// sockets is how many sockets NUMA nodes are part of.
func (m *Machine) sockets(nodes Nodes) int {
	seen := map[int]bool{}
	for _, c := range m.CPUs {
		if nodes.Has(c.Node) {
			seen[c.Socket] = true
		}
	}
	return len(seen)
}

// Lowest are the first n processors core by core, the core with the lowest number first: those that the system keeps when none are named
// (behaviour 234).
func (m *Machine) Lowest(n int) CPUs {
	sorted := slices.SortedFunc(slices.Values(m.CPUs), func(a, b CPU) int {
		return cmp.Or(cmp.Compare(a.Core, b.Core), cmp.Compare(a.ID, b.ID))
	})
	var ids []int
	for _, c := range sorted[:min(n, len(sorted))] {
		ids = append(ids, c.ID)
	}
	return CPUsOf(ids...)
}
