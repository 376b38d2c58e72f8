package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
)

// parts are the numbers of parts of the agent that each do one thing.
type parts struct {
	mayUse                        *prometheus.CounterVec
	providerErrors                *prometheus.CounterVec
	providerTook                  *prometheus.HistogramVec
	csiTook                       *prometheus.HistogramVec
	measuringTook                 *prometheus.HistogramVec
	webSockets, preempted, levels *prometheus.CounterVec
}

// csiBuckets are upper bounds in seconds for calls of CSI drivers.
var csiBuckets = []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600}

func newParts(m maker) parts {
	m.gauges("kubelet_metrics_provider", "Where the numbers of containers come from; always 1. The name says that they are those of cAdvisor.", "provider").
		WithLabelValues("cadvisor").Set(1)
	return parts{
		mayUse:         m.counters("kubelet_imagemanager_image_mustpull_checks_total", "How often it was asked whether a pod may use an image that is there, by the answer.", "result"),
		providerErrors: m.counters("kubelet_credential_provider_plugin_errors_total", "Runs of credential providers that failed.", "plugin_name"),
		providerTook:   m.histograms("kubelet_credential_provider_plugin_duration", "How long runs of credential providers take, in seconds.", prometheus.DefBuckets, "plugin_name"),
		csiTook: m.histograms("csi_operations_seconds", "How long calls of CSI drivers take.", csiBuckets,
			"driver_name", "method_name", "grpc_status_code", "migrated"),
		measuringTook: m.histograms("kubelet_volume_metric_collection_duration_seconds", "How long it takes to find out how full a volume is, by who tells it.", prometheus.DefBuckets, "metric_source"),
		webSockets:    m.counters("kubelet_websocket_streaming_requests_total", "Streams to containers and ports that came as WebSockets.", "subresource"),
		preempted:     m.counters("kubelet_preemptions", "Pods that had to make room for a critical one, by what was short.", "preemption_signal"),
		levels:        m.counters("kubelet_pod_level_resources_admission_total", "Pods that were let in, by whether they have resources as a whole.", "config_mode", "qos_class"),
	}
}

// MayUse counts that it was asked whether a pod may use an image that is there; it is image.Config.Checked.
func (m *Metrics) MayUse(result string) { m.parts.mayUse.WithLabelValues(result).Inc() }

// CredentialProvider counts a run of a credential provider; it is credential.Providers.Observe.
func (m *Metrics) CredentialProvider(name string, took time.Duration, err error) {
	m.parts.providerTook.WithLabelValues(name).Observe(took.Seconds())
	if err != nil {
		m.parts.providerErrors.WithLabelValues(name).Inc()
	}
}

// CSI counts a call of a CSI driver; it is csi.Registry.Observe.
func (m *Metrics) CSI(driver, method, code string, took time.Duration) {
	m.parts.csiTook.WithLabelValues(driver, method, code, "false").Observe(took.Seconds())
}

// Measured counts that it was found out how full a volume is; it is stats.Config.Measured.
func (m *Metrics) Measured(source string, took time.Duration) {
	m.parts.measuringTook.WithLabelValues(source).Observe(took.Seconds())
}

// WebSocket counts a stream that came as a WebSocket.
func (m *Metrics) WebSocket(subresource string) {
	m.parts.webSockets.WithLabelValues(subresource).Inc()
}

// Preempted counts a pod that has to make room for a critical one.
func (m *Metrics) Preempted(short string) { m.parts.preempted.WithLabelValues(short).Inc() }

// admitted counts a pod that was let in.
func (m *Metrics) admitted(d *pod.Desired) {
	class := map[v1.PodQOSClass]string{v1.PodQOSGuaranteed: "guaranteed", v1.PodQOSBurstable: "burstable", v1.PodQOSBestEffort: "besteffort"}[qos.ClassOf(d.Pod)]
	m.parts.levels.WithLabelValues(levelMode(d.Pod), class).Inc()
}

// levelMode says how a pod asks for resources; empty for one that asks only by its containers, or not at all.
func levelMode(p *v1.Pod) string {
	whole := p.Spec.Resources
	if whole == nil || len(whole.Requests)+len(whole.Limits) == 0 {
		return ""
	}
	for i := range p.Spec.Containers {
		if r := &p.Spec.Containers[i].Resources; len(r.Requests)+len(r.Limits) > 0 {
			return "mixed"
		}
	}
	return "pod"
}

// Pulls registers who tells of how many images it is known who has pulled them, and how many pulls are noted that have not ended well.
func (m *Metrics) Pulls(counts func() (pulled, pulling int)) {
	gauge := func(name, help string, value func() int) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge("kubelet_imagemanager_ondisk_pulledrecords", "Images of which it is noted who has pulled them.", func() int { n, _ := counts(); return n })
	gauge("kubelet_imagemanager_ondisk_pullintents", "Pulls that are noted and have not ended well.", func() int { _, n := counts(); return n })
}

// Plugin is a plugin's socket that was found; Registered tells that its handler has taken it in.
type Plugin struct {
	Socket     string
	Registered bool
}

// plugins counts plugins when somebody reads the metrics.
type plugins struct{ all func() []Plugin }

// Plugins registers who tells which plugins there are.
func (m *Metrics) Plugins(all func() []Plugin) { m.registry.MustRegister(plugins{all}) }

var descPlugins = prometheus.NewDesc("plugin_manager_total_plugins", "Plugins whose socket is there, and plugins that were taken in.", []string{"socket_path", "state"}, nil)

// Describe is for the registry.
func (p plugins) Describe(to chan<- *prometheus.Desc) { to <- descPlugins }

// Collect is for the registry.
func (p plugins) Collect(to chan<- prometheus.Metric) {
	for _, one := range p.all() {
		to <- prometheus.MustNewConstMetric(descPlugins, prometheus.GaugeValue, 1, one.Socket, "desired_state_of_world")
		if one.Registered {
			to <- prometheus.MustNewConstMetric(descPlugins, prometheus.GaugeValue, 1, one.Socket, "actual_state_of_world")
		}
	}
}

// orphansOf counts pods that nobody wants, found on disk, whose volumes are being taken down now, and those of them where that fails.
func orphansOf(pods []Pod) (cleaned, failed int) {
	for i := range pods {
		p := &pods[i]
		if p.Desired.Source != pod.FromRuntime || p.Stage != plan.Cleaning {
			continue
		}
		cleaned++
		if p.Kept != nil {
			if _, fails := p.Kept.Failures[plan.TearVolumes.String()]; fails {
				failed++
			}
		}
	}
	return cleaned, failed
}

var (
	_ prometheus.Collector = plugins{}
)
