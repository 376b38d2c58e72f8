package metrics

import "github.com/prometheus/client_golang/prometheus"

// Certificate is the kind of a certificate of a pod: whose it is, and how it stands.
type Certificate struct{ Signer, State string }

// Certificates counts the certificates of pods when somebody reads the metrics. It may be called once.
func (m *Metrics) Certificates(all func() map[Certificate]int) {
	m.registry.MustRegister(certificates{all})
}

type certificates struct{ all func() map[Certificate]int }

var descCertificates = prometheus.NewDesc("kubelet_podcertificate_states", "Certificates of pods, by signer and state.", []string{"signer_name", "state"}, nil)

// Describe is for the registry.
func (c certificates) Describe(to chan<- *prometheus.Desc) { to <- descCertificates }

// Collect is for the registry.
func (c certificates) Collect(to chan<- prometheus.Metric) {
	for of, count := range c.all() {
		to <- prometheus.MustNewConstMetric(descCertificates, prometheus.GaugeValue, float64(count), of.Signer, of.State)
	}
}

var _ prometheus.Collector = certificates{}
