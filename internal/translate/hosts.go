package translate

import (
	"bytes"
	"strings"

	v1 "k8s.io/api/core/v1"
)

const hostsHead = `# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
fe00::0	ip6-mcastprefix
fe00::1	ip6-allnodes
fe00::2	ip6-allrouters
`

const hostNetworkHead = "# Kubernetes-managed hosts file (host network).\n"

// Hosts is the content of the pod's /etc/hosts (behaviour 74). nodeHosts is the node's own file, which a pod in the
// node's network sees.
func Hosts(p *v1.Pod, clusterDomain string, podIPs []string, nodeHosts []byte) []byte {
	var out bytes.Buffer
	if p.Spec.HostNetwork {
		out.WriteString(hostNetworkHead)
		out.Write(nodeHosts)
	} else {
		out.WriteString(hostsHead)
		host, domain := Hostname(p, clusterDomain)
		for _, ip := range podIPs {
			out.WriteString(ip + "\t")
			if domain != "" {
				out.WriteString(host + "." + domain + "\t")
			}
			out.WriteString(host + "\n")
		}
	}
	if len(p.Spec.HostAliases) == 0 {
		return out.Bytes()
	}
	out.WriteString("\n# Entries added by HostAliases.\n")
	for _, a := range p.Spec.HostAliases {
		out.WriteString(a.IP + "\t" + strings.Join(a.Hostnames, "\t") + "\n")
	}
	return out.Bytes()
}
