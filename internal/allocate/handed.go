package allocate

import (
	"maps"
	"slices"
	"time"
)

// Handed is what device plugins have handed out for the devices of a pod: what makes them visible in its containers. It is remembered, so
// that a container can be made again while a plugin is away.
type Handed struct {
	// Boot is the machine's boot in which it was handed out. After another one the plugins have to be asked again.
	Boot       string               `json:"boot,omitempty"`
	Containers map[string]Artifacts `json:"containers,omitempty"`
}

// Artifacts are what one container gets with its devices.
type Artifacts struct {
	Env         map[string]string `json:"env,omitempty"`
	Mounts      []DeviceMount     `json:"mounts,omitempty"`
	Files       []DeviceFile      `json:"files,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// CDI are the names of devices that the runtime knows how to add.
	CDI []string `json:"cdi,omitempty"`
	// PreStart are the resources whose plugins want to be told before each start of the container.
	PreStart []string `json:"preStart,omitempty"`
}

// DeviceMount shows a file or directory of the node.
type DeviceMount struct {
	Host      string `json:"host"`
	Container string `json:"container"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
}

// DeviceFile is a device node. Permissions are some of r, w and m.
type DeviceFile struct {
	Host        string `json:"host"`
	Container   string `json:"container"`
	Permissions string `json:"permissions"`
}

// Add joins what another resource brings. What both name is as the first one has it.
func (a Artifacts) Add(b Artifacts) Artifacts {
	join := func(first, second map[string]string) map[string]string {
		if len(second) == 0 {
			return first
		}
		out := maps.Clone(second)
		maps.Copy(out, first)
		return out
	}
	out := Artifacts{
		Env: join(a.Env, b.Env), Annotations: join(a.Annotations, b.Annotations),
		Mounts: slices.Clone(a.Mounts), Files: slices.Clone(a.Files), CDI: slices.Clone(a.CDI),
		PreStart: slices.Concat(a.PreStart, b.PreStart),
	}
	for _, m := range b.Mounts {
		if !slices.ContainsFunc(out.Mounts, func(have DeviceMount) bool { return have.Container == m.Container }) {
			out.Mounts = append(out.Mounts, m)
		}
	}
	for _, f := range b.Files {
		if !slices.ContainsFunc(out.Files, func(have DeviceFile) bool { return have.Container == f.Container }) {
			out.Files = append(out.Files, f)
		}
	}
	for _, name := range b.CDI {
		if !slices.Contains(out.CDI, name) {
			out.CDI = append(out.CDI, name)
		}
	}
	return out
}

// HasDevices tells whether any container has devices of plugins. a may be nil.
func (a *Assigned) HasDevices() bool {
	if a != nil {
		for _, part := range a.Containers {
			if len(part.Devices) > 0 {
				return true
			}
		}
	}
	return false
}

// Health is how a device fares.
type Health uint8

// What can be known of a device.
const (
	UnknownHealth Health = iota // its plugin is away
	Healthy
	Unhealthy
)

// A Bond is how what a pod has of devices fares now.
type Bond struct {
	// Mark changes when a plugin of one of its resources begins to serve, and when one of its devices gets well or ill.
	Mark uint64
	// Away are the resources that nobody serves, by name.
	Away map[string]Supply
	// Devices are the pod's own, by resource and ID.
	Devices map[string]map[string]Health
}

// BondOf is how the devices that a pod has fare; nil if it has none.
func BondOf(a *Assigned, s Supplies) *Bond {
	if !a.HasDevices() {
		return nil
	}
	b := &Bond{Devices: map[string]map[string]Health{}}
	for _, part := range a.Containers {
		for resource, ids := range part.Devices {
			supply, _ := s.of(resource)
			if _, seen := b.Devices[resource]; !seen {
				b.Devices[resource] = map[string]Health{}
				b.Mark += supply.Serial * 1_000_003
				if !supply.Serving {
					if b.Away == nil {
						b.Away = map[string]Supply{}
					}
					supply.Devices = nil
					b.Away[resource] = supply
				}
			}
			for _, id := range ids {
				b.Devices[resource][id] = supply.health(id)
				b.Mark += uint64(supply.health(id))
			}
		}
	}
	return b
}

func (s Supply) health(id string) Health {
	device, known := s.Devices[id]
	switch {
	case !s.Serving:
		return UnknownHealth
	case known && device.Healthy:
		return Healthy
	}
	return Unhealthy
}

// Obstacle is what stands against asking the plugins of a pod for its devices; nil if nothing does. It is about the first resource by name.
func (b *Bond) Obstacle(patient bool, now time.Time) *Obstacle {
	if b == nil || len(b.Away) == 0 {
		return nil
	}
	resource := slices.Sorted(maps.Keys(b.Away))[0]
	return b.Away[resource].away(resource, patient, now)
}
