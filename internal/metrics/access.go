package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Access are the numbers of the door at 10250; they are what access.Meter asks for. Its methods are safe for use by several
// goroutines.
type Access struct {
	who, may         *prometheus.CounterVec
	whoTook, mayTook *prometheus.HistogramVec
	tokens, fetched  *prometheus.CounterVec
	tokenTook        *prometheus.HistogramVec
	fetching         *prometheus.GaugeVec
	certificates     prometheus.Histogram
}

// Upper bounds in seconds, as upstream has them: for questions to the API server, and for what certificates have left.
var (
	questionBuckets = []float64{0.25, 0.5, 0.7, 1, 1.5, 3, 5, 10}
	leftBuckets     = []float64{0, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 4 * 86400, 7 * 86400, 30 * 86400, 90 * 86400, 180 * 86400, 360 * 86400}
)

// Access adds the numbers of the door at 10250. It may be called once.
func (m *Metrics) Access() *Access {
	r := maker{m.registry}
	a := &Access{
		who:          r.counters("apiserver_delegated_authn_request_total", "Questions to the API server whose a bearer token is, by status code.", "code"),
		whoTook:      r.histograms("apiserver_delegated_authn_request_duration_seconds", "How long the API server takes to say whose a bearer token is.", questionBuckets, "code"),
		may:          r.counters("apiserver_delegated_authz_request_total", "Questions to the API server whether somebody may, by status code.", "code"),
		mayTook:      r.histograms("apiserver_delegated_authz_request_duration_seconds", "How long the API server takes to say whether somebody may.", questionBuckets, "code"),
		tokens:       r.counters("authentication_token_cache_request_total", "Bearer tokens that came, by whether the answer was remembered.", "status"),
		tokenTook:    r.histograms("authentication_token_cache_request_duration_seconds", "How long it takes to know whose a bearer token is.", prometheus.DefBuckets, "status"),
		fetched:      r.counters("authentication_token_cache_fetch_total", "Questions whose a bearer token is that were answered, by whether it was anybody's.", "status"),
		fetching:     r.gauges("authentication_token_cache_active_fetch_count", "Bearer tokens that are asked about now, and those who wait for the question of another.", "status"),
		certificates: r.histogram("apiserver_client_certificate_expiration_seconds", "How long client certificates that came are still good.", leftBuckets),
	}
	a.Fetching(0, false)
	a.Fetching(0, true)
	return a
}

// WhoAsked counts a question whose a token is.
func (a *Access) WhoAsked(code string, took time.Duration) {
	a.who.WithLabelValues(code).Inc()
	a.whoTook.WithLabelValues(code).Observe(took.Seconds())
}

// MayAsked counts a question whether somebody may.
func (a *Access) MayAsked(code string, took time.Duration) {
	a.may.WithLabelValues(code).Inc()
	a.mayTook.WithLabelValues(code).Observe(took.Seconds())
}

// Token counts a token that came.
func (a *Access) Token(known bool, took time.Duration) {
	status := "miss"
	if known {
		status = "hit"
	}
	a.tokens.WithLabelValues(status).Inc()
	a.tokenTook.WithLabelValues(status).Observe(took.Seconds())
}

// Fetching counts questions about tokens that begin and end, or those who wait behind one.
func (a *Access) Fetching(change int, behind bool) {
	status := "in_flight"
	if behind {
		status = "blocked"
	}
	a.fetching.WithLabelValues(status).Add(float64(change))
}

// Fetched counts a question about a token that ended.
func (a *Access) Fetched(ok bool) {
	status := "error"
	if ok {
		status = "ok"
	}
	a.fetched.WithLabelValues(status).Inc()
}

// Certificate counts a client certificate.
func (a *Access) Certificate(left time.Duration) { a.certificates.Observe(left.Seconds()) }
