package nodestatus

import (
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/reason"
)

// ownConditions are the types of conditions that the node writes, in the order in which new ones are added.
var ownConditions = []v1.NodeConditionType{v1.NodeMemoryPressure, v1.NodeDiskPressure, v1.NodePIDPressure, v1.NodeReady}

// NotAsked is what is wrong with a runtime that has not been asked yet.
const NotAsked = "container runtime status check may not have completed yet"

// Ready tells whether the node can take pods, with reason and message of its Ready condition (behaviour 292).
func Ready(f Facts) (ok bool, why, message string) {
	wrong := complaints(f)
	switch len(wrong) {
	case 0:
		return true, reason.KubeletReady, "kubelet is posting ready status"
	case 1:
		return false, reason.KubeletNotReady, wrong[0]
	}
	return false, reason.KubeletNotReady, "[" + strings.Join(wrong, ", ") + "]"
}

// complaints are what keeps the node from being ready, each once.
func complaints(f Facts) (all []string) {
	say := func(text string) {
		if text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	switch {
	case !f.Runtime.Asked:
		say(NotAsked)
	case !f.Runtime.Up:
		say(or(f.Runtime.Message, "container runtime is down"))
	}
	if f.StaleListing != "" {
		say("PLEG is not healthy: " + f.StaleListing)
	}
	if f.Runtime.Asked && !f.Runtime.NetworkReady {
		say(or(f.Runtime.NetworkMessage, "container runtime network not ready"))
	}
	say(f.StorageError)
	say(f.CgroupsError)
	if f.ShuttingDown {
		say("node is shutting down")
	}
	if missing := missingCapacity(f); len(missing) > 0 {
		say("missing node capacity for resources: " + strings.Join(missing, ", "))
	}
	return all
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func missingCapacity(f Facts) (missing []string) {
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourcePods, v1.ResourceEphemeralStorage} {
		if name == v1.ResourceEphemeralStorage && f.NoLocalStorage {
			continue
		}
		if _, ok := f.Room.Capacity[name]; !ok {
			missing = append(missing, string(name))
		}
	}
	return missing
}

// conditions are the previous ones with the node's own brought up to date. Those of others stay as they are.
func conditions(previous v1.NodeStatus, f Facts, now time.Time) []v1.NodeCondition {
	at := metav1.NewTime(now).Rfc3339Copy()
	all := slices.Clone(previous.Conditions)
	for _, kind := range ownConditions {
		next := condition(kind, f)
		next.LastHeartbeatTime, next.LastTransitionTime = at, at
		i := slices.IndexFunc(all, func(c v1.NodeCondition) bool { return c.Type == kind })
		switch {
		case i < 0:
			all = append(all, next)
			continue
		case kind == v1.NodeReady && !f.Runtime.Asked && !Rebooted(previous, f):
			// The agent has just started. What held before holds until the runtime was asked, which takes a moment: no
			// node becomes not ready because its agent starts anew.
			next = all[i]
			next.LastHeartbeatTime = at
		case all[i].Status == next.Status:
			next.LastTransitionTime = all[i].LastTransitionTime
		}
		all[i] = next
	}
	return all
}

// condition is one of the node's own, without times.
func condition(kind v1.NodeConditionType, f Facts) v1.NodeCondition {
	if kind == v1.NodeReady {
		ok, why, message := Ready(f)
		return v1.NodeCondition{Type: kind, Status: status(ok), Reason: why, Message: message}
	}
	pressed, well, unwell := false, [2]string{}, [2]string{}
	switch kind {
	case v1.NodeMemoryPressure:
		pressed = f.MemoryPressure
		well = [2]string{reason.KubeletHasSufficientMemory, "kubelet has sufficient memory available"}
		unwell = [2]string{reason.KubeletHasInsufficientMemory, "kubelet has insufficient memory available"}
	case v1.NodeDiskPressure:
		pressed = f.DiskPressure
		well = [2]string{reason.KubeletHasNoDiskPressure, "kubelet has no disk pressure"}
		unwell = [2]string{reason.KubeletHasDiskPressure, "kubelet has disk pressure"}
	case v1.NodePIDPressure:
		pressed = f.PIDPressure
		well = [2]string{reason.KubeletHasSufficientPID, "kubelet has sufficient PID available"}
		unwell = [2]string{reason.KubeletHasInsufficientPID, "kubelet has insufficient PID available"}
	}
	words := well
	if pressed {
		words = unwell
	}
	return v1.NodeCondition{Type: kind, Status: status(pressed), Reason: words[0], Message: words[1]}
}

func status(yes bool) v1.ConditionStatus {
	if yes {
		return v1.ConditionTrue
	}
	return v1.ConditionFalse
}

// find returns the condition of a type, or the zero one.
func find(all []v1.NodeCondition, kind v1.NodeConditionType) v1.NodeCondition {
	for _, c := range all {
		if c.Type == kind {
			return c
		}
	}
	return v1.NodeCondition{}
}

// runtimeVersion is such as containerd://2.1.4; empty while not known.
func runtimeVersion(r Runtime) string {
	if r.Name == "" {
		return ""
	}
	return r.Name + "://" + strings.TrimPrefix(r.Version, "v")
}
