package environ

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Field is the value of a pod's field as the downward API gives it, for variables and for volumes alike (behaviours 72,
// 180). The whole of metadata.labels or metadata.annotations comes as sorted lines of key="value". A label or
// annotation that is not there is the empty string.
func Field(p *v1.Pod, path string, f Facts) (string, error) {
	if value, ok := subscripted(p, path); ok {
		return value, nil
	}
	switch path {
	case "metadata.name":
		return p.Name, nil
	case "metadata.namespace":
		return p.Namespace, nil
	case "metadata.uid":
		return string(p.UID), nil
	case "metadata.labels":
		return lines(p.Labels), nil
	case "metadata.annotations":
		return lines(p.Annotations), nil
	case "spec.nodeName":
		if p.Spec.NodeName != "" {
			return p.Spec.NodeName, nil
		}
		return f.NodeName, nil
	case "spec.serviceAccountName":
		return p.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return first(f.HostIPs), nil
	case "status.hostIPs":
		return strings.Join(f.HostIPs, ","), nil
	case "status.podIP":
		return first(podIPs(p, f)), nil
	case "status.podIPs":
		return strings.Join(podIPs(p, f), ","), nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %s (supported are metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'], "+
		"metadata.annotations['KEY'], spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP, status.podIPs)", path)
}

func subscripted(p *v1.Pod, path string) (string, bool) {
	for prefix, values := range map[string]map[string]string{"metadata.labels['": p.Labels, "metadata.annotations['": p.Annotations} {
		if key, ok := strings.CutPrefix(path, prefix); ok {
			if key, ok = strings.CutSuffix(key, "']"); ok && key != "" {
				return values[key], true
			}
		}
	}
	return "", false
}

func lines(values map[string]string) string {
	var out strings.Builder
	for i, key := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(&out, "%s=%q", key, values[key])
	}
	return out.String()
}

// podIPs are the addresses of the sandbox, or of the node for a pod in the node's network.
func podIPs(p *v1.Pod, f Facts) []string {
	if p.Spec.HostNetwork && len(f.PodIPs) == 0 {
		return f.HostIPs
	}
	return f.PodIPs
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
