package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/access"
	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/metrics"
)

// pki is an authority, a client it knows, and two certificates of this server.
type pki struct {
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	file    string
	client  tls.Certificate
	servers [2]tls.Certificate
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{file: filepath.Join(t.TempDir(), "ca.crt")}
	ca := p.make(t, &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	p.cert, p.key = ca.Leaf, ca.PrivateKey.(*ecdsa.PrivateKey)
	if err := os.WriteFile(p.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	p.client = p.make(t, &x509.Certificate{Subject: pkix.Name{CommonName: "kube-apiserver"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	for i := range p.servers {
		p.servers[i] = p.make(t, &x509.Certificate{
			Subject: pkix.Name{CommonName: fmt.Sprint("server", i)}, IPAddresses: []net.IP{{127, 0, 0, 1}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
	}
	return p
}

func (p *pki) make(t *testing.T, c *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := p.cert, p.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// trusting is what a client of the server needs; with a certificate of its own if it is to be somebody.
func (p *pki) trusting(somebody bool) *tls.Config {
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	c.RootCAs.AddCert(p.cert)
	if somebody {
		c.Certificates = []tls.Certificate{p.client}
	}
	return c
}

// secure runs a server on 10250's behalf, which lets the authority's clients in.
func secure(t *testing.T, s *scene, p *pki, k *config.KubeletConfiguration) (at string, stop func()) {
	t.Helper()
	gate, err := access.New(access.Config{NodeName: "node", ClientCAFile: p.file, AlwaysAllow: true})
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &p.servers[0], nil }
	return run(t, NewSecure("127.0.0.1:0", s.faces, TLSConfig(k, certificate, gate.ClientCAs), gate, nil))
}

func (p *pki) get(t *testing.T, url string, c *tls.Config, http2 bool) (int, string, *http.Response) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: http2, DisableKeepAlives: true}
	r, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body), r
}

func TestSecureServer(t *testing.T) {
	m := metrics.New(metrics.Config{})
	s, p := newScene(t, func(c *Config) { c.Numbers = m }), newPKI(t)
	at, _ := secure(t, s, p, &config.KubeletConfiguration{})
	for _, http2 := range []bool{false, true} {
		code, body, r := p.get(t, "https://"+at+"/healthz", p.trusting(true), http2)
		if code != 200 || body != "ok" || r.ProtoMajor != map[bool]int{false: 1, true: 2}[http2] {
			t.Errorf("HTTP/2 %v: %d %q over %s", http2, code, body, r.Proto)
		}
		if code, body, _ := p.get(t, "https://"+at+"/pods", p.trusting(false), http2); code != 401 || body != "Unauthorized" {
			t.Errorf("nobody: %d %q", code, body)
		}
	}
	code, _, r := p.get(t, "https://"+at+"/metrics", p.trusting(true), false)
	if code != 200 || r.TLS.Version != tls.VersionTLS13 {
		t.Errorf("%d over %x", code, r.TLS.Version)
	}
	_, text, _ := p.get(t, "https://"+at+"/metrics", p.trusting(true), false)
	if line := `kubelet_http_requests_total{long_running="false",method="GET",path="pods",server_type="readwrite"} 2`; !strings.Contains(text, line) {
		t.Error("who may not come in is not counted")
	}
	conn, err := tls.Dial("tcp", at, p.trusting(false))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if name := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; name != "server0" {
		t.Errorf("the server is %s", name)
	}
}

// TestTLSConfig holds behaviour 328.
func TestTLSConfig(t *testing.T) {
	p := newPKI(t)
	which := &atomic.Int32{}
	certificate := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &p.servers[which.Load()], nil }
	cas := x509.NewCertPool()
	for _, c := range []struct {
		title   string
		k       config.KubeletConfiguration
		version uint16
		suites  []uint16
		curves  []tls.CurveID
	}{
		{"defaults", config.KubeletConfiguration{}, tls.VersionTLS12, nil, nil},
		{"1.0", config.KubeletConfiguration{TLSMinVersion: "VersionTLS10"}, tls.VersionTLS10, nil, nil},
		{"1.1", config.KubeletConfiguration{TLSMinVersion: "VersionTLS11"}, tls.VersionTLS11, nil, nil},
		{"1.2", config.KubeletConfiguration{TLSMinVersion: "VersionTLS12"}, tls.VersionTLS12, nil, nil},
		{"1.3", config.KubeletConfiguration{TLSMinVersion: "VersionTLS13"}, tls.VersionTLS13, nil, nil},
		{"suites", config.KubeletConfiguration{TLSCipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA"}}, tls.VersionTLS12,
			[]uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, nil},
		{"curves", config.KubeletConfiguration{TLSCurvePreferences: []int32{29}}, tls.VersionTLS12, nil, []tls.CurveID{tls.X25519}},
	} {
		got := TLSConfig(&c.k, certificate, func() *x509.CertPool { return cas })()
		slices.Sort(got.CipherSuites)
		if got.MinVersion != c.version || !slices.Equal(got.CipherSuites, c.suites) || !slices.Equal(got.CurvePreferences, c.curves) {
			t.Errorf("%s: %x %x %v", c.title, got.MinVersion, got.CipherSuites, got.CurvePreferences)
		}
		if got.ClientAuth != tls.RequestClientCert || got.ClientCAs != cas || got.Renegotiation != tls.RenegotiateNever {
			t.Errorf("%s: clients %v", c.title, got.ClientAuth)
		}
	}
	if got := TLSConfig(&config.KubeletConfiguration{}, certificate, func() *x509.CertPool { return nil })(); got.ClientAuth != tls.NoClientCert {
		t.Errorf("without authorities clients are asked: %v", got.ClientAuth)
	}

	gate, err := access.New(access.Config{Anonymous: true, AlwaysAllow: true})
	if err != nil {
		t.Fatal(err)
	}
	k := &config.KubeletConfiguration{TLSMinVersion: "VersionTLS12", TLSCipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}}
	at, _ := run(t, NewSecure("127.0.0.1:0", newScene(t, nil).faces, TLSConfig(k, certificate, gate.ClientCAs), gate, nil))
	client := p.trusting(false)
	client.MaxVersion = tls.VersionTLS12
	for i := range p.servers { // a new certificate needs no restart
		which.Store(int32(i))
		_, _, r := p.get(t, "https://"+at+"/healthz", client, false)
		if name := r.TLS.PeerCertificates[0].Subject.CommonName; name != fmt.Sprint("server", i) || r.TLS.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 {
			t.Errorf("%s with %x, want server%d", name, r.TLS.CipherSuite, i)
		}
	}
	client.MaxVersion, client.MinVersion = tls.VersionTLS11, tls.VersionTLS10
	if conn, err := tls.Dial("tcp", at, client); err == nil {
		conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
	client = p.trusting(false)
	client.MaxVersion, client.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	if conn, err := tls.Dial("tcp", at, client); err == nil {
		conn.Close()
		t.Error("a cipher suite that was not named is used")
	}
}
