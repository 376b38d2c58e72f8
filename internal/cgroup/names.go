package cgroup

import (
	"fmt"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Driver is who makes cgroups; agent and runtime must agree (behaviour 202).
type Driver string

// The drivers.
const (
	Cgroupfs Driver = "cgroupfs"
	Systemd  Driver = "systemd"
)

// Name is a cgroup in the driver-independent spelling: its elements from the top, none for the root.
type Name []string

const (
	kubepods   = "kubepods"
	burstable  = "burstable"
	besteffort = "besteffort"
	podPrefix  = "pod"
)

// ParseRoot reads the cgroupRoot setting: "" and "/" are the top, "/kubelet" is one level below it.
func ParseRoot(root string) (Name, error) {
	var n Name
	for part := range strings.SplitSeq(root, "/") {
		switch part {
		case "", ".":
		case "..":
			return nil, fmt.Errorf("cgroupRoot %q: must not contain '..'", root)
		default:
			n = append(n, part)
		}
	}
	return n, nil
}

// Child is the cgroup of that name directly below n.
func (n Name) Child(name string) Name { return append(n[:len(n):len(n)], name) }

// Kubepods is the cgroup all pods are in, below the configured root.
func (n Name) Kubepods() Name { return n.Child(kubepods) }

// QOS is the cgroup that holds the pods of a class; Guaranteed pods are in kubepods itself (behaviour 200).
func (n Name) QOS(class v1.PodQOSClass) Name {
	switch class {
	case v1.PodQOSBurstable:
		return n.Kubepods().Child(burstable)
	case v1.PodQOSBestEffort:
		return n.Kubepods().Child(besteffort)
	default:
		return n.Kubepods()
	}
}

// Pod is the cgroup of one pod.
func (n Name) Pod(class v1.PodQOSClass, uid types.UID) Name {
	return n.QOS(class).Child(podPrefix + string(uid))
}

// Path is where the cgroup is below a cgroup mount, with a leading slash:
// /kubepods/burstable/pod<uid>, or /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice.
func (n Name) Path(d Driver) string {
	if d != Systemd {
		return "/" + path.Join(n...)
	}
	p := "/"
	for i := range n {
		p = path.Join(p, n[:i+1].Slice())
	}
	return p
}

// Slice is the name of the systemd slice: the elements joined by dashes. A dash means nesting to systemd, so a dash
// inside an element becomes an underscore (behaviour 201). The root is "-.slice".
func (n Name) Slice() string {
	if len(n) == 0 {
		return "-.slice"
	}
	parts := make([]string, len(n))
	for i, part := range n {
		parts[i] = strings.ReplaceAll(part, "-", "_")
	}
	return strings.Join(parts, "-") + ".slice"
}

// Parent is what the runtime is told as cgroup_parent so that it puts containers into this cgroup: the whole path
// for cgroupfs, the last slice alone for systemd.
func (n Name) Parent(d Driver) string {
	if d == Systemd {
		return n.Slice()
	}
	return n.Path(d)
}

// podUID reads the pod's UID from the last element of a pod cgroup's path; ok is false for anything else.
// What systemd got as an underscore comes back as a dash.
func (n Name) podUID(d Driver, element string) (types.UID, bool) {
	prefix := podPrefix
	if d == Systemd {
		base, isSlice := strings.CutSuffix(element, ".slice")
		if !isSlice {
			return "", false
		}
		element = strings.ReplaceAll(base, "_", "-")
		prefix = strings.ReplaceAll(strings.TrimSuffix(n.Slice(), ".slice"), "_", "-") + "-" + podPrefix
	}
	uid, ok := strings.CutPrefix(element, prefix)
	return types.UID(uid), ok && uid != ""
}
