package exposition

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/bosun-project/bosun/internal/usage"
)

// Summary is what /stats/summary answers with. Basic leaves out all but processors and memory (only_cpu_and_memory=true).
func Summary(s *usage.Snapshot, node string, basic bool) *stats.Summary {
	out := &stats.Summary{Node: nodeStats(&s.Node, node, basic), Pods: make([]stats.PodStats, 0, len(s.Pods))}
	for i := range s.Pods {
		out.Pods = append(out.Pods, podStats(&s.Pods[i], basic))
	}
	return out
}

func nodeStats(n *usage.Node, name string, basic bool) stats.NodeStats {
	c := &n.Cgroup
	out := stats.NodeStats{
		NodeName: name, StartTime: metav1.NewTime(n.Booted), CPU: cpuStats(c), Memory: memoryStats(c), Swap: swapStats(c),
	}
	if out.Memory != nil {
		out.Memory.AvailableBytes = n.Capacity.Minus(n.HugePages.Or(usage.Of(0))).Minus(c.Memory.WorkingSet).Ptr()
	}
	if out.Swap != nil {
		out.Swap.SwapAvailableBytes = n.SwapFree.Ptr()
	}
	if basic {
		stripPressure(out.CPU, out.Memory)
		return out
	}
	out.IO = ioStats(c)
	out.Network = networkStats(n.Network)
	out.Fs = fsStats(n.FS)
	if n.Images != nil || n.Layers != nil {
		out.Runtime = &stats.RuntimeStats{ImageFs: fsStats(n.Images), ContainerFs: fsStats(n.Layers)}
	}
	if n.Tasks.Known || n.MaxTasks.Known {
		out.Rlimit = &stats.RlimitStats{Time: metav1.NewTime(c.At), MaxPID: signed(n.MaxTasks), NumOfRunningProcesses: signed(n.Tasks)}
	}
	for i := range n.System {
		p := &n.System[i]
		out.SystemContainers = append(out.SystemContainers, stats.ContainerStats{
			Name: p.Name, StartTime: metav1.NewTime(began(&p.Cgroup, n.Booted)), CPU: cpuStats(&p.Cgroup), Memory: memoryStats(&p.Cgroup), IO: ioStats(&p.Cgroup), Swap: swapStats(&p.Cgroup),
		})
	}
	return out
}

func began(c *usage.Cgroup, otherwise time.Time) time.Time {
	if c.Made.IsZero() {
		return otherwise
	}
	return c.Made
}

func podStats(p *usage.Pod, basic bool) stats.PodStats {
	c := &p.Cgroup
	out := stats.PodStats{
		PodRef:    stats.PodReference{Name: p.Name, Namespace: p.Namespace, UID: p.UID},
		StartTime: metav1.NewTime(p.Started), Containers: make([]stats.ContainerStats, 0, len(p.Containers)),
		CPU: cpuStats(c), Memory: memoryStats(c), Swap: swapStats(c),
	}
	for i := range p.Containers {
		out.Containers = append(out.Containers, containerStats(&p.Containers[i], basic))
	}
	if basic {
		stripPressure(out.CPU, out.Memory)
		return out
	}
	out.IO = ioStats(c)
	out.Network = networkStats(p.Network)
	for i := range p.Volumes {
		v := &p.Volumes[i]
		told := stats.VolumeStats{FsStats: *fsStats(&v.Filesystem), Name: v.Name}
		if v.Claim != "" {
			told.PVCRef = &stats.PVCReference{Name: v.Claim, Namespace: p.Namespace}
		}
		out.VolumeStats = append(out.VolumeStats, told)
	}
	out.EphemeralStorage = fsStats(p.Ephemeral)
	if threads := c.Processes.Threads; threads.Known {
		out.ProcessStats = &stats.ProcessStats{ProcessCount: threads.Ptr()}
	}
	return out
}

