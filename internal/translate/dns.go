package translate

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/reason"
)

// What a resolver copes with (behaviour 79).
const (
	maxServers      = 3
	maxSearches     = 32
	maxSearchChars  = 2048
	maxSearchDomain = 253
)

// DNS is the resolver configuration of the pod (behaviours 75-80). What had to be left out is told of in remarks.
func DNS(p *v1.Pod, n *Node) (*runtimeapi.DNSConfig, []Remark, error) {
	var (
		conf    ResolvConf
		remarks []Remark
	)
	policy := cmp.Or(p.Spec.DNSPolicy, v1.DNSClusterFirst)
	cluster := policy == v1.DNSClusterFirstWithHostNet || policy == v1.DNSClusterFirst && !p.Spec.HostNetwork
	switch policy {
	case v1.DNSNone:
	case v1.DNSDefault, v1.DNSClusterFirst, v1.DNSClusterFirstWithHostNet:
		switch {
		case cluster && len(n.ClusterDNS) > 0:
			conf = clusterConf(p, n)
		case cluster && !n.Standalone:
			remarks = append(remarks, Remark{reason.MissingClusterDNS, fmt.Sprintf(
				"pod: %q. kubelet does not have ClusterDNS IP configured and cannot create Pod using %q policy. Falling back to %q policy.",
				describe(p), policy, v1.DNSDefault)})
			fallthrough
		default:
			conf = hostConf(n)
		}
	default:
		return nil, nil, &ConfigError{reason.FailedCreatePodSandBox, fmt.Sprintf("spec.dnsPolicy: invalid value %q: must be ClusterFirst, ClusterFirstWithHostNet, Default or None", policy)}
	}
	if c := p.Spec.DNSConfig; c != nil {
		conf = ResolvConf{
			Servers:  append(conf.Servers, c.Nameservers...),
			Searches: append(conf.Searches, c.Searches...),
			Options:  mergeOptions(conf.Options, dnsOptions(c.Options)),
		}
	}
	out := &runtimeapi.DNSConfig{Options: conf.Options}
	out.Servers, remarks = fitServers(unique(conf.Servers), remarks)
	out.Searches, remarks = fitSearches(unique(conf.Searches), remarks)
	return out, remarks, nil
}

func clusterConf(p *v1.Pod, n *Node) ResolvConf {
	conf := ResolvConf{Servers: clone(n.ClusterDNS), Options: []string{"ndots:5"}}
	if d := n.ClusterDomain; d != "" {
		conf.Searches = []string{p.Namespace + ".svc." + d, "svc." + d, d}
	}
	if !n.NoHostResolv {
		conf.Searches = append(conf.Searches, n.HostResolv.Searches...)
	}
	return conf
}

func hostConf(n *Node) ResolvConf {
	if !n.NoHostResolv {
		return ResolvConf{Servers: clone(n.HostResolv.Servers), Searches: clone(n.HostResolv.Searches), Options: clone(n.HostResolv.Options)}
	}
	// Left empty, the runtime would copy the node's file; the loopback makes lookups fail at once instead.
	conf := ResolvConf{Searches: []string{"."}}
	for _, ip := range n.HostIPs {
		if a, err := netip.ParseAddr(ip); err == nil && a.Unmap().Is6() {
			conf.Servers = append(conf.Servers, "::1")
		} else {
			conf.Servers = append(conf.Servers, "127.0.0.1")
		}
	}
	if len(conf.Servers) == 0 {
		conf.Servers = []string{"127.0.0.1"}
	}
	return conf
}

func dnsOptions(options []v1.PodDNSConfigOption) []string {
	out := make([]string, 0, len(options))
	for _, o := range options {
		if o.Value != nil && *o.Value != "" {
			out = append(out, o.Name+":"+*o.Value)
		} else {
			out = append(out, o.Name)
		}
	}
	return out
}

func fitServers(servers []string, remarks []Remark) ([]string, []Remark) {
	if len(servers) <= maxServers {
		return servers, remarks
	}
	servers = servers[:maxServers]
	return servers, append(remarks, Remark{reason.DNSConfigForming,
		"Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: " + strings.Join(servers, " ")})
}

func fitSearches(searches []string, remarks []Remark) ([]string, []Remark) {
	var fit []string
	chars := 0
	for _, s := range searches {
		if len(s) > maxSearchDomain { // would abort processes of some libc versions
			continue
		}
		if len(fit) == maxSearches || chars+len(s) > maxSearchChars {
			break
		}
		fit = append(fit, s)
		chars += len(s) + 1
	}
	if len(fit) == len(searches) {
		return fit, remarks
	}
	return fit, append(remarks, Remark{reason.DNSConfigForming,
		"Search Line limits were exceeded, some search paths have been omitted, the applied search line is: " + strings.Join(fit, " ")})
}

func unique(list []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

func clone(list []string) []string { return append([]string(nil), list...) }
