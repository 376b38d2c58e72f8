package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// census counts pods when somebody reads the metrics.
type census struct{ pods func() []Pod }

var (
	descRunningPods       = prometheus.NewDesc("kubelet_running_pods", "Pods with a running sandbox.", nil, nil)
	descRunningContainers = prometheus.NewDesc("kubelet_running_containers", "Containers in the runtime, by state.", []string{"container_state"}, nil)
	descDesiredPods       = prometheus.NewDesc("kubelet_desired_pods", "Pods that the sources want.", []string{"static"}, nil)
	descActivePods        = prometheus.NewDesc("kubelet_active_pods", "Pods that run or are about to.", []string{"static"}, nil)
	descWorkingPods       = prometheus.NewDesc("kubelet_working_pods", "Pods that the agent keeps alive or sees off.", []string{"lifecycle", "config", "static"}, nil)
	descOrphans           = prometheus.NewDesc("kubelet_orphan_pod_cleaned_volumes", "Pods nobody wants, found on disk, whose volumes are being taken down.", nil, nil)
	descOrphanErrors      = prometheus.NewDesc("kubelet_orphan_pod_cleaned_volumes_errors", "Those of them whose volumes could not be taken down so far.", nil, nil)
	descEphemeral         = prometheus.NewDesc("kubelet_managed_ephemeral_containers", "Ephemeral containers of active pods.", nil, nil)
)

// Describe is for the registry.
func (c census) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRunningPods, descRunningContainers, descDesiredPods, descActivePods, descWorkingPods, descEphemeral,
		descPendingResizes, descResizing, descOrphans, descOrphanErrors} {
		to <- d
	}
}

// working says what the agent does with a pod, as labels spell it.
type working struct{ lifecycle, config, static string }

// tally is one count of all pods.
type tally struct {
	pods, ephemeral int
	containers      map[string]int
	desired, active map[string]int
	working         map[working]int
}

// Collect is for the registry.
func (c census) Collect(to chan<- prometheus.Metric) {
	pods := c.pods()
	t := count(pods)
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(descRunningPods, t.pods)
	gauge(descEphemeral, t.ephemeral)
	for state, n := range t.containers {
		gauge(descRunningContainers, n, state)
	}
	for s, n := range t.desired {
		gauge(descDesiredPods, n, s)
	}
	for s, n := range t.active {
		gauge(descActivePods, n, s)
	}
	cleaned, failed := orphansOf(pods)
	gauge(descOrphans, cleaned)
	gauge(descOrphanErrors, failed)
	pending, resizing := resizesOf(pods)
	gauge(descResizing, resizing)
	for p, n := range pending {
		gauge(descPendingResizes, n, p.reason, p.priority)
	}
	for w, n := range t.working {
		gauge(descWorkingPods, n, w.lifecycle, w.config, w.static)
	}
}

// count counts. Every combination that can be has a number, 0 too, so that series do not come and go.
func count(pods []Pod) tally {
	t := tally{
		containers: map[string]int{"created": 0, "running": 0, "exited": 0, "unknown": 0},
		desired:    map[string]int{"": 0, "true": 0}, active: map[string]int{"": 0, "true": 0}, working: map[working]int{},
	}
	for _, lifecycle := range []string{"sync", "terminating", "terminated"} {
		for _, w := range []working{{lifecycle, "desired", ""}, {lifecycle, "desired", "true"}, {lifecycle, "orphan", ""}, {lifecycle, "orphan", "true"}, {lifecycle, "runtime_only", "unknown"}} {
			t.working[w] = 0
		}
	}
	for i := range pods {
		t.add(&pods[i])
	}
	return t
}

func (t *tally) add(p *Pod) {
	s := static(p.Desired)
	if p.Desired.Wanted {
		t.desired[s]++
	}
	if p.Stage < plan.Stopping && p.Desired.Source != pod.FromRuntime {
		t.active[s]++
		t.ephemeral += len(p.Desired.Pod.Spec.EphemeralContainers)
	}
	t.working[workingOf(p)]++
	if p.Observed == nil {
		return
	}
	for i := range p.Observed.Sandboxes {
		if sb := &p.Observed.Sandboxes[i]; sb.Ready && !sb.Gone {
			t.pods++
			break
		}
	}
	for i := range p.Observed.Containers {
		if state := p.Observed.Containers[i].State; state != pod.Gone {
			t.containers[state.String()]++
		}
	}
}

func workingOf(p *Pod) working {
	w := working{lifecycle: "sync", config: "desired", static: static(p.Desired)}
	switch {
	case p.Stage >= plan.Cleaning:
		w.lifecycle = "terminated"
	case p.Stage >= plan.Stopping:
		w.lifecycle = "terminating"
	}
	switch {
	case p.Desired.Source == pod.FromRuntime:
		w.config, w.static = "runtime_only", "unknown"
	case !p.Desired.Wanted:
		w.config = "orphan"
	}
	return w
}

// static is the label of that name: "true", or empty.
func static(d *pod.Desired) string {
	if d.Static() {
		return "true"
	}
	return ""
}

var _ prometheus.Collector = census{}
