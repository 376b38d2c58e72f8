package allocate

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
)

// machine is made of sockets, nodes of each, caches of each node, cores of each cache and threads of each core. First come the first threads of all
// cores, as Linux counts on most machines. Each node has 8 GiB and 1 GiB of huge pages.
func machine(sockets, nodes, caches, cores, threads int) Machine {
	var m Machine
	all := sockets * nodes * caches * cores
	for thread := range threads {
		for core := range all {
			m.CPUs = append(m.CPUs, CPU{
				ID: thread*all + core, Core: core, Cache: core / cores, Node: core / cores / caches, Socket: core / cores / caches / nodes,
			})
		}
	}
	for n := range sockets * nodes {
		m.Banks = append(m.Banks, Bank{Node: n, Memory: 8 << 30, HugePages: map[string]int64{"hugepages-2Mi": 1 << 30}})
	}
	return m
}

// guaranteed is a pod of containers, each written as name=cpu/memory; +name is an init container, ++name a sidecar.
func guaranteed(containers ...string) *v1.Pod {
	p := &v1.Pod{}
	for _, text := range containers {
		name, amounts, _ := strings.Cut(text, "=")
		cpu, memory, _ := strings.Cut(amounts, "/")
		if memory == "" {
			memory = "1Mi"
		}
		c := v1.Container{Name: strings.TrimLeft(name, "+")}
		c.Resources.Limits = v1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse(memory)}
		c.Resources.Requests = c.Resources.Limits
		switch {
		case strings.HasPrefix(name, "++"):
			c.RestartPolicy = ptr.To(v1.ContainerRestartPolicyAlways)
			p.Spec.InitContainers = append(p.Spec.InitContainers, c)
		case strings.HasPrefix(name, "+"):
			p.Spec.InitContainers = append(p.Spec.InitContainers, c)
		default:
			p.Spec.Containers = append(p.Spec.Containers, c)
		}
	}
	return p
}

// told is what a pod got: app=0-3 mem 0 (1024), or why not.
func told(a *Assigned, no *Obstacle) string {
	if no != nil {
		return no.Reason + ": " + no.Message
	}
	if a == nil {
		return "nothing"
	}
	var words []string
	for _, name := range a.names() {
		text := name + "=" + a.Containers[name].CPUs.String()
		for _, b := range a.Containers[name].Memory {
			text += fmt.Sprintf(" %s@%s:%dMi", b.Resource, b.Nodes, b.Size>>20)
			if b.Reused > 0 {
				text += fmt.Sprintf("(%dMi again)", b.Reused>>20)
			}
		}
		words = append(words, text)
	}
	return strings.Join(words, "; ")
}

func static(m Machine, reserved string, o CPUOptions) *Rules {
	keep, _ := ParseCPUs(reserved)
	return &Rules{Machine: m, CPU: CPURules{Static: true, Reserved: keep, CPUOptions: o}, Topology: Topology{Nodes: m.Nodes()}}
}

func holding(cpus string) []*Assigned {
	s, err := ParseCPUs(cpus)
	if err != nil {
		panic(err)
	}
	return []*Assigned{{Containers: map[string]Part{"c": {CPUs: s}}}}
}

