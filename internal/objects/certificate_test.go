package objects

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

func certified(keyType string) v1.VolumeSource {
	return v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{{PodCertificate: &v1.PodCertificateProjection{
		SignerName: "example.com/s", KeyType: keyType, CredentialBundlePath: "b.pem", UserAnnotations: map[string]string{"example.com/for": "web"}}}}}}
}

// signing is what a test's signer does.
type signing struct {
	life, refreshAfter time.Duration
	other              bool // signs another key
}

// newest is the newest request.
func (s *server) newest() *certificates.PodCertificateRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[len(s.requests)-1]
}

func (s *server) requested() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// sign issues what the newest request asks for.
func (b *bench) sign(how signing) {
	b.t.Helper()
	synctest.Wait()
	r := b.server.newest().DeepCopy()
	stub, err := x509.ParseCertificateRequest(r.Spec.StubPKCS10Request)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := stub.CheckSignature(); err != nil {
		b.t.Errorf("no proof of possession: %v", err)
	}
	_, authority, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	now := time.Now()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(b.server.requested())), Subject: pkix.Name{CommonName: r.Spec.PodName}, NotBefore: now, NotAfter: now.Add(how.life)}
	public := stub.PublicKey
	if how.other {
		public = authority.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, public, authority)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Status.CertificateChain = "signed by a test\n" + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	r.Status.BeginRefreshAt = &metav1.Time{Time: now.Add(how.refreshAfter)}
	b.decide(r, certificates.PodCertificateRequestConditionTypeIssued, "Signed", "")
}

func (b *bench) decide(r *certificates.PodCertificateRequest, condition, reason, message string) {
	r = r.DeepCopy()
	r.Status.Conditions = []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue, Reason: reason, Message: message}}
	b.server.put("request "+r.Namespace+"/"+r.Name, r)
	synctest.Wait()
}

// notes keeps what is noted.
type notes struct {
	mu  sync.Mutex
	all []note.Note
}

func (n *notes) add(x note.Note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, x)
}

func (n *notes) reasons() (out []string) {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.all {
		out = append(out, x.Reason)
		if x.About.UID != "u" || x.About.Kind != "Pod" || x.Level != note.Warning {
			out = append(out, fmt.Sprint(x))
		}
	}
	return out
}

// certifying runs a test in a cluster whose pods may have certificates.
func certifying(t *testing.T, cfg Config, test func(b *bench)) {
	t.Helper()
	cfg.Node = func() (string, types.UID, <-chan struct{}) { return "n1", "node-uid", nil }
	bubble(t, cfg, func(b *bench) {
		account := &v1.ServiceAccount{}
		account.UID = "robot-uid"
		b.server.put("serviceaccount shop/robot", account)
		test(b)
	})
}

func (b *bench) gather(p *v1.Pod) (content.Credential, error) {
	f, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[0])
	return f.Certificates[content.Certificate{Volume: "v0"}], err
}

