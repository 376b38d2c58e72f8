package metrics

import "github.com/prometheus/client_golang/prometheus"

// podResources are the numbers about the socket that tells what pods have for themselves.
type podResources struct {
	all *prometheus.CounterVec
	// asked and failed are by method of the API.
	asked, failed map[string]*prometheus.CounterVec
}

func newPodResources(m maker) podResources {
	const prefix, version = "kubelet_pod_resources_endpoint_", "server_api_version"
	p := podResources{
		all:   m.counters(prefix+"requests_total", "Questions about what pods have for themselves.", version),
		asked: map[string]*prometheus.CounterVec{}, failed: map[string]*prometheus.CounterVec{},
	}
	for method, name := range map[string]string{"List": "list", "GetAllocatableResources": "get_allocatable", "Get": "get"} {
		p.asked[method] = m.counters(prefix+"requests_"+name, "Questions about what pods have for themselves, by method.", version)
		p.failed[method] = m.counters(prefix+"errors_"+name, "Questions about what pods have for themselves that were not answered, by method.", version)
	}
	return p
}

// PodResourcesAsked counts a question, PodResourcesFailed one that was not answered.
func (m *Metrics) PodResourcesAsked(version, method string) {
	m.podResources.all.WithLabelValues(version).Inc()
	if c := m.podResources.asked[method]; c != nil {
		c.WithLabelValues(version).Inc()
	}
}

// PodResourcesFailed counts a question that was not answered.
func (m *Metrics) PodResourcesFailed(version, method string) {
	if c := m.podResources.failed[method]; c != nil {
		c.WithLabelValues(version).Inc()
	}
}
