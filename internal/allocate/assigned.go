package allocate

import (
	"maps"
	"slices"
)

// Assigned is what a pod has of the node that nobody else has: single things, not amounts. It is decided when the pod is admitted and
// remembered before anything is done about it; it is never changed once made: a running pod keeps it whatever the policies say later.
type Assigned struct {
	// Containers are the parts of the containers that have any, by name.
	Containers map[string]Part `json:"containers,omitempty"`
}

// Part is what one container has for itself.
type Part struct {
	// Devices are those of device plugins, by resource: "vendor.com/device".
	Devices map[string][]string `json:"devices,omitempty"`
	// CPUs are the processors on which only this container runs; none if it runs on those that all others share. An init container's may
	// be those of a later container, too.
	CPUs CPUs `json:"cpus,omitempty"`
	// Memory is where its memory and huge pages come from; none if from anywhere.
	Memory []Block `json:"memory,omitempty"`
}

// A Block is memory that is set aside for a container on NUMA nodes.
type Block struct {
	// Resource is memory, or hugepages-SIZE.
	Resource string `json:"resource"`
	// Nodes are the NUMA nodes it comes from, Size how much of it in bytes, on all together.
	Nodes Nodes `json:"nodes"`
	Size  int64 `json:"size"`
	// Reused is how much of it init containers had before, which have ended when this container begins.
	Reused int64 `json:"reused,omitempty"`
	// Over tells that the container has ended when the next one begins.
	Over bool `json:"over,omitempty"`
}

// Part is what a container has; the zero Part if it has nothing. a may be nil.
func (a *Assigned) Part(container string) Part {
	if a == nil {
		return Part{}
	}
	return a.Containers[container]
}

// Join is what a pod has of both, of different things. Either may be nil.
func (a *Assigned) Join(b *Assigned) *Assigned {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	out := &Assigned{Containers: maps.Clone(a.Containers)}
	for name, more := range b.Containers {
		part := out.Containers[name]
		if part.Devices == nil {
			part.Devices = more.Devices
		}
		if part.CPUs.Empty() {
			part.CPUs = more.CPUs
		}
		if part.Memory == nil {
			part.Memory = more.Memory
		}
		if out.Containers == nil {
			out.Containers = map[string]Part{}
		}
		out.Containers[name] = part
	}
	return out
}

// CPUs are the processors that only this pod runs on. a may be nil.
func (a *Assigned) CPUs() (all CPUs) {
	if a != nil {
		for _, p := range a.Containers {
			all = all.With(p.CPUs)
		}
	}
	return all
}

// MemoryNodes are the NUMA nodes from which a container has its memory; none if from anywhere.
func (p Part) MemoryNodes() (all Nodes) {
	for _, b := range p.Memory {
		all |= b.Nodes
	}
	return all
}

// names lists the containers that have something, in a fixed order.
func (a *Assigned) names() []string { return slices.Sorted(maps.Keys(a.Containers)) }

// MarshalText is String: ledgers hold sets as people read them.
func (s Nodes) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText has written.
func (s *Nodes) UnmarshalText(text []byte) error {
	nodes, err := ParseCPUs(string(text))
	*s = NodesOf(nodes.IDs()...)
	return err
}
