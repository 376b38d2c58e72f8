package manifest

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// Behaviour 12.
func TestOddPriority(t *testing.T) {
	for name, c := range map[string]struct {
		class    string
		priority int32 // -1: none
		want     string
	}{
		"12 none":                    {"", -1, ""},
		"12 as kubeadm writes it":    {"system-node-critical", 2000001000, ""},
		"12 the class alone":         {"system-cluster-critical", -1, ""},
		"12 another than the class":  {"system-node-critical", 7, "spec.priority is 7, and spec.priorityClassName system-node-critical, which stands for 2000001000"},
		"12 a class of the cluster":  {"gold", -1, "spec.priorityClassName is gold, which no node looks up"},
		"12 a class with a priority": {"gold", 2000000000, ""},
		"12 low":                     {"", 7, "spec.priority is 7: it counts when pods are ranked, but a pod of a manifest is critical"},
	} {
		p := &v1.Pod{Spec: v1.PodSpec{PriorityClassName: c.class}}
		if c.priority >= 0 {
			p.Spec.Priority = &c.priority
		}
		if got := OddPriority(p); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
