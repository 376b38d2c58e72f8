package cgroup

import v1 "k8s.io/api/core/v1"

// Holder is the path, below each cgroup mount, of the cgroup in which the runtime makes a pod's containers, for those who read
// statistics. own tells whether it holds nothing else. The path is empty if the runtime chooses.
func (t *Tree) Holder(pod *v1.Pod) (path string, own bool) {
	n, err := t.pod(pod)
	switch {
	case err != nil, t.flat && len(t.root) == 0:
		return "", false
	case t.flat:
		return t.root.Path(t.driver), false
	}
	return n.Path(t.driver), true
}

// Classes are the paths, below each cgroup mount, of the cgroups that hold all pods (the first), and those of a class; none if
// pods have no cgroups of their own.
func (t *Tree) Classes() []string {
	if t.flat {
		return nil
	}
	return []string{t.root.Kubepods().Path(t.driver), t.root.QOS(v1.PodQOSBurstable).Path(t.driver), t.root.QOS(v1.PodQOSBestEffort).Path(t.driver)}
}
