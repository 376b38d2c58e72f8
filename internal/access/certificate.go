package access

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// credentialID is the extra attribute that says which certificate it was.
const credentialID = "authentication.kubernetes.io/credential-id"

// uidAttribute is the attribute of a certificate's subject that holds the user's UID.
var uidAttribute = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}

// ClientCAs are the authorities whose certificates are accepted now, nil if none are looked at. A TLS server names
// them when it asks for a certificate.
func (g *Gate) ClientCAs() *x509.CertPool {
	if g.authority == nil {
		return nil
	}
	return g.authority.certificates()
}

// byCertificate tells who sends a request by the certificate of the connection.
func (g *Gate) byCertificate(r *http.Request) (User, bool, error) {
	if g.authority == nil || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return User{}, false, nil
	}
	chain := r.TLS.PeerCertificates
	options := x509.VerifyOptions{
		Roots: g.authority.certificates(), Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(options); err != nil {
		return User{}, false, fmt.Errorf("verify client certificate %x of %s: %w", chain[0].SerialNumber, chain[0].Subject, err)
	}
	g.cfg.Meter.Certificate(time.Until(chain[0].NotAfter))
	return holderOf(chain[0])
}

// holderOf reads a certificate: the common name is the user, the organisations are the groups.
func holderOf(c *x509.Certificate) (User, bool, error) {
	if c.Subject.CommonName == "" {
		return User{}, false, nil
	}
	uid, err := uidOf(c.Subject)
	if err != nil {
		return User{}, false, err
	}
	sum := sha256.Sum256(c.Raw)
	return User{
		Name: c.Subject.CommonName, UID: uid, Groups: c.Subject.Organization,
		Extra: map[string][]string{credentialID: {"X509SHA256=" + hex.EncodeToString(sum[:])}},
	}, true, nil
}

func uidOf(subject pkix.Name) (string, error) {
	uid := ""
	for _, name := range subject.Names {
		if !name.Type.Equal(uidAttribute) {
			continue
		}
		text, ok := name.Value.(string)
		if !ok || text == "" || uid != "" {
			return "", errors.New("the client certificate must hold its user's UID once, as text that is not empty")
		}
		uid = text
	}
	return uid, nil
}

// authority is the file that holds the certificates of those who sign client certificates.
type authority struct {
	path  string
	fixed bool
	log   *slog.Logger

	mu    sync.Mutex
	stamp stamp
	pool  *x509.CertPool
}

// stamp tells one state of a file from another.
type stamp struct {
	device, inode uint64
	size          int64
	changed, made unix.Timespec
}

func newAuthority(path string, fixed bool, log *slog.Logger) (*authority, error) {
	a := &authority{path: path, fixed: fixed, log: log}
	seen, err := stampOf(path)
	if err != nil {
		return nil, err
	}
	a.stamp = seen
	a.pool, err = readPool(path)
	return a, err
}

// certificates returns what the file holds now, or what it held when it could last be used.
func (a *authority) certificates() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fixed {
		return a.pool
	}
	seen, err := stampOf(a.path)
	if err == nil && seen == a.stamp {
		return a.pool
	}
	if a.stamp == (stamp{}) && err != nil { // still gone, and said
		return a.pool
	}
	a.stamp = seen // taken before reading: a later change is another one. The zero stamp stands for a file that is gone
	var pool *x509.CertPool
	if err == nil {
		pool, err = readPool(a.path)
	}
	if err != nil {
		a.log.Warn("the file of client certificate authorities changed and cannot be used; what it held before stays", "file", a.path, "err", err)
		return a.pool
	}
	a.log.Info("the file of client certificate authorities was read again", "file", a.path)
	a.pool = pool
	return a.pool
}

func stampOf(path string) (stamp, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{device: s.Dev, inode: s.Ino, size: s.Size, changed: s.Mtim, made: s.Ctim}, nil
}

// readPool reads a file of certificates in PEM. What else the file holds is passed over; it must hold at least one.
func readPool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool, n := x509.NewCertPool(), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		n++
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, n, err)
		}
		pool.AddCert(c)
	}
	if n == 0 {
		return nil, fmt.Errorf("%s: want at least one certificate in PEM (-----BEGIN CERTIFICATE-----)", path)
	}
	return pool, nil
}
