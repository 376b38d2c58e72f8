package allocate

import (
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// MemoryRules say whose memory comes from certain NUMA nodes.
type MemoryRules struct {
	// Static gives containers of guaranteed pods their memory and huge pages from as few NUMA nodes as will do (behaviour 235).
	Static bool
	// Reserved is what the system keeps, by NUMA node and resource, in bytes.
	Reserved map[int]map[string]int64
}

// Amounts are how much there is of what a NUMA node's memory is divided into.
type Amounts struct{ Total, Reserved, Taken int64 }

// Allocatable is what containers may have together, Free what is left of it.
func (a Amounts) Allocatable() int64 { return max(a.Total-a.Reserved, 0) }

// Free is what nobody has.
func (a Amounts) Free() int64 { return max(a.Allocatable()-a.Taken, 0) }

// BankState is how the memory of one NUMA node is used.
type BankState struct {
	Node int
	// Amounts are by resource: memory, hugepages-2Mi.
	Amounts map[string]Amounts
	// Group are the nodes that are used together with this one; itself alone if no container has memory of several. Blocks is how many
	// containers have something of it.
	Group  Nodes
	Blocks int
}

// MemoryState is how the memory of a machine is used when these pods have what they hold. What comes from several nodes is taken from the
// first of them as far as that goes, then from the next: where it really lies only the kernel knows.
func (r MemoryRules) MemoryState(m *Machine, held []*Assigned) []BankState {
	out := make([]BankState, 0, len(m.Banks))
	for _, b := range m.Banks {
		s := BankState{Node: b.Node, Group: NodesOf(b.Node), Amounts: map[string]Amounts{
			string(v1.ResourceMemory): {Total: b.Memory, Reserved: r.Reserved[b.Node][string(v1.ResourceMemory)]},
		}}
		for name, size := range b.HugePages {
			s.Amounts[name] = Amounts{Total: size, Reserved: r.Reserved[b.Node][name]}
		}
		out = append(out, s)
	}
	for _, a := range held {
		for _, name := range a.names() {
			for _, block := range a.Containers[name].Memory {
				charge(out, block)
			}
		}
	}
	return out
}

func charge(banks []BankState, b Block) {
	left := b.Size - b.Reused
	for i := range banks {
		s := &banks[i]
		if !b.Nodes.Has(s.Node) {
			continue
		}
		s.Blocks++
		s.Group |= b.Nodes
		a := s.Amounts[b.Resource]
		take := min(left, a.Free())
		a.Taken += take
		left -= take
		s.Amounts[b.Resource] = a
	}
}

// memory is the choice of NUMA nodes for the memory of the containers of one pod, one after the other.
type memory struct {
	machine *Machine
	rules   MemoryRules
	// blocks are what all have, those of this pod included.
	blocks []Block
	// spare is what init containers of this pod had that will have ended.
	spare map[Nodes]map[string]int64
}

func newMemory(m *Machine, r MemoryRules, held []*Assigned) *memory {
	x := &memory{machine: m, rules: r, spare: map[Nodes]map[string]int64{}}
	for _, a := range held {
		if a == nil {
			continue
		}
		for _, p := range a.Containers {
			x.blocks = append(x.blocks, p.Memory...)
		}
	}
	return x
}

// request is what a container of a guaranteed pod gets from certain nodes, by resource.
func (x *memory) request(c *v1.Container) map[string]int64 {
	if !x.rules.Static {
		return nil
	}
	out := map[string]int64{}
	for _, list := range []v1.ResourceList{c.Resources.Limits, c.Resources.Requests} {
		for name := range list {
			if name != v1.ResourceMemory && !strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) {
				continue
			}
			if q := request(c, name); q.Sign() > 0 {
				out[string(name)] = q.Value()
			}
		}
	}
	return out
}

// offer is where all of a request can come from.
func (x *memory) offer(want map[string]int64, nodes Nodes) Offer {
	resource := string(v1.ResourceMemory)
	if len(want) == 0 {
		return Anywhere(resource)
	}
	out, least, again := Offer{Resource: resource}, 65, false
	for set := range nodes.Subsets {
		if !x.holds(set, want) {
			continue
		}
		least = min(least, set.Len())
		if x.fits(set, want) {
			out.Hints = append(out.Hints, Hint{Nodes: set, Preferred: set.Len() == least})
			again = again || x.spare[set] != nil
		}
	}
	if again { // what init containers had is used again
		out.Hints = slices.DeleteFunc(out.Hints, func(h Hint) bool { return x.spare[h.Nodes] == nil })
	}
	return out
}

// amount is what NUMA nodes can give together when nobody has anything.
func (x *memory) amount(set Nodes, resource string) (sum int64) {
	for _, b := range x.machine.Banks {
		if !set.Has(b.Node) {
			continue
		}
		total := b.HugePages[resource]
		if resource == string(v1.ResourceMemory) {
			total = b.Memory
		}
		sum += max(total-x.rules.Reserved[b.Node][resource], 0)
	}
	return sum
}

// holds tells whether nodes could give all of a request if nobody had anything.
func (x *memory) holds(set Nodes, want map[string]int64) bool {
	for resource, size := range want {
		if x.amount(set, resource) < size {
			return false
		}
	}
	return true
}

// fits tells whether nodes can give a request now. Nodes that are used together are used only together: otherwise nobody could say how
// much is left of one of them.
func (x *memory) fits(set Nodes, want map[string]int64) bool {
	free := map[string]int64{}
	for resource := range want {
		free[resource] = x.amount(set, resource) + x.spare[set][resource]
	}
	for _, b := range x.blocks {
		switch {
		case b.Nodes&set == 0:
		case b.Nodes != set:
			return false
		default:
			free[b.Resource] -= b.Size - b.Reused
		}
	}
	for resource, size := range want {
		if free[resource] < size {
			return false
		}
	}
	return true
}

// take chooses the nodes for the next container: those of a place, or as few more as are needed.
func (x *memory) take(want map[string]int64, place Hint, ends bool, t Topology) ([]Block, *Obstacle) {
	if len(want) == 0 {
		return nil, nil
	}
	set := place.Nodes
	if set == 0 || !x.fits(set, want) {
		offer := x.offer(want, x.machine.Nodes())
		best, ok := best(offer.Hints, set, t)
		switch {
		case !ok && set == 0:
			return nil, unexpected(string(v1.ResourceMemory), "[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available")
		case !ok:
			return nil, unexpected(string(v1.ResourceMemory), "[memorymanager] failed to find NUMA nodes to extend the current topology hint")
		}
		set = best
	}
	var out []Block
	for _, resource := range slices.Sorted(maps.Keys(want)) {
		b := Block{Resource: resource, Nodes: set, Size: want[resource], Reused: min(want[resource], x.spare[set][resource]), Over: ends}
		out = append(out, b)
		x.blocks = append(x.blocks, b)
		if x.spare[set] == nil {
			x.spare[set] = map[string]int64{}
		}
		if ends {
			x.spare[set][resource] += b.Size - b.Reused
		} else {
			x.spare[set][resource] -= b.Reused
		}
	}
	for set, left := range x.spare {
		maps.DeleteFunc(left, func(_ string, size int64) bool { return size == 0 })
		if len(left) == 0 {
			delete(x.spare, set)
		}
	}
	return out, nil
}

// best is the best set of nodes among hints that takes in these.
func best(hints []Hint, nodes Nodes, t Topology) (found Nodes, ok bool) {
	for _, h := range hints {
		if nodes.Within(h.Nodes) && (!ok || t.compare(h.Nodes, found) < 0) {
			found, ok = h.Nodes, true
		}
	}
	return found, ok
}
