package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/bosun-project/bosun/internal/latest"
)

var csrs = schema.GroupResource{Group: "certificates.k8s.io", Resource: "certificatesigningrequests"}

// fakeAPI plays the API server, its approver and its signer.
type fakeAPI struct {
	t     testing.TB
	caKey *ecdsa.PrivateKey
	ca    *x509.Certificate

	mu      sync.Mutex
	objects map[string]*certv1.CertificateSigningRequest
	news    latest.Cell[int]
	// created are the names in the order of creation, asked how often a creation was tried.
	created []string
	asked   atomic.Int64

	// approve has new requests approved and signed at once.
	approve bool
	// life is how long certificates live; they begin five minutes ago, as kube-controller-manager's do.
	life time.Duration
	// skew is how far the signer's clock is ahead.
	skew time.Duration
	// refuse, if not nil, is the answer to everything.
	refuse error
	// afterCreate is called when an object was stored, before the caller hears of it.
	afterCreate func()
	// sign changes what is signed.
	sign func(*x509.Certificate)
}

func newAPI(t testing.TB) *fakeAPI {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true}
	return &fakeAPI{t: t, caKey: key, ca: ca, objects: map[string]*certv1.CertificateSigningRequest{}, approve: true, life: 365 * 24 * time.Hour}
}

func (a *fakeAPI) CreateCSR(ctx context.Context, csr *certv1.CertificateSigningRequest) (*certv1.CertificateSigningRequest, error) {
	a.mu.Lock()
	a.asked.Add(1)
	if err := a.refuse; err != nil {
		a.mu.Unlock()
		return nil, err
	}
	if a.objects[csr.Name] != nil {
		a.mu.Unlock()
		return nil, apierrors.NewAlreadyExists(csrs, csr.Name)
	}
	a.created = append(a.created, csr.Name)
	o := csr.DeepCopy()
	o.CreationTimestamp = metav1.Now()
	a.objects[o.Name] = o
	if a.approve {
		a.decideLocked(o, certv1.CertificateApproved, "AutoApproved", "")
		a.signLocked(o)
	}
	answer := o.DeepCopy()
	answer.Status = certv1.CertificateSigningRequestStatus{}
	a.mu.Unlock()
	a.tell()
	if a.afterCreate != nil {
		a.afterCreate()
	}
	return answer, ctx.Err()
}

func (a *fakeAPI) GetCSR(_ context.Context, name string) (*certv1.CertificateSigningRequest, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refuse != nil {
		return nil, a.refuse
	}
	if a.objects[name] == nil {
		return nil, apierrors.NewNotFound(csrs, name)
	}
	return a.objects[name].DeepCopy(), nil
}

func (a *fakeAPI) FollowCSR(ctx context.Context, name string, tell func(*certv1.CertificateSigningRequest, error)) error {
	for {
		_, newer := a.news.Get()
		o, err := a.GetCSR(ctx, name)
		switch {
		case apierrors.IsNotFound(err):
			tell(nil, nil)
		case err != nil:
			tell(nil, err)
		default:
			tell(o, nil)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-newer:
		}
	}
}

func (a *fakeAPI) tell() { a.news.Set(a.news.Value() + 1) }

func (a *fakeAPI) decideLocked(o *certv1.CertificateSigningRequest, kind certv1.RequestConditionType, reason, message string) {
	o.Status.Conditions = append(o.Status.Conditions, certv1.CertificateSigningRequestCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message})
}

// decide approves, denies or fails a request, and signs it if it is approved.
func (a *fakeAPI) decide(name string, kind certv1.RequestConditionType, reason, message string) {
	a.mu.Lock()
	o := a.objects[name].DeepCopy()
	a.decideLocked(o, kind, reason, message)
	if kind == certv1.CertificateApproved {
		a.signLocked(o)
	}
	a.objects[name] = o
	a.mu.Unlock()
	a.tell()
}

func (a *fakeAPI) signLocked(o *certv1.CertificateSigningRequest) {
	block, _ := pem.Decode(o.Spec.Request)
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		a.t.Errorf("request %s: %v", o.Name, err)
		return
	}
	now := time.Now().Add(a.skew)
	leaf := &x509.Certificate{Subject: r.Subject, DNSNames: r.DNSNames, IPAddresses: r.IPAddresses, NotBefore: now.Add(-5 * time.Minute), NotAfter: now.Add(a.life)}
	o.Status.Certificate = a.certificate(leaf, r.PublicKey)
}

