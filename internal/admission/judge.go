package admission

import (
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/reason"
)

// Node is what admission has to know of the node.
type Node struct {
	Name string
	// Labels are the node's; nil while they are not known, as on a node without an API server: then nothing is asked of them.
	Labels map[string]string
	Taints []v1.Taint
	// Allocatable is what pods may use together; nil while it is not known.
	Allocatable v1.ResourceList
	// MaxPods is how many pods may run at once; 0 for any number.
	MaxPods int
	// Pressure names the resources the node is short of: MemoryPressure, DiskPressure, PIDPressure.
	Pressure []v1.NodeConditionType
	// ShuttingDown is true from the moment the machine's shutdown was announced.
	ShuttingDown bool
	// AllowedUnsafeSysctls are names, or prefixes ending in *, that pods may set beside the safe ones.
	AllowedUnsafeSysctls []string
	// Kernel is the kernel's release, such as 6.1.0-18-amd64; empty if it is not known.
	Kernel string
	// StaticCPUs and StaticMemory tell that containers of guaranteed pods have processors or memory of their own, and LimitedSwap
	// that containers have shares of the swap space: neither can be changed while they run (behaviour 224).
	StaticCPUs, StaticMemory, LimitedSwap bool
	// AppArmor is what AppArmor can do here; nil if it is not enabled.
	AppArmor *AppArmor
	// Handlers and Features are what the runtime can do; Handlers is nil while that is not known, and then nothing is
	// asked of either.
	Handlers []engine.Handler
	Features engine.Features
	// Declared are the features that the node declares, and Flat tells that pods have no cgroups of their own.
	Declared []string
	Flat     bool
	// Held is what pods have for themselves alone, Rules say what others may have, nil for nothing but devices; Devices chooses these for
	// the candidate, nil if there are none.
	Held    []*allocate.Assigned
	Rules   *allocate.Rules
	Devices allocate.Choice
}

// AppArmor is what the kernel tells of AppArmor.
type AppArmor struct {
	// Loaded holds the names of the loaded profiles; nil if they cannot be read, and then every profile passes: the
	// runtime refuses what it cannot enforce.
	Loaded map[string]bool
}

// refusal says why a pod cannot run.
type refusal struct{ reason, message string }

func refuse(reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// Judge says whether candidate may run beside running, the pods that are admitted and not ending. The first check that
// says no decides. A critical pod that lacks room only is not judged yet: the verdict names the pods that have to give
// way, and once they are no longer among running it is judged anew (behaviours 29-44).
func Judge(candidate *pod.Desired, running []*pod.Desired, node Node) plan.Verdict {
	running = others(candidate, running)
	for _, no := range []*refusal{
		underPressure(candidate, node),
		sysctls(candidate.Pod, node),
	} {
		if no != nil {
			return no.verdict()
		}
	}
	short := shortages(candidate.Pod, running, node)
	var assigned *allocate.Assigned
	if len(short) == 0 || !qos.Critical(candidate) { // a critical one is given room first, which gives way to it
		var no *allocate.Obstacle
		if assigned, no = allocate.Place(candidate.Pod, node.Rules, node.Held, node.Devices); no != nil {
			return plan.Verdict{Judged: no.Reason != "", Reason: no.Reason, Message: no.Message, For: no.For, Until: no.Until, Detail: no.Detail}
		}
	}
	if no := system(candidate.Pod, node); no != nil {
		return no.verdict()
	}
	if len(short) > 0 && !qos.Critical(candidate) {
		return short[0].refusal().verdict()
	}
	for _, no := range []*refusal{
		place(candidate, running, node),
		appArmor(candidate.Pod, node),
		features(candidate.Pod, node),
		declared(candidate.Pod, node),
		wholes(candidate.Pod, node),
		shutdown(node),
	} {
		if no != nil {
			return no.verdict()
		}
	}
	if len(short) > 0 { // nothing but room stands against it
		return preempt(candidate, running, short)
	}
	return plan.Verdict{Judged: true, Admit: true, Assigned: assigned}
}

func (r *refusal) verdict() plan.Verdict {
	return plan.Verdict{Judged: true, Reason: r.reason, Message: r.message}
}

func others(candidate *pod.Desired, running []*pod.Desired) []*pod.Desired {
	out := make([]*pod.Desired, 0, len(running))
	for _, d := range running {
		if d.UID() != candidate.UID() {
			out = append(out, d)
		}
	}
	return out
}

// underPressure keeps pods off a node that is short of something. Critical pods pass; if it is memory alone, so do pods
// that asked for a share of it, and those that tolerate it (behaviour 42).
func underPressure(d *pod.Desired, node Node) *refusal {
	if len(node.Pressure) == 0 || qos.Critical(d) {
		return nil
	}
	if len(node.Pressure) == 1 && node.Pressure[0] == v1.NodeMemoryPressure {
		taint := v1.Taint{Key: v1.TaintNodeMemoryPressure, Effect: v1.TaintEffectNoSchedule}
		if qos.ClassOf(d.Pod) != v1.PodQOSBestEffort || tolerated(d.Pod, taint) {
			return nil
		}
	}
	return refuse(reason.Evicted, "The node had condition: %v. ", node.Pressure)
}

// shutdown refuses everything while the machine goes down (behaviour 41).
func shutdown(node Node) *refusal {
	if !node.ShuttingDown {
		return nil
	}
	return refuse(reason.NodeShutdown, "Pod was rejected as the node is shutting down.")
}
