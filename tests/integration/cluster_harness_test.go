package integration

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/testbed"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// A member is an agent that belongs to a cluster.
type member struct {
	*node
	name   string // the node's, in the cluster
	secure int    // the port that upstream has at 10250
	plane  *controlplane.Plane
	api    kubernetes.Interface
}

// newMember prepares an agent of a cluster on a bed of its own, without starting it.
func newMember(ctx context.Context, plane *controlplane.Plane, bed *testbed.Bed, kubeconfig string, more ...string) (*member, error) {
	n, err := newNode(ctx, bed)
	if err != nil {
		return nil, err
	}
	m := &member{node: n, secure: n.healthz + 2, plane: plane, api: plane.Client(), name: "node-" + strconv.Itoa(n.healthz)}
	n.called = m.name
	if kubeconfig == "" {
		if kubeconfig, err = plane.NodeKubeconfig(m.name); err != nil {
			return nil, err
		}
	}
	cert, key, err := plane.ServingFiles(m.name, nodeIP)
	if err != nil {
		return nil, err
	}
	n.more = append([]string{
		"--tls-cert-file=" + cert, "--tls-private-key-file=" + key,
		"--hostname-override=" + m.name, "--node-ip=" + nodeIP, "--kubeconfig=" + kubeconfig, "--port=" + strconv.Itoa(m.secure),
		"--client-ca-file=" + plane.CAFile, "--authentication-token-webhook=true", "--authorization-mode=Webhook", "--anonymous-auth=false",
	}, more...)
	return m, nil
}

// ownMember starts an agent of the shared cluster that ends with the test: for tests that hurt the runtime or the agent.
func ownMember(t *testing.T, more ...string) *member {
	t.Helper()
	m := quietMember(t, controlplane.Shared(t), "", more...)
	m.start(t)
	m.untilReady(t)
	return m
}

// quietMember is ownMember of any cluster before the agent starts.
func quietMember(t *testing.T, plane *controlplane.Plane, kubeconfig string, more ...string) *member {
	t.Helper()
	return quietMemberOn(t, testbed.Options{Images: []string{"testbox"}}, plane, kubeconfig, more...)
}

// quietMemberOn is quietMember on a bed as wanted.
func quietMemberOn(t *testing.T, options testbed.Options, plane *controlplane.Plane, kubeconfig string, more ...string) *member {
	t.Helper()
	controlplane.AddAddress(t, nodeIP)
	m, err := newMember(t.Context(), plane, testbed.Start(t, options), kubeconfig, more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.kill(t)
		m.checkSane(t)
		m.tellOnFailure(t, "")
		if err := m.api.CoreV1().Nodes().Delete(context.Background(), m.name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Logf("node %s stays: %v", m.name, err)
		}
	})
	return m
}

var sharedClusterAgent = sync.OnceValues(func() (*member, error) {
	plane, err := controlplane.Open(context.Background(), controlplane.Options{})
	if err != nil {
		return nil, err
	}
	bed, err := testbed.Open(testbed.Options{})
	if err != nil {
		return nil, err
	}
	m, err := newMember(context.Background(), plane, bed, "")
	if err != nil {
		return nil, err
	}
	return m, m.begin()
})

// sharedMember is the agent that most tests of clusters have in common; it is the only node of its cluster, so that what
// the scheduler places comes to it.
func sharedMember(t *testing.T) *member {
	t.Helper()
	testbed.RequireRoot(t)
	controlplane.AddAddress(t, nodeIP) // where the API server finds the node
	m, err := sharedClusterAgent()
	if err != nil {
		t.Fatal(err)
	}
	m.untilReady(t)
	return m
}

// untilReady waits until the API server knows the node as ready, and returns it.
func (m *member) untilReady(t *testing.T) *v1.Node {
	t.Helper()
	var node *v1.Node
	eventually(t, func() error {
		var err error
		if node, err = m.api.CoreV1().Nodes().Get(t.Context(), m.name, metav1.GetOptions{}); err != nil {
			return err
		}
		if c := nodeCondition(node, v1.NodeReady); c == nil || c.Status != v1.ConditionTrue {
			return fmt.Errorf("node %s is not ready: %+v", m.name, c)
		}
		return nil
	})
	return node
}

func nodeCondition(n *v1.Node, t v1.NodeConditionType) *v1.NodeCondition {
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == t {
			return &n.Status.Conditions[i]
		}
	}
	return nil
}

// A guest is a pod of the API under test.
type guest struct {
	*member
	t        *testing.T
	ns, name string
	uid      string
}

// create makes a pod on this node, given from "spec:" on, and deletes it after the test; then it must be gone without a trace.
func (m *member) create(t *testing.T, ns, name, spec string) *guest {
	t.Helper()
	p := &v1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(expand.Replace(m.text(name, spec))), p); err != nil {
		t.Fatal(err)
	}
	return m.createPod(t, ns, p)
}

func (m *member) createPod(t *testing.T, ns string, p *v1.Pod) *guest {
	t.Helper()
	p.Namespace = ns
	if p.Spec.NodeName == "" && p.Spec.SchedulerName == "" {
		p.Spec.NodeName = m.name
	}
	if p.Spec.TerminationGracePeriodSeconds == nil {
		p.Spec.TerminationGracePeriodSeconds = new(int64(1))
	}
	made, err := m.api.CoreV1().Pods(ns).Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{member: m, t: t, ns: ns, name: p.Name, uid: string(made.UID)}
	t.Cleanup(func() {
		m.checkSane(t)
		m.tellOnFailure(t, p.Name)
		if m.running() {
			g.remove()
			g.untilGone()
		}
	})
	return g
}

