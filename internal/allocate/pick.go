package allocate

import (
	"cmp"
	"maps"
	"slices"
)

// A chooser picks processors on a machine.
type chooser struct {
	machine *Machine
	options CPUOptions
}

// pick chooses n of the free processors, those that prefer names first; false if there are not so many.
//
// The machine is a tree: sockets, NUMA nodes, caches if they count, cores, processors. What fits into one branch comes from the branch in
// which least is left over, so that large branches stay whole for those who need them; what fits into none takes the branches that have
// most, as few as will do.
func (x chooser) pick(free, prefer CPUs, n int) (CPUs, bool) {
	if n > free.Len() {
		return nil, false
	}
	first := free.And(prefer)
	if first.Len() >= n {
		return x.choose(first, n), true
	}
	return first.With(x.choose(free.Without(first), n-first.Len())), true
}

func (x chooser) choose(free CPUs, n int) CPUs {
	switch {
	case n == 0:
		return nil
	case n == free.Len():
		return free
	}
	cpus := x.machine.within(free)
	if x.options.AcrossNodes {
		if s, ok := x.spread(cpus, n); ok {
			return s
		}
	}
	return CPUsOf(x.branch(cpus, n, x.levels())...)
}

// A level says to which branch a processor belongs.
type level func(CPU) int

// levels are those of the machine, that with fewer branches first: a socket may be several NUMA nodes, or a node several sockets.
func (x chooser) levels() []level {
	all := []level{func(c CPU) int { return c.Socket }, func(c CPU) int { return c.Node }}
	if x.branches(all[0]) > x.branches(all[1]) {
		slices.Reverse(all)
	}
	if x.options.AlignCaches {
		all = append(all, func(c CPU) int { return c.Cache })
	}
	if !x.options.AcrossCores {
		all = append(all, func(c CPU) int { return c.Core })
	}
	return all
}

func (x chooser) branches(l level) int {
	seen := map[int]bool{}
	for _, c := range x.machine.CPUs {
		seen[l(c)] = true
	}
	return len(seen)
}

// branch picks n of these processors, of which there are as many at least.
func (x chooser) branch(cpus []CPU, n int, levels []level) []int {
	if n == 0 {
		return nil
	}
	if len(levels) == 0 {
		return x.leaves(cpus)[:n]
	}
	of := map[int][]CPU{}
	for _, c := range cpus {
		of[levels[0](c)] = append(of[levels[0](c)], c)
	}
	ids := slices.Sorted(maps.Keys(of))
	var out []int
	for n > 0 {
		best := slices.MinFunc(ids, func(a, b int) int {
			p, q := len(of[a]), len(of[b])
			switch {
			case p >= n && q >= n: // the one in which least is left over
				return cmp.Or(cmp.Compare(p, q), cmp.Compare(a, b))
			case p < n && q < n: // the one that has most
				return cmp.Or(cmp.Compare(q, p), cmp.Compare(a, b))
			case p >= n:
				return -1
			}
			return 1
		})
		take := min(n, len(of[best]))
		out = append(out, x.branch(of[best], take, levels[1:])...)
		n -= take
		ids = slices.DeleteFunc(ids, func(id int) bool { return id == best })
	}
	return out
}

// leaves orders processors that differ in nothing that counts: by number, or one of each core before a second of any.
func (x chooser) leaves(cpus []CPU) []int {
	rank, seen := map[int]int{}, map[int]int{}
	cpus = slices.SortedFunc(slices.Values(cpus), func(a, b CPU) int { return cmp.Compare(a.ID, b.ID) })
	for _, c := range cpus {
		rank[c.ID] = seen[c.Core]
		seen[c.Core]++
	}
	ids := make([]int, 0, len(cpus))
	for _, c := range cpus {
		ids = append(ids, c.ID)
	}
	if x.options.AcrossCores {
		slices.SortStableFunc(ids, func(a, b int) int { return cmp.Compare(rank[a], rank[b]) })
	}
	return ids
}

// spread picks n processors in equal numbers from as few NUMA nodes as can give them; false if one node can give all, or if no nodes can
// give equal numbers. What does not divide goes to the first nodes, by whole cores where only such are given.
func (x chooser) spread(cpus []CPU, n int) (CPUs, bool) {
	of := map[int][]CPU{}
	var nodes Nodes
	for _, c := range cpus {
		of[c.Node] = append(of[c.Node], c)
		nodes |= NodesOf(c.Node)
	}
	unit := 1
	if x.options.FullCores {
		unit = x.machine.ThreadsOfCore()
	}
	for set := range nodes.Subsets {
		parts := shareOut(n, set.Len(), unit)
		ids := set.IDs()
		slices.SortStableFunc(ids, func(a, b int) int { return cmp.Compare(len(of[b]), len(of[a])) }) // the larger parts from where most is
		fits := true
		for i, id := range ids {
			fits = fits && len(of[id]) >= parts[i]
		}
		if !fits {
			continue
		}
		if set.Len() == 1 {
			return nil, false
		}
		var out CPUs
		for i, id := range ids {
			out = out.With(CPUsOf(x.branch(of[id], parts[i], x.levels())...))
		}
		return out, true
	}
	return nil, false
}

// shareOut divides n into parts that differ by one unit at most, and what is less than a unit; the larger ones first.
func shareOut(n, parts, unit int) []int {
	out := make([]int, parts)
	for i := range out {
		out[i] = n / unit / parts * unit
	}
	rest := n - n/unit/parts*unit*parts
	for i := 0; rest > 0; i = (i + 1) % parts {
		take := min(unit, rest)
		out[i] += take
		rest -= take
	}
	return out
}
