package allocate

// Assigned is what a pod has of the node that nobody else has: single things, not amounts. It is decided when the pod is admitted and
// remembered before anything is done about it; it is never changed once made.
type Assigned struct {
	// Containers are the parts of the containers that have any, by name.
	Containers map[string]Part `json:"containers,omitempty"`
}

// Part is what one container has for itself.
type Part struct {
	// Devices are those of device plugins, by resource: "vendor.com/device".
	Devices map[string][]string `json:"devices,omitempty"`
}

// Part is what a container has; the zero Part if it has nothing. a may be nil.
func (a *Assigned) Part(container string) Part {
	if a == nil {
		return Part{}
	}
	return a.Containers[container]
}
