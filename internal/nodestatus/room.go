package nodestatus

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/config"
)

// PIDs is the name of process numbers in reservations, as in systemReserved: {pid: "1000"}.
const PIDs v1.ResourceName = "pid"

// Machine is the size of the machine. Sizes are in bytes; 0 means not known.
type Machine struct {
	CPUs         int
	Memory, Disk int64
	// PIDs is how many processes and threads the kernel allows.
	PIDs int64
	// HugePages is how many bytes of huge pages there are, by page size.
	HugePages map[int64]int64
}

// Room is what a node has to give.
type Room struct {
	// Capacity is what the machine has (behaviour 209).
	Capacity v1.ResourceList
	// Allocatable is what pods may ask for (behaviour 208).
	Allocatable v1.ResourceList
	// MaxPods is the number of pods (behaviour 298).
	MaxPods int
	// SystemReserved and KubeReserved are what is kept back, as it counts here: PIDs too.
	SystemReserved, KubeReserved v1.ResourceList
	// Eviction is what has to stay free lest pods are evicted at once, whether or not it is kept back.
	Eviction v1.ResourceList
	// Enforced tells whether pods are held to what is left after these two (enforceNodeAllocatable names pods).
	Enforced bool
	// Reserves are the cgroups that the reservations are enforced on (behaviour 210).
	Reserves []Reserve
}

// Reserve is a cgroup that a reservation is enforced on.
type Reserve struct {
	Cgroup string
	Amount v1.ResourceList
	// WeightOnly gives it the CPU weight of its reservation and no limit.
	WeightOnly bool
}

// RoomOf works out what a machine has to give under a configuration.
func RoomOf(m Machine, c *config.Config) Room {
	k := &c.Kubelet
	r := Room{
		MaxPods: maxPods(int(k.MaxPods), int(k.PodsPerCore), m.CPUs), Enforced: slices.Contains(k.EnforceNodeAllocatable, "pods"),
		SystemReserved: quantities(k.SystemReserved), KubeReserved: quantities(k.KubeReserved),
	}
	if n := countCPUs(k.ReservedSystemCPUs); n > 0 { // named processors stand for both numbers
		r.SystemReserved[v1.ResourceCPU] = count(int64(n))
		delete(r.KubeReserved, v1.ResourceCPU)
	}
	for _, entry := range k.EnforceNodeAllocatable {
		name, weightOnly := strings.CutSuffix(entry, "-compressible")
		switch name {
		case "system-reserved":
			r.Reserves = append(r.Reserves, Reserve{k.SystemReservedCgroup, r.SystemReserved, weightOnly})
		case "kube-reserved":
			r.Reserves = append(r.Reserves, Reserve{k.KubeReservedCgroup, r.KubeReserved, weightOnly})
		}
	}
	r.Capacity = capacity(m, r.MaxPods)
	if off := k.LocalStorageCapacityIsolation; off != nil && !*off {
		delete(r.Capacity, v1.ResourceEphemeralStorage)
	}
	r.Allocatable = maps.Clone(r.Capacity)
	for name, q := range r.Capacity {
		if strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) {
			take(r.Allocatable, v1.ResourceMemory, q)
		}
	}
	r.Eviction = evictionReserve(k.EvictionHard, r.Capacity)
	kept := []v1.ResourceList{r.SystemReserved, r.KubeReserved}
	if !c.EvictionOutsideAllocatable {
		kept = append(kept, r.Eviction)
	}
	for _, list := range kept {
		for name, q := range list {
			take(r.Allocatable, name, q)
		}
	}
	if m.PIDs > 0 { // no resource that pods can ask for, but all together are held to it
		r.Capacity[PIDs] = count(m.PIDs)
	}
	return r
}

func capacity(m Machine, pods int) v1.ResourceList {
	list := v1.ResourceList{
		v1.ResourceCPU:    count(int64(m.CPUs)),
		v1.ResourceMemory: bytes(m.Memory),
		v1.ResourcePods:   count(int64(pods)),
	}
	if m.Disk > 0 {
		list[v1.ResourceEphemeralStorage] = bytes(m.Disk)
	}
	for size, all := range m.HugePages {
		page := bytes(size)
		list[v1.ResourceName(v1.ResourceHugePagesPrefix+page.String())] = bytes(all)
	}
	return list
}

// evictionReserve is what must stay free lest pods are evicted at once: pods that ask for it could not stay.
func evictionReserve(hard map[string]string, capacity v1.ResourceList) v1.ResourceList {
	reserve := v1.ResourceList{}
	for signal, name := range map[string]v1.ResourceName{
		"memory.available": v1.ResourceMemory, "nodefs.available": v1.ResourceEphemeralStorage,
	} {
		if q, ok := amount(hard[signal], capacity[name]); ok {
			reserve[name] = q
		}
	}
	return reserve
}

// amount reads a threshold: a quantity, or a percentage of the whole.
func amount(text string, whole resource.Quantity) (resource.Quantity, bool) {
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		// Upstream has the share as a float32; with another the figures of the two would differ by some hundred bytes.
		p, err := strconv.ParseFloat(percent, 32)
		return bytes(int64(float64(whole.Value()) * float64(float32(p)/100))), err == nil
	}
	q, err := resource.ParseQuantity(text)
	return q, err == nil
}

// quantities leaves out what is none: the configuration was checked before.
func quantities(texts map[string]string) v1.ResourceList {
	list := v1.ResourceList{}
	for name, text := range texts {
		if q, err := resource.ParseQuantity(text); err == nil {
			list[v1.ResourceName(name)] = q
		}
	}
	return list
}

// take takes q off what is there of a resource, down to nothing.
func take(list v1.ResourceList, name v1.ResourceName, q resource.Quantity) {
	have, ok := list[name]
	if !ok {
		return
	}
	have.Sub(q)
	if have.Sign() < 0 {
		have = *resource.NewQuantity(0, have.Format)
	}
	list[name] = have
}

func maxPods(most, perCore, cores int) int {
	if perCore > 0 {
		most = min(most, perCore*cores)
	}
	return most
}

// countCPUs counts the processors of a list such as 0-1,8.
func countCPUs(list string) int {
	named := map[int]bool{}
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		from, err := strconv.Atoi(first)
		if err != nil {
			continue
		}
		to := from
		if isRange {
			if to, err = strconv.Atoi(last); err != nil {
				continue
			}
		}
		for cpu := from; cpu <= to; cpu++ {
			named[cpu] = true
		}
	}
	return len(named)
}

func bytes(n int64) resource.Quantity { return *resource.NewQuantity(n, resource.BinarySI) }
func count(n int64) resource.Quantity { return *resource.NewQuantity(n, resource.DecimalSI) }
