package metrics

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/reason"
)

// resizes are the numbers about pods that are wanted with other resources than they were given.
type resizes struct {
	requested, infeasible, accepted *prometheus.CounterVec
	took, waited                    *prometheus.HistogramVec
}

func newResizes(m maker) resizes {
	return resizes{
		requested: m.counters("kubelet_container_requested_resizes_total", "Changes of containers' resources that were asked for.",
			"resource", "requirement", "operation"),
		infeasible: m.counters("kubelet_pod_infeasible_resizes_total", "Resizes of pods that can never be on this node.", "reason_detail"),
		accepted:   m.counters("kubelet_pod_deferred_accepted_resizes_total", "Resizes of pods that were granted after a wait.", "retry_trigger"),
		took: m.histograms("kubelet_pod_resize_duration_milliseconds", "How long it takes to bring a pod to resources it was granted.",
			prometheus.ExponentialBuckets(10, 2, 15), "success"),
		waited: m.histograms("kubelet_pod_deferred_resize_duration_seconds", "How long resizes of pods waited for room.",
			prometheus.ExponentialBuckets(1, 2, 15), "resolution", "priority_bucket"),
	}
}

// Resized takes a change of what is remembered of a pod's resources: what was before and is now, and what admission had said.
func (m *Metrics) Resized(d *pod.Desired, before, after plan.Kept, said plan.Resize) {
	granted := before.Allocated != after.Allocated
	asked := after.Pending != nil && (before.Pending == nil || before.Pending.Generation != after.Pending.Generation)
	if asked || granted && (before.Pending == nil || before.Pending.Generation != after.Allocated.Generation) {
		m.resizeRequested(before.Allocated, plan.AllocationOf(d.Pod))
	}
	if p := after.Pending; p != nil && p.Reason == reason.Infeasible && (asked || before.Pending.Reason != p.Reason) {
		m.resizes.infeasible.WithLabelValues(said.Detail).Inc()
	}
	now := time.Now()
	if before.Deferred() && !after.Deferred() {
		how := "withdrawn"
		switch {
		case granted:
			how = "accepted"
			m.resizes.accepted.WithLabelValues(said.Trigger).Inc()
		case after.Pending != nil:
			how = "infeasible"
		}
		m.resizes.waited.WithLabelValues(how, priorityClass(d)).Observe(now.Sub(before.Pending.Since).Seconds())
	}
	if before.Resizing != nil && after.Resizing == nil {
		m.resizes.took.WithLabelValues("true").Observe(float64(now.Sub(before.Resizing.At).Milliseconds()))
	}
}

// resizeFailed counts a try that has failed.
func (m *Metrics) resizeFailed(o plan.Outcome) {
	if o.Failed != nil {
		m.resizes.took.WithLabelValues("false").Observe(float64(o.Ended.Sub(o.Began).Milliseconds()))
	}
}

// resizeRequested counts what is to change of each container.
func (m *Metrics) resizeRequested(from, to *plan.Allocation) {
	count := func(what, requirement, old, asked string) {
		if how := operationOf(old, asked); how != "" {
			m.resizes.requested.WithLabelValues(what, requirement, how).Inc()
		}
	}
	names := map[string]bool{}
	for name := range from.Containers {
		names[name] = true
	}
	for name := range to.Containers {
		names[name] = true
	}
	for name := range names {
		old, asked := from.Containers[name], to.Containers[name]
		count("cpu", "requests", old.CPU.Request, asked.CPU.Request)
		count("cpu", "limits", old.CPU.Limit, asked.CPU.Limit)
		count("memory", "requests", old.Memory.Request, asked.Memory.Request)
		count("memory", "limits", old.Memory.Limit, asked.Memory.Limit)
	}
}

// operationOf says how an amount changes; empty if it does not.
func operationOf(old, asked string) string {
	switch {
	case old == asked:
		return ""
	case old == "":
		return "add"
	case asked == "":
		return "remove"
	}
	x, errX := resource.ParseQuantity(old)
	y, errY := resource.ParseQuantity(asked)
	switch {
	case errX != nil || errY != nil || x.Cmp(y) == 0:
		return ""
	case x.Cmp(y) < 0:
		return "increase"
	}
	return "decrease"
}

// priorityClass is how important a pod is, in a word that metrics can have.
func priorityClass(d *pod.Desired) string {
	switch p := qos.Priority(d.Pod); {
	case p >= qos.CriticalPriority:
		return "critical"
	case p > 0:
		return "high"
	case p < 0:
		return "low"
	}
	return "default"
}

var (
	descPendingResizes = prometheus.NewDesc("kubelet_pod_pending_resizes", "Resizes of pods that wait for room, or can never be.",
		[]string{"reason", "priority_bucket"}, nil)
	descResizing = prometheus.NewDesc("kubelet_pod_in_progress_resizes", "Pods that are being brought to resources they were granted.", nil, nil)
)

// pendingResize is what pending resizes are told apart by.
type pendingResize struct{ reason, priority string }

// resizesOf counts the resizes of pods that go on. Only what there is has a series.
func resizesOf(pods []Pod) (pending map[pendingResize]int, resizing int) {
	pending = map[pendingResize]int{}
	for i := range pods {
		p := &pods[i]
		if p.Kept == nil || p.Stage >= plan.Stopping {
			continue
		}
		if p.Kept.Pending != nil {
			pending[pendingResize{strings.ToLower(p.Kept.Pending.Reason), priorityClass(p.Desired)}]++
		}
		if p.Kept.Resizing != nil {
			resizing++
		}
	}
	return pending, resizing
}
