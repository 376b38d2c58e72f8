package cgroup

import (
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/qos"
)

// The kernel's bounds and the kubelet's constants for CPU (behaviour 203). Times are in microseconds.
const (
	MinShares     = 2
	MaxShares     = 262144
	MinQuota      = 1000
	DefaultPeriod = 100000

	defaultShares = 1024 // what the kernel gives a new cgroup
	defaultWeight = 100
)

// Resources is what a cgroup is given. In every field 0 (or a missing entry) leaves what is there, and -1 lifts a limit.
type Resources struct {
	// CPUShares is the relative weight on the v1 scale, MinShares to MaxShares; cgroup v2 gets the matching weight.
	CPUShares uint64
	// CPUQuota is CPU time in microseconds for each CPUPeriod; a period of 0 means DefaultPeriod.
	CPUQuota  int64
	CPUPeriod uint64
	// Memory is in bytes.
	Memory int64
	// Pids is the greatest number of processes and threads.
	Pids int64
	// Hugetlb is in bytes for each page size, spelt as the kernel does: "2MB", "1GB".
	Hugetlb map[string]int64
	// Unified are cgroup v2 files and values, written as they are; ignored on v1.
	Unified map[string]string
}

// Options are the node's settings that a pod's cgroup depends on.
type Options struct {
	// CPUPeriod is cpuCFSQuotaPeriod in microseconds; 0 means DefaultPeriod.
	CPUPeriod uint64
	// NoQuota is set when cpuCFSQuota is false.
	NoQuota bool
	// PidsLimit is podPidsLimit; 0 or less means no limit.
	PidsLimit int64
	// Reserve keeps what pods ask for of memory from being reclaimed (config memoryReservationPolicy, cgroup v2 only).
	Reserve bool
	// PageSizes are the huge page sizes of the node as the kernel spells them. A pod that asks for none of a size
	// gets a limit of 0 for it.
	PageSizes []string
}

// PodResources computes the limits of a pod's cgroup (behaviours 205, 217, 219): the sum of what its containers ask
// for, with the RuntimeClass overhead. CPU and memory are limited only if every container is, or the pod as a whole.
func PodResources(pod *v1.Pod, o Options) Resources {
	res := Resources{CPUShares: MinShares, CPUQuota: -1, CPUPeriod: o.CPUPeriod, Memory: -1, Pids: -1}
	if o.PidsLimit > 0 {
		res.Pids = o.PidsLimit
	}
	limits := qos.Limits(pod)
	res.Hugetlb = hugetlb(limits, o.PageSizes)
	if qos.ClassOf(pod) == v1.PodQOSBestEffort {
		return res
	}
	requests := qos.Requests(pod)
	res.CPUShares = Shares(requests.Cpu().MilliValue())
	if memory := requests.Memory().Value(); o.Reserve && memory > 0 {
		file := memoryLow
		if qos.ClassOf(pod) == v1.PodQOSGuaranteed {
			file = memoryMin
		}
		res.Unified = map[string]string{file: strconv.FormatInt(memory, 10)}
	}
	if !o.NoQuota && qos.Limited(pod, v1.ResourceCPU) {
		res.CPUQuota = Quota(limits.Cpu().MilliValue(), o.CPUPeriod)
	}
	if qos.Limited(pod, v1.ResourceMemory) {
		res.Memory = limits.Memory().Value()
	}
	return res
}

// Shares turns thousandths of a CPU into cpu.shares.
func Shares(milli int64) uint64 {
	switch {
	case milli <= 0:
		return MinShares
	case milli > MaxShares: // far above any cap; keeps the product from overflowing
		return MaxShares
	}
	return uint64(min(max(milli*1024/1000, MinShares), MaxShares))
}

// Quota turns a limit in thousandths of a CPU into microseconds for each period; no limit is -1.
func Quota(milli int64, period uint64) int64 {
	if milli <= 0 {
		return -1
	}
	if period == 0 {
		period = DefaultPeriod
	}
	return max(milli*int64(period)/1000, MinQuota)
}

// Weight turns cpu.shares into the cpu.weight of cgroup v2, 1 to 10000 (behaviour 204).
func Weight(shares uint64) uint64 {
	shares = min(max(shares, MinShares), MaxShares)
	return 1 + (shares-MinShares)*9999/(MaxShares-MinShares)
}

