package pod

import v1 "k8s.io/api/core/v1"

// ImageVolumes are the volumes of a pod that a container mounts and that are images, each once, in the pod's order.
func ImageVolumes(p *v1.Pod, c *v1.Container) []*v1.Volume {
	var out []*v1.Volume
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if v.Image == nil {
			continue
		}
		for j := range c.VolumeMounts {
			if c.VolumeMounts[j].Name == v.Name {
				out = append(out, v)
				break
			}
		}
	}
	return out
}