// now is the pod as the API server has it.
func (g *guest) now() (*v1.Pod, error) {
	return g.api.CoreV1().Pods(g.ns).Get(context.Background(), g.name, metav1.GetOptions{})
}

// until waits until the pod in the API is as wanted.
func (g *guest) until(what string, wanted func(*v1.Pod) bool) *v1.Pod {
	g.t.Helper()
	var p *v1.Pod
	eventually(g.t, func() error {
		var err error
		if p, err = g.now(); err != nil {
			return err
		}
		if !wanted(p) {
			text, _ := yaml.Marshal(p.Status)
			return fmt.Errorf("pod %s is not %s:\n%s", g.name, what, text)
		}
		return nil
	})
	return p
}

func (g *guest) untilReady() *v1.Pod {
	g.t.Helper()
	return g.until("ready", isReady)
}

func isReady(p *v1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady {
			return c.Status == v1.ConditionTrue
		}
	}
	return false
}

func (g *guest) remove() {
	g.t.Helper()
	err := g.api.CoreV1().Pods(g.ns).Delete(context.Background(), g.name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(g.uid)})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		g.t.Fatal(err)
	}
}

// untilGone waits until neither the API server nor the node has anything of the pod.
func (g *guest) untilGone() {
	g.t.Helper()
	eventually(g.t, func() error {
		p, err := g.now()
		switch {
		case err == nil && string(p.UID) == g.uid:
			return fmt.Errorf("the API server still has pod %s, phase %s", g.name, p.Status.Phase)
		case err != nil && !apierrors.IsNotFound(err):
			return err
		}
		if left := g.leftOf(g.name) + g.remains(g.uid); left != "" {
			return fmt.Errorf("left of pod %s: %s", g.name, left)
		}
		return nil
	})
}

// says is what an attempt of a container has said so far, as the node's log files have it.
func (g *guest) says(container string, attempt int) string {
	g.t.Helper()
	return g.logOf(g.t, "*_"+g.name+"_"+g.uid, container, attempt)
}

// untilSays waits until the first attempt of a container has said all of this.
func (g *guest) untilSays(container string, words ...string) {
	g.t.Helper()
	eventually(g.t, func() error {
		said := g.says(container, 0)
		for _, w := range words {
			if !strings.Contains(said, w) {
				return fmt.Errorf("container %s of pod %s has not said %q but:\n%s", container, g.name, w, said)
			}
		}
		return nil
	})
}

// kubectl runs kubectl as the administrator, in a namespace, and returns what it printed.
func (m *member) kubectl(t *testing.T, ns string, args ...string) string {
	t.Helper()
	return m.kubectlInput(t, "", ns, args...)
}

// kubectlInput is kubectl with input.
func (m *member) kubectlInput(t *testing.T, input, ns string, args ...string) string {
	t.Helper()
	out, err := m.plane.KubectlInput(deadline(t, patience), input, append([]string{"-n", ns}, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// apply makes objects, or changes them; images are as in create.
func (m *member) apply(t *testing.T, ns, text string) {
	t.Helper()
	m.kubectlInput(t, expand.Replace(strings.ReplaceAll(text, "NODE", m.name)), ns, "apply", "-f", "-")
}

// known is a pod that somebody else has made.
func (m *member) known(t *testing.T, p *v1.Pod) *guest {
	return &guest{member: m, t: t, ns: p.Namespace, name: p.Name, uid: string(p.UID)}
}

// labelled lists the pods of a namespace with a label.
func (m *member) labelled(t *testing.T, ns, selector string) []v1.Pod {
	t.Helper()
	list, err := m.api.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// apiStatus is a container's status, of whichever kind it is; nil if the API server has none yet.
func apiStatus(p *v1.Pod, container string) *v1.ContainerStatus {
	for _, list := range [][]v1.ContainerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses, p.Status.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}

// waitsFor tells whether a container waits with a reason.
func waitsFor(container, reason string) func(*v1.Pod) bool {
	return func(p *v1.Pod) bool {
		s := apiStatus(p, container)
		return s != nil && s.State.Waiting != nil && s.State.Waiting.Reason == reason
	}
}

// hasRestarted tells what is wrong unless the API server says that a container runs for the so-many-th time since its first.
func (g *guest) hasRestarted(container string, times int32) error {
	p, err := g.now()
	if err != nil {
		return err
	}
	if s := apiStatus(p, container); s == nil || s.RestartCount != times || s.State.Running == nil {
		return fmt.Errorf("container %s of pod %s does not run for the %d. time: %+v", container, g.name, times+1, s)
	}
	return nil
}

// untilPhase waits for a phase.
func (g *guest) untilPhase(want v1.PodPhase) *v1.Pod {
	g.t.Helper()
	return g.until(string(want), func(p *v1.Pod) bool { return p.Status.Phase == want })
}

// containsAll tells which of these a text lacks.
func containsAll(text string, words ...string) error {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return fmt.Errorf("%q is not in:\n%s", w, text)
		}
	}
	return nil
}
