package integration

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	nodeapi "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// newcomer is a member, not yet started, that joins with a bootstrap token and asks for both of its certificates.
func newcomer(t *testing.T) *member {
	t.Helper()
	m := quietMember(t, controlplane.Shared(t), "", "--register-with-taints=example.com/tour=1:NoSchedule", "--node-labels=example.com/tour=1")
	bootstrap, err := m.plane.BootstrapKubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	m.unset("tls-cert-file")
	m.unset("tls-private-key-file")
	m.set("kubeconfig", filepath.Join(m.bed.Dir, "kubeconfig"))
	m.set("bootstrap-kubeconfig", bootstrap)
	m.set("cert-dir", filepath.Join(m.bed.Dir, "pki"))
	m.set("rotate-certificates", "true")
	m.set("rotate-server-certificates", "true")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.plane.ApproveServing(ctx, m.name)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return m
}

// A node asks for nothing that it is refused: not while it joins, runs pods of every kind, shows static pods, answers at its
// door, restarts, and is taken from the cluster and comes again. The authorizer learns a moment late what belongs to a
// node; that this shows is counted apart.
func TestIdentityIsNeverRefused(t *testing.T) {
	t.Parallel()
	m := newcomer(t)
	ns := m.plane.Namespace(t)
	m.start(t)
	m.untilReady(t)
	m.tour(t, ns)
	user := "system:node:" + m.name
	all, err := m.plane.Audit(func(e *controlplane.AuditEvent) bool { return e.User.Username == user })
	if err != nil {
		t.Fatal(err)
	}
	refused, err := m.plane.Refused(user)
	if err != nil {
		t.Fatal(err)
	}
	var late, wrong []controlplane.AuditEvent
	for _, r := range refused {
		switch {
		case r.Stage != "ResponseComplete": // a watch is told of twice
		case isLate(r, all):
			late = append(late, r)
		default:
			wrong = append(wrong, r)
		}
	}
	t.Logf("%d stages of requests, %d refused by an authorizer that was late:\n%s", len(all), len(late), controlplane.Describe(late))
	if len(wrong) > 0 {
		t.Errorf("refused:\n%s", controlplane.Describe(wrong))
	}
}

// isLate tells whether a request was refused only because the authorizer had not heard yet that a pod of the node needs the
// object: a node and the authorizer hear of a pod at the same time. The node then asks again, and gets it.
func isLate(refused controlplane.AuditEvent, all []controlplane.AuditEvent) bool {
	if !strings.Contains(refused.Annotations["authorization.k8s.io/reason"]+refused.ResponseStatus.Message, "no relationship found") {
		return false
	}
	object := func(e controlplane.AuditEvent) string {
		path, query, _ := strings.Cut(e.RequestURI, "?")
		values, _ := url.ParseQuery(query) // what the API server took
		return e.Verb + path + values.Get("fieldSelector")
	}
	return slices.ContainsFunc(all, func(e controlplane.AuditEvent) bool {
		soon := refused.RequestReceivedTimestamp.Add(2 * time.Second)
		return object(e) == object(refused) && e.Code() < 300 && e.RequestReceivedTimestamp.After(refused.RequestReceivedTimestamp) && e.RequestReceivedTimestamp.Before(soon)
	})
}

