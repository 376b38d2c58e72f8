package exposition

import (
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/bosun-project/bosun/internal/usage"
)

// Resource writes /metrics/resource. A container without start time or numbers is left out as a whole: metrics-server would drop
// its pod.
func Resource(s *usage.Snapshot, to Encoder) error {
	w := &writer{to: to}
	n := &s.Node.Cgroup
	w.one("node_cpu_usage_seconds_total", "Processor time that the node has used, in seconds.", true, n.CPU.Usage, nanos, n.At)
	w.one("node_memory_working_set_bytes", "Memory that the node uses and cannot give up easily.", false, n.Memory.WorkingSet, asIs, n.At)
	w.one("node_swap_usage_bytes", "Swap that the node uses.", false, n.Memory.Swap, asIs, n.At)
	containers, pods := resourceLabels(s)
	each := func(name, help string, counter bool, unit float64, pick func(c *usage.Container) usage.Number) {
		w.begin(name, help, counter)
		for i := range s.Pods {
			for j := range s.Pods[i].Containers {
				if c := &s.Pods[i].Containers[j]; complete(c) {
					w.number(containers[i][j], pick(c), unit, c.Cgroup.At)
				}
			}
		}
		w.end()
	}
	each("container_cpu_usage_seconds_total", "Processor time that the container has used, in seconds.", true, nanos, func(c *usage.Container) usage.Number { return c.Cgroup.CPU.Usage })
	each("container_memory_working_set_bytes", "Memory that the container uses and cannot give up easily.", false, asIs, func(c *usage.Container) usage.Number { return c.Cgroup.Memory.WorkingSet })
	each("container_swap_usage_bytes", "Swap that the container uses.", false, asIs, func(c *usage.Container) usage.Number { return c.Cgroup.Memory.Swap })
	each("container_swap_limit_bytes", "Swap that the container may use.", false, asIs, func(c *usage.Container) usage.Number { return c.Cgroup.Memory.SwapLimit })
	w.begin("container_start_time_seconds", "When the container started, in seconds since 1970.", false)
	for i := range s.Pods {
		for j := range s.Pods[i].Containers {
			if c := &s.Pods[i].Containers[j]; complete(c) {
				w.add(containers[i][j], seconds(c.Started), c.Cgroup.At)
			}
		}
	}
	w.end()
	eachPod := func(name, help string, counter bool, unit float64, pick func(c *usage.Cgroup) usage.Number) {
		w.begin(name, help, counter)
		for i := range s.Pods {
			w.number(pods[i], pick(&s.Pods[i].Cgroup), unit, s.Pods[i].Cgroup.At)
		}
		w.end()
	}
	eachPod("pod_cpu_usage_seconds_total", "Processor time that the pod has used, in seconds.", true, nanos, func(c *usage.Cgroup) usage.Number { return c.CPU.Usage })
	eachPod("pod_memory_working_set_bytes", "Memory that the pod uses and cannot give up easily.", false, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.WorkingSet })
	eachPod("pod_swap_usage_bytes", "Swap that the pod uses.", false, asIs, func(c *usage.Cgroup) usage.Number { return c.Memory.Swap })
	wrong := usage.Of(uint64(min(s.Missed, 1)))
	w.one("resource_scrape_error", "1 if something could not be read, else 0.", false, wrong, asIs, time.Time{})
	w.one("scrape_error", "The old name of resource_scrape_error.", false, wrong, asIs, time.Time{})
	return w.err
}

// complete tells whether a container has all that metrics-server wants of it.
func complete(c *usage.Container) bool {
	return !c.Started.IsZero() && c.Cgroup.CPU.Usage.Known && c.Cgroup.Memory.WorkingSet.Known
}

// resourceLabels are those of each container, and of each pod.
func resourceLabels(s *usage.Snapshot) (containers [][][]*dto.LabelPair, pods [][]*dto.LabelPair) {
	for i := range s.Pods {
		p := &s.Pods[i]
		pods = append(pods, labels("namespace", p.Namespace, "pod", p.Name))
		of := make([][]*dto.LabelPair, 0, len(p.Containers))
		for j := range p.Containers {
			of = append(of, labels("container", p.Containers[j].Name, "namespace", p.Namespace, "pod", p.Name))
		}
		containers = append(containers, of)
	}
	return containers, pods
}

// seconds since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
