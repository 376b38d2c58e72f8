package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// behind is a node of its own for a test, behind a proxy of its own.
func behind(t *testing.T) (*controlplane.Plane, *controlplane.Proxy, *kubernetes.Clientset, string) {
	t.Helper()
	p := controlplane.Shared(t)
	x := p.StartProxy(t)
	name := strings.ToLower(t.Name())
	kubeconfig, err := x.NodeKubeconfig(name)
	client := clientOf(t, kubeconfig, err)
	register(t, client, name)
	t.Cleanup(func() {
		if _, err := p.Kubectl(context.Background(), "delete", "node", name); err != nil {
			t.Error(err)
		}
	})
	return p, x, client, name
}

func get(ctx context.Context, client kubernetes.Interface, node string) error {
	_, err := client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	return err
}

// Through the proxy the API server sees the client itself, by certificate or by token.
func TestProxyIdentity(t *testing.T) {
	p, x, client, name := behind(t)
	ctx := bounded(t)
	if _, err := client.CoreV1().Secrets("").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a node lists all secrets: %v", err)
	}
	eventually(t, func() error {
		made, err := p.Audit(func(e *controlplane.AuditEvent) bool {
			return e.User.Username == "system:node:"+name && e.Verb == "create" && e.Code() == http.StatusCreated && strings.Contains(strings.Join(e.User.Groups, " "), "system:nodes")
		})
		if err == nil && len(made) != 1 {
			err = fmt.Errorf("the audit log has %d registrations of the node itself, want 1", len(made))
		}
		return err
	})
	kubeconfig, err := x.BootstrapKubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	who, err := p.Kubectl(ctx, "--kubeconfig", kubeconfig, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
	if err != nil || who != "system:bootstrap:abcdef" {
		t.Errorf("the bootstrap token is %q, %v", who, err)
	}
	// Nobody but the proxy itself may say who somebody is.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, x.URL+"/api/v1/secrets", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Remote-User", "admin")
	req.Header.Set("X-Remote-Group", "system:masters")
	resp, err := anonymous(t, p).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("somebody who says he is an administrator: %s", resp.Status)
	}
}

// anonymous is a client without any identity that trusts the cluster.
func anonymous(t *testing.T, p *controlplane.Plane) *http.Client {
	t.Helper()
	config, err := p.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(config.CAData)
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}
	return &http.Client{Transport: transport, Timeout: patience}
}

func TestProxyCertificates(t *testing.T) {
	p, x, client, name := behind(t)
	ctx := bounded(t)
	expired := controlplane.NodeIdentity(name)
	expired.NotAfter = time.Now().Add(-time.Minute)
	for where, write := range map[string]func(controlplane.Identity) (string, error){"API server": p.Kubeconfig, "proxy": x.Kubeconfig} {
		kubeconfig, err := write(expired)
		if err := get(ctx, clientOf(t, kubeconfig, err), name); !apierrors.IsUnauthorized(err) {
			t.Errorf("%s: an expired certificate: %v, want Unauthorized", where, err)
		}
	}
	if err := x.Serve(controlplane.Identity{User: "x", Hosts: []string{"127.0.0.1"}, NotAfter: time.Now().Add(-time.Minute)}); err != nil {
		t.Fatal(err)
	}
	x.CutConnections()
	var invalid x509.CertificateInvalidError
	eventually(t, func() error { // the first call may meet the connection that is being cut
		if err := get(ctx, client, name); !errors.As(err, &invalid) {
			return fmt.Errorf("a server whose certificate expired: %v", err)
		}
		return nil
	})
}

func TestProxyAnswers(t *testing.T) {
	_, x, client, name := behind(t)
	ctx := bounded(t)
	for status, is := range map[int]func(error) bool{
		http.StatusInternalServerError: apierrors.IsInternalError, http.StatusServiceUnavailable: apierrors.IsServiceUnavailable,
		http.StatusConflict: apierrors.IsConflict, http.StatusForbidden: apierrors.IsForbidden, http.StatusGone: apierrors.IsResourceExpired,
	} {
		remove := x.Inject(controlplane.Fault{Path: "/nodes/", Status: status})
		if err := get(ctx, client, name); !is(err) {
			t.Errorf("%d came as %v", status, err)
		}
		remove()
	}
	if err := get(ctx, client, name); err != nil {
		t.Error(err)
	}

	// client-go heeds Retry-After by itself.
	x.Inject(controlplane.Fault{Path: "/nodes/", Status: http.StatusTooManyRequests, RetryAfter: time.Second, Times: 1})
	began := time.Now()
	if err := get(ctx, client, name); err != nil || time.Since(began) < time.Second {
		t.Errorf("429: %v after %v, want success after a second", err, time.Since(began))
	}

	x.Inject(controlplane.Fault{Delay: 300 * time.Millisecond})
	began = time.Now()
	if err := get(ctx, client, name); err != nil || time.Since(began) < 300*time.Millisecond {
		t.Errorf("slow: %v after %v", err, time.Since(began))
	}
	x.Heal()

	x.Inject(controlplane.Fault{Method: http.MethodGet, Cut: true, Times: 1})
	if err := get(ctx, client, name); err == nil || apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
		t.Errorf("a broken answer came as %v", err)
	}
}

