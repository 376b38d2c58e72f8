package engine

import (
	"time"

	"github.com/bosun-project/bosun/internal/pod"
	"k8s.io/apimachinery/pkg/types"
)

// Version is who the runtime is.
type Version struct {
	// Name is the runtime's name, such as containerd; it is the scheme of container IDs in pod status.
	Name string
	// Version is the runtime's own version; API that of CRI, such as v1.
	Version string
	API     string
}

// Condition is the runtime's word on one part of itself. The zero Condition is not OK.
type Condition struct {
	OK      bool
	Reason  string
	Message string
}

// Status is how the runtime fares and what it can do.
type Status struct {
	// Runtime tells whether it can run containers, Network whether it can connect them.
	Runtime  Condition
	Network  Condition
	Handlers []Handler
	Features Features
}

// Handler is one way to run containers, and what it can do. The name of the default handler is empty.
type Handler struct {
	Name                    string
	RecursiveReadOnlyMounts bool
	UserNamespaces          bool
}

// Features is what the runtime can do whatever the handler.
type Features struct {
	SupplementalGroupsPolicy  bool
	UserNamespacesHostNetwork bool
	MountOptions              bool
}

// Handler returns the handler of that name and whether the runtime has it.
func (s *Status) Handler(name string) (Handler, bool) {
	for _, h := range s.Handlers {
		if h.Name == name {
			return h, true
		}
	}
	return Handler{}, false
}

// Brief is what a listing tells of one pod.
type Brief struct {
	Namespace, Name string
	// Fingerprint changes when a sandbox or container of the pod comes, goes, or changes its state.
	Fingerprint uint64
}

// EventKind is what happened to a container or a sandbox.
type EventKind uint8

// The kinds of events. Other is a kind this agent does not know.
const (
	Other EventKind = iota
	Created
	Started
	Stopped
	Deleted
)

// String returns the kind as people read it.
func (k EventKind) String() string {
	switch k {
	case Created:
		return "created"
	case Started:
		return "started"
	case Stopped:
		return "stopped"
	case Deleted:
		return "deleted"
	case Other:
	}
	return "other"
}

// Event is something the runtime says has happened. It may be a replay of the past.
type Event struct {
	// UID is the pod; empty if the event does not tell.
	UID  types.UID
	Kind EventKind
	// ObjectID is the container or sandbox it happened to.
	ObjectID string
	// At is when the runtime made the event, never in the future.
	At time.Time
	// Whole tells that Report shows the pod's sandbox and the object the event is about.
	Whole bool
	// Report is what the event shows of the pod. It is never complete: absence from it means nothing.
	Report pod.Report
}