// tour has the node do everything that makes it ask the API server.
func (m *member) tour(t *testing.T, ns string) {
	t.Helper()
	m.configMap(t, ns, "settings", map[string]string{"a": "A"})
	m.secret(t, ns, "login", map[string][]byte{"word": []byte("hush")})
	class := &nodeapi.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: ns}, Handler: "runc"}
	if _, err := m.api.NodeV1().RuntimeClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.api.NodeV1().RuntimeClasses().Delete(context.Background(), ns, metav1.DeleteOptions{}) }) // it does no harm
	all := m.create(t, ns, "all", `
spec:
  imagePullSecrets: [{name: registry}]
  volumes: [{name: c, configMap: {name: settings}}, {name: s, secret: {secretName: login}}, {name: none, configMap: {name: nothing, optional: true}},
    {name: p, projected: {sources: [{serviceAccountToken: {path: token, audience: vault}}, {configMap: {name: settings}}, {secret: {name: login}}, {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}},
      {clusterTrustBundle: {name: nowhere, path: maybe.pem, optional: true}}]}}]
  initContainers: [{name: first, image: BOX, args: [say, hello]}]
  containers:
  - {name: main, image: BOX, envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: login}}], env: [{name: X, valueFrom: {configMapKeyRef: {name: nothing, key: x, optional: true}}}],
     volumeMounts: [{name: c, mountPath: /c}, {name: s, mountPath: /s}, {name: none, mountPath: /n}, {name: p, mountPath: /p}], readinessProbe: {exec: {command: [/testbox, id]}}}
`)
	classy := m.create(t, ns, "classy", "spec: {runtimeClassName: "+ns+", containers: [{name: main, image: BOX}]}")
	waits := m.create(t, ns, "waits", `spec: {volumes: [{name: c, configMap: {name: late}}], containers: [{name: main, image: BOX, envFrom: [{secretRef: {name: late}}], volumeMounts: [{name: c, mountPath: /c}]}]}`)
	private := m.create(t, ns, "private", `spec: {imagePullSecrets: [{name: registry}], containers: [{name: main, image: "127.0.0.1:1/no/such:v1"}]}`)
	over := m.create(t, ns, "over", `spec: {restartPolicy: Never, containers: [{name: main, image: BOX, args: [exit, "3"]}]}`)
	refused := m.create(t, ns, "refused", `spec: {nodeSelector: {no: where}, containers: [{name: main, image: BOX}]}`)
	static := m.pod(t, "fixed", "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}")

	all.untilReady()
	classy.untilReady()
	over.untilPhase(v1.PodFailed)
	refused.untilPhase(v1.PodFailed)
	private.until("failing to pull", func(p *v1.Pod) bool {
		return waitsFor("main", "ErrImagePull")(p) || waitsFor("main", "ImagePullBackOff")(p)
	})
	waits.until("known", func(p *v1.Pod) bool { return p.Status.StartTime != nil })
	m.configMap(t, ns, "late", map[string]string{"x": "1"})
	m.secret(t, ns, "late", map[string][]byte{"x": []byte("1")})
	waits.untilReady()
	m.configMap(t, ns, "settings", map[string]string{"a": "B"})
	untilHolds(t, all.volume("configmap", "c", "a"), "B")

	mirror := m.mirror(t, static, nil, "ready", isReady)
	m.kubectl(t, "default", "delete", "pod", static.full(), "--wait=false")
	m.mirror(t, static, mirror, "ready", isReady)
	static.write(m.text("fixed", "spec: {terminationGracePeriodSeconds: 1, containers: [{name: other, image: BOX}]}"))
	m.mirror(t, static, mirror, "of the new edition", func(p *v1.Pod) bool { return p.Spec.Containers[0].Name == "other" && isReady(p) })

	m.atTheDoor(t, ns)
	m.restart(t)
	m.create(t, ns, "after", "spec: {containers: [{name: main, image: BOX}]}").untilReady() // it has heard of all others, too
	for _, g := range []*guest{all, classy} {
		g.untilReady()
		g.remove()
	}
	m.kubectl(t, ns, "delete", "pod", "waits", "--grace-period=0", "--force")
	for _, g := range []*guest{all, classy, waits} {
		g.untilGone()
	}
	m.comesAgain(t)
}

// atTheDoor has somebody come to the node's door whom it has to ask the API server about.
func (m *member) atTheDoor(t *testing.T, ns string) {
	t.Helper()
	same(t, "exec", m.kubectl(t, ns, "exec", "all", "--", "/testbox", "say", "here"), "here\n")
	m.allow(t, person("visitor"), "get", "nodes/pods")
	m.untilMay(t, "visitor", "get", "pods")
	code, _ := m.door(t, controlplane.Identity{User: "visitor"}, "", "GET", "/pods")
	same(t, "the answer to the visitor", code, 200)
	code, _ = m.door(t, controlplane.Identity{}, "nonsense", "GET", "/pods")
	same(t, "the answer to nonsense", code, 401)
}

// comesAgain takes the node from the cluster; it registers again.
func (m *member) comesAgain(t *testing.T) {
	t.Helper()
	before := m.untilReady(t)
	if err := m.api.CoreV1().Nodes().Delete(t.Context(), m.name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		n, err := m.api.CoreV1().Nodes().Get(t.Context(), m.name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return errors.New("the node is away")
		case err != nil:
			return err
		case n.UID == before.UID:
			return errors.New("the node is still the one before")
		}
		return nil
	})
	n := m.untilReady(t)
	patch := []byte(`{"metadata":{"labels":{"example.com/new":"1"}}}`)
	if _, err := m.api.CoreV1().Nodes().Patch(t.Context(), m.name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	m.checkLease(t, n)
}
