package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Claims are the numbers of dynamic resource allocation. Its methods are safe for use by several goroutines.
type Claims struct {
	operations *prometheus.HistogramVec
	calls      *prometheus.HistogramVec
}

// claimBuckets are upper bounds in seconds; a driver has 45 for each call.
var claimBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 45, 60}

// Claims adds the numbers of dynamic resource allocation. inUse counts the ResourceClaims that pods use, by driver, and is asked by every
// reader of the metrics. It may be called once.
func (m *Metrics) Claims(inUse func() map[string]int) *Claims {
	r := maker{m.registry}
	m.registry.MustRegister(claimsInUse{
		prometheus.NewDesc("dra_resource_claims_in_use", "ResourceClaims that pods of the node use, by driver, and of any driver as <any>.", []string{"driver_name"}, nil), inUse,
	})
	return &Claims{
		operations: r.histograms("dra_operations_duration_seconds", "How long it takes to prepare all ResourceClaims of a pod, or to give them back.", claimBuckets, "operation_name", "is_error"),
		calls:      r.histograms("dra_grpc_operations_duration_seconds", "How long drivers of dynamic resource allocation take to answer.", claimBuckets, "driver_name", "method_name", "grpc_status_code"),
	}
}

// Done counts that all claims of a pod were prepared or given back, or not.
func (c *Claims) Done(operation string, failed bool, took time.Duration) {
	c.operations.WithLabelValues(operation, strconv.FormatBool(failed)).Observe(took.Seconds())
}

// Called counts a call to a driver.
func (c *Claims) Called(driver, method, code string, took time.Duration) {
	c.calls.WithLabelValues(driver, method, code).Observe(took.Seconds())
}

type claimsInUse struct {
	desc  *prometheus.Desc
	count func() map[string]int
}

// Describe implements prometheus.Collector.
func (c claimsInUse) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector.
func (c claimsInUse) Collect(to chan<- prometheus.Metric) {
	for driver, n := range c.count() {
		to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), driver)
	}
}
