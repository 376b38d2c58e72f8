package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// node checks the node object, its heartbeat, and the process itself.
func (v *checker) node() {
	k := v.k
	v.moreThanZero("nodeStatusUpdateFrequency", k.NodeStatusUpdateFrequency)
	v.moreThanZero("nodeStatusReportFrequency", k.NodeStatusReportFrequency)
	v.atLeast("nodeLeaseDurationSeconds", int64(k.NodeLeaseDurationSeconds), 1)
	v.atLeastPtr("nodeStatusMaxImages", k.NodeStatusMaxImages, -1)
	v.betweenPtr("oomScoreAdj", k.OOMScoreAdj, -1000, 1000)
	v.atLeast("maxOpenFiles", k.MaxOpenFiles, 0)
	v.betweenPtr("iptablesMasqueradeBit", k.IPTablesMasqueradeBit, 0, 31)
	v.betweenPtr("iptablesDropBit", k.IPTablesDropBit, 0, 31)
	v.taints()
}

func (v *checker) taints() {
	seen := map[string]bool{}
	for _, t := range v.k.RegisterWithTaints {
		shown := quote(t.ToString())
		if msgs := validation.IsQualifiedName(t.Key); len(msgs) > 0 {
			v.bad("registerWithTaints", shown, "the key is wrong: "+msgs[0])
		}
		if msgs := validation.IsValidLabelValue(t.Value); len(msgs) > 0 {
			v.bad("registerWithTaints", shown, "the value is wrong: "+msgs[0])
		}
		switch t.Effect {
		case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		default:
			v.bad("registerWithTaints", shown, "want effect NoSchedule, PreferNoSchedule or NoExecute")
		}
		id := t.Key + ":" + string(t.Effect)
		if seen[id] {
			v.bad("registerWithTaints", shown, "key and effect are named twice")
		}
		seen[id] = true
	}
}

func (v *checker) nodeName() {
	name := v.c.HostnameOverride
	if name == "" {
		return
	}
	if msgs := validation.IsDNS1123Subdomain(name); len(msgs) > 0 {
		v.problems.add("--hostname-override", quote(name), "cannot be a node's name: "+msgs[0])
	}
}

// ownLabels are the Kubernetes labels a node may give itself beside those below kubelet.kubernetes.io and node.kubernetes.io.
var ownLabels = map[string]bool{
	"kubernetes.io/hostname":                   true,
	"kubernetes.io/os":                         true,
	"kubernetes.io/arch":                       true,
	"beta.kubernetes.io/os":                    true,
	"beta.kubernetes.io/arch":                  true,
	"topology.kubernetes.io/zone":              true,
	"topology.kubernetes.io/region":            true,
	"failure-domain.beta.kubernetes.io/zone":   true,
	"failure-domain.beta.kubernetes.io/region": true,
	"node.kubernetes.io/instance-type":         true,
	"beta.kubernetes.io/instance-type":         true,
}

// checkNodeLabels holds the rule that a node may not label itself into someone else's role.
func checkNodeLabels(labels map[string]string) (ps Problems) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		shown := quote(key + "=" + labels[key])
		if msgs := validation.IsQualifiedName(key); len(msgs) > 0 {
			ps.add("", shown, "the key is wrong: "+msgs[0])
			continue
		}
		if msgs := validation.IsValidLabelValue(labels[key]); len(msgs) > 0 {
			ps.add("", shown, "the value is wrong: "+msgs[0])
		}
		if prefix, _, found := strings.Cut(key, "/"); found && reserved(prefix) && !ownLabels[key] {
			ps.add("", shown, fmt.Sprintf("a node may not give itself a label below %s; use one below node.kubernetes.io or kubelet.kubernetes.io, or let a controller set it", prefix))
		}
	}
	return ps
}

// reserved reports whether labels with this prefix are Kubernetes' own and not open to nodes.
func reserved(prefix string) bool {
	below := func(domain string) bool { return prefix == domain || strings.HasSuffix(prefix, "."+domain) }
	if below("kubelet.kubernetes.io") || below("node.kubernetes.io") {
		return false
	}
	return below("kubernetes.io") || below("k8s.io")
}
