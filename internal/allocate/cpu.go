package allocate

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/reason"
)

// CPUOptions are the options of the static CPU policy (behaviour 233).
type CPUOptions struct {
	// FullCores gives whole cores only: full-pcpus-only.
	FullCores bool
	// AcrossNodes takes equal numbers from several NUMA nodes where one has not enough: distribute-cpus-across-numa.
	AcrossNodes bool
	// BySocket counts processors as near when they are on the same socket: align-by-socket.
	BySocket bool
	// AcrossCores takes one processor of each core before a second of any: distribute-cpus-across-cores.
	AcrossCores bool
	// StrictReserve keeps pods that share processors off those of the system: strict-cpu-reservation.
	StrictReserve bool
	// AlignCaches takes processors that share a cache: prefer-align-cpus-by-uncorecache.
	AlignCaches bool
}

// CPURules say who gets processors of its own.
type CPURules struct {
	// Static gives containers of guaranteed pods that ask for whole processors these for themselves (behaviour 232).
	Static bool
	// Reserved are the processors of the system: nobody gets them alone.
	Reserved CPUs
	CPUOptions
}

// Pool are the processors that containers share who have none of their own. It is never empty on a machine with a processor: where all are
// given away, those of the system are left.
func (r CPURules) Pool(m *Machine, held []*Assigned) CPUs {
	pool := m.All()
	for _, a := range held {
		pool = pool.Without(a.CPUs())
	}
	switch {
	case r.Static && r.StrictReserve && !pool.Within(r.Reserved):
		return pool.Without(r.Reserved)
	case !pool.Empty():
		return pool
	case !r.Reserved.Empty():
		return r.Reserved
	}
	return m.All()
}

// processors is the choice of processors for the containers of one pod, one after the other.
type processors struct {
	chooser
	rules CPURules
	// free are those that nobody has, spare those of init containers of this pod that will have ended.
	free, spare CPUs
}

func newProcessors(m *Machine, r CPURules, held []*Assigned) *processors {
	x := &processors{chooser: chooser{machine: m, options: r.CPUOptions}, rules: r, free: m.All().Without(r.Reserved)}
	for _, a := range held {
		x.free = x.free.Without(a.CPUs())
	}
	return x
}

// request is how many processors a container of a guaranteed pod gets for itself.
func (x *processors) request(c *v1.Container) int {
	q := request(c, v1.ResourceCPU)
	if !x.rules.Static || q.Sign() <= 0 || q.MilliValue()%1000 != 0 {
		return 0
	}
	return int(min(q.Value(), mostCPUs))
}

// available are those that could be given.
func (x *processors) available() CPUs {
	all := x.free.With(x.spare)
	if x.options.FullCores {
		return x.machine.wholeCores(all)
	}
	return all
}

// offer is where n processors can come from.
func (x *processors) offer(n int, nodes Nodes) Offer {
	if n == 0 {
		return Anywhere(string(v1.ResourceCPU))
	}
	out, available := Offer{Resource: string(v1.ResourceCPU)}, x.available()
	least, leastSockets := 65, 1<<16
	again := false
	for set := range nodes.Subsets {
		if x.machine.On(set).Len() >= n {
			least = min(least, set.Len())
			leastSockets = min(leastSockets, x.machine.sockets(set))
		}
		if x.near(available, set).Len() < n {
			continue
		}
		again = again || x.spare.Within(x.near(available, set))
		out.Hints = append(out.Hints, Hint{Nodes: set, Preferred: set.Len() == least})
	}
	if x.options.BySocket {
		for i, h := range out.Hints {
			out.Hints[i].Preferred = x.machine.sockets(h.Nodes) == leastSockets
		}
	}
	if again { // what init containers had is used again
		out.Hints = slices.DeleteFunc(out.Hints, func(h Hint) bool { return !x.spare.Within(x.near(available, h.Nodes)) })
	}
	return out
}

// near are those of a set that are on NUMA nodes, or on their sockets where that will do.
func (x *processors) near(s CPUs, nodes Nodes) CPUs {
	if x.options.BySocket {
		return s.And(x.machine.onSocketsOf(nodes))
	}
	return s.And(x.machine.On(nodes))
}

// take chooses n processors for the next container, near to a place if that names nodes. ends tells that the container has ended when the
// next one begins.
func (x *processors) take(n int, place Hint, ends bool) (CPUs, *Obstacle) {
	if n == 0 {
		return nil, nil
	}
	if no := x.aligned(n); no != nil {
		return nil, no
	}
	available := x.available()
	if available.Len() < n {
		return nil, unexpected(string(v1.ResourceCPU), fmt.Sprintf("not enough cpus available to satisfy request: requested=%d, available=%d", n, available.Len()))
	}
	got := available.And(x.spare)
	if got.Len() > n {
		got, _ = x.pick(got, x.near(got, place.Nodes), n)
	} else {
		more, _ := x.pick(available.Without(got), x.near(available, place.Nodes), n-got.Len())
		got = got.With(more)
	}
	x.free, x.spare = x.free.Without(got), x.spare.Without(got)
	if ends {
		x.spare = x.spare.With(got)
	}
	return got, nil
}

// aligned refuses what cannot be whole cores.
func (x *processors) aligned(n int) *Obstacle {
	if !x.options.FullCores {
		return nil
	}
	threads := x.machine.ThreadsOfCore()
	if n%threads != 0 {
		return &Obstacle{Reason: reason.SMTAlignmentError, Detail: string(v1.ResourceCPU), Message: fmt.Sprintf(
			"SMT Alignment Error: requested %d cpus not multiple cpus per core = %d", n, threads)}
	}
	if available := x.available().Len(); available < n {
		return &Obstacle{Reason: reason.SMTAlignmentError, Detail: string(v1.ResourceCPU), Message: fmt.Sprintf(
			"SMT Alignment Error: not enough free physical CPUs: available physical CPUs = %d, requested CPUs = %d, CPUs per core = %d", available, n, threads)}
	}
	return nil
}