// A request whose answer is lost was done all the same.
func TestProxyLosesAnswers(t *testing.T) {
	_, x, client, name := behind(t)
	ctx := bounded(t)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: corev1.NamespaceNodeLease}}
	x.Inject(controlplane.Fault{Kind: controlplane.Writes, Path: "/leases$", Lose: true, Times: 1})
	if _, err := client.CoordinationV1().Leases(lease.Namespace).Create(ctx, lease, metav1.CreateOptions{}); err == nil {
		t.Error("an answer that was lost came")
	}
	if _, err := client.CoordinationV1().Leases(lease.Namespace).Create(ctx, lease, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("the second time: %v", err)
	}
}

func TestProxyHangs(t *testing.T) {
	_, x, client, name := behind(t)
	remove := x.Inject(controlplane.Fault{Path: "/nodes/", Hang: true})
	done := make(chan error, 1)
	go func() { done <- get(bounded(t), client, name) }()
	brief, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := get(brief, client, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want no answer", err)
	}
	remove()
	if err := <-done; err != nil {
		t.Error(err)
	}

	x.Freeze()
	brief, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := get(brief, client, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v from a black hole", err)
	}
	x.Thaw()
	if err := get(bounded(t), client, name); err != nil {
		t.Error(err)
	}
}

func TestProxyWatches(t *testing.T) {
	p, x, client, name := behind(t)
	ctx := bounded(t)
	follow := func(from string) watch.Interface {
		t.Helper()
		w, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: from})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
		return w
	}
	w := follow("")
	if e, ok := nextEvent(t, w); !ok || e.Type != watch.Added {
		t.Fatalf("got %v, want the node", e)
	}
	if _, err := p.Kubectl(ctx, "label", "node", name, "seen=yes"); err != nil {
		t.Fatal(err)
	}
	e := labelled(t, w, "seen", "yes")
	if n := x.CutWatches("system:node:" + name); n != 1 {
		t.Errorf("%d watches were cut, want 1", n)
	}
	for e, ok := nextEvent(t, w); ok; e, ok = nextEvent(t, w) {
		if e.Type != watch.Modified { // what controllers do to a new node may have been on its way
			t.Errorf("a watch that was cut told %v", e)
		}
	}
	if n := x.CutWatches(""); n != 0 {
		t.Errorf("%d watches are left", n)
	}

	x.Inject(controlplane.Fault{Kind: controlplane.Watches, Expire: true, Times: 1})
	if e, ok := nextEvent(t, follow(e.Object.(*corev1.Node).ResourceVersion)); !ok || e.Type != watch.Error || !apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
		t.Errorf("got %v, want 410", e)
	}

	w = follow("")
	if e, ok := nextEvent(t, w); !ok || e.Type != watch.Added {
		t.Fatalf("got %v, want the node again", e)
	}
	x.CutConnections()
	for e, ok := nextEvent(t, w); ok; e, ok = nextEvent(t, w) {
		if e.Type != watch.Error && e.Type != watch.Modified { // client-go tells of a broken connection so
			t.Errorf("a broken watch told %v", e)
		}
	}
	for _, r := range x.Requests() {
		if r.User != "system:node:"+name {
			t.Errorf("a request by %q: %+v", r.User, r)
		}
	}
}

// labelled waits for the news that a node has a label. Controllers have news of a new node, too.
func labelled(t *testing.T, w watch.Interface, label, value string) watch.Event {
	t.Helper()
	for e, ok := nextEvent(t, w); ok; e, ok = nextEvent(t, w) {
		if n, is := e.Object.(*corev1.Node); is && e.Type == watch.Modified && n.Labels[label] == value {
			return e
		}
	}
	t.Fatalf("the watch ended before the node had the label %s=%s", label, value)
	return watch.Event{}
}

// The API server's clock goes back, for answers in either encoding, for a watch that was there before, and in the Date.
func TestProxyClock(t *testing.T) {
	p, x, client, name := behind(t)
	ctx := bounded(t)
	w, err := client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	first, _ := nextEvent(t, w)
	made := first.Object.(*corev1.Node).CreationTimestamp.Time
	const back = -time.Hour
	x.SetClock(back)

	kubeconfig, err := x.NodeKubeconfig(name)
	if err != nil {
		t.Fatal(err)
	}
	for encoding, client := range map[string]*kubernetes.Clientset{
		"JSON": client, "protobuf": encoded(t, kubeconfig, "application/vnd.kubernetes.protobuf"),
	} {
		list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		if err != nil || len(list.Items) != 1 {
			t.Fatalf("%s: %d nodes, %v", encoding, len(list.Items), err)
		}
		node := &list.Items[0]
		if got := node.CreationTimestamp.Sub(made); got != back {
			t.Errorf("%s: the node was made %v later than it was", encoding, got)
		}
		node.Labels = map[string]string{"example.com/encoding": encoding}
		if node, err = client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{}); err != nil { // creationTimestamp must be as it was
			t.Fatalf("%s: %v", encoding, err)
		}
		if got := node.CreationTimestamp.Sub(made); got != back {
			t.Errorf("%s: the updated node was made %v later than it was", encoding, got)
		}
		event := labelled(t, w, "example.com/encoding", encoding)
		if got := event.Object.(*corev1.Node).CreationTimestamp.Sub(made); got != back {
			t.Errorf("%s: the watched node was made %v later than it was", encoding, got)
		}
	}
	resp, err := anonymous(t, p).Get(x.URL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil || time.Until(date) > back+time.Minute || time.Until(date) < back-time.Minute {
		t.Errorf("the Date is %v (%v), want about an hour ago", date, err)
	}
}

// encoded is a client that speaks another encoding than JSON.
func encoded(t *testing.T, kubeconfig, contentType string) *kubernetes.Clientset {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.ContentType, config.AcceptContentTypes = contentType, contentType
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