// BurstableShares is the weight of the burstable class: the CPU requests of its pods (behaviour 206).
func BurstableShares(pods []*v1.Pod) uint64 {
	var milli int64
	for _, pod := range pods {
		if qos.ClassOf(pod) == v1.PodQOSBurstable {
			requests := qos.Requests(pod)
			milli += requests.Cpu().MilliValue()
		}
	}
	return Shares(milli)
}

// The files of cgroup v2 that keep memory from being reclaimed: never, and as long as there is any other.
const (
	memoryMin = "memory.min"
	memoryLow = "memory.low"
)

// Protected is the memory in bytes that pods ask for: of those of the classes guaranteed and burstable, and of the burstable ones
// alone (behaviour 212).
func Protected(pods []*v1.Pod) (all, burstable int64) {
	for _, pod := range pods {
		requests := qos.Requests(pod)
		memory := requests.Memory().Value()
		switch qos.ClassOf(pod) {
		case v1.PodQOSGuaranteed:
			all += memory
		case v1.PodQOSBurstable:
			all += memory
			burstable += memory
		case v1.PodQOSBestEffort:
		}
	}
	return all, burstable
}

// protection are the settings that keep so much memory from being reclaimed.
func protection(never, late int64) Resources {
	return Resources{Unified: map[string]string{memoryMin: strconv.FormatInt(never, 10), memoryLow: strconv.FormatInt(late, 10)}}
}

// NodeResources are the limits of the kubepods cgroup: capacity without what is reserved for the system and for the
// agent; the eviction reserve is not taken off (behaviour 207). Pids without a capacity are not limited, and neither is
// memory if all of it is reserved: a limit of nothing would kill every pod.
func NodeResources(capacity, systemReserved, kubeReserved v1.ResourceList) Resources {
	left := func(name v1.ResourceName) resource.Quantity {
		q := capacity[name].DeepCopy()
		q.Sub(systemReserved[name])
		q.Sub(kubeReserved[name])
		if q.Sign() < 0 {
			return resource.Quantity{}
		}
		return q
	}
	cpu, memory := left(v1.ResourceCPU), left(v1.ResourceMemory)
	res := Resources{CPUShares: Shares(cpu.MilliValue()), Memory: memory.Value()}
	const pids = "pid" // as in systemReserved: {pid: "1000"}
	if _, known := capacity[pids]; known {
		q := left(pids)
		res.Pids = q.Value()
	}
	return res
}

// Unlimited lifts what NodeResources limits, for a node on which that is no longer enforced.
func Unlimited() Resources { return Resources{CPUShares: defaultShares, Memory: -1, Pids: -1} }

// ReserveResources are the limits of a cgroup that a reservation is enforced on: what the reservation names, or its CPU
// weight alone (behaviour 210). With reserve, the memory is kept from being reclaimed (behaviour 212).
func ReserveResources(reserved v1.ResourceList, weightOnly, reserve bool) Resources {
	var res Resources
	if cpu, ok := reserved[v1.ResourceCPU]; ok {
		res.CPUShares = Shares(cpu.MilliValue())
	}
	if weightOnly {
		return res
	}
	if memory, ok := reserved[v1.ResourceMemory]; ok {
		res.Memory = memory.Value()
		if reserve {
			res.Unified = map[string]string{memoryMin: strconv.FormatInt(memory.Value(), 10)}
		}
	}
	if pids, ok := reserved["pid"]; ok {
		res.Pids = pids.Value()
	}
	return res
}

func hugetlb(limits v1.ResourceList, sizes []string) map[string]int64 {
	out := make(map[string]int64, len(sizes))
	for _, size := range sizes {
		out[size] = 0
	}
	for name, q := range limits {
		text, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix)
		if !ok {
			continue
		}
		if size, err := resource.ParseQuantity(text); err == nil && size.Value() > 0 {
			out[PageSize(size.Value())] = q.Value()
		}
	}
	return out
}

// PageSize spells a huge page size in bytes as the kernel's file names do: 64KB, 2MB, 1GB.
func PageSize(bytes int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	i := 0
	for i < len(units)-1 && bytes >= 1024 && bytes%1024 == 0 {
		bytes /= 1024
		i++
	}
	return strconv.FormatInt(bytes, 10) + units[i]
}
