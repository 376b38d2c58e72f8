package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Membership are the numbers of a node that belongs to a cluster. Its methods are safe for use by several goroutines.
type Membership struct {
	requests     *prometheus.CounterVec
	requestsTook *prometheus.HistogramVec
	requestSizes *prometheus.HistogramVec
	answerSizes  *prometheus.HistogramVec
	statusTold   prometheus.Histogram
	renewErrors  prometheus.Counter
	renewServing prometheus.Counter
	rotated      prometheus.Histogram
	throttled    *prometheus.HistogramVec
	retries      *prometheus.CounterVec
	startup      startup
}

// Request is a request to the API server: what it was, and what came of it. Sent is the size of its body, negative if it is not known.
type Request struct {
	Method, Host, Resource, Code string
	Took                         time.Duration
	Sent                         int64
	// Waited is how long it waited for its turn; negative if nothing limits such requests, or it had its turn before. Again tells that
	// it was sent before and is sent once more for the sake of an answer with that code.
	Waited time.Duration
	Again  string
}

// sizes are upper bounds in bytes for what goes to the API server and comes from it.
var sizes = []float64{64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216}

// MembershipConfig is what the numbers are asked of. Functions are called by every reader of the metrics.
type MembershipConfig struct {
	// ClientTTL and ServerTTL are how long the certificates still live; ok is false while there is none. ServerTTL may be nil.
	ClientTTL, ServerTTL func() (ttl time.Duration, ok bool)
	// Mirrors is how many mirror pods there are.
	Mirrors func() int
	// Events are what became of events since the start, by word: sent, silenced, dropped, rejected.
	Events map[string]func() uint64
}

// certificateLives are upper bounds in seconds for the lives of certificates: a minute to four years.
var certificateLives = []float64{60, 3600, 4 * 3600, 24 * 3600, 7 * 86400, 30 * 86400, 91 * 86400, 182 * 86400, 365 * 86400, 4 * 365 * 86400}

// Join adds the numbers of a member of a cluster. It may be called once.
func (m *Metrics) Join(c MembershipConfig) *Membership {
	r := maker{m.registry}
	out := &Membership{
		requests: r.counters("rest_client_requests_total", "Requests to the API server, by status code, method and host.", "code", "host", "method"),
		requestsTook: r.histograms("rest_client_request_duration_seconds", "How long the API server takes to answer, by verb and host.",
			[]float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60}, "host", "verb"),
		statusTold: r.histogram("kubelet_pod_status_sync_duration_seconds", "The time from a pod's status changing to the API server having it.",
			[]float64{0.010, 0.050, 0.100, 0.500, 1, 5, 10, 20, 30, 45, 60}),
		renewErrors:  r.counter("kubelet_certificate_manager_client_expiration_renew_errors", "Attempts to renew the client certificate that failed."),
		rotated:      r.histogram("kubelet_certificate_manager_server_rotation_seconds", "How long a serving certificate had lived when the next one took its place.", certificateLives),
		renewServing: r.counter("kubelet_server_expiration_renew_errors", "Attempts to renew the serving certificate that failed."),
		requestSizes: r.histograms("rest_client_request_size_bytes", "How many bytes are sent to the API server, by verb and host.", sizes, "host", "verb"),
		answerSizes:  r.histograms("rest_client_response_size_bytes", "How many bytes the API server answers, by verb and host.", sizes, "host", "verb"),
		throttled: r.histograms("rest_client_rate_limiter_duration_seconds", "How long requests to the API server wait for their turn, by verb and host.",
			[]float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60}, "host", "verb"),
		retries: r.counters("rest_client_request_retries_total", "Requests to the API server that were sent once more, by the code they were answered with.", "code", "host", "verb"),
		startup: newStartup(r),
	}
	ttl := func(name, help string, of func() (time.Duration, bool)) {
		if of != nil {
			m.registry.MustRegister(lifetime{prometheus.NewDesc(name, help, nil, nil), of})
		}
	}
	ttl("kubelet_certificate_manager_client_ttl_seconds", "How long the client certificate still lives; negative after its end.", c.ClientTTL)
	ttl("kubelet_certificate_manager_server_ttl_seconds", "How long the serving certificate still lives; negative after its end.", c.ServerTTL)
	if c.Mirrors != nil {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "kubelet_mirror_pods", Help: "Mirror pods of this node in the API."},
			func() float64 { return float64(c.Mirrors()) }))
	}
	for word, count := range c.Events {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "bosun_events_total", Help: "What became of events for the API server.",
			ConstLabels: prometheus.Labels{"outcome": word}}, func() float64 { return float64(count()) }))
	}
	return out
}

// lifetime is how long a certificate still lives; there is no number while there is none.
type lifetime struct {
	desc *prometheus.Desc
	of   func() (time.Duration, bool)
}

// Describe implements prometheus.Collector.
func (l lifetime) Describe(to chan<- *prometheus.Desc) { to <- l.desc }

// Collect implements prometheus.Collector.
func (l lifetime) Collect(to chan<- prometheus.Metric) {
	if ttl, ok := l.of(); ok {
		to <- prometheus.MustNewConstMetric(l.desc, prometheus.GaugeValue, ttl.Seconds())
	}
}

// Request counts a request to the API server; its code is "<error>" if there was no answer.
func (m *Membership) Request(r Request) {
	m.requests.WithLabelValues(r.Code, r.Host, r.Method).Inc()
	m.requestsTook.WithLabelValues(r.Host, r.Method).Observe(r.Took.Seconds())
	if r.Waited >= 0 {
		m.throttled.WithLabelValues(r.Host, r.Method).Observe(r.Waited.Seconds())
	}
	if r.Again != "" {
		m.retries.WithLabelValues(r.Again, r.Host, r.Method).Inc()
	}
	if r.Sent >= 0 {
		m.requestSizes.WithLabelValues(r.Host, r.Method).Observe(float64(r.Sent))
	}
}

// Received takes how many bytes the answer to a request had.
func (m *Membership) Received(r Request, n int64) {
	m.answerSizes.WithLabelValues(r.Host, r.Method).Observe(float64(n))
}

// StatusTold counts a status that the API server now has, and how long it had waited for that.
func (m *Membership) StatusTold(waited time.Duration) { m.statusTold.Observe(waited.Seconds()) }

// RenewFailed counts an attempt to renew the client certificate that failed.
func (m *Membership) RenewFailed() { m.renewErrors.Inc() }

// Rotated counts a serving certificate that was replaced.
func (m *Membership) Rotated(lived time.Duration) { m.rotated.Observe(lived.Seconds()) }

// ServingRenewFailed counts an attempt to renew the serving certificate that failed.
func (m *Membership) ServingRenewFailed() { m.renewServing.Inc() }
