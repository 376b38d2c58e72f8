package admission

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// place says why this node is the wrong one for a pod (behaviour 35).
func place(d *pod.Desired, running []*pod.Desired, node Node) *refusal {
	p := d.Pod
	switch {
	case !matches(p, node):
		return misplaced(reason.NodeAffinity, "node(s) didn't match Pod's node affinity/selector")
	case p.Spec.NodeName != "" && p.Spec.NodeName != node.Name:
		return misplaced(reason.NodeName, "node(s) didn't match the requested node name")
	case portTaken(p, running):
		return misplaced(reason.NodePorts, "node(s) didn't have free ports for the requested pod ports")
	case d.Static():
		return nil
	}
	for _, t := range node.Taints {
		if t.Effect == v1.TaintEffectNoExecute && !tolerated(p, t) {
			return misplaced(reason.TaintToleration, "node(s) had taints that the pod didn't tolerate")
		}
	}
	return nil
}

func misplaced(name, why string) *refusal { return refuse(name, "Predicate %s failed: %s", name, why) }

// matches tells whether the node's labels are those a pod wants, as far as they are known.
func matches(p *v1.Pod, node Node) bool {
	if node.Labels == nil {
		return true
	}
	this := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: node.Labels}}
	ok, err := nodeaffinity.GetRequiredNodeAffinity(p).Match(this)
	return ok && err == nil // a term that makes no sense matches no node
}

// tolerated tells whether a pod tolerates a taint.
func tolerated(p *v1.Pod, taint v1.Taint) bool {
	for _, t := range p.Spec.Tolerations {
		switch {
		case t.Effect != "" && t.Effect != taint.Effect, t.Key != "" && t.Key != taint.Key:
		case t.Operator == v1.TolerationOpExists:
			return true
		case (t.Operator == "" || t.Operator == v1.TolerationOpEqual) && t.Key != "" && t.Value == taint.Value:
			return true
		}
	}
	return false
}

// hostPort is a port of the node.
type hostPort struct {
	protocol v1.Protocol
	port     int32
}

// portTaken tells whether a port of the node that a pod wants belongs to a pod that runs.
func portTaken(p *v1.Pod, running []*pod.Desired) bool {
	wanted := hostPorts(p)
	if len(wanted) == 0 {
		return false
	}
	for _, d := range running {
		for port, theirs := range hostPorts(d.Pod) {
			if clash(wanted[port], theirs) {
				return true
			}
		}
	}
	return false
}

// hostPorts are the ports of the node that a pod's containers use while it runs, with the addresses they bind to.
func hostPorts(p *v1.Pod) map[hostPort][]string {
	var out map[hostPort][]string
	add := func(c *v1.Container) {
		for _, port := range c.Ports {
			number := port.HostPort
			if number == 0 && p.Spec.HostNetwork {
				number = port.ContainerPort
			}
			if number == 0 {
				continue
			}
			protocol := port.Protocol
			if protocol == "" {
				protocol = v1.ProtocolTCP
			}
			if out == nil {
				out = map[hostPort][]string{}
			}
			key := hostPort{protocol, number}
			out[key] = append(out[key], port.HostIP)
		}
	}
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; pod.IsSidecar(c) {
			add(c)
		}
	}
	for i := range p.Spec.Containers {
		add(&p.Spec.Containers[i])
	}
	return out
}

// clash tells whether two lists of addresses overlap; the unspecified address stands for all.
func clash(a, b []string) bool {
	everywhere := func(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }
	for _, x := range a {
		for _, y := range b {
			if x == y || everywhere(x) || everywhere(y) {
				return true
			}
		}
	}
	return false
}
