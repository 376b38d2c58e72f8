package environ

import (
	"fmt"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
)

// Resource is the value of a container's request or limit as the downward API gives it, for variables and for volumes
// alike (behaviours 72, 180): divided by the divisor (1 if none is given) and rounded up. A limit of cpu, memory or
// ephemeral-storage that neither the container nor the pod sets is what the node can allocate. own is the container that
// asks; it may be nil when the selector names one.
func Resource(p *v1.Pod, own *v1.Container, sel *v1.ResourceFieldSelector, allocatable v1.ResourceList) (string, error) {
	c := own
	if sel.ContainerName != "" && (own == nil || own.Name != sel.ContainerName) {
		if c, _ = pod.FindContainer(p, sel.ContainerName); c == nil {
			return "", fmt.Errorf("resourceFieldRef: the pod has no container %q", sel.ContainerName)
		}
	}
	if c == nil {
		return "", fmt.Errorf("resourceFieldRef %s: containerName is required", sel.Resource)
	}
	kind, name, _ := strings.Cut(sel.Resource, ".")
	if !supported(v1.ResourceName(name)) || kind != "limits" && kind != "requests" {
		return "", fmt.Errorf("unsupported container resource : %s (supported are limits. and requests. of cpu, memory, ephemeral-storage and hugepages-SIZE)", sel.Resource)
	}
	q := c.Resources.Requests[v1.ResourceName(name)]
	if kind == "limits" {
		q = limit(p, c, v1.ResourceName(name), allocatable)
	}
	if name == string(v1.ResourceCPU) {
		return divide(q.MilliValue(), sel.Divisor.MilliValue(), 1000), nil
	}
	return divide(q.Value(), sel.Divisor.Value(), 1), nil
}

func supported(name v1.ResourceName) bool {
	switch name {
	case v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage:
		return true
	}
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) && len(name) > len(v1.ResourceHugePagesPrefix)
}

func limit(p *v1.Pod, c *v1.Container, name v1.ResourceName, allocatable v1.ResourceList) resource.Quantity {
	if l := qos.LimitOf(p, c, name); l != nil && !l.IsZero() {
		return *l
	}
	if strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) {
		return resource.Quantity{}
	}
	return allocatable[name]
}

// divide rounds up. A divisor that is not positive stands for one unit.
func divide(value, divisor, unit int64) string {
	if divisor <= 0 {
		divisor = unit
	}
	n := value / divisor
	if value%divisor > 0 {
		n++
	}
	return strconv.FormatInt(n, 10)
}
