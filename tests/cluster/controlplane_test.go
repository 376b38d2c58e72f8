package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// patience bounds what takes a moment on an idle machine and a while on a busy one.
const patience = 60 * time.Second

// clientOf is a client as a kubeconfig says.
func clientOf(t *testing.T, kubeconfig string, err error) *kubernetes.Clientset {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// eventually looks until what says nothing is wrong.
func eventually(t *testing.T, what func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", patience, err)
		}
		<-time.After(25 * time.Millisecond)
	}
}

// bounded is a context for calls that must not hang.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestVersions(t *testing.T) {
	p := controlplane.Shared(t)
	out, err := p.Kubectl(bounded(t), "version")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Client Version: v1.37.1", "Server Version: v1.37.1"} {
		if !strings.Contains(out, line) {
			t.Errorf("kubectl version said %q, want %q", out, line)
		}
	}
	if out, err := p.Kubectl(bounded(t), "get", "--raw", "/readyz"); err != nil || out != "ok" {
		t.Errorf("/readyz: %q, %v", out, err)
	}
	t.Logf("the API server was ready after %v, pods could be made after %v", p.Took.APIServer, p.Took.ServiceAccount)
}

// A node that says it is ready gets what scheduler and controllers make of a Deployment; what it may not do is refused and
// found in the audit log.
func TestNodeIdentity(t *testing.T) {
	p := controlplane.Shared(t)
	ctx, namespace := bounded(t), p.Namespace(t)
	kubeconfig, err := p.NodeKubeconfig("identity")
	node := clientOf(t, kubeconfig, err)
	register(t, node, "identity")
	t.Cleanup(func() {
		if _, err := p.Kubectl(context.Background(), "delete", "node", "identity"); err != nil {
			t.Error(err)
		}
	})
	if refused, err := p.Refused("system:node:identity"); err != nil || len(refused) > 0 {
		t.Fatalf("a node could not register: %v %v", controlplane.Describe(refused), err)
	}

	if _, err := p.Kubectl(ctx, "-n", namespace, "create", "deployment", "web", "--image=nginx", "--replicas=2"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		pods, err := node.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", "identity").String()})
		if err == nil && len(pods.Items) != 2 {
			err = fmt.Errorf("%d pods are bound, want 2", len(pods.Items))
		}
		return err
	})

	if _, err := node.CoreV1().Secrets("").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a node lists all secrets: %v", err)
	}
	other := nodeObject("another")
	if _, err := node.CoreV1().Nodes().Create(ctx, other, metav1.CreateOptions{}); !apierrors.IsForbidden(err) { // by NodeRestriction
		t.Errorf("a node makes another: %v", err)
	}
	eventually(t, func() error {
		refused, err := p.Refused("system:node:identity")
		if err == nil && len(refused) != 2 {
			err = fmt.Errorf("the audit log has %d refusals, want 2:\n%s", len(refused), controlplane.Describe(refused))
		}
		return err
	})
}

func nodeObject(name string) *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{
			Capacity: room, Allocatable: room,
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Test", LastHeartbeatTime: metav1.Now()}},
		},
	}
}

func register(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	if _, err := client.CoreV1().Nodes().Create(bounded(t), nodeObject(name), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A machine with the bootstrap token gets a node's certificate, signed by the controllers, and is that node with it.
func TestBootstrap(t *testing.T) {
	p := controlplane.Shared(t)
	kubeconfig, err := p.BootstrapKubeconfig()
	bare := clientOf(t, kubeconfig, err)
	id := controlplane.NodeIdentity("joining")
	pair := request(t, bare, id, certificatesv1.KubeAPIServerClientKubeletSignerName, nil)

	file := filepath.Join(t.TempDir(), "kubeconfig")
	node := clientOf(t, file, p.WriteKubeconfig(file, p.URL, controlplane.Credentials{Pair: pair}))
	register(t, node, "joining")
	t.Cleanup(func() {
		if _, err := p.Kubectl(context.Background(), "delete", "node", "joining"); err != nil {
			t.Error(err)
		}
	})
	// Renewing is for the node itself.
	request(t, node, id, certificatesv1.KubeAPIServerClientKubeletSignerName, nil)

	// For serving, somebody must approve.
	ctx, cancel := context.WithCancel(t.Context())
	approving := make(chan struct{})
	go func() {
		p.ApproveServing(ctx)
		close(approving)
	}()
	serving := request(t, node, id, certificatesv1.KubeletServingSignerName, []string{"192.0.2.10"})
	cancel()
	<-approving
	cert, err := serving.TLS()
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.Leaf.VerifyHostname("192.0.2.10"); err != nil {
		t.Error(err)
	}
}

// request asks for a certificate and waits for it.
func request(t *testing.T, client kubernetes.Interface, id controlplane.Identity, signer string, addresses []string) controlplane.Pair {
	t.Helper()
	ctx := bounded(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: id.User, Organization: id.Groups}}
	for _, a := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(a))
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	usage := certificatesv1.UsageClientAuth
	if len(addresses) > 0 {
		usage = certificatesv1.UsageServerAuth
	}
	csr, err := client.CertificatesV1().CertificateSigningRequests().Create(ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: signer,
			Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, usage},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if csr, err = client.CertificatesV1().CertificateSigningRequests().Get(ctx, csr.Name, metav1.GetOptions{}); err == nil && len(csr.Status.Certificate) == 0 {
			err = fmt.Errorf("%s for %s is not signed: %v", signer, id.User, csr.Status.Conditions)
		}
		return err
	})
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return controlplane.Pair{Cert: csr.Status.Certificate, Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})}
}

// The API server can be stopped, killed and frozen, and the store put back to an earlier day, each at the same address.
func TestOutages(t *testing.T) {
	p := controlplane.Start(t, controlplane.Options{})
	ctx := bounded(t)
	get := func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		_, err := p.Client().CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, end := range map[string]func() error{"stopped": p.StopAPIServer, "killed": p.KillAPIServer} {
		began := time.Now()
		must(end())
		t.Logf("it was %s after %v", name, time.Since(began))
		if err := get(patience); err == nil {
			t.Errorf("it answers after it was %s", name)
		}
		began = time.Now()
		must(p.StartAPIServer(ctx))
		t.Logf("it was back after %v", time.Since(began))
		must(get(patience))
	}

	must(p.FreezeAPIServer())
	if err := get(500 * time.Millisecond); err == nil {
		t.Error("it answers while it is frozen")
	}
	must(p.ThawAPIServer())
	eventually(t, func() error { return get(patience) })

	backup := filepath.Join(t.TempDir(), "backup")
	must(p.Backup(ctx, backup))
	eventually(t, func() error { return get(patience) })
	_, err := p.Kubectl(ctx, "create", "namespace", "later")
	must(err)
	must(p.Restore(ctx, backup))
	eventually(t, func() error { return get(patience) })
	if _, err := p.Client().CoreV1().Namespaces().Get(ctx, "later", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a namespace made after the backup: %v", err)
	}
	if p.Namespace(t) == "" { // the controllers are at work again
		t.Error("no namespace")
	}
}

// nextEvent waits for a watch to tell something, or to end (ok is false).
func nextEvent(t *testing.T, w watch.Interface) (e watch.Event, ok bool) {
	t.Helper()
	select {
	case e, ok = <-w.ResultChan():
		return e, ok
	case <-time.After(patience):
		t.Fatalf("a watch neither told anything nor ended within %v", patience)
		return e, false
	}
}
