package exposition

import (
	"maps"
	"slices"
	"time"

	info "github.com/google/cadvisor/lib/model"

	"github.com/bosun-project/bosun/internal/usage"
)

// Machine is what does not change while the agent runs.
type Machine struct {
	// Info is nil if the machine could not be described.
	Info *info.MachineInfo
	// Kernel and OS are those of the node, Version is the agent's.
	Kernel, OS, Version string
}

func (w *writer) machine(m *Machine) {
	w.begin("cadvisor_version_info", "Which programs tell these numbers; always 1.", gauge)
	w.add(labels("cadvisorRevision", "", "cadvisorVersion", m.Version, "dockerVersion", "", "kernelVersion", m.Kernel, "osVersion", m.OS), 1, time.Time{})
	w.end()
	i := m.Info
	if i == nil {
		return
	}
	who := func() []string {
		return []string{"boot_id", i.BootID, "machine_id", i.MachineID, "system_uuid", i.SystemUUID}
	}
	one := func(name, help string, value float64) {
		w.begin(name, help, gauge)
		w.add(labels(who()...), value, time.Time{})
		w.end()
	}
	one("machine_cpu_cores", "Logical processors.", float64(i.NumCores))
	one("machine_cpu_physical_cores", "Cores.", float64(i.NumPhysicalCores))
	one("machine_cpu_sockets", "Processor sockets.", float64(i.NumSockets))
	one("machine_cpu_books", "Books of processors (s390).", float64(i.NumBooks))
	one("machine_cpu_drawers", "Drawers of processors (s390).", float64(i.NumDrawers))
	one("machine_memory_bytes", "Memory.", float64(i.MemoryCapacity))
	one("machine_swap_bytes", "Swap.", float64(i.SwapCapacity))
	one("machine_nvm_avg_power_budget_watts", "The power budget of non-volatile memory.", float64(i.NVMInfo.AvgPowerBudget))
	w.begin("machine_dimm_count", "Memory modules.", gauge)
	kinds := slices.Sorted(maps.Keys(i.MemoryByType))
	for _, kind := range kinds {
		w.number(labels(append(who(), "type", kind)...), usage.Of(uint64(i.MemoryByType[kind].DimmCount)), asIs, time.Time{})
	}
	w.end()
	w.begin("machine_dimm_capacity_bytes", "What memory modules hold.", gauge)
	for _, kind := range kinds {
		w.number(labels(append(who(), "type", kind)...), usage.Of(i.MemoryByType[kind].Capacity), asIs, time.Time{})
	}
	w.end()
	w.begin("machine_nvm_capacity", "What non-volatile memory holds, by mode, in bytes.", gauge)
	w.number(labels(append(who(), "mode", "app_direct_mode")...), usage.Of(i.NVMInfo.AppDirectModeCapacity), asIs, time.Time{})
	w.number(labels(append(who(), "mode", "memory_mode")...), usage.Of(i.NVMInfo.MemoryModeCapacity), asIs, time.Time{})
	w.end()
}