// Behaviour 182.
func TestPodCertificateIsIssuedAndRenewed(t *testing.T) {
	var log bytes.Buffer
	told := &notes{}
	certifying(t, Config{Notes: told.add, Log: slog.New(slog.NewTextHandler(&log, nil))}, func(b *bench) {
		p := podOf(certified("ECDSAP256"))
		b.want(p)
		b.is("requests", b.server.requested(), 1) // as soon as the pod is wanted
		spec := b.server.newest().Spec
		if spec.SignerName != "example.com/s" || spec.PodName != "web" || spec.PodUID != "u" || spec.ServiceAccountName != "robot" ||
			spec.ServiceAccountUID != "robot-uid" || spec.NodeName != "n1" || spec.NodeUID != "node-uid" || spec.UnverifiedUserAnnotations["example.com/for"] != "web" {
			t.Errorf("asked for %+v", spec)
		}
		began := time.Now()
		var signer sync.WaitGroup
		signer.Go(func() {
			time.Sleep(3 * time.Second)
			b.sign(signing{life: 24 * time.Hour, refreshAfter: 16 * time.Hour})
		})
		first, err := b.gather(p)
		signer.Wait()
		b.is("error", err, nil)
		b.is("waited", time.Since(began), 3*time.Second)
		if _, err := tls.X509KeyPair(first.Chain, first.Key); err != nil {
			t.Errorf("key and chain do not match: %v", err)
		}
		if !bytes.HasPrefix(first.Chain, []byte("-----BEGIN")) {
			t.Errorf("the chain begins with %q", first.Chain[:10])
		}
		b.is("followed", b.server.following(), "[services 1]")
		issued := time.Now()
		for b.server.requested() == 1 {
			time.Sleep(10 * time.Second)
		}
		if after := time.Since(issued); after < 16*time.Hour-spread || after > 16*time.Hour+time.Minute {
			t.Errorf("renewed after %s", after)
		}
		if again, _ := b.gather(p); !bytes.Equal(again.Chain, first.Chain) {
			t.Error("the old one does not serve while it is renewed")
		}
		b.grows("a renewal", 0, func() { b.sign(signing{life: 24 * time.Hour, refreshAfter: 16 * time.Hour}) })
		if again, _ := b.gather(p); bytes.Equal(again.Key, first.Key) || bytes.Equal(again.Chain, first.Chain) {
			t.Error("the renewed one has the old key")
		}
		b.is("counted", b.Certificates(), map[CertificateState]int{{"example.com/s", "fresh"}: 1})
		b.is("told", told.reasons(), "[]")
		if strings.Contains(log.String(), "PRIVATE") {
			t.Error("the log shows a key")
		}
		b.want()
		b.is("counted without the pod", len(b.Certificates()), 0)
	})
}

func TestPodCertificateThatIsNotRenewed(t *testing.T) {
	told := &notes{}
	certifying(t, Config{Notes: told.add}, func(b *bench) {
		p := podOf(certified("ED25519"))
		b.want(p)
		b.sign(signing{life: 3 * time.Hour, refreshAfter: 2 * time.Hour})
		time.Sleep(2*time.Hour + 9*time.Minute)
		b.is("told in time", told.reasons(), "[]")
		time.Sleep(2 * time.Minute)
		b.is("told late", told.reasons(), []string{reason.CertificateOverdueForRefresh})
		b.is("counted", b.Certificates(), map[CertificateState]int{{"example.com/s", "overdue_for_refresh"}: 1})
		if _, err := b.gather(p); err != nil {
			t.Errorf("it still holds, but: %v", err)
		}
		time.Sleep(time.Hour)
		b.is("told at the end", told.reasons(), []string{reason.CertificateOverdueForRefresh, reason.CertificateExpired})
		b.is("counted", b.Certificates(), map[CertificateState]int{{"example.com/s", "expired"}: 1})
		if _, err := b.gather(p); err == nil || !strings.Contains(err.Error(), "(PodCertificateRequest shop/req-") {
			t.Errorf("expired: %v", err)
		}
		b.grows("at last", 0, func() { b.sign(signing{life: 3 * time.Hour, refreshAfter: 2 * time.Hour}) })
		b.is("requests", b.server.requested(), 2)
	})
}

func TestPodCertificateRefused(t *testing.T) {
	certifying(t, Config{}, func(b *bench) {
		p := podOf(certified("ECDSAP384"))
		b.want(p)
		began := time.Now()
		b.decide(b.server.newest(), certificates.PodCertificateRequestConditionTypeDenied, "UnsupportedKeyType", "use RSA3072")
		_, err := b.gather(p)
		if want := `of signer "example.com/s" was denied: UnsupportedKeyType: use RSA3072`; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("denied: %v", err)
		}
		b.is("told after", time.Since(began), time.Duration(0))
		b.is("counted", b.Certificates(), map[CertificateState]int{{"example.com/s", "denied"}: 1})
		time.Sleep(50 * time.Second)
		b.is("requests", b.server.requested(), 1)
		first := b.server.newest()
		time.Sleep(11 * time.Second)
		b.is("requests after a pause", b.server.requested(), 2)
		if b.server.newest().Name == first.Name {
			t.Error("the second request has the same key")
		}
		b.decide(b.server.newest(), certificates.PodCertificateRequestConditionTypeFailed, "Broken", "no luck")
		if _, err = b.gather(p); err == nil || !strings.Contains(err.Error(), "has failed: Broken: no luck") {
			t.Errorf("failed: %v", err)
		}
		time.Sleep(2*time.Minute + time.Second)
		b.sign(signing{life: 24 * time.Hour, refreshAfter: 16 * time.Hour, other: true})
		if _, err = b.gather(p); err == nil || !strings.Contains(err.Error(), "it is for another key") {
			t.Errorf("another key: %v", err)
		}
		time.Sleep(4*time.Minute + time.Second)
		b.sign(signing{life: 24 * time.Hour, refreshAfter: 16 * time.Hour})
		if _, err = b.gather(p); err != nil {
			t.Error(err)
		}
	})
}

