package kubeadm

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

const initConfig = `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: ` + version + `
networking: {podSubnet: 10.88.0.0/16}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
` + testbed.Roomy

// ignored are the checks of kubeadm that a machine with cgroup v1 does not pass with any kubelet.
const ignored = "--ignore-preflight-errors=SystemVerification"

// parts are the static pods that kubeadm makes.
var parts = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// TestKubeadm is the life of a cluster with two nodes. Each step needs those before it. Upgrades of the control plane and new
// certificates for it are only with BOSUN_TEST_LONG=1.
func TestKubeadm(t *testing.T) {
	images := controlPlaneImages(t)
	first := newNode(t, "first", images, "kubelet")     // a link in the place of the kubelet
	second := newNode(t, "second", nil, "bosun", "run") // a drop-in that names bosun
	for _, step := range []struct {
		name string
		long bool
		do   func(*testing.T, *node, *node)
	}{
		{"without a configuration the kubelet ends at once", false, endsWithoutConfiguration},
		{"init", false, initialise},
		{"join", false, join},
		{"the control plane is ready", false, controlPlaneReady},
		{"upgrade apply swaps static pods", true, upgradeApply},
		{"upgrade node leaves containers alone", false, upgradeNode},
		{"certs", true, renewCertificates},
		{"reset and join again", false, resetAndJoin},
		{"reset of all", false, resetAll},
	} {
		if step.long && os.Getenv("BOSUN_TEST_LONG") == "" {
			continue
		}
		if !t.Run(strings.ReplaceAll(step.name, " ", "_"), func(t *testing.T) { step.do(t, first, second) }) {
			return
		}
	}
}

// endsWithoutConfiguration: as the unit of the kubelet's package is enabled before kubeadm runs, it ends again and again.
func endsWithoutConfiguration(t *testing.T, first, second *node) {
	for _, n := range []*node{first, second} {
		eventually(t, func() error {
			if got := len(n.unit.pastRuns()); got < 2 {
				return fmt.Errorf("the unit ended %d times", got)
			}
			return nil
		})
		checkFailedStarts(t, n.unit.pastRuns())
	}
}

func checkFailedStarts(t *testing.T, runs []run) {
	t.Helper()
	for _, r := range runs {
		if r.code != 1 || !strings.Contains(r.said, "/var/lib/kubelet/config.yaml") || r.took > 10*time.Second {
			t.Errorf("without a configuration: code %d after %v, said %q", r.code, r.took, r.said)
		}
	}
}

func initialise(t *testing.T, first, _ *node) {
	first.write(t, "/etc/kubeadm.yaml", initConfig)
	failed := len(first.unit.pastRuns())
	first.kubeadm(t, "init", "--config=/etc/kubeadm.yaml", "--skip-phases=addon", ignored)
	checkStops(t, first, failed)

	var node v1.Node
	if err := first.object(&node, "node", "first"); err != nil {
		t.Fatal(err)
	}
	if _, ok := node.Labels["node-role.kubernetes.io/control-plane"]; !ok {
		t.Errorf("labels: %v", node.Labels)
	}
	if !slices.ContainsFunc(node.Spec.Taints, func(taint v1.Taint) bool {
		return taint.Key == "node-role.kubernetes.io/control-plane" && taint.Effect == v1.TaintEffectNoSchedule
	}) {
		t.Errorf("taints: %v", node.Spec.Taints)
	}
	if got := node.Status.NodeInfo.KubeletVersion; got != version {
		t.Errorf("kubelet version %q", got)
	}
	for _, name := range []string{"kube-system/kubeadm-config", "kube-system/kubelet-config", "kube-public/cluster-info"} {
		namespace, name, _ := strings.Cut(name, "/")
		if err := first.object(&v1.ConfigMap{}, "configmap", "-n", namespace, name); err != nil {
			t.Error(err)
		}
	}
	checkClientCertificate(t, first)
	if text := first.read(t, "/etc/kubernetes/kubelet.conf"); !strings.Contains(text, "/var/lib/kubelet/pki/kubelet-client-current.pem") {
		t.Errorf("kubelet.conf does not point to the certificate that is renewed:\n%s", text)
	}
}

