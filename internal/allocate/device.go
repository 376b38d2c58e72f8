package allocate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Device is one of the things that a device plugin has to give.
type Device struct {
	Healthy bool
	// Nodes are the NUMA nodes it is near to; empty if the plugin does not say.
	Nodes Nodes
}

// Supply is what is known of one resource of device plugins.
type Supply struct {
	// Devices are what its plugin told last, by ID. They stay known for a while when it has gone.
	Devices map[string]Device
	// Serving tells that there is a plugin, and that it has told of its devices.
	Serving bool
	// Prefers tells that the plugin wants to be asked which devices go well together.
	Prefers bool
	// Serial grows each time a plugin begins to serve the resource: what failed for want of one is worth another try.
	Serial uint64
	// Gone tells that nobody has served it for so long that it is given up.
	Gone bool
	// Ever tells that a plugin has registered for the resource since this agent began.
	Ever bool
	// Why says what is waited for while nobody serves it, and Until until when pods wait for that.
	Why   string
	Until time.Time
}

// Supplies are the resources of device plugins of a node.
type Supplies struct {
	Known map[string]Supply
	// Unknown is what holds for an extended resource of which nothing is known; nil if such a one is somebody else's, and nothing is to
	// be given to pods that ask for it (behaviour 34).
	Unknown *Supply
}

// of is the supply of a resource, if it is one of device plugins.
func (s Supplies) of(resource string) (Supply, bool) {
	if found, ok := s.Known[resource]; ok {
		return found, true
	}
	if s.Unknown != nil && Extended(resource) {
		return *s.Unknown, true
	}
	return Supply{}, false
}

// Extended tells whether a resource is none of Kubernetes' own, such as example.com/gpu.
func Extended(resource string) bool {
	domain, _, qualified := strings.Cut(resource, "/")
	return qualified && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io") && !strings.HasPrefix(domain, "requests.")
}

// Counts are how many devices there are of a resource, and how many of them may be given to pods (behaviour 237).
func (s Supply) Counts() (all, healthy int) {
	for _, d := range s.Devices {
		if d.Healthy && s.Serving {
			healthy++
		}
	}
	return len(s.Devices), healthy
}

// A Question is put to a device plugin: which of the available devices, so many, it would give together, those that must be
// among them included. Available is sorted.
type Question struct {
	Resource        string
	Available, Must []string
	Size            int
}

// Key tells questions apart.
func (q Question) Key() string {
	return fmt.Sprintf("%s %d %s/%s", q.Resource, q.Size, strings.Join(q.Available, "\x00"), strings.Join(q.Must, "\x00"))
}

// DeviceNode is what the choice of devices depends on besides the pod.
type DeviceNode struct {
	Supplies
	// Held is what other pods have.
	Held []*Assigned
	// Patient is for pods that nobody would bring back: they wait for a plugin as long as it takes.
	Patient bool
	Now     time.Time
	// Prefer is what a plugin answers to a question; false while it has not. A plugin that fails to answer has answered with none.
	Prefer func(Question) ([]string, bool)
}

// Devices is a Choice among the devices that plugins have told of.
type Devices struct {
	node DeviceNode
	// taken are devices that are not free, spare those of init containers of this pod that will have ended; by resource.
	taken, spare map[string]map[string]bool
}

// ChooseDevices begins a choice.
func ChooseDevices(n DeviceNode) *Devices {
	d := &Devices{node: n, taken: map[string]map[string]bool{}, spare: map[string]map[string]bool{}}
	for _, a := range n.Held {
		if a == nil {
			continue
		}
		for _, part := range a.Containers {
			for resource, ids := range part.Devices {
				mark(d.taken, resource, ids)
			}
		}
	}
	return d
}

func mark(sets map[string]map[string]bool, resource string, ids []string) {
	if sets[resource] == nil {
		sets[resource] = map[string]bool{}
	}
	for _, id := range ids {
		sets[resource][id] = true
	}
}

// DeviceRequest is how many devices of a resource a container wants.
type DeviceRequest struct {
	Resource string
	Number   int
}

// Requests are the devices a container asks for, by resource.
func (s Supplies) Requests(c *v1.Container) []DeviceRequest {
	var all []DeviceRequest
	for name, q := range c.Resources.Limits {
		if _, ours := s.of(string(name)); ours && q.Value() > 0 {
			all = append(all, DeviceRequest{string(name), int(min(q.Value(), 1<<30))})
		}
	}
	slices.SortFunc(all, func(a, b DeviceRequest) int { return strings.Compare(a.Resource, b.Resource) })
	return all
}

// Take chooses the devices of the next container, near to a place if that names any nodes. Init containers hand theirs on to those
// that begin when they have ended; sidecars do not.
func (d *Devices) Take(p *v1.Pod, c *v1.Container, place Hint) (map[string][]string, *Obstacle) {
	var out map[string][]string
	for _, r := range d.node.Requests(c) {
		ids, no := d.takeOne(r, place)
		if no != nil {
			if no.Reason == "" {
				no.Message += ", for container " + c.Name
			}
			return nil, no
		}
		if out == nil {
			out = map[string][]string{}
		}
		out[r.Resource] = ids
		mark(d.taken, r.Resource, ids)
		for _, id := range ids {
			delete(d.spare[r.Resource], id)
		}
		if ends(p, c) {
			mark(d.spare, r.Resource, ids)
		}
	}
	return out, nil
}

