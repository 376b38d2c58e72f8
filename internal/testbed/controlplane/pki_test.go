package controlplane

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

func TestCertificates(t *testing.T) {
	ca, err := newAuthority("a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := newAuthority("a")
	if err != nil {
		t.Fatal(err)
	}
	client := x509.VerifyOptions{Roots: ca.pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	server := x509.VerifyOptions{Roots: ca.pool(), DNSName: "here"}
	byAddress := x509.VerifyOptions{Roots: ca.pool(), DNSName: "192.0.2.10"}
	for name, c := range map[string]struct {
		by   *authority
		id   Identity
		how  x509.VerifyOptions
		want string // what the verdict must say, empty when it must be good
	}{
		"client":                {ca, NodeIdentity("here"), client, ""},
		"client of another":     {other, NodeIdentity("here"), client, "unknown authority"},
		"client as server":      {ca, NodeIdentity("here"), server, "not valid"},
		"expired":               {ca, Identity{User: "x", NotAfter: time.Now().Add(-time.Minute)}, client, "expired"},
		"not yet":               {ca, Identity{User: "x", NotBefore: time.Now().Add(time.Minute)}, client, "not yet valid"},
		"server":                {ca, Identity{User: "x", Hosts: []string{"here", "192.0.2.10"}}, server, ""},
		"server by address":     {ca, Identity{User: "x", Hosts: []string{"here", "192.0.2.10"}}, byAddress, ""},
		"server also as client": {ca, Identity{User: "x", Hosts: []string{"here"}}, client, ""},
	} {
		pair, err := c.by.issue(c.id)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := pair.TLS()
		if err != nil {
			t.Fatal(err)
		}
		_, err = cert.Leaf.Verify(c.how)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if cert.Leaf.Subject.CommonName != c.id.User || len(cert.Leaf.Subject.Organization) != len(c.id.Groups) {
			t.Errorf("%s: it is for %v", name, cert.Leaf.Subject)
		}
	}
}
