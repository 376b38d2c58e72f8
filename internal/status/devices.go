package status

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/allocate"
)

// devices tell how the devices fare that a container has from device plugins, and those of its ResourceClaims (behaviour 240).
func (v *view) devices(container string) []v1.ResourceStatus {
	if v.in.Node.NoDeviceHealth {
		return nil
	}
	return slices.Concat(v.pluginDevices(container), v.in.Facts.Claimed[container])
}

func (v *view) pluginDevices(container string) []v1.ResourceStatus {
	bond, has := v.in.Facts.Bond, v.in.Memory.Kept.Assigned.Part(container).Devices
	if bond == nil || len(has) == 0 {
		return nil
	}
	var out []v1.ResourceStatus
	for _, resource := range slices.Sorted(maps.Keys(has)) {
		s := v1.ResourceStatus{Name: v1.ResourceName(resource)}
		for _, id := range has[resource] {
			s.Resources = append(s.Resources, v1.ResourceHealth{ResourceID: v1.ResourceID(id), Health: healthWord(bond.Devices[resource][id])})
		}
		out = append(out, s)
	}
	return out
}

func healthWord(h allocate.Health) v1.ResourceHealthStatus {
	switch h {
	case allocate.Healthy:
		return v1.ResourceHealthStatusHealthy
	case allocate.Unhealthy:
		return v1.ResourceHealthStatusUnhealthy
	case allocate.UnknownHealth:
	}
	return v1.ResourceHealthStatusUnknown
}
