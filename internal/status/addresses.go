package status

import (
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// addresses are the node's and the pod's. Those of the last sandbox stay after it has ended (behaviours 55, 275).
func (v *view) addresses(out *v1.PodStatus) {
	if hosts := v.in.Node.HostIPs; len(hosts) > 0 {
		out.HostIP, out.HostIPs = hosts[0], nil
		for _, ip := range hosts {
			out.HostIPs = append(out.HostIPs, v1.HostIP{IP: ip})
		}
	}
	if ips := v.podIPs(); len(ips) > 0 {
		out.PodIP, out.PodIPs = ips[0], nil
		for _, ip := range ips {
			out.PodIPs = append(out.PodIPs, v1.PodIP{IP: ip})
		}
	}
}

func (v *view) podIPs() []string {
	hosts := v.in.Node.HostIPs
	if v.pod.Spec.HostNetwork {
		if v.in.Memory.Kept.Admitted.IsZero() {
			return nil
		}
		return hosts
	}
	primary := ""
	if len(hosts) > 0 {
		primary = hosts[0]
	}
	for _, ready := range []bool{true, false} {
		for i := range v.in.Observed.Sandboxes {
			if s := &v.in.Observed.Sandboxes[i]; (s.Ready && !s.Gone) == ready && len(s.IPs) > 0 {
				return translate.OrderIPs(s.IPs, primary)
			}
		}
	}
	return nil
}

// readyToStart tells whether the pod has a sandbox with a network.
func readyToStart(s *pod.Sandbox) bool {
	return s != nil && s.Ready && (s.HostNetwork || len(s.IPs) > 0)
}