func TestPodCertificateTroubles(t *testing.T) {
	certifying(t, Config{}, func(b *bench) {
		// The API server has not heard yet that the pod is here, then it is away, and takes a request without having said so.
		b.server.requestFails = []error{apierrors.NewForbidden(schema.GroupResource{Resource: "podcertificaterequests"}, "", fmt.Errorf("pod not found")), errAway,
			apierrors.NewAlreadyExists(schema.GroupResource{Resource: "podcertificaterequests"}, "x")}
		p := podOf(certified("ECDSAP521"))
		b.want(p)
		b.is("requests", b.server.requested(), 0)
		time.Sleep(time.Second)
		if w := b.Waits("u"); len(w) != 1 || !strings.Contains(w[0].What, `certificate of signer "example.com/s" for volume "v0" (PodCertificateRequest shop/req-`) {
			t.Errorf("waits for %v", w)
		}
		began := time.Now()
		_, err := b.gather(p) // there is no such request, since the server of this test has lied
		if err == nil || !strings.Contains(err.Error(), "still waiting") {
			t.Errorf("waiting: %v", err)
		}
		b.is("waited", time.Since(began), 10*time.Second)
		time.Sleep(unseenFor)
		b.is("requests later", b.server.requested(), 1)
		first := b.server.newest()
		b.server.remove("request shop/" + first.Name)
		time.Sleep(11 * time.Second)
		b.is("requests after one was deleted", b.server.requested(), 2)
		b.grows("issued", 0, func() { b.sign(signing{life: 24 * time.Hour, refreshAfter: 16 * time.Hour}) })
	})
}

// A signer whose certificates are due at birth does not make the node ask without end.
func TestPodCertificatesThatAreDueAtBirth(t *testing.T) {
	certifying(t, Config{}, func(b *bench) {
		b.want(podOf(certified("ED25519")))
		for end := time.Now().Add(time.Hour); time.Now().Before(end); {
			if n := b.server.requested(); n > 16 {
				t.Fatalf("%d requests in an hour", n)
			}
			if r := b.server.newest(); !slices.Contains(b.server.following(), "request shop/"+r.Name+" 1") {
				time.Sleep(time.Second)
				continue
			}
			b.sign(signing{life: time.Hour, refreshAfter: -time.Minute})
		}
	})
}

func TestKeyTypes(t *testing.T) {
	for name, bits := range map[string]int{"ECDSAP256": 256, "ECDSAP384": 384, "ECDSAP521": 521, "ED25519": 0, "RSA3072": 3072, "RSA4096": 4096} {
		k, err := newKey(name)
		if err != nil {
			t.Fatal(err)
		}
		switch k := k.Public().(type) {
		case *ecdsa.PublicKey:
			if k.Curve.Params().BitSize != bits || k.Curve == elliptic.P224() {
				t.Errorf("%s is of %d bits", name, k.Curve.Params().BitSize)
			}
		case ed25519.PublicKey:
			if bits != 0 {
				t.Errorf("%s is an ed25519 key", name)
			}
		case interface{ Size() int }:
			if k.Size()*8 != bits {
				t.Errorf("%s is of %d bits", name, k.Size()*8)
			}
		}
	}
	if _, err := newKey("DSA"); err == nil || !refused(err) {
		t.Errorf("DSA: %v", err)
	}
}
