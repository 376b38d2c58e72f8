package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bosun-project/bosun/internal/usage"
)

// disks tells how full volumes of claims are, and what logs take, when somebody reads the metrics.
type disks struct{ pods func() []usage.Pod }

// Disks registers who tells how full volumes are and what the logs of containers take.
func (m *Metrics) Disks(pods func() []usage.Pod) { m.registry.MustRegister(disks{pods}) }

var descLogs = prometheus.NewDesc("kubelet_container_log_filesystem_used_bytes", "What the logs of a container take of the disk.",
	[]string{"uid", "namespace", "pod", "container"}, nil)

// ofClaims is a family about the volumes of claims.
type ofClaims struct {
	desc *prometheus.Desc
	pick func(f *usage.Filesystem) usage.Number
}

func claimFamily(name, help string, pick func(f *usage.Filesystem) usage.Number) ofClaims {
	return ofClaims{prometheus.NewDesc("kubelet_volume_stats_"+name, help, []string{"namespace", "persistentvolumeclaim"}, nil), pick}
}

var claimFamilies = []ofClaims{
	claimFamily("capacity_bytes", "The size of the volume.", func(f *usage.Filesystem) usage.Number { return f.Capacity }),
	claimFamily("available_bytes", "What is free in the volume.", func(f *usage.Filesystem) usage.Number { return f.Available }),
	claimFamily("used_bytes", "What is taken of the volume.", func(f *usage.Filesystem) usage.Number { return f.Used }),
	claimFamily("inodes", "The inodes of the volume.", func(f *usage.Filesystem) usage.Number { return f.Inodes }),
	claimFamily("inodes_free", "The free inodes of the volume.", func(f *usage.Filesystem) usage.Number { return f.InodesFree }),
	claimFamily("inodes_used", "The used inodes of the volume.", func(f *usage.Filesystem) usage.Number { return f.InodesUsed }),
}

// Describe is for the registry.
func (d disks) Describe(to chan<- *prometheus.Desc) {
	to <- descLogs
	for i := range claimFamilies {
		to <- claimFamilies[i].desc
	}
}

// claim is one of a namespace.
type claim struct{ namespace, name string }

// Collect is for the registry. A claim that several pods use is told of once.
func (d disks) Collect(to chan<- prometheus.Metric) {
	told := map[claim]bool{}
	for _, p := range d.pods() {
		for i := range p.Containers {
			if c := &p.Containers[i]; c.Logs != nil && c.Logs.Used.Known {
				to <- prometheus.MustNewConstMetric(descLogs, prometheus.GaugeValue, float64(c.Logs.Used.Value), p.UID, p.Namespace, p.Name, c.Name)
			}
		}
		for i := range p.Volumes {
			v := &p.Volumes[i]
			who := claim{p.Namespace, v.Claim}
			if v.Claim == "" || told[who] {
				continue
			}
			told[who] = true
			for _, f := range claimFamilies {
				if n := f.pick(&v.Filesystem); n.Known {
					to <- prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, float64(n.Value), p.Namespace, v.Claim)
				}
			}
		}
	}
}

var _ prometheus.Collector = disks{}