// TestProcessors holds 232, 233 and 234: who gets processors, and which.
func TestProcessors(t *testing.T) {
	flat := machine(1, 1, 1, 8, 1)   // 8 cores
	smt := machine(1, 1, 1, 4, 2)    // 4 cores, n and n+4 are one
	two := machine(2, 1, 1, 4, 2)    // 2 sockets: 0-3,8-11 and 4-7,12-15
	four := machine(2, 2, 1, 2, 2)   // 4 nodes: 0,1,8,9; 2,3,10,11; 4,5,12,13; 6,7,14,15
	cached := machine(1, 1, 4, 4, 1) // 4 caches of 4 cores
	full, packed := CPUOptions{FullCores: true}, CPUOptions{}
	for name, c := range map[string]struct {
		rules *Rules
		held  string
		pod   *v1.Pod
		want  string
	}{
		"232 one":                           {static(flat, "0", packed), "", guaranteed("a=1"), "a=1"},
		"232 beside others":                 {static(flat, "0", packed), "1,3", guaranteed("a=2"), "a=2,4"},
		"232 a part of one":                 {static(flat, "0", packed), "", guaranteed("a=1500m"), "nothing"},
		"232 only those that ask for whole": {static(flat, "0", packed), "", guaranteed("a=1500m", "b=2"), "b=1-2"},
		"232 not guaranteed": {static(flat, "0", packed), "", func() *v1.Pod {
			p := guaranteed("a=1")
			p.Spec.Containers[0].Resources.Limits = nil
			return p
		}(), "nothing"},
		"232 resources of the pod as a whole": {static(flat, "0", packed), "", func() *v1.Pod {
			p := guaranteed("a=1")
			p.Spec.Resources = p.Spec.Containers[0].Resources.DeepCopy()
			return p
		}(), "nothing"},
		"232 policy none":                     {&Rules{Machine: flat}, "", guaranteed("a=1"), "nothing"},
		"232 never those of the system":       {static(flat, "0-1", packed), "2-6", guaranteed("a=2"), "UnexpectedAdmissionError: Allocate failed due to not enough cpus available to satisfy request: requested=2, available=1, which is unexpected"},
		"232 limits alone":                    {static(flat, "0", packed), "", func() *v1.Pod { p := guaranteed("a=1"); p.Spec.Containers[0].Resources.Requests = nil; return p }(), "a=1"},
		"whole cores first":                   {static(smt, "0,4", packed), "", guaranteed("a=2"), "a=1,5"},
		"what is left of a core first":        {static(smt, "0", packed), "", guaranteed("a=1"), "a=4"},
		"a core and what is left of another":  {static(smt, "0", packed), "", guaranteed("a=3"), "a=1,4-5"},
		"233 whole cores only":                {static(smt, "0", full), "", guaranteed("a=2"), "a=1,5"},
		"233 not whole cores":                 {static(smt, "0", full), "", guaranteed("a=3"), "SMTAlignmentError: SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2"},
		"233 not enough whole cores":          {static(smt, "0", full), "1,2", guaranteed("a=4"), "SMTAlignmentError: SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 2, requested CPUs = 4, CPUs per core = 2"},
		"the socket where least is left":      {static(two, "0,8", packed), "", guaranteed("a=4"), "a=1-2,9-10"},
		"a whole socket":                      {static(two, "0,8", packed), "", guaranteed("a=8"), "a=4-7,12-15"},
		"more than a socket":                  {static(two, "0,8", packed), "", guaranteed("a=10"), "a=1,4-7,9,12-15"},
		"233 equal numbers of nodes":          {static(two, "0,8", CPUOptions{AcrossNodes: true}), "", guaranteed("a=10"), "a=1-6,9-10,12-13"},
		"233 equal numbers, one would do":     {static(two, "0,8", CPUOptions{AcrossNodes: true}), "", guaranteed("a=6"), "a=1-3,9-11"},
		"233 equal numbers of three nodes":    {static(four, "0,8", CPUOptions{AcrossNodes: true}), "", guaranteed("a=9"), "a=2-7,10,12,14"},
		"233 equal numbers of whole cores":    {static(four, "0,8", CPUOptions{AcrossNodes: true, FullCores: true}), "", guaranteed("a=6"), "a=1-3,9-11"},
		"233 one of each core":                {static(smt, "0", CPUOptions{AcrossCores: true}), "", guaranteed("a=3"), "a=1-3"},
		"233 a cache":                         {static(cached, "0", CPUOptions{AlignCaches: true}), "", guaranteed("a=4"), "a=4-7"},
		"233 what is left of a cache":         {static(cached, "0", CPUOptions{AlignCaches: true}), "4-5", guaranteed("a=2"), "a=6-7"},
		"233 a cache and part of another":     {static(cached, "0", CPUOptions{AlignCaches: true}), "4-5", guaranteed("a=6"), "a=6-11"},
		"no caches to think of":               {static(cached, "0", packed), "4-5", guaranteed("a=4"), "a=1-3,6"},
		"234 init containers' are used again": {static(flat, "0", packed), "", guaranteed("+i=3", "a=2"), "a=1-2; i=1-3"},
		"234 and more":                        {static(flat, "0", packed), "", guaranteed("+i=2", "a=3", "b=2"), "a=1-3; b=4-5; i=1-2"},
		"234 sidecars' are not":               {static(flat, "0", packed), "", guaranteed("++s=2", "a=2"), "a=3-4; s=1-2"},
		"234 a sidecar has what an init had":  {static(flat, "0", packed), "", guaranteed("+i=3", "++s=2", "+j=2", "a=1"), "a=3; i=1-3; j=3-4; s=1-2"},
		"234 of whole cores":                  {static(smt, "0", full), "", guaranteed("+i=4", "a=2", "b=2"), "a=1,5; b=2,6; i=1-2,5-6"},
	} {
		t.Run(name, func(t *testing.T) {
			var held []*Assigned
			if c.held != "" {
				held = holding(c.held)
			}
			if got := told(Place(c.pod, c.rules, held, nil)); strings.ReplaceAll(got, " memory@", " ") != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestNodes holds 235 and 236 together with 232: NUMA nodes of processors and memory.
func TestNodes(t *testing.T) {
	two := machine(2, 1, 1, 4, 1) // nodes 0-3 and 4-7
	rules := func(policy string, pod bool) *Rules {
		r := static(two, "0", CPUOptions{})
		r.Memory = MemoryRules{Static: true, Reserved: map[int]map[string]int64{0: {"memory": 1 << 30}}}
		r.Topology = Topology{Policy: policy, WholePod: pod, Nodes: two.Nodes()}
		return r
	}
	const affinity = "TopologyAffinityError: Resources cannot be allocated with Topology locality"
	taken := []*Assigned{{Containers: map[string]Part{"x": {Memory: []Block{{Resource: "memory", Nodes: NodesOf(1), Size: 6 << 30}}}}}}
	for name, c := range map[string]struct {
		rules *Rules
		held  []*Assigned
		pod   *v1.Pod
		want  string
	}{
		"235 the first node that has enough":   {rules("none", false), nil, guaranteed("a=500m/2Gi"), "a= memory@0:2048Mi"},
		"235 not what the system keeps":        {rules("none", false), nil, guaranteed("a=500m/8Gi"), "a= memory@1:8192Mi"},
		"235 two nodes":                        {rules("none", false), nil, guaranteed("a=500m/9Gi"), "a= memory@0,1:9216Mi"},
		"235 two nodes of which one is in use": {rules("none", false), taken, guaranteed("a=500m/9Gi"), "UnexpectedAdmissionError: Allocate failed due to [memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available, which is unexpected"},
		"235 init containers' is used again":   {rules("none", false), nil, guaranteed("+i=500m/3Gi", "a=500m/5Gi", "b=500m/1Gi"), "a= memory@0:5120Mi(3072Mi again); b= memory@0:1024Mi; i= memory@0:3072Mi"},
		"235 sidecars' is not":                 {rules("none", false), nil, guaranteed("++s=500m/4Gi", "a=500m/4Gi"), "a= memory@1:4096Mi; s= memory@0:4096Mi"},
		"235 huge pages": {rules("none", false), nil, func() *v1.Pod {
			p := guaranteed("a=500m/1Gi")
			p.Spec.Containers[0].Resources.Limits["hugepages-2Mi"] = resource.MustParse("1536Mi")
			return p
		}(), "a= hugepages-2Mi@0,1:1536Mi memory@0,1:1024Mi"},
		"236 one node for both":                      {rules("single-numa-node", false), nil, guaranteed("a=4/1Gi"), "a=4-7 memory@1:1024Mi"},
		"236 no node for both":                       {rules("single-numa-node", false), taken, guaranteed("a=4/4Gi"), affinity},
		"236 restricted: no node for both":           {rules("restricted", false), taken, guaranteed("a=4/4Gi"), affinity},
		"236 best effort: memory has its own place":  {rules("best-effort", false), taken, guaranteed("a=4/4Gi"), "a=1-4 memory@0:4096Mi"},
		"236 restricted: both need two":              {rules("restricted", false), nil, guaranteed("a=5/9Gi"), "a=1,4-7 memory@0,1:9216Mi"},
		"236 single: both need two":                  {rules("single-numa-node", false), nil, guaranteed("a=5/9Gi"), affinity},
		"236 each container for itself":              {rules("single-numa-node", false), nil, guaranteed("a=3/1Gi", "b=4/1Gi"), "a=1-3 memory@0:1024Mi; b=4-7 memory@1:1024Mi"},
		"236 the pod as a whole":                     {rules("single-numa-node", true), nil, guaranteed("a=3/1Gi", "b=4/1Gi"), affinity},
		"236 the pod as a whole, of one node":        {rules("single-numa-node", true), nil, guaranteed("+i=4/1Gi", "a=2/1Gi", "b=1/1Gi"), "a=4-5 memory@1:1024Mi(1024Mi again); b=6 memory@1:1024Mi; i=4-7 memory@1:1024Mi"},
		"236 containers without any of it come, too": {rules("single-numa-node", false), nil, guaranteed("a=500m/1Gi", "b=1/1Gi"), "a= memory@0:1024Mi; b=1 memory@0:1024Mi"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := told(Place(c.pod, c.rules, c.held, nil)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestAnyHistory holds what must be true whatever pods come and go: nobody has a processor twice, nobody has those of the system, those who
// share have some, no memory is given away twice, an answer depends on nothing but the question, and it survives being written down.
func TestAnyHistory(t *testing.T) {
	machines := []Machine{machine(1, 1, 1, 2, 1), machine(1, 1, 1, 4, 2), machine(2, 1, 1, 4, 2), machine(2, 2, 2, 2, 2), machine(4, 1, 2, 3, 1), machine(1, 2, 4, 2, 4)}
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 42))
		m := machines[r.IntN(len(machines))]
		flip := func() bool { return r.IntN(2) == 0 }
		options := CPUOptions{StrictReserve: flip()}
		switch r.IntN(5) {
		case 0:
			options.FullCores = true
		case 1:
			options.AcrossNodes, options.FullCores = true, flip()
		case 2:
			options.AcrossCores = true
		case 3:
			options.AlignCaches, options.FullCores = true, flip()
		case 4:
			options.BySocket = true
		}
		policies := []string{PolicyNone, PolicyBestEffort, PolicyRestricted, PolicySingleNode}
		rules := &Rules{
			Machine:  m,
			CPU:      CPURules{Static: true, Reserved: m.Lowest(1 + r.IntN(2)), CPUOptions: options},
			Memory:   MemoryRules{Static: flip(), Reserved: map[int]map[string]int64{0: {"memory": 1 << 30}}},
			Topology: Topology{Policy: policies[r.IntN(4)], WholePod: flip(), Closest: flip(), Nodes: m.Nodes(), Distance: m.Distance},
		}
		if options.BySocket { // which the configuration does not allow with one node
			rules.Topology.Policy = policies[r.IntN(3)]
		}
		held := map[int]*Assigned{}
		for step := range 60 {
			if r.IntN(3) == 0 {
				delete(held, r.IntN(60))
				continue
			}
			p := anyPod(r)
			all := slices.Collect(maps.Values(held))
			got, no := Place(p, rules, all, nil)
			slices.Reverse(all)
			again, noAgain := Place(p, rules, all, nil)
			if !reflect.DeepEqual(got, again) || !reflect.DeepEqual(no, noAgain) {
				t.Fatalf("seed %d: %s, and asked again %s", seed, told(got, no), told(again, noAgain))
			}
			if no != nil {
				continue
			}
			checkParts(t, seed, rules, p, got)
			if got != nil {
				held[step] = got
			}
			checkAll(t, seed, rules, held)
		}
	}
}

func anyPod(r *rand.Rand) *v1.Pod {
	var list []string
	for i := range r.IntN(3) {
		list = append(list, fmt.Sprintf("%si%d=%d/%dGi", []string{"+", "++"}[r.IntN(2)], i, 1+r.IntN(4), 1+r.IntN(4)))
	}
	for i := range 1 + r.IntN(2) {
		list = append(list, fmt.Sprintf("c%d=%d/%dGi", i, 1+r.IntN(6), 1+r.IntN(10)))
	}
	return guaranteed(list...)
}

func checkParts(t *testing.T, seed uint64, rules *Rules, p *v1.Pod, got *Assigned) {
	var running CPUs // of what is there together
	each := func(c *v1.Container, over bool) {
		part := got.Part(c.Name)
		q := c.Resources.Requests["cpu"]
		if n := int(q.Value()); part.CPUs.Len() != n {
			t.Fatalf("seed %d: %s of %s has %d processors, and asked for %d", seed, c.Name, told(got, nil), part.CPUs.Len(), n)
		}
		if rules.CPU.FullCores && !rules.Machine.wholeCores(part.CPUs).Equal(part.CPUs) {
			t.Fatalf("seed %d: %s has parts of cores", seed, told(got, nil))
		}
		if !part.CPUs.And(running).Empty() {
			t.Fatalf("seed %d: %s: two that run together have a processor", seed, told(got, nil))
		}
		if !over {
			running = running.With(part.CPUs)
		}
		if nodes := part.MemoryNodes(); rules.Topology.Policy == PolicySingleNode && rules.Memory.Static {
			on := rules.Machine.On(nodes)
			if nodes.Len() != 1 || !part.CPUs.Within(on) {
				t.Fatalf("seed %d: %s is not on one node", seed, told(got, nil))
			}
		}
	}
	for i := range p.Spec.InitContainers {
		each(&p.Spec.InitContainers[i], ends(p, &p.Spec.InitContainers[i]))
	}
	for i := range p.Spec.Containers {
		each(&p.Spec.Containers[i], false)
	}
}

func checkAll(t *testing.T, seed uint64, rules *Rules, held map[int]*Assigned) {
	var taken CPUs
	pods := slices.Collect(maps.Values(held))
	size := int64(0)
	for _, a := range pods {
		if own := a.CPUs(); !own.And(taken).Empty() || !own.And(rules.CPU.Reserved).Empty() {
			t.Fatalf("seed %d: %s has what is not free", seed, told(a, nil))
		} else {
			taken = taken.With(own)
		}
		for _, p := range a.Containers {
			for _, b := range p.Memory {
				size += b.Size - b.Reused
			}
		}
		text, err := json.Marshal(a)
		var back *Assigned
		if err != nil || json.Unmarshal(text, &back) != nil || !reflect.DeepEqual(a, back) {
			t.Fatalf("seed %d: %s is read back as %s", seed, text, told(back, err2(err)))
		}
	}
	if pool := rules.CPU.Pool(&rules.Machine, pods); pool.Empty() || !pool.And(taken).Empty() {
		t.Fatalf("seed %d: %s are shared, and %s are not", seed, pool, taken)
	}
	for _, b := range rules.Memory.MemoryState(&rules.Machine, pods) {
		for name, a := range b.Amounts {
			if a.Taken > a.Allocatable() {
				t.Fatalf("seed %d: of %s of node %d is more taken than there is", seed, name, b.Node)
			}
			size -= a.Taken
		}
	}
	if size != 0 {
		t.Fatalf("seed %d: %d bytes are given that nobody has", seed, size)
	}
}

func err2(err error) *Obstacle {
	if err == nil {
		return nil
	}
	return &Obstacle{Message: err.Error()}
}

func TestLowest(t *testing.T) {
	smt := machine(1, 1, 1, 4, 2)
	for n, want := range []string{"", "0", "0,4", "0-1,4", "0-1,4-5"} {
		if got := smt.Lowest(n).String(); got != want {
			t.Errorf("the lowest %d are %s, want %s", n, got, want)
		}
	}
}

func TestPool(t *testing.T) {
	m := machine(1, 1, 1, 4, 1)
	for name, c := range map[string]struct {
		rules CPURules
		held  string
		want  string
	}{
		"all":                           {CPURules{Static: true, Reserved: CPUsOf(0)}, "", "0-3"},
		"232 less what is taken":        {CPURules{Static: true, Reserved: CPUsOf(0)}, "2", "0-1,3"},
		"233 strictly":                  {CPURules{Static: true, Reserved: CPUsOf(0), CPUOptions: CPUOptions{StrictReserve: true}}, "2", "1,3"},
		"233 strictly, nothing is left": {CPURules{Static: true, Reserved: CPUsOf(0), CPUOptions: CPUOptions{StrictReserve: true}}, "1-3", "0"},
		"policy none, some are kept":    {CPURules{}, "1", "0,2-3"},
		"all are kept under none":       {CPURules{}, "0-3", "0-3"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.rules.Pool(&m, append([]*Assigned{nil}, holding(c.held)...)).String(); got != c.want {
				t.Errorf("%s are shared, want %s", got, c.want)
			}
		})
	}
}