func containerStats(c *usage.Container, basic bool) stats.ContainerStats {
	out := stats.ContainerStats{
		Name: c.Name, StartTime: metav1.NewTime(c.Started), CPU: cpuStats(&c.Cgroup), Memory: memoryStats(&c.Cgroup), Swap: swapStats(&c.Cgroup),
	}
	if basic {
		stripPressure(out.CPU, out.Memory)
		return out
	}
	out.IO, out.Rootfs, out.Logs = ioStats(&c.Cgroup), fsStats(c.Layer), fsStats(c.Logs)
	return out
}

// stripPressure takes out what a deeper reading knows and was not asked for.
func stripPressure(c *stats.CPUStats, m *stats.MemoryStats) {
	if c != nil {
		c.PSI = nil
	}
	if m != nil {
		m.PSI = nil
	}
}

func cpuStats(c *usage.Cgroup) *stats.CPUStats {
	if !c.CPU.Usage.Known {
		return nil
	}
	return &stats.CPUStats{
		Time: metav1.NewTime(c.At), UsageNanoCores: c.CPU.NanoCores.Ptr(), UsageCoreNanoSeconds: c.CPU.Usage.Ptr(), PSI: pressure(c.CPU.Pressure),
	}
}

func memoryStats(c *usage.Cgroup) *stats.MemoryStats {
	m := &c.Memory
	if !m.Usage.Known {
		return nil
	}
	return &stats.MemoryStats{
		Time: metav1.NewTime(c.At), AvailableBytes: m.Limit.Minus(m.WorkingSet).Ptr(), UsageBytes: m.Usage.Ptr(), WorkingSetBytes: m.WorkingSet.Ptr(),
		RSSBytes: m.RSS.Ptr(), PageFaults: m.Faults.Ptr(), MajorPageFaults: m.MajorFaults.Ptr(), PSI: pressure(m.Pressure),
	}
}

func ioStats(c *usage.Cgroup) *stats.IOStats {
	if c.IO == nil {
		return nil
	}
	return &stats.IOStats{Time: metav1.NewTime(c.At), PSI: pressure(c.IO)}
}

func swapStats(c *usage.Cgroup) *stats.SwapStats {
	if !c.Memory.Swap.Known {
		return nil
	}
	return &stats.SwapStats{
		Time: metav1.NewTime(c.At), SwapUsageBytes: c.Memory.Swap.Ptr(), SwapAvailableBytes: c.Memory.SwapLimit.Minus(c.Memory.Swap).Ptr(),
	}
}

func pressure(p *usage.Pressure) *stats.PSIStats {
	if p == nil {
		return nil
	}
	data := func(s usage.Stall) stats.PSIData {
		return stats.PSIData{Total: uint64(s.Total.Nanoseconds()), Avg10: s.Avg10, Avg60: s.Avg60, Avg300: s.Avg300}
	}
	return &stats.PSIStats{Full: data(p.Full), Some: data(p.Some)}
}

func fsStats(f *usage.Filesystem) *stats.FsStats {
	if f == nil {
		return nil
	}
	return &stats.FsStats{
		Time: metav1.NewTime(f.At), AvailableBytes: f.Available.Ptr(), CapacityBytes: f.Capacity.Ptr(), UsedBytes: f.Used.Ptr(),
		InodesFree: f.InodesFree.Ptr(), Inodes: f.Inodes.Ptr(), InodesUsed: f.InodesUsed.Ptr(),
	}
}

func networkStats(n *usage.Network) *stats.NetworkStats {
	if n == nil {
		return nil
	}
	out := &stats.NetworkStats{Time: metav1.NewTime(n.At)}
	for i := range n.Links {
		face := n.Links[i]
		told := stats.InterfaceStats{Name: face.Name, RxBytes: &face.RxBytes, RxErrors: &face.RxErrors, TxBytes: &face.TxBytes, TxErrors: &face.TxErrors}
		if i == n.Main {
			out.InterfaceStats = told
		}
		out.Interfaces = append(out.Interfaces, told)
	}
	return out
}

func signed(n usage.Number) *int64 {
	if !n.Known {
		return nil
	}
	v := int64(n.Value)
	return &v
}
