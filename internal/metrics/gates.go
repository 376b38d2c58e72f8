package metrics

import "github.com/prometheus/client_golang/prometheus"

// Gate is a feature gate.
type Gate struct {
	// Stage is ALPHA, BETA or DEPRECATED; empty for what has become general.
	Name, Stage string
	On          bool
}

// gates tells of the feature gates when somebody reads the metrics.
type gates struct{ all func() []Gate }

var descGate = prometheus.NewDesc("kubernetes_feature_enabled", "Whether a feature gate is on: 1 if so.", []string{"name", "stage"}, nil)

// Describe is for the registry.
func (g gates) Describe(to chan<- *prometheus.Desc) { to <- descGate }

// Collect is for the registry.
func (g gates) Collect(to chan<- prometheus.Metric) {
	for _, one := range g.all() {
		value := 0.0
		if one.On {
			value = 1
		}
		to <- prometheus.MustNewConstMetric(descGate, prometheus.GaugeValue, value, one.Name, one.Stage)
	}
}

var _ prometheus.Collector = gates{}
