package metrics

import (
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/reason"
)

// pinned counts an admission and refusals of each kind, on a machine with two NUMA nodes of one processor.
func pinned(m *Metrics) {
	r := &allocate.Rules{
		Machine: allocate.Machine{CPUs: []allocate.CPU{{ID: 0}, {ID: 1, Core: 1, Node: 1}}},
		CPU:     allocate.CPURules{Static: true, CPUOptions: allocate.CPUOptions{FullCores: true}}, Memory: allocate.MemoryRules{Static: true},
		Topology: allocate.Topology{Policy: allocate.PolicySingleNode, Nodes: allocate.NodesOf(0, 1)},
	}
	own := &allocate.Assigned{Containers: map[string]allocate.Part{"a": {CPUs: allocate.CPUsOf(1)}}}
	m.Placed(r, 2, 1, plan.Verdict{Judged: true, Admit: true, Assigned: own})
	m.Placed(r, 1, 0, plan.Verdict{Judged: true, Reason: reason.SMTAlignmentError, Detail: "cpu"})
	m.Placed(r, 0, 1, plan.Verdict{Judged: true, Reason: reason.UnexpectedAdmissionError, Detail: "memory"})
	m.Placed(r, 1, 1, plan.Verdict{Judged: true, Reason: reason.TopologyAffinityError, Detail: "topology"})
	m.PlaceTook(time.Millisecond)
	m.Pools(&r.Machine, func() (allocate.CPUs, allocate.Owners) {
		return allocate.CPUsOf(0), allocate.Owners{"u": own}
	})
}

func TestPins(t *testing.T) {
	m := New(Config{NodeName: "node"})
	pinned(m)
	wantLines(t, exposed(t, m.Handler()),
		`kubelet_cpu_manager_allocation_per_numa{numa_node="0"} 0`,
		`kubelet_cpu_manager_allocation_per_numa{numa_node="1"} 1`,
		`kubelet_cpu_manager_exclusive_cpu_allocation_count 1`,
		`kubelet_cpu_manager_shared_pool_size_millicores 1000`,
		`kubelet_cpu_manager_pinning_requests_total 4`,
		`kubelet_cpu_manager_pinning_errors_total 1`,
		`kubelet_memory_manager_pinning_requests_total 3`,
		`kubelet_memory_manager_pinning_errors_total 1`,
		`kubelet_topology_manager_admission_requests_total 4`,
		`kubelet_topology_manager_admission_errors_total 1`,
		`kubelet_topology_manager_admission_duration_ms_count 1`,
		`kubelet_container_aligned_compute_resources_count{boundary="numa_node",scope="container"} 1`,
		`kubelet_container_aligned_compute_resources_count{boundary="physical_cpu",scope="container"} 2`,
		`kubelet_container_aligned_compute_resources_failure_count{boundary="numa_node",scope="container"} 1`,
		`kubelet_container_aligned_compute_resources_failure_count{boundary="physical_cpu",scope="container"} 1`,
	)
}
