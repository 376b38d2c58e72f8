package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// storageBuckets are upper bounds in seconds for what is done with volumes.
var storageBuckets = []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600}

// The operations with volumes, as labels spell them.
const (
	mounting = "volume_mount"         // each attempt
	mounted  = "overall_volume_mount" // from the first attempt to success
)

// pluginOf is what upstream calls the part that makes a volume; empty for what the pod alone does not tell.
func pluginOf(v *v1.Volume) string {
	switch s := &v.VolumeSource; {
	case s.EmptyDir != nil, *s == v1.VolumeSource{}:
		return "kubernetes.io/empty-dir"
	case s.HostPath != nil:
		return "kubernetes.io/host-path"
	case s.ConfigMap != nil:
		return "kubernetes.io/configmap"
	case s.Secret != nil:
		return "kubernetes.io/secret"
	case s.DownwardAPI != nil:
		return "kubernetes.io/downward-api"
	case s.Projected != nil:
		return "kubernetes.io/projected"
	case s.NFS != nil:
		return "kubernetes.io/nfs"
	case s.ISCSI != nil:
		return "kubernetes.io/iscsi"
	case s.FC != nil:
		return "kubernetes.io/fc"
	case s.CSI != nil:
		return "kubernetes.io/csi:" + s.CSI.Driver
	}
	return ""
}

func volumeOf(d *pod.Desired, name string) *v1.Volume {
	for i := range d.Pod.Spec.Volumes {
		if v := &d.Pod.Spec.Volumes[i]; v.Name == name {
			return v
		}
	}
	return nil
}

// volumeEnded counts an attempt to set up a volume, and the whole of it once it is set up.
func (m *Metrics) volumeEnded(d *pod.Desired, o plan.Outcome) {
	v := volumeOf(d, o.Effect.Volume)
	if v == nil || pluginOf(v) == "" {
		return
	}
	plugin, status := pluginOf(v), "success"
	if o.Failed != nil {
		status = "fail-unknown"
	}
	m.storageTook.WithLabelValues(plugin, mounting, status, "false").Observe(o.Ended.Sub(o.Began).Seconds())
	if began, done := m.volumeBegan(d, o); done {
		m.volumeTook.WithLabelValues(plugin, mounted).Observe(o.Ended.Sub(began).Seconds())
	}
}

// volumeBegan is when the setting up of a volume began, and whether it is done.
func (m *Metrics) volumeBegan(d *pod.Desired, o plan.Outcome) (began time.Time, done bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lives[d.UID()]
	if l == nil {
		l = &life{}
		m.lives[d.UID()] = l
	}
	began, before := l.volumes[o.Effect.Volume]
	if !before {
		began = o.Began
	}
	if o.Failed == nil {
		delete(l.volumes, o.Effect.Volume)
		return began, true
	}
	if l.volumes == nil {
		l.volumes = map[string]time.Time{}
	}
	l.volumes[o.Effect.Volume] = began
	return began, false
}

// volumes counts volumes when somebody reads the metrics: those that pods want, and those that are there.
type volumes struct{ pods func() []Pod }

var descVolumes = prometheus.NewDesc("volume_manager_total_volumes", "Volumes that pods want, and volumes that are set up.", []string{"plugin_name", "state"}, nil)

// Describe is for the registry.
func (c volumes) Describe(to chan<- *prometheus.Desc) { to <- descVolumes }

// Collect is for the registry.
func (c volumes) Collect(to chan<- prometheus.Metric) {
	type label struct{ plugin, state string }
	n := map[label]int{}
	for _, p := range c.pods() {
		for i := range p.Desired.Pod.Spec.Volumes {
			v := &p.Desired.Pod.Spec.Volumes[i]
			plugin := pluginOf(v)
			if plugin == "" {
				continue
			}
			if p.Stage < plan.Stopping {
				n[label{plugin, "desired_state_of_world"}]++
			}
			if _, there := p.Mounted[v.Name]; there {
				n[label{plugin, "actual_state_of_world"}]++
			}
		}
	}
	for l, count := range n {
		to <- prometheus.MustNewConstMetric(descVolumes, prometheus.GaugeValue, float64(count), l.plugin, l.state)
	}
}

var _ prometheus.Collector = volumes{}
