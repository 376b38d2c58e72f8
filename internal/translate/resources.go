package translate

import (
	"cmp"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
)

// What the kernel takes for CPU shares, and the least quota (behaviours 87, 203).
const (
	minShares = 2
	maxShares = 262144
	minQuota  = 1000 // microseconds
	pageSize  = 4096
)

// Shares are the CPU shares for a number of thousandths of a CPU.
func Shares(milliCPU int64) int64 {
	if milliCPU > maxShares { // more than 256 CPUs' worth; also keeps the product in range
		milliCPU = maxShares
	}
	return min(max(milliCPU*1024/1000, minShares), maxShares)
}

// Quota is the CPU time in microseconds that may be used in a period; -1, no limit, for zero thousandths of a CPU.
func Quota(milliCPU int64, period time.Duration) int64 {
	if milliCPU <= 0 {
		return -1
	}
	return max(milliCPU*period.Microseconds()/1000, minQuota)
}

func (n *Node) period() time.Duration { return cmp.Or(n.CPUCFSQuotaPeriod, 100*time.Millisecond) }

// Resources are the limits the kernel is to hold a container to (behaviours 87, 88, 211, 212, 214). They are also what a
// resize sends.
func Resources(d *pod.Desired, c *v1.Container, n *Node, in *Inputs) *runtimeapi.LinuxContainerResources {
	p := d.Pod
	requests, limits := v1.ResourceList{}, v1.ResourceList{}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		if q, ok := c.Resources.Requests[name]; ok {
			requests[name] = q
		} else if q, ok := c.Resources.Limits[name]; ok {
			requests[name] = q // as the API server defaults it
		}
		if q := qos.LimitOf(p, c, name); q != nil {
			limits[name] = *q
		}
	}
	out := resourcesOf(requests, limits, n)
	if in.NoCPUQuota && n.CPUCFSQuota {
		out.CpuQuota = -1
	}
	out.OomScoreAdj = qos.OOMScoreAdj(p, c, n.MemoryCapacity)
	out.CpusetCpus, out.CpusetMems = in.CPUs, in.MemoryNodes
	out.HugepageLimits = hugePages(p, c, n)
	if n.CgroupVersion == 2 {
		out.Unified = unified(p, requests.Memory().Value(), limits.Memory().Value(), n)
	}
	limitSwap(out, d, requests.Memory().Value(), limits.Memory().Value(), n)
	return out
}

func resourcesOf(requests, limits v1.ResourceList, n *Node) *runtimeapi.LinuxContainerResources {
	out := &runtimeapi.LinuxContainerResources{
		CpuShares:          Shares(requests.Cpu().MilliValue()),
		MemoryLimitInBytes: limits.Memory().Value(),
	}
	if n.CPUCFSQuota {
		out.CpuPeriod = n.period().Microseconds()
		out.CpuQuota = Quota(limits.Cpu().MilliValue(), n.period())
	}
	return out
}

// hugePages limit every page size the node has: a size not asked for may not be used.
func hugePages(p *v1.Pod, c *v1.Container, n *Node) []*runtimeapi.HugepageLimit {
	out := make([]*runtimeapi.HugepageLimit, 0, len(n.HugePageSizes))
	asked := map[int64]uint64{}
	for _, size := range n.HugePageSizes {
		name := v1.ResourceName(v1.ResourceHugePagesPrefix + binary(size, "Ki", "Mi", "Gi"))
		if q := qos.LimitOf(p, c, name); q != nil && q.Sign() > 0 {
			asked[size] = uint64(q.Value())
		}
	}
	for _, size := range n.HugePageSizes {
		out = append(out, &runtimeapi.HugepageLimit{PageSize: binary(size, "KB", "MB", "GB"), Limit: asked[size]})
	}
	return out
}

// binary writes a page size with the largest unit that divides it.
func binary(size int64, kilo, mega, giga string) string {
	switch {
	case size%(1<<30) == 0:
		return strconv.FormatInt(size>>30, 10) + giga
	case size%(1<<20) == 0:
		return strconv.FormatInt(size>>20, 10) + mega
	}
	return strconv.FormatInt(size>>10, 10) + kilo
}

// unified are the settings that cgroup v2 knows by file name (behaviours 211, 212).
func unified(p *v1.Pod, request, limit int64, n *Node) map[string]string {
	out := map[string]string{}
	if !n.SingleProcessOOMKill {
		out["memory.oom.group"] = "1"
	}
	if f := n.MemoryThrottlingFactor; f != nil && request != limit {
		ceiling := limit
		if ceiling == 0 {
			ceiling = n.MemoryAllocatable
		}
		high := request + int64(*f*float64(ceiling-request))
		if high = high / pageSize * pageSize; high > request {
			out["memory.high"] = strconv.FormatInt(high, 10)
		}
	}
	if n.TieredReservation && request > 0 {
		if qos.ClassOf(p) == v1.PodQOSGuaranteed {
			out["memory.min"] = strconv.FormatInt(request, 10)
		} else {
			out["memory.low"] = strconv.FormatInt(request, 10)
		}
	}
	return out
}

// limitSwap keeps a container from swapping, or to its share (behaviour 214).
func limitSwap(out *runtimeapi.LinuxContainerResources, d *pod.Desired, request, limit int64, n *Node) {
	if !n.Swap.Controller {
		return
	}
	if n.CgroupVersion != 2 {
		out.MemorySwapLimitInBytes = limit // of memory and swap together
		return
	}
	out.Unified["memory.swap.max"] = strconv.FormatInt(swapShare(d, request, limit, n), 10)
}

func swapShare(d *pod.Desired, request, limit int64, n *Node) int64 {
	if !n.Swap.Limited || n.MemoryCapacity <= 0 || request == limit || qos.Critical(d) || qos.ClassOf(d.Pod) != v1.PodQOSBurstable {
		return 0
	}
	return int64(float64(request) / float64(n.MemoryCapacity) * float64(n.Swap.Capacity))
}
