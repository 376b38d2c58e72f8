package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
)

// server is an API server. A test may hold its answers back, or have it err.
type server struct {
	mu       sync.Mutex
	tokens   map[string]authnv1.UserInfo
	rules    map[string]bool // user/verb/subresource
	reviews  []string        // tokens that were asked about
	accesses []authzv1.SubjectAccessReviewSpec
	errs     []error       // of the next calls
	hold     chan struct{} // closed when calls may answer
}

func (s *server) next(ctx context.Context, count func()) error {
	s.mu.Lock()
	count()
	var err error
	if len(s.errs) > 0 {
		err, s.errs = s.errs[0], s.errs[1:]
	}
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (s *server) ReviewToken(ctx context.Context, r *authnv1.TokenReview) (*authnv1.TokenReview, error) {
	if err := s.next(ctx, func() { s.reviews = append(s.reviews, r.Spec.Token) }); err != nil {
		return nil, err
	}
	user, ok := s.tokens[r.Spec.Token]
	return &authnv1.TokenReview{Status: authnv1.TokenReviewStatus{Authenticated: ok, User: user}}, nil
}

func (s *server) ReviewAccess(ctx context.Context, r *authzv1.SubjectAccessReview) (*authzv1.SubjectAccessReview, error) {
	if err := s.next(ctx, func() { s.accesses = append(s.accesses, r.Spec) }); err != nil {
		return nil, err
	}
	a := r.Spec.ResourceAttributes
	return &authzv1.SubjectAccessReview{Status: authzv1.SubjectAccessReviewStatus{Allowed: s.rules[r.Spec.User+" "+a.Verb+" "+a.Subresource]}}, nil
}

func (s *server) asked() (reviews, accesses int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reviews), len(s.accesses)
}

// webhook is a gate as clusters have it.
func webhook(t *testing.T, s *server, edit func(*Config)) *Gate {
	t.Helper()
	cfg := Config{NodeName: "node-1", Tokens: true, TokenTTL: 2 * time.Minute, AllowedTTL: 5 * time.Minute, DeniedTTL: 30 * time.Second, Reviewer: s}
	if edit != nil {
		edit(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func withToken(method, path, token string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// issuer signs certificates.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newIssuer(t *testing.T, name string, above *issuer) *issuer {
	t.Helper()
	i := &issuer{key: newKey(t)}
	i.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	if above == nil {
		above = i
	}
	i.cert = above.sign(t, i.cert, i.key)
	return i
}

func (i *issuer) sign(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, &key.PublicKey, i.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// client makes a client certificate.
func (i *issuer) client(t *testing.T, subject pkix.Name, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if edit != nil {
		edit(c)
	}
	return i.sign(t, c, newKey(t))
}

func (i *issuer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})
}

func writeFile(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func withCertificate(chain ...*x509.Certificate) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/pods", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: chain}
	return r
}
