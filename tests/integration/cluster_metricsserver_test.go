package integration

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// metricsServerRules are what metrics-server's own manifests allow it, and where the API server finds it.
const metricsServerRules = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:metrics-server"}
rules:
- {apiGroups: [""], resources: [nodes/metrics], verbs: [get]}
- {apiGroups: [""], resources: [pods, nodes], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "system:metrics-server"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:metrics-server"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: metrics-server}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: "metrics-server:system:auth-delegator"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: metrics-server}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: metrics-server-auth-reader, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: metrics-server}]
---
apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec: {type: ExternalName, externalName: localhost}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  {group: metrics.k8s.io, version: v1beta1, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true,
   service: {name: metrics-server, namespace: kube-system, port: PORT}}
`

// The real metrics-server reads this node, with no more rights than its own manifests give it, and kubectl top shows what it found.
// It takes minutes to build, so only long tests do: BOSUN_TEST_LONG=1.
func TestMetricsServer(t *testing.T) {
	if !long() {
		t.Skip("metrics-server takes minutes to build; BOSUN_TEST_LONG=1 runs this, and TestStats checks in any case what it wants")
	}
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	port := freePort(t)
	rules := strings.ReplaceAll(metricsServerRules, "PORT", strconv.Itoa(port))
	if out, err := m.plane.KubectlInput(t.Context(), rules, "apply", "-f", "-"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { // an API that nobody serves would hold up the others' namespaces
		if out, err := m.plane.KubectlInput(context.Background(), rules, "delete", "-f", "-"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	eventually(t, func() error { // the API server hears of roles a moment after they are made
		_, err := m.plane.Kubectl(t.Context(), "-n", "kube-system", "auth", "can-i", "get", "configmaps/extension-apiserver-authentication", "--as=metrics-server", "-q")
		return err
	})
	m.untilMay(t, "metrics-server", "get", "metrics")
	startMetricsServer(t, m, port)
	g := m.create(t, ns, "writer", writer)
	g.untilSays("main", "written")
	within(t, 3*patience, func() error { // two readings, 15 s from each other, make a rate
		out, err := m.plane.Kubectl(t.Context(), "top", "node", m.name, "--no-headers")
		if err != nil {
			return err
		}
		return shown(out, m.name)
	})
	within(t, 3*patience, func() error {
		out, err := m.plane.Kubectl(t.Context(), "-n", ns, "top", "pod", "--containers", "--no-headers")
		if err != nil {
			return err
		}
		return shown(out, "writer", "main")
	})
	refused, err := m.plane.Refused("metrics-server")
	if err != nil || len(refused) > 0 {
		t.Errorf("%v; refused: %s", err, controlplane.Describe(refused))
	}
}

// freePort is one at which nobody listens on loopback.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startMetricsServer builds metrics-server if need be, and starts it; it ends with the test.
func startMetricsServer(t *testing.T, m *member, port int) {
	t.Helper()
	bin, err := filepath.Abs("../../.cache/bin")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(deadline(t, 20*time.Minute), "../../tools/build.sh", bin, "metrics-server").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	kubeconfig, err := m.plane.Kubeconfig(controlplane.Identity{User: "metrics-server"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := controlplane.Program{Name: "metrics-server", Path: filepath.Join(bin, "metrics-server"), Dir: t.TempDir(), Args: []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(port), "--cert-dir=" + t.TempDir(),
		"--kubelet-certificate-authority=" + m.plane.CAFile, "--kubelet-preferred-address-types=InternalIP", "--kubelet-use-node-status-port",
		"--metric-resolution=15s",
	}}.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(holds(t, p.Log()))
		}
		if err := p.End(syscall.SIGTERM); err != nil {
			t.Log(err)
		}
	})
}

// shown checks a line of kubectl top: it begins with these words, and shows processors and memory that are not none.
func shown(out string, words ...string) error {
	fields := strings.Fields(out)
	if len(fields) < len(words)+2 {
		return fmt.Errorf("kubectl top shows %q", out)
	}
	for i, w := range words {
		if fields[i] != w {
			return fmt.Errorf("kubectl top shows %q, want %v", out, words)
		}
	}
	for _, f := range fields[len(words):] {
		if strings.HasPrefix(f, "0") || strings.HasPrefix(f, "<") {
			return fmt.Errorf("kubectl top shows %q", out)
		}
	}
	return nil
}
