package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/reason"
)

// pins are the numbers about processors and memory that containers have for themselves.
type pins struct {
	cpus, cpuErrors, memory, memoryErrors, places, placeErrors prometheus.Counter
	took                                                       prometheus.Histogram
	aligned, misaligned                                        *prometheus.CounterVec
}

func newPins(m maker) pins {
	return pins{
		cpus:         m.counter("kubelet_cpu_manager_pinning_requests_total", "Containers that asked for processors of their own."),
		cpuErrors:    m.counter("kubelet_cpu_manager_pinning_errors_total", "Containers that could not have the processors of their own that they asked for."),
		memory:       m.counter("kubelet_memory_manager_pinning_requests_total", "Containers that asked for memory of certain NUMA nodes."),
		memoryErrors: m.counter("kubelet_memory_manager_pinning_errors_total", "Containers that could not have the memory of certain NUMA nodes that they asked for."),
		places:       m.counter("kubelet_topology_manager_admission_requests_total", "Pods for which a place among the NUMA nodes was looked for."),
		placeErrors:  m.counter("kubelet_topology_manager_admission_errors_total", "Pods for which no place among the NUMA nodes was found."),
		took: m.histogram("kubelet_topology_manager_admission_duration_ms", "How long it took to find a place for a pod, in milliseconds.",
			prometheus.ExponentialBuckets(.05, 2, 15)),
		aligned: m.counters("kubelet_container_aligned_compute_resources_count", "Containers, or pods, that have what they have for themselves together.", "scope", "boundary"),
		misaligned: m.counters("kubelet_container_aligned_compute_resources_failure_count", "Containers, or pods, that could not have what they asked for themselves together.",
			"scope", "boundary"),
	}
}

// Placed counts the final answer to a pod that asked for something for itself, or for which a place was looked for. cpus and memory are how many of its
// containers asked for processors, and for memory of certain NUMA nodes.
func (m *Metrics) Placed(r *allocate.Rules, cpus, memory int, v plan.Verdict) {
	p := &m.pins
	p.cpus.Add(float64(cpus))
	p.memory.Add(float64(memory))
	scope := "container"
	if r.Topology.WholePod {
		scope = "pod"
	}
	if r.Topology.Asks() {
		p.places.Inc()
		switch {
		case v.Detail == "topology":
			p.placeErrors.Inc()
			p.misaligned.WithLabelValues(scope, "numa_node").Inc()
		case v.Admit && r.Topology.Policy == allocate.PolicySingleNode && v.Assigned != nil:
			p.aligned.WithLabelValues(scope, "numa_node").Inc()
		}
	}
	switch v.Detail {
	case string(v1.ResourceCPU):
		p.cpuErrors.Inc()
	case string(v1.ResourceMemory):
		p.memoryErrors.Inc()
	}
	if r.CPU.FullCores && v.Reason == reason.SMTAlignmentError {
		p.misaligned.WithLabelValues("container", "physical_cpu").Inc()
	} else if r.CPU.FullCores && v.Admit && cpus > 0 {
		p.aligned.WithLabelValues("container", "physical_cpu").Add(float64(cpus))
	}
}

// PlaceTook tells how long it took to find a place for a pod.
func (m *Metrics) PlaceTook(took time.Duration) {
	m.pins.took.Observe(float64(took) / float64(time.Millisecond))
}

// pools tells who has which processors when somebody reads the metrics.
type pools struct {
	machine *allocate.Machine
	now     func() (pool allocate.CPUs, owners allocate.Owners)
}

// Pools registers who tells which processors containers share, and which pods have for themselves.
func (m *Metrics) Pools(machine *allocate.Machine, now func() (allocate.CPUs, allocate.Owners)) {
	m.registry.MustRegister(pools{machine, now})
}

var (
	descPool  = prometheus.NewDesc("kubelet_cpu_manager_shared_pool_size_millicores", "The processors that containers share, in thousandths.", nil, nil)
	descOwned = prometheus.NewDesc("kubelet_cpu_manager_exclusive_cpu_allocation_count", "The processors that containers have for themselves.", nil, nil)
	descNodes = prometheus.NewDesc("kubelet_cpu_manager_allocation_per_numa", "The processors of a NUMA node that containers have for themselves.", []string{"numa_node"}, nil)
)

// Describe is for the registry.
func (p pools) Describe(to chan<- *prometheus.Desc) { to <- descPool; to <- descOwned; to <- descNodes }

// Collect is for the registry.
func (p pools) Collect(to chan<- prometheus.Metric) {
	pool, owners := p.now()
	var owned allocate.CPUs
	for _, a := range owners {
		owned = owned.With(a.CPUs())
	}
	to <- prometheus.MustNewConstMetric(descPool, prometheus.GaugeValue, float64(1000*pool.Len()))
	to <- prometheus.MustNewConstMetric(descOwned, prometheus.GaugeValue, float64(owned.Len()))
	for _, node := range p.machine.Nodes().IDs() {
		on := p.machine.On(allocate.NodesOf(node)).And(owned)
		to <- prometheus.MustNewConstMetric(descNodes, prometheus.GaugeValue, float64(on.Len()), strconv.Itoa(node))
	}
}
