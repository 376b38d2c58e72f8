package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/health"
)

// probes are the numbers of /metrics/probes. Their series go with the probe (behaviour 130).
type probes struct {
	registry *prometheus.Registry
	asked    *prometheus.CounterVec
	took     *prometheus.HistogramVec
	forgiven *prometheus.CounterVec
}

func newProbes() probes {
	m := maker{prometheus.NewRegistry()}
	return probes{
		registry: m.registry,
		asked:    m.counters("prober_probe_total", "Answers of probes.", "probe_type", "result", "container", "pod", "namespace", "pod_uid"),
		took:     m.histograms("prober_probe_duration_seconds", "How long answers take that are no failures.", prometheus.DefBuckets, "probe_type", "container", "pod", "namespace"),
		forgiven: m.counters("bosun_probe_failures_forgiven_total", "Failures that are not counted because the agent itself was late.", "probe_type", "container", "pod", "namespace", "pod_uid"),
	}
}

// Probe names a probe.
type Probe struct {
	Pod       *v1.Pod
	Container string
	Kind      health.Kind
}

func (p Probe) series() []string {
	return []string{p.Kind.String(), p.Container, p.Pod.Name, p.Pod.Namespace}
}

func (p Probe) total(r health.Result) []string {
	return []string{p.Kind.String(), r.String(), p.Container, p.Pod.Name, p.Pod.Namespace, string(p.Pod.UID)}
}

// ProbeAsked counts an answer.
func (m *Metrics) ProbeAsked(p Probe, r health.Result, took time.Duration) {
	m.probes.asked.WithLabelValues(p.total(r)...).Inc()
	if r != health.Failure {
		m.probes.took.WithLabelValues(p.series()...).Observe(took.Seconds())
	}
}

// ProbeForgiven counts a failure that is not held against the container.
func (m *Metrics) ProbeForgiven(p Probe) {
	m.probes.forgiven.WithLabelValues(append(p.series(), string(p.Pod.UID))...).Inc()
}

// ProbeForgotten drops the series of a probe that is not asked any more.
func (m *Metrics) ProbeForgotten(p Probe) {
	for _, r := range []health.Result{health.Unknown, health.Success, health.Failure} {
		m.probes.asked.DeleteLabelValues(p.total(r)...)
	}
	m.probes.took.DeleteLabelValues(p.series()...)
	m.probes.forgiven.DeleteLabelValues(append(p.series(), string(p.Pod.UID))...)
}

// ProbesHandler serves /metrics/probes.
func (m *Metrics) ProbesHandler() http.Handler {
	return handler(prometheus.Gatherers{m.probes.registry, startTime()})
}

// startTime tells when this process started, as /metrics does, and nothing else of the process.
func startTime() prometheus.Gatherer {
	process := prometheus.NewRegistry()
	process.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := process.Gather()
		for _, f := range families {
			if f.GetName() == "process_start_time_seconds" {
				return []*dto.MetricFamily{f}, err
			}
		}
		return nil, err
	})
}
