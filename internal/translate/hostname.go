package translate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/reason"
)

// The longest host name (a DNS label) and the longest name the kernel takes.
const (
	maxHostname   = 63
	maxKernelName = 64
)

// Hostname is the pod's host name and the domain it is in, which is empty without a subdomain (behaviour 51). It does
// not hold for a pod in the node's network.
func Hostname(p *v1.Pod, clusterDomain string) (host, domain string) {
	if o := p.Spec.HostnameOverride; o != nil && *o != "" {
		return *o, ""
	}
	host = p.Spec.Hostname
	if host == "" {
		host = p.Name
	}
	if len(host) > maxHostname {
		host = strings.TrimRight(host[:maxHostname], "-.")
	}
	if p.Spec.Subdomain != "" {
		domain = p.Spec.Subdomain + "." + p.Namespace + ".svc"
		if clusterDomain != "" {
			domain += "." + clusterDomain
		}
	}
	return host, domain
}

// kernelName is the host name the sandbox sets; empty lets the runtime use the node's.
func kernelName(p *v1.Pod, clusterDomain string) (string, error) {
	if p.Spec.HostNetwork {
		return "", nil
	}
	host, domain := Hostname(p, clusterDomain)
	if !isTrue(p.Spec.SetHostnameAsFQDN) || domain == "" {
		return host, nil
	}
	full := host + "." + domain
	if len(full) > maxKernelName {
		return "", &ConfigError{reason.FailedCreatePodSandBox, fmt.Sprintf(
			"failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (%d characters is the max, %d characters requested)",
			full, maxKernelName, len(full))}
	}
	return full, nil
}

// OrderIPs puts the addresses of the node's primary family first, otherwise keeping their order (behaviour 55).
func OrderIPs(podIPs []string, nodePrimary string) []string {
	out := slices.Clone(podIPs)
	node, err := netip.ParseAddr(nodePrimary)
	if err != nil {
		return out
	}
	other := func(ip string) int {
		if a, err := netip.ParseAddr(ip); err == nil && a.Unmap().Is4() == node.Unmap().Is4() {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b string) int { return other(a) - other(b) })
	return out
}
