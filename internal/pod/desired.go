package pod

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Source is where a pod's specification came from (behaviour 1).
type Source string

// The sources. Local marks a pod that was given to the node's own API, Runtime one that no source names and that was found in
// the runtime only.
const (
	FromFile    Source = "file"
	FromURL     Source = "http"
	FromAPI     Source = "api"
	FromLocal   Source = "local"
	FromRuntime Source = "runtime"
)

// FullName is "name_namespace": at most one pod of a full name runs at a time (behaviours 7, 16).
type FullName string

// FullNameOf builds the full name of a pod.
func FullNameOf(p *v1.Pod) FullName { return FullName(p.Name + "_" + p.Namespace) }

// Desired is what a source says of one pod. The pod object is defaulted and valid and must not be changed.
type Desired struct {
	Pod    *v1.Pod
	Source Source
	// Origin names the file or URL for people; empty for the API and the node's own.
	Origin string
	// Seen is when the agent first heard of the pod.
	Seen time.Time
	// Wanted is false once the source no longer names the pod. Pod is then its last known version.
	Wanted bool
	// Deletion is set once the API object carries a deletion timestamp, or a source limits the grace.
	Deletion *Deletion
	// Over is true once the API object says that the pod has ended: its phase is Succeeded or Failed. Such a pod is not
	// started, and ended if it runs (behaviour 23).
	Over bool
}

// Deletion is an order to stop a pod gracefully.
type Deletion struct {
	At    time.Time
	Grace time.Duration
}

// UID is the pod's identity (behaviour 7).
func (d *Desired) UID() types.UID { return d.Pod.UID }

// Static tells whether the pod comes from a file or a URL and so has no API object of its own.
func (d *Desired) Static() bool { return d.Source == FromFile || d.Source == FromURL }

// Own tells whether nobody but this node knows of the pod's source: a file, a URL, its own API. Such a pod uses what the node
// has of objects itself, and stays wanted whatever an API server says.
func (d *Desired) Own() bool { return d.Static() || d.Source == FromLocal }

// Grace is the pod's own termination grace period; 30 s when the specification has none.
func (d *Desired) Grace() time.Duration {
	if s := d.Pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 30 * time.Second
}

// IsSidecar tells whether an init container is a sidecar: one that keeps running beside the regular containers.
func IsSidecar(c *v1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
}

// FindContainer returns the container of that name and the event field path of it, or nil.
// Ephemeral containers come back as the container they are made of.
func FindContainer(p *v1.Pod, name string) (*v1.Container, string) {
	for i := range p.Spec.InitContainers {
		if p.Spec.InitContainers[i].Name == name {
			return &p.Spec.InitContainers[i], "spec.initContainers{" + name + "}"
		}
	}
	for i := range p.Spec.Containers {
		if p.Spec.Containers[i].Name == name {
			return &p.Spec.Containers[i], "spec.containers{" + name + "}"
		}
	}
	for i := range p.Spec.EphemeralContainers {
		if p.Spec.EphemeralContainers[i].Name == name {
			c := v1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
			return &c, "spec.ephemeralContainers{" + name + "}"
		}
	}
	return nil, ""
}
