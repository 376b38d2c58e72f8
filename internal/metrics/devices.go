package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// devices are the numbers about device plugins.
type devices struct {
	registered *prometheus.CounterVec
	took       *prometheus.HistogramVec
}

func newDevices(m maker) devices {
	return devices{
		registered: m.counters("kubelet_device_plugin_registration_total", "Registrations of device plugins.", "resource_name"),
		took: m.histograms("kubelet_device_plugin_alloc_duration_seconds", "How long device plugins take to hand out devices.",
			prometheus.DefBuckets, "resource_name"),
	}
}

// DevicePlugin counts a registration of a device plugin.
func (m *Metrics) DevicePlugin(resource string) { m.devices.registered.WithLabelValues(resource).Inc() }

// DevicesTaken tells how long a device plugin took to hand out devices.
func (m *Metrics) DevicesTaken(resource string, took time.Duration) {
	m.devices.took.WithLabelValues(resource).Observe(took.Seconds())
}
