package nodestatus

import (
	"maps"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// resources are capacity and allocatable: what the node has of its own, and what others advertise on it. After a reboot
// what others advertise counts as none, until they are back (behaviour 304). Huge pages of sizes that the kernel no
// longer has go (behaviour 285).
func resources(previous v1.NodeStatus, f Facts) (capacity, allocatable v1.ResourceList) {
	capacity, allocatable = v1.ResourceList{}, v1.ResourceList{}
	maps.Copy(capacity, f.Room.Capacity)
	maps.Copy(allocatable, f.Room.Allocatable)
	delete(capacity, PIDs) // held to, and nothing that pods can ask for
	delete(allocatable, PIDs)
	zero := Rebooted(previous, f)
	for name, q := range previous.Capacity {
		if _, have := capacity[name]; have || own(name) {
			continue
		}
		if zero && extended(name) {
			q = count(0)
		}
		// Who advertises something by hand writes capacity only.
		capacity[name], allocatable[name] = q, q
	}
	for resource, d := range f.Devices {
		name := v1.ResourceName(resource)
		switch {
		case d.Gone:
			delete(capacity, name)
			delete(allocatable, name)
		case d.Untold:
			if _, have := capacity[name]; have {
				allocatable[name] = count(0)
			}
		case d.Away:
			capacity[name], allocatable[name] = count(int64(d.Capacity)), count(0)
		default:
			capacity[name], allocatable[name] = count(int64(d.Capacity)), count(int64(d.Healthy))
		}
	}
	return capacity, allocatable
}

// own tells of the resources that the node alone measures.
func own(name v1.ResourceName) bool {
	switch name {
	case v1.ResourceCPU, v1.ResourceMemory, v1.ResourcePods, v1.ResourceEphemeralStorage, PIDs:
		return true
	}
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

// extended tells of resources below a domain other than Kubernetes' own.
func extended(name v1.ResourceName) bool {
	return strings.Contains(string(name), "/") && !strings.Contains(string(name), v1.ResourceDefaultNamespacePrefix)
}
