package cluster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

// pipes are a network in memory, so that the tests can run on fake time.
type pipes struct {
	*bufconn.Listener

	mu    sync.Mutex
	conns []net.Conn
	down  bool
	// frozen makes all connections swallow what is sent, and say nothing, as when a machine or a cable is gone.
	frozen chan struct{}
}

func newPipes() *pipes { return &pipes{Listener: bufconn.Listen(1 << 16), frozen: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	c, err := p.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	c = &freezable{Conn: c, frozen: p.frozen, closed: make(chan struct{})}
	p.conns = append(p.conns, c)
	return c, nil
}

// freeze makes all connections that stand now silent.
func (p *pipes) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.frozen)
	p.frozen = make(chan struct{})
}

type freezable struct {
	net.Conn
	frozen, closed chan struct{}
	once           sync.Once
}

func (f *freezable) silent() bool {
	select {
	case <-f.frozen:
		return true
	default:
		return false
	}
}

func (f *freezable) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.silent() {
		<-f.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (f *freezable) Write(p []byte) (int, error) {
	if f.silent() {
		return len(p), nil
	}
	return f.Conn.Write(p)
}

func (f *freezable) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.Conn.Close()
}

// setDown makes dialling fail, and cuts what stands.
func (p *pipes) setDown(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
	if down {
		p.cut()
	}
}

// cut ends all connections.
func (p *pipes) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// certificate makes a certificate that is its own authority.
func certificate(t *testing.T, name string, until time.Time) (key, cert []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: until}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}
