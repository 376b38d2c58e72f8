package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/backoff"
)

// maxFile bounds what is read of any file here; a chain with its key has some kilobytes.
const maxFile = 1 << 20

// A pair is a certificate, its chain and its key. It is never changed.
type pair struct {
	cert *tls.Certificate
	leaf *x509.Certificate
	sum  string // tells pairs apart; says nothing of the key
}

// parsePair reads a certificate chain and the key of its first certificate. Blocks of other kinds are passed over, so
// both may be the same text.
func parsePair(certPEM, keyPEM []byte) (*pair, error) {
	if !hasBlock(certPEM, func(kind string) bool { return kind == "CERTIFICATE" }) {
		return nil, errors.New("no CERTIFICATE block: want PEM text with the certificate first, then its chain")
	}
	if !hasBlock(keyPEM, isKeyBlock) {
		return nil, errors.New("no PRIVATE KEY block: want PEM text with the key of the certificate, not encrypted")
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err // crypto/tls quotes nothing of the key
	}
	leaf := cert.Leaf
	if leaf == nil {
		if leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, err
		}
		cert.Leaf = leaf
	}
	sum := sha256.New()
	for _, raw := range cert.Certificate {
		one := sha256.Sum256(raw)
		sum.Write(one[:])
	}
	return &pair{cert: &cert, leaf: leaf, sum: hex.EncodeToString(sum.Sum(nil))}, nil
}

func hasBlock(text []byte, want func(kind string) bool) bool {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if want(block.Type) {
			return true
		}
	}
}

func isKeyBlock(kind string) bool {
	return kind == "PRIVATE KEY" || strings.HasSuffix(kind, " PRIVATE KEY")
}

// onlyBlocks returns the blocks of the wanted kinds, written out anew.
func onlyBlocks(text []byte, want func(kind string) bool) []byte {
	var out []byte
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return out
		}
		if want(block.Type) {
			out = append(out, pem.EncodeToMemory(block)...)
		}
	}
}

// joinPair writes certificates and key into one text.
func joinPair(certPEM, keyPEM []byte) []byte {
	certs := onlyBlocks(certPEM, func(kind string) bool { return kind == "CERTIFICATE" })
	return append(certs, onlyBlocks(keyPEM, isKeyBlock)...)
}

// loadPair reads a pair from files, which may be the same one.
func loadPair(certFile, keyFile string) (*pair, error) {
	certPEM, keyPEM, err := readBoth(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	p, err := parsePair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", bothNames(certFile, keyFile), err)
	}
	return p, nil
}

func readBoth(certFile, keyFile string) (certPEM, keyPEM []byte, err error) {
	if certPEM, err = readFile(certFile); err != nil {
		return nil, nil, err
	}
	if certFile == keyFile {
		return certPEM, certPEM, nil
	}
	keyPEM, err = readFile(keyFile)
	return certPEM, keyPEM, err
}

func bothNames(certFile, keyFile string) string {
	if certFile == keyFile {
		return certFile
	}
	return certFile + " with key " + keyFile
}

// readFile reads a regular file of sane size, without being held up by a pipe.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err // names the file
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: want a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("read %s: longer than %d bytes, which no certificate is", path, maxFile)
	}
	return data, nil
}

// same tells whether two pairs, or the lack of them, are the same.
func same(a, b *pair) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.sum == b.sum
}

func (p *pair) expired(now time.Time) bool { return now.After(p.leaf.NotAfter) }

// renewAt is when to ask for the next certificate: at 70 to 90 % of the life of this one, so that the nodes of a cluster that
// was made in one go do not come back in one go. The same certificate always gets the same answer.
func (p *pair) renewAt() time.Time {
	life := p.leaf.NotAfter.Sub(p.leaf.NotBefore)
	return p.leaf.NotBefore.Add(backoff.Jitter(time.Duration(float64(life)*0.7), 2.0/7, p.sum))
}

// clockComplaint says what is odd about the pair's time; empty if nothing is. The text stays the same while that is so.
func (p *pair) clockComplaint(now time.Time) string {
	switch {
	case now.Before(p.leaf.NotBefore):
		return fmt.Sprintf("the certificate of %s is valid from %s only, later than the clock of this machine says: it is used all the same; is this clock right?",
			p.subject(), stamp(p.leaf.NotBefore))
	case p.expired(now):
		return fmt.Sprintf("the certificate of %s expired at %s: others refuse it, unless it is the clock of this machine that is wrong",
			p.subject(), stamp(p.leaf.NotAfter))
	default:
		return ""
	}
}

// subject names whose certificate it is, for people.
func (p *pair) subject() string {
	if cn := p.leaf.Subject.CommonName; cn != "" {
		return cn
	}
	return p.leaf.Subject.String()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
