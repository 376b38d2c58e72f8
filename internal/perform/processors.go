package perform

import (
	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/translate"
)

// Processors knows on which processors containers run that have none of their own.
type Processors interface {
	// Shared are these processors as the runtime has to be told of them; empty if that is all there are.
	Shared() string
	// Placed is told on which processors a container was made, once the runtime has it.
	Placed(id, cpus string)
}

// ownCPUs are the processors that a container has for itself.
func ownCPUs(seen plan.Seen, container string) allocate.CPUs {
	return seen.Memory.Kept.Assigned.Part(container).CPUs
}

// owns tells whether any container of a pod has processors for itself.
func owns(seen plan.Seen) bool { return !seen.Memory.Kept.Assigned.CPUs().Empty() }

// pin says on which processors, and with memory of which NUMA nodes, a container runs.
func (x *Performer) pin(in *translate.Inputs, container string, seen plan.Seen) {
	part := seen.Memory.Kept.Assigned.Part(container)
	in.CPUs, in.MemoryNodes, in.NoCPUQuota = part.CPUs.String(), part.MemoryNodes().String(), !part.CPUs.Empty()
	if in.CPUs == "" && x.cfg.Processors != nil {
		in.CPUs = x.cfg.Processors.Shared()
	}
}

// placed tells on which processors a container was made.
func (x *Performer) placed(id string, in *translate.Inputs) {
	if x.cfg.Processors != nil {
		x.cfg.Processors.Placed(id, in.CPUs)
	}
}
