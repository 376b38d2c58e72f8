package content

import (
	"cmp"
	"fmt"
	"hash"
	"hash/fnv"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Mark changes whenever something of the pod itself changes that a volume shows: labels, annotations, or resources of
// containers. It is 0 for a volume that shows nothing of the pod.
func Mark(p *v1.Pod, v *v1.Volume) uint64 {
	var items []v1.DownwardAPIVolumeFile
	if v.DownwardAPI != nil {
		items = v.DownwardAPI.Items
	}
	if v.Projected != nil {
		for i := range v.Projected.Sources {
			if d := v.Projected.Sources[i].DownwardAPI; d != nil {
				items = append(slices.Clip(items), d.Items...)
			}
		}
	}
	if len(items) == 0 {
		return 0
	}
	h := fnv.New64a()
	write(h, p.Labels)
	write(h, p.Annotations)
	for i := range items {
		if items[i].ResourceFieldRef != nil {
			writeResources(h, p)
			break
		}
	}
	return cmp.Or(h.Sum64(), 1)
}

func write(h hash.Hash64, values map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(h, "%q=%q,", key, values[key])
	}
	fmt.Fprint(h, ";")
}

func writeResources(h hash.Hash64, p *v1.Pod) {
	writeAll := func(list v1.ResourceList) {
		for _, name := range slices.Sorted(maps.Keys(list)) {
			q := list[name]
			fmt.Fprintf(h, "%s=%s,", name, q.String())
		}
		fmt.Fprint(h, ";")
	}
	if r := p.Spec.Resources; r != nil {
		writeAll(r.Limits)
		writeAll(r.Requests)
	}
	eachContainer(p, func(c *v1.Container) {
		writeAll(c.Resources.Limits)
		writeAll(c.Resources.Requests)
	})
}
