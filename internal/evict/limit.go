package evict

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/reason"
)

// The signals under which metrics count pods that went over their own limits.
const (
	volumeLimit    = "emptydirfs.limit"
	podLimit       = "ephemeralpodfs.limit"
	containerLimit = "ephemeralcontainerfs.limit"
)

// Limited is what of a pod has to be measured to know whether it keeps its own limits of the disk; nothing if it has none, or
// if it is spared anyway (behaviour 255).
func Limited(d *pod.Desired) Parts {
	if Spared(d) {
		return Parts{}
	}
	var p Parts
	for i := range d.Pod.Spec.Volumes {
		p.Volumes = p.Volumes || sizeLimit(&d.Pod.Spec.Volumes[i]) != nil
	}
	for _, c := range containersOf(d.Pod) {
		if diskLimit(c) != nil {
			return Parts{Writable: true, Logs: true, Volumes: true}
		}
	}
	return p
}

// Any tells whether there is anything to measure.
func (p Parts) Any() bool { return p.Writable || p.Logs || p.Volumes }

// sizeLimit is the limit of a volume that nothing but the agent enforces: one on disk. Nil if there is none.
func sizeLimit(v *v1.Volume) *resource.Quantity {
	e := v.EmptyDir
	if e == nil || e.Medium != v1.StorageMediumDefault || e.SizeLimit == nil || e.SizeLimit.Sign() <= 0 {
		return nil
	}
	return e.SizeLimit
}

func diskLimit(c *v1.Container) *resource.Quantity {
	if limit, ok := c.Resources.Limits[v1.ResourceEphemeralStorage]; ok && limit.Sign() > 0 {
		return &limit
	}
	return nil
}

// Overfull makes a pod go that uses more of the disk than its own limits allow; false if it does not (behaviour 255).
func Overfull(c Candidate) (Victim, bool) {
	signal, text := c.exceeded()
	if text == "" || Spared(c.Pod) {
		return Victim{}, false
	}
	return Victim{UID: c.Pod.UID(), Signal: signal, Order: &plan.Order{Reason: reason.Evicted, Message: text, Grace: atOnce, Own: true}}, true
}

// exceeded names the first limit that a pod exceeds: of a volume, of the pod, of a container.
func (c Candidate) exceeded() (signal, text string) {
	p := c.Pod.Pod
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if limit := sizeLimit(v); limit != nil && c.Usage.Volumes[v.Name].Bytes > limit.Value() {
			return volumeLimit, fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", v.Name, limit.String())
		}
	}
	if !Limited(c.Pod).Writable {
		return "", ""
	}
	all := c.Usage.sum(Parts{Writable: true, Logs: true, Volumes: true})
	if limit, ok := qos.Limits(p)[v1.ResourceEphemeralStorage]; ok && limit.Sign() > 0 && all.Bytes > limit.Value() {
		return podLimit, fmt.Sprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s. ", limit.String())
	}
	for _, container := range containersOf(p) {
		if limit := diskLimit(container); limit != nil && c.Usage.Containers[container.Name].disk().Bytes > limit.Value() {
			return containerLimit, fmt.Sprintf("Container %s exceeded its local ephemeral storage limit %q. ", container.Name, limit.String())
		}
	}
	return "", ""
}
