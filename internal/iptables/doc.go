// Package iptables owns the chains that others on the node expect of a kubelet (behaviour 348), in IPv4 and IPv6:
//
//   - KUBE-IPTABLES-HINT in the table mangle, empty: network plugins and kube-proxy in containers see by it whether the node uses
//     the legacy or the nft flavour of iptables;
//   - KUBE-FIREWALL in the table filter, IPv4 only: it drops what comes from outside for 127.0.0.0/8, which kube-proxy and the
//     plugin for host ports may have let the kernel route;
//   - KUBE-KUBELET-CANARY in mangle, nat and filter, empty: it is gone when somebody has flushed everything.
//
// The chains are made at the start, and again when a look once a minute finds them gone. Nothing is ever removed. Where there is
// no iptables, nothing is done.
package iptables
