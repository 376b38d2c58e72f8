package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	certificates "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// podSigner signs requests of pods as the signers of a cluster do.
type podSigner struct {
	t      *testing.T
	api    kubernetes.Interface
	signer string
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
}

func newPodSigner(t *testing.T, api kubernetes.Interface, signer string) *podSigner {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: signer}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(48 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	return &podSigner{t: t, api: api, signer: signer, ca: ca, key: key}
}

// next waits for the request of a pod after those that are in seen.
func (s *podSigner) next(ns, pod string, seen map[string]bool) *certificates.PodCertificateRequest {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.signerName", s.signer).String()}
	w, err := s.api.CertificatesV1().PodCertificateRequests(ns).Watch(ctx, options)
	if err != nil {
		s.t.Fatal(err)
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if r, ok := e.Object.(*certificates.PodCertificateRequest); ok && e.Type == watch.Added && r.Spec.PodName == pod && !seen[r.Name] {
			seen[r.Name] = true
			return r
		}
	}
	s.t.Fatalf("pod %s/%s has asked signer %s for no certificate", ns, pod, s.signer)
	return nil
}

// issue signs a request; the certificate is of an hour ago, and is to be renewed after.
func (s *podSigner) issue(r *certificates.PodCertificateRequest, after time.Duration) {
	s.t.Helper()
	stub, err := x509.ParseCertificateRequest(r.Spec.StubPKCS10Request)
	if err != nil {
		s.t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: r.Spec.PodName}, NotBefore: now.Add(-4 * time.Minute), NotAfter: now.Add(20 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, s.ca, stub.PublicKey, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Status.CertificateChain = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	r.Status.NotBefore, r.Status.NotAfter = &metav1.Time{Time: leaf.NotBefore}, &metav1.Time{Time: leaf.NotAfter}
	r.Status.BeginRefreshAt = &metav1.Time{Time: now.Add(after)}
	s.decide(r, certificates.PodCertificateRequestConditionTypeIssued, "Signed", "signed by a test")
}

func (s *podSigner) decide(r *certificates.PodCertificateRequest, condition, reason, message string) {
	s.t.Helper()
	r.Status.Conditions = []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: metav1.Now()}}
	if _, err := s.api.CertificatesV1().PodCertificateRequests(r.Namespace).UpdateStatus(s.t.Context(), r, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// Behaviour 182: a pod gets a key and a certificate of its own; a signer's no is told; what is due is renewed.
func TestPodCertificates(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	s := newPodSigner(t, m.api, "example.com/"+ns)
	seen := map[string]bool{}
	g := m.create(t, ns, "certified", `
spec:
  volumes: [{name: p, projected: {sources: [{podCertificate: {signerName: `+s.signer+`, keyType: ECDSAP256, credentialBundlePath: bundle.pem,
    userAnnotations: {example.com/for: tests}}}]}}]
  containers: [{name: main, image: BOX, volumeMounts: [{name: p, mountPath: /p}]}]
`)
	r := s.next(ns, "certified", seen)
	p, err := g.now()
	if err != nil {
		t.Fatal(err)
	}
	if r.Spec.PodUID != p.UID || r.Spec.UnverifiedUserAnnotations["example.com/for"] != "tests" {
		t.Errorf("asked for %+v", r.Spec)
	}
	began := time.Now()
	s.issue(r, 10*time.Minute)
	g.untilReady()
	t.Logf("ready %v after its certificate was issued", time.Since(began).Round(time.Millisecond))
	path := g.volume("projected", "p", "bundle.pem")
	bundle, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(bundle, bundle)
	if err != nil || pair.Leaf.Subject.CommonName != "certified" {
		t.Errorf("the bundle holds %v, %v", pair.Leaf, err)
	}
	if !strings.HasPrefix(string(bundle), "-----BEGIN PRIVATE KEY-----") {
		t.Error("the bundle does not begin with the key")
	}
}

// Behaviour 182: a signer that says no.
func TestPodCertificateDenied(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	s := newPodSigner(t, m.api, "example.com/"+ns)
	m.create(t, ns, "denied", `
spec:
  volumes: [{name: p, projected: {sources: [{podCertificate: {signerName: `+s.signer+`, keyType: ED25519, keyPath: key.pem, certificateChainPath: chain.pem}}]}}]
  containers: [{name: main, image: BOX, volumeMounts: [{name: p, mountPath: /p}]}]
`)
	s.decide(s.next(ns, "denied", map[string]bool{}), certificates.PodCertificateRequestConditionTypeDenied, certificates.PodCertificateRequestConditionUnsupportedKeyType, "use RSA3072")
	eventually(t, func() error {
		return containsAll(m.kubectl(t, ns, "get", "events", "-o", "jsonpath={range .items[*]}{.reason}: {.message}\n{end}"),
			"FailedMount: MountVolume.SetUp failed", fmt.Sprintf("of signer %q was denied: UnsupportedKeyType: use RSA3072", s.signer))
	})
}
