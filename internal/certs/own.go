package certs

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// ownLife is how long a certificate lives that Bosun signs itself: as upstream's.
const ownLife = 365 * 24 * time.Hour

// An ownPair is the pair kubelet.crt, kubelet.key, which Bosun makes, unless somebody else has put one there.
type ownPair struct {
	cert, key string
	name      string
	names     []string // host names and IP addresses
	log       *slog.Logger
	step      func(string) error

	// unkept is what was made but could not be written; nil if nothing is.
	unkept     *madePair
	unkeptSaid string
}

type madePair struct {
	pair            *pair
	certPEM, keyPEM []byte
}

// read returns the pair that is there, and whether Bosun may put another one in its place.
func (o *ownPair) read() (p *pair, ours bool, err error) {
	if p, err = loadPair(o.cert, o.key); err == nil {
		return p, selfMade(p.leaf), nil
	}
	return nil, o.mayReplace(), err
}

// look returns the pair to use now, made anew when there is none or the one that Bosun made is due. The error is about what
// somebody else put there.
func (o *ownPair) look(now time.Time) (*pair, error) {
	p, ours, err := o.read()
	if !ours || p != nil && fit(p, now) {
		o.unkept = nil
		return p, err
	}
	if o.unkept == nil || !fit(o.unkept.pair, now) {
		if o.unkept, err = o.make(now); err != nil {
			return nil, fmt.Errorf("make a serving certificate for %s: %w", o.name, err)
		}
	}
	p = o.unkept.pair
	if err := o.keep(o.unkept); err == nil {
		o.unkept, o.unkeptSaid = nil, ""
	} else if said := err.Error(); said != o.unkeptSaid {
		o.unkeptSaid = said
		o.log.Warn("cannot keep the serving certificate; after a restart there will be another one", "err", err)
	}
	return p, nil
}

// fit tells whether a pair that Bosun made can stay. One that is not valid yet was made under a clock that was ahead.
func fit(p *pair, now time.Time) bool {
	return now.Before(p.renewAt()) && !now.Before(p.leaf.NotBefore)
}

func (o *ownPair) make(now time.Time) (*madePair, error) {
	certPEM, keyPEM, err := o.sign(now)
	if err != nil {
		return nil, err
	}
	p, err := parsePair(certPEM, keyPEM)
	return &madePair{p, certPEM, keyPEM}, err
}

// keep writes the certificate first: a crash leaves a certificate of ours that does not fit the key, which is then
// replaced. A key without a certificate may be somebody's.
func (o *ownPair) keep(m *madePair) error {
	if err := makeDir(filepath.Dir(o.cert)); err != nil {
		return fmt.Errorf("make directory of certificates: %w", err)
	}
	for _, f := range []struct {
		step, path string
		data       []byte
		mode       fs.FileMode
	}{{"write own certificate", o.cert, m.certPEM, 0o644}, {"write own key", o.key, m.keyPEM, 0o600}} {
		if o.step != nil {
			if err := o.step(f.step); err != nil {
				return err
			}
		}
		if err := writeFile(f.path, f.data, f.mode); err != nil {
			return err
		}
	}
	return nil
}

func (o *ownPair) sign(now time.Time) (certPEM, keyPEM []byte, err error) {
	k, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: o.name + "@" + strconv.FormatInt(now.Unix(), 10)},
		NotBefore:             now.Add(-time.Hour), // others' clocks may be behind
		NotAfter:              now.Add(ownLife),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // whoever trusts this file trusts this node
	}
	for _, name := range o.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if name != "" {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.signer.Public(), k.signer)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), k.pem, nil
}

// mayReplace tells whether what is there, though it cannot be used, is nothing that somebody else has put there: nothing
// at all, or a certificate that this node made.
func (o *ownPair) mayReplace() bool {
	text, err := readFile(o.cert)
	if err != nil {
		return missing(err) && !exists(o.key)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return false
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	return err == nil && selfMade(leaf)
}

// exists tells whether there is something at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// The issuers that Bosun and upstream write into certificates that they make themselves: node@seconds and
// node-ca@seconds.
var selfIssuer = regexp.MustCompile(`^.*@[0-9]{1,12}$`)

// selfMade tells whether a kubelet made the certificate itself.
func selfMade(leaf *x509.Certificate) bool {
	return selfIssuer.MatchString(leaf.Issuer.CommonName) && selfIssuer.MatchString(leaf.Subject.CommonName)
}