// takeOne chooses devices of one resource.
func (d *Devices) takeOne(r DeviceRequest, place Hint) ([]string, *Obstacle) {
	supply, _ := d.node.of(r.Resource)
	if no := d.absent(r.Resource, supply); no != nil {
		return nil, no
	}
	free, spare := d.free(r.Resource, supply)
	if len(free)+len(spare) < r.Number {
		return nil, refuseDevices("requested number of devices unavailable for %s. Requested: %d, Available: %d", r.Resource, r.Number, len(free)+len(spare))
	}
	near := func(id string) bool { return place.Nodes == 0 || supply.Devices[id].Nodes&place.Nodes != 0 }
	must := spare[:min(len(spare), r.Number)]
	var aligned, rest []string
	for _, id := range append(slices.Clone(spare[len(must):]), free...) {
		if near(id) {
			aligned = append(aligned, id)
		} else {
			rest = append(rest, id)
		}
	}
	switch missing := r.Number - len(must); {
	case missing == 0:
		return sorted(must), nil
	case len(aligned) >= missing:
		return d.prefer(r, supply, must, aligned)
	default:
		return d.prefer(r, supply, append(slices.Clone(must), aligned...), rest)
	}
}

// prefer takes what the plugin likes best of what is there, and what comes first where it has no wish.
func (d *Devices) prefer(r DeviceRequest, supply Supply, must, from []string) ([]string, *Obstacle) {
	chosen := slices.Clone(must)
	if supply.Prefers && d.node.Prefer != nil && len(must)+len(from) > r.Number {
		q := Question{Resource: r.Resource, Available: sorted(append(slices.Clone(must), from...)), Must: sorted(must), Size: r.Number}
		wish, answered := d.node.Prefer(q)
		if !answered {
			return nil, &Obstacle{For: "device plugin of " + r.Resource, Message: "it is asked which devices it would give"}
		}
		for _, id := range wish { // what it makes up is nobody's
			if len(chosen) < r.Number && slices.Contains(from, id) && !slices.Contains(chosen, id) {
				chosen = append(chosen, id)
			}
		}
	}
	for _, id := range from {
		if len(chosen) < r.Number && !slices.Contains(chosen, id) {
			chosen = append(chosen, id)
		}
	}
	return sorted(chosen), nil
}

// free are the healthy devices that nobody has, and those that an init container of this pod will not need any more.
func (d *Devices) free(resource string, s Supply) (free, spare []string) {
	for id, device := range s.Devices {
		switch {
		case !device.Healthy:
		case d.spare[resource][id]:
			spare = append(spare, id)
		case !d.taken[resource][id]:
			free = append(free, id)
		}
	}
	return sorted(free), sorted(spare)
}

// absent is what stands against a resource that nobody serves, or of which no device is well.
func (d *Devices) absent(resource string, s Supply) *Obstacle {
	_, healthy := s.Counts()
	switch {
	case s.Serving && healthy > 0:
		return nil
	case s.Serving && d.node.Patient:
		return &Obstacle{For: "healthy devices of " + resource, Message: "the device plugin says that none is healthy"}
	case s.Serving:
		return refuseDevices("no healthy devices present; cannot allocate unhealthy devices %s", resource)
	}
	return s.away(resource, d.node.Patient, d.node.Now)
}

// away is what stands against a resource that nobody serves. The patient wait for a plugin as long as it takes.
func (s Supply) away(resource string, patient bool, now time.Time) *Obstacle {
	switch {
	case patient:
		return &Obstacle{For: "device plugin of " + resource, Message: s.Why}
	case now.Before(s.Until):
		return &Obstacle{For: "device plugin of " + resource, Message: s.Why, Until: s.Until}
	case s.Ever:
		return refuseDevices("no healthy devices present; cannot allocate unhealthy devices %s", resource)
	}
	return refuseDevices("cannot allocate unregistered device %s", resource)
}

// refuseDevices words a refusal.
func refuseDevices(format string, args ...any) *Obstacle {
	return unexpected("", fmt.Sprintf(format, args...))
}

// DeviceFailure is how people are told that devices cannot be had.
func DeviceFailure(why string) string {
	return "Allocate failed due to " + why + ", which is unexpected"
}

func sorted(ids []string) []string {
	out := slices.Clone(ids)
	slices.Sort(out)
	return out
}

// Offers are the places from which the devices of the next container can come, on a machine of these NUMA nodes (behaviour 236).
func (d *Devices) Offers(c *v1.Container, machine Nodes) []Offer {
	var all []Offer
	for _, r := range d.node.Requests(c) {
		s, _ := d.node.of(r.Resource)
		free, spare := d.free(r.Resource, s)
		all = append(all, offerOf(r, s, append(free, spare...), machine))
	}
	return all
}

func offerOf(r DeviceRequest, s Supply, available []string, machine Nodes) Offer {
	if !s.Serving { // what stands against it is told when it is taken
		return Anywhere(r.Resource)
	}
	for _, device := range s.Devices {
		if device.Nodes == 0 { // it may be anywhere
			return Anywhere(r.Resource)
		}
	}
	within := func(ids []string, nodes Nodes) (n int) {
		for _, id := range ids {
			if s.Devices[id].Nodes&nodes != 0 {
				n++
			}
		}
		return n
	}
	every := make([]string, 0, len(s.Devices))
	for id := range s.Devices {
		every = append(every, id)
	}
	least := 65
	out := Offer{Resource: r.Resource}
	for nodes := range machine.Subsets {
		if within(every, nodes) >= r.Number {
			least = min(least, nodes.Len())
		}
		if within(available, nodes) >= r.Number {
			out.Hints = append(out.Hints, Hint{Nodes: nodes, Preferred: nodes.Len() == least})
		}
	}
	return out
}