func (a *fakeAPI) certificate(leaf *x509.Certificate, public any) []byte {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		a.t.Fatal(err)
	}
	leaf.SerialNumber = serial
	if a.sign != nil {
		a.sign(leaf)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.ca, public, a.caKey)
	if err != nil {
		a.t.Error(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// pair makes a certificate with its key that nobody asked for.
func (a *fakeAPI) pair(name string, from, to time.Time) (certPEM, keyPEM []byte) {
	k, err := newKey()
	if err != nil {
		a.t.Fatal(err)
	}
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{nodeGroup}}, NotBefore: from, NotAfter: to}
	return a.certificate(leaf, k.signer.Public()), k.pem
}

func (a *fakeAPI) set(f func()) {
	a.mu.Lock()
	f()
	a.mu.Unlock()
	a.tell()
}

func (a *fakeAPI) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.created...)
}

// poked is a watcher that hears what a test says: inotify does not work in a bubble.
type poked struct{ told chan struct{} }

func newPoked() *poked { return &poked{make(chan struct{}, 1)} }

func (p *poked) run(ctx context.Context)                    { <-ctx.Done() }
func (p *poked) follow([]string) bool                       { return false }
func (p *poked) changes() <-chan struct{}                   { return p.told }
func (p *poked) make(*slog.Logger) watcher                  { return p }
func (p *poked) poke()                                      { p.told <- struct{}{} }
func nobodyHears(*slog.Logger) watcher                      { return newPoked() }
func (a *fakeAPI) connect(string) (Requests, func(), error) { return a, nil, nil }

// node is the place of a test: a kubeconfig, a bootstrap kubeconfig and a directory of certificates.
type node struct {
	t                                   testing.TB
	api                                 *fakeAPI
	dir, kubeconfig, bootstrap, certDir string
	log                                 *slog.Logger
	logged                              *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) count(text string) int { return strings.Count(l.String(), text) }

func newNode(t testing.TB) *node {
	dir := t.TempDir()
	n := &node{t: t, api: newAPI(t), dir: dir, kubeconfig: filepath.Join(dir, "kubelet.conf"), bootstrap: filepath.Join(dir, "bootstrap-kubelet.conf"),
		certDir: filepath.Join(dir, "pki"), logged: &lockedBuffer{}}
	n.log = slog.New(slog.NewTextHandler(n.logged, nil))
	n.write(n.bootstrap, bootstrapText("abcdef.0123456789abcdef"))
	n.write(filepath.Join(dir, "ca.crt"), "not read here")
	return n
}

func bootstrapText(token string) string {
	return `apiVersion: v1
kind: Config
current-context: boot
clusters: [{name: k, cluster: {server: "https://10.0.0.1:6443", certificate-authority: ca.crt, tls-server-name: api}}]
contexts: [{name: boot, context: {cluster: k, user: tls-bootstrap}}]
users: [{name: tls-bootstrap, user: {token: ` + token + `}}]
`
}

// withFiles is a kubeconfig that names certificate and key.
func withFiles(cert, key string) string {
	return `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: "https://10.0.0.1:6443"}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
users: [{name: u, user: {client-certificate: ` + cert + `, client-key: ` + key + `}}]
`
}

func (n *node) write(path, text string) {
	n.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) bootstrapConfig() BootstrapConfig {
	return BootstrapConfig{Kubeconfig: n.kubeconfig, BootstrapKubeconfig: n.bootstrap, CertDir: n.certDir, NodeName: "n1",
		Connect: n.api.connect, State: new(latest.Cell[State]), Log: n.log, watch: nobodyHears}
}

func (n *node) clientConfig() ClientConfig {
	return ClientConfig{Kubeconfig: n.kubeconfig, CertDir: n.certDir, NodeName: "n1", Rotate: true, Log: n.log, watch: nobodyHears, every: 6 * time.Hour}
}

func (n *node) servingConfig() ServingConfig {
	return ServingConfig{CertDir: n.certDir, NodeName: "n1", Requests: n.api, Addresses: new(latest.Cell[[]corev1.NodeAddress]), Log: n.log, watch: nobodyHears, every: 6 * time.Hour}
}

// background runs something until the returned function is called, which waits for its end.
func background(t testing.TB, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

func list(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func has(t testing.TB, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q, want it to have %q", text, part)
	}
}

type leafOf = x509.Certificate

func unauthorised() error { return apierrors.NewUnauthorized("Unauthorized") }

// await waits until the newest value is as wanted.
func await[T any](t testing.TB, cell *latest.Cell[T], want func(T) bool) T {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		v, newer := cell.Get()
		if want(v) {
			return v
		}
		select {
		case <-newer:
		case <-late:
			t.Fatalf("waited in vain; the newest value is %+v", v)
		}
	}
}
