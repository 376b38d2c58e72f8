package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// evictions are the numbers about pods that had to go.
type evictions struct {
	count *prometheus.CounterVec
	age   *prometheus.HistogramVec
}

func newEvictions(m maker) evictions {
	return evictions{
		count: m.counters("kubelet_evictions", "Pods that had to go, by what was short.", "eviction_signal"),
		age: m.histograms("kubelet_eviction_stats_age_seconds", "How old what was known was when a pod was chosen to go, by what was short.",
			prometheus.DefBuckets, "eviction_signal"),
	}
}

// Evicted counts a pod that has to go. signal is what was short, and age how old what was known of that is.
func (m *Metrics) Evicted(signal string, age time.Duration) {
	m.evictions.count.WithLabelValues(signal).Inc()
	m.evictions.age.WithLabelValues(signal).Observe(age.Seconds())
}
