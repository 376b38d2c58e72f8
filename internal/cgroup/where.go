package cgroup

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
)

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

// CPUs reads on which processors the kernel lets a container of a pod run (cpuset.cpus); empty if it is bound to none of its own. The error is
// fs.ErrNotExist if the container has no cgroup, or processors are not managed.
func (t *Tree) CPUs(pod *v1.Pod, id string) (string, error) {
	n, err := t.pod(pod)
	if err != nil {
		return "", err
	}
	if t.flat {
		n = t.root
	}
	for i := range t.layout.all {
		h := &t.layout.all[i]
		if h.unified != t.layout.v2 {
			continue
		}
		dir := t.path(h, n)
		if _, err := os.Stat(filepath.Join(dir, "cpuset.cpus")); err != nil {
			continue
		}
		found, err := os.ReadDir(dir)
		if err != nil {
			return "", fmt.Errorf("look for the cgroup of container %s: %w", id, err)
		}
		for _, e := range found {
			if e.IsDir() && strings.Contains(e.Name(), id) && !strings.HasPrefix(e.Name(), "crio-conmon-") {
				text, err := os.ReadFile(filepath.Join(dir, e.Name(), "cpuset.cpus"))
				if err != nil {
					return "", fmt.Errorf("read the processors of container %s: %w", id, err)
				}
				return strings.TrimSpace(string(text)), nil
			}
		}
	}
	return "", fmt.Errorf("the processors of container %s: %w", id, fs.ErrNotExist)
}