// checkStops holds that since the first so many runs of the unit none ended by itself, but for want of a configuration.
func checkStops(t *testing.T, n *node, before int) {
	t.Helper()
	for _, r := range n.unit.pastRuns()[before:] {
		started := strings.Contains(r.said, "runs this node") // so it listens to signals
		if r.stopped && (r.code == 0 || !started) || strings.Contains(r.said, "/var/lib/kubelet/config.yaml") && !started {
			continue
		}
		t.Errorf("%s: the kubelet ended with code %d after %v, stopped: %t: %s", n.Name, r.code, r.took, r.stopped, r.said[max(0, len(r.said)-2000):])
	}
}

// checkClientCertificate looks at what rotation keeps: a link to a file with certificate and key.
func checkClientCertificate(t *testing.T, n *node) {
	t.Helper()
	const dir = "/var/lib/kubelet/pki"
	target, err := os.Readlink(n.Path(dir + "/kubelet-client-current.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^(` + dir + `/)?kubelet-client-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d\.pem$`).MatchString(target) {
		t.Errorf("kubelet-client-current.pem leads to %q", target)
	}
	text := n.read(t, filepath.Join(dir, filepath.Base(target)))
	pair, err := tls.X509KeyPair([]byte(text), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if leaf.Subject.CommonName != "system:node:"+n.Name || !slices.Equal(leaf.Subject.Organization, []string{"system:nodes"}) {
		t.Errorf("the client certificate is for %v", leaf.Subject)
	}
}

func controlPlaneReady(t *testing.T, first, _ *node) {
	first.untilReady(t, "first")
	for _, part := range parts {
		pod := first.untilPodReady(t, "kube-system", part+"-first")
		if pod.Annotations["kubernetes.io/config.source"] != "file" || pod.Annotations["kubernetes.io/config.hash"] == "" ||
			pod.Annotations["kubernetes.io/config.mirror"] != pod.Annotations["kubernetes.io/config.hash"] {
			t.Errorf("annotations of %s: %v", pod.Name, pod.Annotations)
		}
		if len(pod.OwnerReferences) != 1 || pod.OwnerReferences[0].Kind != "Node" || pod.OwnerReferences[0].Name != "first" {
			t.Errorf("owners of %s: %v", pod.Name, pod.OwnerReferences)
		}
	}
	// The way back: from the API server to the node, as the user that kubeadm has made for that.
	if out := first.run(t, "kubectl", "logs", "-n", "kube-system", "etcd-first"); !strings.Contains(out, "ready to serve client requests") {
		t.Errorf("logs of etcd: %s", out)
	}
	if out := first.run(t, "kubectl", "exec", "-n", "kube-system", "etcd-first", "--", "/usr/local/bin/etcd", "--version"); !strings.Contains(out, "etcd Version") {
		t.Errorf("exec in etcd: %s", out)
	}
}

// join takes the command that kubeadm prints for it.
func join(t *testing.T, first, second *node) {
	failed := len(second.unit.pastRuns())
	second.join(t, first)
	checkStops(t, second, failed)
	first.untilReady(t, "second")
	checkClientCertificate(t, second)
	if _, err := os.Stat(second.Path("/etc/kubernetes/bootstrap-kubelet.conf")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the bootstrap kubeconfig is still there: %v", err)
	}
	var requests certificates.CertificateSigningRequestList
	if err := first.object(&requests, "csr"); err != nil {
		t.Fatal(err)
	}
	for _, r := range requests.Items {
		if r.Spec.SignerName != certificates.KubeAPIServerClientKubeletSignerName || len(r.Status.Certificate) == 0 || !strings.HasPrefix(r.Spec.Username, "system:bootstrap:") {
			t.Errorf("certificate request %s of %s for %s: %+v", r.Name, r.Spec.Username, r.Spec.SignerName, r.Status.Conditions)
		}
	}
	if len(requests.Items) == 0 {
		t.Error("there is no certificate request")
	}
	if _, err := first.tryInput(webPods, "kubectl", "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	first.run(t, "kubectl", "rollout", "status", "deployment/web", "--timeout="+patience.String())
	first.run(t, "kubectl", "rollout", "status", "daemonset/everywhere", "--timeout="+patience.String())
}

// join runs `kubeadm join` with a new token of the first node.
func (n *node) join(t *testing.T, first *node) {
	t.Helper()
	command := strings.Fields(first.run(t, "kubeadm", "token", "create", "--print-join-command"))
	if len(command) < 2 || command[0] != "kubeadm" {
		t.Fatalf("the command to join is %q", command)
	}
	// kube-controller-manager signs cluster-info for the token a moment later; kubeadm would look again after ten seconds.
	token, _, _ := strings.Cut(command[slices.Index(command, "--token")+1], ".")
	eventually(t, func() error {
		var info v1.ConfigMap
		if err := first.object(&info, "configmap", "-n", "kube-public", "cluster-info"); err != nil {
			return err
		}
		if info.Data["jws-kubeconfig-"+token] == "" {
			return errors.New("cluster-info is not signed for the token")
		}
		return nil
	})
	n.kubeadm(t, append(command[1:], ignored)...)
}

// webPods are a Deployment that only a worker takes and a DaemonSet that all nodes take.
const webPods = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: docker.io/bosun/testbox:latest, imagePullPolicy: IfNotPresent}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      terminationGracePeriodSeconds: 1
      hostNetwork: true
      tolerations: [{operator: Exists}]
      containers: [{name: everywhere, image: docker.io/bosun/testbox:latest, imagePullPolicy: IfNotPresent, securityContext: {privileged: true}}]
`

// upgradeApply: kubeadm makes manifests anew with a patch, puts each in the place of the old one and waits until the mirror pod has
// another hash; if it waits in vain it puts the old one back.
func upgradeApply(t *testing.T, first, _ *node) {
	before := map[string]string{}
	for _, part := range parts {
		before[part] = first.pod(t, "kube-system", part+"-first").Annotations["kubernetes.io/config.hash"]
	}
	for _, part := range parts {
		first.write(t, "/etc/patches/"+part+".yaml", "metadata: {annotations: {patched: \"yes\"}}\n")
	}
	first.kubeadm(t, "upgrade", "apply", version, "--yes", "--force", "--patches=/etc/patches", "--skip-phases=addon", ignored+",CoreDNSMigration,CoreDNSUnsupportedPlugins")
	for _, part := range parts {
		pod := first.pod(t, "kube-system", part+"-first")
		if pod.Annotations["patched"] != "yes" || pod.Annotations["kubernetes.io/config.hash"] == before[part] {
			t.Errorf("%s has annotations %v, and its hash was %s", part, pod.Annotations, before[part])
		}
	}
}

// upgradeNode writes the kubelet's configuration anew; the restart that the documentation asks for stops no container.
func upgradeNode(t *testing.T, first, second *node) {
	before := first.containers(t, "second")
	var text v1.ConfigMap
	if err := first.object(&text, "configmap", "-n", "kube-system", "kubelet-config"); err != nil {
		t.Fatal(err)
	}
	text.Data["kubelet"] += "maxPods: 77\n"
	first.run(t, "kubectl", "patch", "configmap", "-n", "kube-system", "kubelet-config", "--patch", fmt.Sprintf(`{"data":{"kubelet":%q}}`, text.Data["kubelet"]))
	second.kubeadm(t, "upgrade", "node", "phase", "kubelet-config")
	if text := second.read(t, "/var/lib/kubelet/config.yaml"); !strings.Contains(text, "maxPods: 77") {
		t.Errorf("kubeadm wrote %s", text)
	}
	second.unit.restart()
	eventually(t, func() error {
		var node v1.Node
		if err := first.object(&node, "node", "second"); err != nil {
			return err
		}
		if got := node.Status.Capacity.Pods().Value(); got != 77 {
			return fmt.Errorf("capacity for %d pods", got)
		}
		return nil
	})
	first.untilReady(t, "second")
	if len(before) < 3 {
		t.Errorf("only %q ran on the second node", before)
	}
	if after := first.containers(t, "second"); !slices.Equal(before, after) {
		t.Errorf("the containers were %q and are %q", before, after)
	}
}

// renewCertificates: static pods take their certificates anew when their manifests are taken away for a moment, as kubeadm says.
func renewCertificates(t *testing.T, first, _ *node) {
	if out := first.kubeadm(t, "certs", "check-expiration"); !strings.Contains(out, "apiserver-kubelet-client") {
		t.Error("no certificates are listed")
	}
	first.kubeadm(t, "certs", "renew", "all")
	const part = "kube-scheduler"
	manifest := "/etc/kubernetes/manifests/" + part + ".yaml"
	before := first.containersOf(t, part)
	first.run(t, "mv", manifest, "/etc/kubernetes/"+part+".yaml")
	eventually(t, func() error {
		if left := first.containersOf(t, part); len(left) > 0 {
			return fmt.Errorf("%q run without a manifest", left)
		}
		if _, err := first.try("kubectl", "get", "pod", "-n", "kube-system", part+"-first"); err == nil {
			return errors.New("the mirror pod is still there")
		}
		return nil
	})
	first.run(t, "mv", "/etc/kubernetes/"+part+".yaml", manifest)
	eventually(t, func() error {
		if pod, after := first.pod(t, "kube-system", part+"-first"), first.containersOf(t, part); pod.Status.Phase != v1.PodRunning || len(after) == 0 || slices.Equal(before, after) {
			return fmt.Errorf("%s is %s in container %q, after %q", part, pod.Status.Phase, after, before)
		}
		return nil
	})
}

// resetAndJoin takes the second node out and in again, with nothing left of its first life.
func resetAndJoin(t *testing.T, first, second *node) {
	second.reset(t)
	first.run(t, "kubectl", "delete", "node", "second")
	failed := len(second.unit.pastRuns())
	second.unit.start()
	second.join(t, first)
	checkStops(t, second, failed)
	first.untilReady(t, "second")
	first.run(t, "kubectl", "rollout", "status", "deployment/web", "--timeout="+patience.String())
}

func resetAll(t *testing.T, first, second *node) {
	second.reset(t)
	first.reset(t)
}

// reset runs `kubeadm reset` and looks for what it has left.
func (n *node) reset(t *testing.T) {
	t.Helper()
	n.kubeadm(t, "reset", "--force")
	if n.unit.running() {
		t.Errorf("after the reset of %s its kubelet runs", n.Name)
	}
	if left := n.containersOf(t, ""); len(left) > 0 {
		t.Errorf("after the reset of %s these containers are left: %q", n.Name, left)
	}
	for at := range n.mounts(t) {
		if !n.mountedAtFirst[at] && !strings.HasPrefix(at, n.bed.Dir) {
			t.Errorf("after the reset of %s %s is still mounted", n.Name, at)
		}
	}
	for _, dir := range []string{"/var/lib/kubelet", "/etc/kubernetes/manifests", "/var/lib/etcd"} {
		if left, err := os.ReadDir(n.Path(dir)); err == nil && len(left) > 0 {
			t.Errorf("after the reset of %s there is in %s: %v", n.Name, dir, left)
		}
	}
}

// untilReady waits for a node of the cluster, asked from this one.
func (n *node) untilReady(t *testing.T, name string) {
	t.Helper()
	eventually(t, func() error {
		var node v1.Node
		if err := n.object(&node, "node", name); err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == v1.NodeReady && c.Status == v1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("node %s is not ready: %+v", name, node.Status.Conditions)
	})
}

func (n *node) untilPodReady(t *testing.T, namespace, name string) *v1.Pod {
	t.Helper()
	var pod *v1.Pod
	eventually(t, func() error {
		pod = new(v1.Pod)
		if err := n.object(pod, "pod", "-n", namespace, name); err != nil {
			return err
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == v1.PodReady && c.Status == v1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("pod %s is not ready: %+v", name, pod.Status)
	})
	return pod
}

// pod waits for a pod to be there.
func (n *node) pod(t *testing.T, namespace, name string) *v1.Pod {
	t.Helper()
	var pod *v1.Pod
	eventually(t, func() error {
		pod = new(v1.Pod)
		return n.object(pod, "pod", "-n", namespace, name)
	})
	return pod
}

// containers are the containers of the pods in the namespace default on a node, as the API server knows them, sorted.
func (n *node) containers(t *testing.T, of string) []string {
	t.Helper()
	var pods v1.PodList
	if err := n.object(&pods, "pods", "-n", "default", "--field-selector=spec.nodeName="+of); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, pod := range pods.Items {
		for _, c := range pod.Status.ContainerStatuses {
			found = append(found, fmt.Sprintf("%s/%s %s restarted %d", pod.Namespace, pod.Name, c.ContainerID, c.RestartCount))
		}
	}
	slices.Sort(found)
	return found
}

// id is a container's, alone on its line: ctr also prints warnings.
var id = regexp.MustCompile(`(?m)^[0-9a-f]{64}$`)

// containersOf are the containers of that name, or all, that the runtime has.
func (n *node) containersOf(t *testing.T, name string) []string {
	t.Helper()
	filter := []string{"containers", "list", "-q"}
	if name != "" {
		filter = append(filter, `labels."io.kubernetes.container.name"==`+name)
	}
	out, err := n.bed.Ctr(t.Context(), filter...)
	if err != nil {
		t.Fatal(err)
	}
	found := id.FindAllString(out, -1)
	slices.Sort(found)
	return found
}
