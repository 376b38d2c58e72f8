package integration

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// Pods that may not run here are Failed with the reason, never start, and harm nobody (behaviours 30, 33, 35, 36, 39).
func TestRefusedPods(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	holder := n.pod(t, "portholder", "spec: {containers: [{name: main, image: BOX, ports: [{containerPort: 80, hostPort: 17171}]}]}")
	holder.untilRunning("main")
	for _, test := range []struct{ name, spec, reason, message string }{
		// A static pod is critical: before it is refused, others would have to go, and none that may go is large enough.
		{"toobig", "spec: {containers: [{name: main, image: BOX, resources: {requests: {cpu: 1000}}}]}", "UnexpectedAdmissionError", "no set of running pods found to reclaim resources: [(res: cpu, q: "},
		{"unsafe", "spec: {securityContext: {sysctls: [{name: kernel.msgmax, value: \"1\"}]}, containers: [{name: main, image: BOX}]}", "SysctlForbidden", "kernel.msgmax"},
		{"portclash", "spec: {containers: [{name: main, image: BOX, ports: [{containerPort: 80, hostPort: 17171}]}]}", "NodePorts", ""},
		{"elsewhere", "spec: {nodeSelector: {kubernetes.io/os: windows}, containers: [{name: main, image: BOX}]}", "PodOSSelectorNodeLabelDoesNotMatch", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := n.pod(t, test.name, test.spec)
			p := b.untilAPI("Failed", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
			same(t, "reason", p.Status.Reason, test.reason)
			if !strings.HasPrefix(p.Status.Message, "Pod was rejected: ") || !strings.Contains(p.Status.Message, test.message) {
				t.Errorf("message %q, want %q in it", p.Status.Message, test.message)
			}
			n.untilLogged(t, test.name+"-here", "reason="+test.reason)
			if all, err := b.sandboxes(); err != nil || len(all) > 0 {
				t.Errorf("a refused pod has sandboxes: %v %v", all, err)
			}
		})
	}
}
