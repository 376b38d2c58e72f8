package allocate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/config"
)

// Wanted reports whether a configuration asks for anything that depends on the machine: otherwise nobody need look at it.
func Wanted(c *config.Config) bool {
	k := &c.Kubelet
	return k.CPUManagerPolicy == "static" || k.MemoryManagerPolicy == "Static" || k.TopologyManagerPolicy != PolicyNone
}

// RulesOf are the rules that a configuration sets up on a machine. evicts is how much memory has to stay free lest pods are evicted, in bytes. The
// error says what of the configuration does not fit the machine.
func RulesOf(m Machine, c *config.Config, evicts int64) (*Rules, error) {
	k := &c.Kubelet
	r := &Rules{Machine: m, Topology: topologyOf(m, c)}
	cpu, noCPU := cpusOf(m, c)
	memory, noMemory := memoryOf(m, c, evicts)
	r.CPU, r.Memory = cpu, memory
	return r, errors.Join(noCPU, r.CPU.clash(k.TopologyManagerPolicy), noMemory)
}

// clash says which options contradict each other.
func (r CPURules) clash(topology string) error {
	var wrong []error
	refuse := func(both bool, one, other string) {
		if both {
			wrong = append(wrong, fmt.Errorf("cpuManagerPolicyOptions: %s cannot be used with %s", one, other))
		}
	}
	refuse(r.BySocket && topology == PolicySingleNode, "align-by-socket", "topologyManagerPolicy single-numa-node")
	refuse(r.AcrossCores && r.FullCores, "distribute-cpus-across-cores", "full-pcpus-only")
	refuse(r.AcrossCores && r.AcrossNodes, "distribute-cpus-across-cores", "distribute-cpus-across-numa")
	refuse(r.AlignCaches && r.AcrossCores, "prefer-align-cpus-by-uncorecache", "distribute-cpus-across-cores")
	refuse(r.AlignCaches && r.AcrossNodes, "prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa")
	return errors.Join(wrong...)
}

// Allocatable are the processors, and the memory of NUMA nodes, that containers may have for themselves. The rules may be nil.
func (r *Rules) Allocatable() (cpus CPUs, memory []Block) {
	if r == nil {
		return nil, nil
	}
	if r.CPU.Static {
		cpus = r.Machine.All().Without(r.CPU.Reserved)
	}
	if !r.Memory.Static {
		return cpus, nil
	}
	for _, b := range r.Memory.MemoryState(&r.Machine, nil) {
		for _, name := range slices.Sorted(maps.Keys(b.Amounts)) {
			if size := b.Amounts[name].Allocatable(); size > 0 {
				memory = append(memory, Block{Resource: name, Nodes: NodesOf(b.Node), Size: size})
			}
		}
	}
	return cpus, memory
}

func topologyOf(m Machine, c *config.Config) Topology {
	k := &c.Kubelet
	t := Topology{
		Policy: k.TopologyManagerPolicy, WholePod: k.TopologyManagerScope == "pod", Closest: on(k.TopologyManagerPolicyOptions, "prefer-closest-numa-nodes"),
		Nodes: m.Nodes(), Distance: m.Distance,
	}
	t.Most, _ = strconv.Atoi(k.TopologyManagerPolicyOptions["max-allowable-numa-nodes"])
	return t
}

// on tells whether an option is on; the configuration was checked before.
func on(options map[string]string, name string) bool {
	yes, err := strconv.ParseBool(options[name])
	return err == nil && yes
}

func cpusOf(m Machine, c *config.Config) (CPURules, error) {
	k := &c.Kubelet
	if k.CPUManagerPolicy != "static" {
		return CPURules{}, nil
	}
	o := k.CPUManagerPolicyOptions
	r := CPURules{Static: true, CPUOptions: CPUOptions{
		FullCores: on(o, "full-pcpus-only"), AcrossNodes: on(o, "distribute-cpus-across-numa"), BySocket: on(o, "align-by-socket"),
		AcrossCores: on(o, "distribute-cpus-across-cores"), StrictReserve: on(o, "strict-cpu-reservation"), AlignCaches: on(o, "prefer-align-cpus-by-uncorecache"),
	}}
	if k.ReservedSystemCPUs != "" {
		var err error
		if r.Reserved, err = ParseCPUs(k.ReservedSystemCPUs); err != nil {
			return r, fmt.Errorf("reservedSystemCPUs: %w", err)
		}
		if missing := r.Reserved.Without(m.All()); !missing.Empty() {
			return r, fmt.Errorf("reservedSystemCPUs: this machine has no processors %s; it has %s", missing, m.All())
		}
	} else {
		milli := int64(0)
		for _, text := range []string{k.KubeReserved["cpu"], k.SystemReserved["cpu"]} {
			if q, err := resource.ParseQuantity(text); err == nil {
				milli += q.MilliValue()
			}
		}
		r.Reserved = m.Lowest(int(min((milli+999)/1000, mostCPUs)))
	}
	if r.Reserved.Empty() {
		return r, errors.New("cpuManagerPolicy static needs processors for the system and for all pods that share: set kubeReserved or systemReserved cpu, or reservedSystemCPUs")
	}
	return r, nil
}

func memoryOf(m Machine, c *config.Config, evicts int64) (MemoryRules, error) {
	k := &c.Kubelet
	if k.MemoryManagerPolicy != "Static" {
		return MemoryRules{}, nil
	}
	r := MemoryRules{Static: true, Reserved: map[int]map[string]int64{}}
	sum, nodes := int64(0), m.Nodes()
	for _, reserved := range k.ReservedMemory {
		node := int(reserved.NumaNode)
		if !nodes.Has(node) {
			return r, fmt.Errorf("reservedMemory: this machine has no NUMA node %d; it has %s", node, nodes)
		}
		if r.Reserved[node] == nil {
			r.Reserved[node] = map[string]int64{}
		}
		for name, q := range reserved.Limits {
			r.Reserved[node][string(name)] += q.Value()
			if name == v1.ResourceMemory {
				sum += q.Value()
			}
		}
	}
	want := evicts
	for _, text := range []string{k.KubeReserved["memory"], k.SystemReserved["memory"]} {
		if q, err := resource.ParseQuantity(text); err == nil {
			want += q.Value()
		}
	}
	if sum != want {
		return r, fmt.Errorf("reservedMemory: memory of all NUMA nodes adds up to %d bytes, and must add up to %d: systemReserved, kubeReserved and evictionHard memory.available together", sum, want)
	}
	if want <= 0 {
		return r, errors.New("memoryManagerPolicy Static needs memory for the system: set reservedMemory, and kubeReserved or systemReserved memory to the same sum")
	}
	for _, b := range m.Banks {
		kept := r.Reserved[b.Node][string(v1.ResourceMemory)]
		if kept > b.Memory {
			return r, fmt.Errorf("reservedMemory: NUMA node %d has %d bytes of memory, less than the %d that are to be kept", b.Node, b.Memory, kept)
		}
	}
	if len(m.Banks) == 0 {
		return r, errors.New("memoryManagerPolicy Static: the memory of this machine's NUMA nodes is not known")
	}
	return r, nil
}
