package status

import (
	"cmp"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
)

// Node is what the status of a pod tells of its node.
type Node struct {
	// HostIPs are the node's addresses, the primary one first.
	HostIPs []string
	// RuntimeName stands before container IDs, such as containerd; empty leaves the ID alone.
	RuntimeName string
	// RecursiveReadOnly tells of each runtime handler whether it can make mounts read-only with all below them.
	RecursiveReadOnly map[string]bool
	// NoDeviceHealth leaves out how devices fare (feature gate ResourceHealthStatus).
	NoDeviceHealth bool
}

// Input is everything a status may depend on.
type Input struct {
	Desired  *pod.Desired
	Memory   plan.Memory
	Observed pod.Observed
	Facts    plan.Facts
	Node     Node
	// Previous is the status that was said last, by this agent or an earlier one; nil if none is known. Times of
	// transitions, what others wrote, and what the runtime has forgotten are taken over from it.
	Previous *v1.PodStatus
	Now      time.Time
}

// Of is the status of a pod. The same input gives the same status. Nothing of the input is changed or shared with it.
func Of(in Input) v1.PodStatus {
	in.Previous = previous(in)
	v := look(in)
	out := v1.PodStatus{}
	if in.Previous != nil {
		out = *in.Previous.DeepCopy() // nominatedNodeName, resourceClaimStatuses and the like are other writers' (behaviour 282)
	}
	out.ObservedGeneration = v.pod.Generation
	out.QOSClass = cmp.Or(v.pod.Status.QOSClass, v.prev.QOSClass, qos.ClassOf(v.pod))
	out.StartTime = v.startTime()
	v.addresses(&out)
	v.containers(&out)
	v.sizes(&out)
	v.phase(&out)
	v.conditions(&out)
	return out
}

// previous is what was said last, with what others have written into the API's object since (behaviours 5, 282).
func previous(in Input) *v1.PodStatus {
	if in.Desired.Source != pod.FromAPI {
		return in.Previous
	}
	api := &in.Desired.Pod.Status
	if in.Previous == nil {
		return api
	}
	prev := *in.Previous
	prev.NominatedNodeName, prev.ResourceClaimStatuses = api.NominatedNodeName, api.ResourceClaimStatuses
	prev.Conditions = slices.DeleteFunc(slices.Clone(in.Previous.Conditions), func(c v1.PodCondition) bool {
		return !Owned(c.Type) && c.Type != v1.DisruptionTarget
	})
	for _, c := range api.Conditions {
		ours := func(o v1.PodCondition) bool { return o.Type == c.Type }
		if !Owned(c.Type) && !slices.ContainsFunc(prev.Conditions, ours) {
			prev.Conditions = append(prev.Conditions, c)
		}
	}
	if in.Desired.Over && !terminal(prev.Phase) {
		prev.Phase, prev.Reason, prev.Message = api.Phase, api.Reason, api.Message
	}
	return &prev
}

// view is the input with what all parts of a status ask of it.
type view struct {
	in  Input
	pod *v1.Pod
	// allocated is the pod with the resources it was given.
	allocated *v1.Pod
	prev      *v1.PodStatus // never nil
	// sandbox is the newest sandbox there is, nil if there is none.
	sandbox *pod.Sandbox
	// inspected is false while nothing is known of the runtime: then the previous status stands.
	inspected bool
	// stopping is set once the pod has to end; final once nothing of it runs any more, so that a terminal phase may
	// be told (behaviour 151).
	stopping, final bool
	// begun tells that a regular container was started in the newest sandbox, or that there is nothing to initialise.
	begun bool
	// renewing tells that containers still have to end because all are restarted (behaviour 114).
	renewing bool
}

func look(in Input) *view {
	v := &view{in: in, pod: in.Desired.Pod, prev: in.Previous, inspected: !in.Observed.Inspected.IsZero()}
	if v.prev == nil {
		v.prev = &v1.PodStatus{}
	}
	for i := range in.Observed.Sandboxes {
		if s := &in.Observed.Sandboxes[i]; !s.Gone {
			v.sandbox = s
			break
		}
	}
	v.allocated = plan.Allocated(in.Desired, in.Memory.Kept.Allocated).Pod
	stop := in.Memory.Kept.Stop
	v.stopping = stop != nil
	live := slices.ContainsFunc(in.Observed.Containers, func(c pod.Container) bool { return c.Live() })
	// One that has claims gives them back first: then the cluster may give them to others.
	ended := v.stopping && (in.Memory.Stage >= plan.Cleaning || stop.Cause == plan.Refused && !stop.Ran && !pod.UsesClaims(v.pod))
	v.final = !live && (ended || terminal(v.prev.Phase))
	v.begun, v.renewing = v.regularBegun(), in.Memory.Renewing(in.Observed)
	return v
}

// beginsAgain tells whether all containers of the pod are being restarted where they ran, and its regular ones have not had
// their turn yet. The pod itself then goes on being what it was: initialised, and running.
func (v *view) beginsAgain() bool {
	return !v.begun && v.sandbox != nil && slices.ContainsFunc(v.pod.Spec.Containers, func(c v1.Container) bool {
		last := v.newest(c.Name)
		return last != nil && v.in.Memory.Past(last) && last.SandboxID == v.sandbox.ID
	})
}

// regularBegun tells whether a regular container was started where the pod lives now; then the pod is initialised, even
// if records of its init containers are gone (behaviour 108).
func (v *view) regularBegun() bool {
	if len(v.pod.Spec.InitContainers) == 0 {
		return true
	}
	for i := range v.pod.Spec.Containers {
		name := v.pod.Spec.Containers[i].Name
		switch c := v.newest(name); {
		case c != nil && v.in.Memory.Past(c): // the pod begins again
		case c != nil && (v.sandbox == nil || c.SandboxID == v.sandbox.ID || !v.sandbox.Ready):
			return true
		case c == nil && !v.inspected && hasBegun(find(v.prev.ContainerStatuses, name)):
			return true
		}
	}
	return false
}

// hasBegun tells whether a container was ever started. An end without an ID is only said of it, for want of better.
func hasBegun(s *v1.ContainerStatus) bool {
	ended := func(t *v1.ContainerStateTerminated) bool { return t != nil && t.ContainerID != "" }
	return s != nil && (s.State.Running != nil || ended(s.State.Terminated) || ended(s.LastTerminationState.Terminated))
}

func (v *view) newest(name string) *pod.Container { return v.in.Observed.Latest(name) }

// startTime is when the pod was admitted; once told it never changes (behaviour 274).
func (v *view) startTime() *metav1.Time {
	if v.prev.StartTime != nil {
		return v.prev.StartTime.DeepCopy()
	}
	at := v.in.Memory.Kept.Admitted
	if at.IsZero() && v.stopping {
		at = v.in.Memory.Kept.Stop.At
	}
	if at.IsZero() {
		return nil
	}
	t := moment(at)
	return &t
}

// moment is a time as statuses hold it: to the second (behaviour 267). The zero time stays zero.
func moment(t time.Time) metav1.Time {
	if t.IsZero() {
		return metav1.Time{}
	}
	return metav1.NewTime(t.UTC().Truncate(time.Second))
}

func terminal(p v1.PodPhase) bool { return p == v1.PodSucceeded || p == v1.PodFailed }

func find(list []v1.ContainerStatus, name string) *v1.ContainerStatus {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}
