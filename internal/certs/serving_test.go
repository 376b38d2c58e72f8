package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	certv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

func startServing(t *testing.T, c ServingConfig) (s *Serving, stop func()) {
	t.Helper()
	s, err := NewServing(c)
	if err != nil {
		t.Fatal(err)
	}
	stop = background(t, s.Run)
	t.Cleanup(stop)
	return s, stop
}

// shown is the certificate that a caller would see.
func shown(t *testing.T, s *Serving) *x509.Certificate {
	t.Helper()
	cert, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}

func address(kind corev1.NodeAddressType, a string) corev1.NodeAddress {
	return corev1.NodeAddress{Type: kind, Address: a}
}

func TestServingByRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.approve = false
		c := n.servingConfig()
		c.Bootstrap = true
		s, stop := startServing(t, c)
		defer stop()
		synctest.Wait()
		if len(n.api.names()) != 0 {
			t.Errorf("requests %v before the node has an address", n.api.names())
		}
		if _, err := s.GetCertificate(nil); err == nil || err.Error() != "no serving certificate available for the kubelet" {
			t.Errorf("without a certificate: %v", err)
		}
		c.Addresses.Set([]corev1.NodeAddress{address(corev1.NodeInternalIP, "10.0.0.7"), address(corev1.NodeInternalIP, "fd00::7"),
			address(corev1.NodeHostName, "n1"), address(corev1.NodeInternalDNS, "n1.example"), address(corev1.NodeHostName, "10.0.0.7"), address(corev1.NodeExternalDNS, "")})
		synctest.Wait()
		if len(n.api.names()) != 1 {
			t.Fatalf("requests %v, want one", n.api.names())
		}
		csr, err := n.api.GetCSR(t.Context(), n.api.names()[0])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(csr.Spec.Usages, []certv1.KeyUsage{certv1.UsageDigitalSignature, certv1.UsageServerAuth}) || csr.Spec.SignerName != "kubernetes.io/kubelet-serving" {
			t.Errorf("signer %s, usages %v", csr.Spec.SignerName, csr.Spec.Usages)
		}
		r, err := parseRequest(csr.Spec.Request)
		if err != nil {
			t.Fatal(err)
		}
		if r.Subject.String() != "CN=system:node:n1,O=system:nodes" || !slices.Equal(r.DNSNames, []string{"n1", "n1.example"}) || len(r.IPAddresses) != 2 {
			t.Errorf("request for %s, %v, %v", r.Subject, r.DNSNames, r.IPAddresses)
		}
		_, err = s.GetCertificate(nil)
		if err == nil {
			t.Fatal("a certificate before the approval")
		}
		has(t, err.Error(), "no serving certificate available for the kubelet: waiting for approval of certificate signing request "+csr.Name)
		// A quarter of an hour, a day: no other request.
		time.Sleep(23 * time.Hour)
		if len(n.api.names()) != 1 {
			t.Errorf("requests %v while one waits", n.api.names())
		}
		n.api.decide(csr.Name, certv1.CertificateApproved, "", "")
		synctest.Wait()
		leaf := shown(t, s)
		if err := errors.Join(leaf.VerifyHostname("n1.example"), leaf.VerifyHostname("10.0.0.7"), leaf.VerifyHostname("fd00::7")); err != nil {
			t.Error(err)
		}
		names := list(t, n.certDir)
		if len(names) != 2 || names[1] != "kubelet-server-current.pem" || !strings.HasPrefix(names[0], "kubelet-server-2000-01-") {
			t.Errorf("directory of certificates holds %v", names)
		}
		n.api.approve = true
		// Fewer addresses, or the same in another order, need no new certificate.
		c.Addresses.Set([]corev1.NodeAddress{address(corev1.NodeHostName, "N1"), address(corev1.NodeInternalIP, "10.0.0.7")})
		synctest.Wait()
		if len(n.api.names()) != 1 {
			t.Errorf("requests %v after an address went", n.api.names())
		}
		// Another address does.
		c.Addresses.Set([]corev1.NodeAddress{address(corev1.NodeHostName, "n1"), address(corev1.NodeInternalIP, "10.0.0.8")})
		synctest.Wait()
		if err := shown(t, s).VerifyHostname("10.0.0.8"); err != nil || len(n.api.names()) != 2 {
			t.Errorf("after a new address: %v, requests %v", err, n.api.names())
		}
		// It survives a restart, and is renewed.
		stop()
		before := shown(t, s)
		s, stop = startServing(t, c)
		defer stop()
		if got := shown(t, s); got.SerialNumber.Cmp(before.SerialNumber) != 0 {
			t.Error("another certificate after a restart")
		}
		time.Sleep(340 * day)
		if got := shown(t, s); got.SerialNumber.Cmp(before.SerialNumber) == 0 || len(n.api.names()) != 3 {
			t.Errorf("not renewed, requests %v", n.api.names())
		}
	})
}

func TestServingRequestFollowsAddressesWhileItWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.approve = false
		c := n.servingConfig()
		c.Bootstrap = true
		a := []corev1.NodeAddress{address(corev1.NodeInternalIP, "10.0.0.7")}
		b := []corev1.NodeAddress{address(corev1.NodeInternalIP, "10.0.0.8")}
		s, stop := startServing(t, c)
		defer stop()
		for range 5 { // an address that comes and goes
			c.Addresses.Set(a)
			synctest.Wait()
			c.Addresses.Set(b)
			synctest.Wait()
		}
		names := n.api.names()
		if len(names) != 2 || s.State().Value().Request != names[1] {
			t.Fatalf("requests %v, followed is %+v; want one for each set of addresses", names, s.State().Value())
		}
		n.api.decide(names[0], certv1.CertificateApproved, "", "") // too late
		synctest.Wait()
		if _, err := s.GetCertificate(nil); err == nil {
			t.Error("a certificate for addresses of the past is used")
		}
		n.api.decide(names[1], certv1.CertificateApproved, "", "")
		synctest.Wait()
		if err := shown(t, s).VerifyHostname("10.0.0.8"); err != nil {
			t.Error(err)
		}
	})
}

func TestServingSignerThatDropsANameIsNotFloodedWithRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.sign = func(leaf *leafOf) { leaf.DNSNames = nil }
		c := n.servingConfig()
		c.Bootstrap = true
		c.Addresses.Set([]corev1.NodeAddress{address(corev1.NodeInternalIP, "10.0.0.7"), address(corev1.NodeHostName, "n1")})
		s, stop := startServing(t, c)
		defer stop()
		time.Sleep(day)
		if err := shown(t, s).VerifyHostname("10.0.0.7"); err != nil {
			t.Error(err)
		}
		if got := len(n.api.names()); got < 2 || got > 40 {
			t.Errorf("%d requests within a day", got)
		}
		has(t, n.logged.String(), "the signer changed what was asked for")
	})
}

func TestServingFilesServeUntilTheRequestIsAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.approve = false
		n.putPair("serving", "by-hand", time.Now(), time.Now().Add(365*day))
		c := n.servingConfig()
		c.Bootstrap, c.CertFile, c.KeyFile = true, filepath.Join(n.dir, "serving.crt"), filepath.Join(n.dir, "serving.key")
		c.Addresses.Set([]corev1.NodeAddress{address(corev1.NodeInternalIP, "10.0.0.7")})
		s, stop := startServing(t, c)
		defer stop()
		synctest.Wait()
		if got := shown(t, s).Subject.CommonName; got != "by-hand" {
			t.Errorf("shown is %s", got)
		}
		n.api.decide(n.api.names()[0], certv1.CertificateApproved, "", "")
		synctest.Wait()
		if got := shown(t, s).Subject.CommonName; got != "system:node:n1" {
			t.Errorf("shown is %s", got)
		}
	})
}

// TestServingFilesReload speaks TLS while the files are exchanged in the ways of people, cert-manager and mounted Secrets.
func TestServingFilesReload(t *testing.T) {
	n := newNode(t)
	// As a Secret is mounted: tls.crt is a link to ..data/tls.crt, ..data to a directory with a time as its name.
	mount := filepath.Join(n.dir, "secret")
	put := func(version, subject string) {
		cert, key := n.api.pair(subject, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		n.write(filepath.Join(mount, version, "tls.crt"), string(cert))
		n.write(filepath.Join(mount, version, "tls.key"), string(key))
		if err := linkFile(version, filepath.Join(mount, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	put("..1", "one")
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink("..data/"+name, filepath.Join(mount, name)); err != nil {
			t.Fatal(err)
		}
	}
	c := n.servingConfig()
	c.CertFile, c.KeyFile, c.watch = filepath.Join(mount, "tls.crt"), filepath.Join(mount, "tls.key"), nil
	s, stop := startServing(t, c)
	defer stop()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: s.GetCertificate})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	see := func(want string) {
		t.Helper()
		await(t, s.State(), func(st State) bool { return st.Subject == want && st.Problem == "" })
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("a caller sees the certificate of %s, want %s", got, want)
		}
	}
	see("one")
	put("..2", "two")
	if err := os.RemoveAll(filepath.Join(mount, "..1")); err != nil {
		t.Fatal(err)
	}
	see("two")
	// A bad pair is refused, said once, and the old one stays.
	n.write(filepath.Join(mount, "..2", "tls.key"), "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
	await(t, s.State(), func(st State) bool { return strings.Contains(st.Problem, "the last good one stays in use") })
	if got := shown(t, s).Subject.CommonName; got != "two" {
		t.Errorf("shown is %s", got)
	}
	put("..3", "three")
	see("three")
	if got := n.logged.count("level=WARN"); got != 1 {
		t.Errorf("%d warnings, want 1:\n%s", got, n.logged)
	}
	// The whole directory goes and comes back.
	if err := os.Rename(mount, mount+".away"); err != nil {
		t.Fatal(err)
	}
	await(t, s.State(), func(st State) bool { return st.Problem != "" })
	put("..4", "four")
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink("..data/"+name, filepath.Join(mount, name)); err != nil {
			t.Fatal(err)
		}
	}
	see("four")
}

func TestServingSignsItself(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	inBubble(t, func(t *testing.T, n *node) {
		c := n.servingConfig()
		c.Names = []string{"n1", "n1.example", "10.0.0.7", "fd00::7"}
		s, stop := startServing(t, c)
		defer stop()
		synctest.Wait()
		leaf := shown(t, s)
		for _, name := range c.Names {
			if err := leaf.VerifyHostname(name); err != nil {
				t.Error(err)
			}
		}
		if life := leaf.NotAfter.Sub(leaf.NotBefore); life < 364*day || life > 366*day {
			t.Errorf("lives %v, want a year", life)
		}
		// Whoever trusts the file trusts the node.
		text, err := os.ReadFile(filepath.Join(n.certDir, "kubelet.crt"))
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(text)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "n1", CurrentTime: time.Now()}); err != nil {
			t.Error(err)
		}
		for name, want := range map[string]fs.FileMode{"kubelet.crt": 0o644, "kubelet.key": 0o600} {
			info, err := os.Stat(filepath.Join(n.certDir, name))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != want {
				t.Errorf("mode of %s is %v, want %v", name, info.Mode(), want)
			}
		}
		stop()
		// Made once, and kept.
		s, stop = startServing(t, c)
		defer stop()
		time.Sleep(200 * day)
		if shown(t, s).SerialNumber.Cmp(leaf.SerialNumber) != 0 {
			t.Error("made again after a restart")
		}
		// Renewed before it ends, again and again.
		for range 5 * 365 {
			time.Sleep(day)
			if time.Now().After(shown(t, s).NotAfter) {
				t.Fatalf("expired at %v", shown(t, s).NotAfter)
			}
		}
		if names := list(t, n.certDir); !slices.Equal(names, []string{"kubelet.crt", "kubelet.key"}) {
			t.Errorf("directory of certificates holds %v", names)
		}
	})
}

func TestServingOwnPair(t *testing.T) {
	foreign := func(n *node, from, to time.Duration) (cert, key []byte) {
		return n.api.pair("kubelet.example", time.Now().Add(from), time.Now().Add(to))
	}
	for _, c := range []struct {
		title string
		put   func(n *node) (cert, key []byte)
		made  bool   // Bosun makes one and uses it
		want  string // problem
	}{
		{"nothing there", func(*node) ([]byte, []byte) { return nil, nil }, true, ""},
		{"somebody's", func(n *node) ([]byte, []byte) { return foreign(n, -time.Hour, time.Hour) }, false, ""},
		{"somebody's, expired", func(n *node) ([]byte, []byte) { return foreign(n, -2*time.Hour, -time.Hour) }, false, "expired at"},
		{"somebody's without its key", func(n *node) ([]byte, []byte) { cert, _ := foreign(n, -time.Hour, time.Hour); return cert, nil }, false, "kubelet.key: no such file"},
		{"somebody's key alone", func(n *node) ([]byte, []byte) { _, key := foreign(n, -time.Hour, time.Hour); return nil, key }, false, "kubelet.crt: no such file"},
		{"somebody's broken", func(n *node) ([]byte, []byte) {
			_, key := foreign(n, -time.Hour, time.Hour)
			return []byte("rubbish"), key
		}, false, "no CERTIFICATE block"},
		{"ours without its key", func(n *node) ([]byte, []byte) { cert, _ := own(n, 0); return cert, nil }, true, ""},
		{"ours with another key", func(n *node) ([]byte, []byte) {
			cert, _ := own(n, 0)
			_, key := own(n, 0)
			return cert, key
		}, true, ""},
		{"ours, expired", func(n *node) ([]byte, []byte) { return own(n, -2*365*day) }, true, ""},
		{"ours, made under a clock that was ahead", func(n *node) ([]byte, []byte) { return own(n, 10*365*day) }, true, ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *node) {
				certPath, keyPath := filepath.Join(n.certDir, "kubelet.crt"), filepath.Join(n.certDir, "kubelet.key")
				cert, key := c.put(n)
				if cert != nil {
					n.write(certPath, string(cert))
				}
				if key != nil {
					n.write(keyPath, string(key))
				}
				s, stop := startServing(t, n.servingConfig())
				defer stop()
				synctest.Wait()
				if p := s.State().Value().Problem; !strings.Contains(p, c.want) || c.want == "" && p != "" {
					t.Errorf("problem %q, want %q", p, c.want)
				}
				now, _ := os.ReadFile(certPath)
				nowKey, _ := os.ReadFile(keyPath)
				if !c.made && (!bytes.Equal(now, cert) || !bytes.Equal(nowKey, key)) {
					t.Error("somebody's files were changed")
				}
				if !c.made {
					return
				}
				leaf := shown(t, s)
				if !selfMade(leaf) || !fit(&pair{leaf: leaf}, time.Now()) || leaf.VerifyHostname("n1") != nil {
					t.Errorf("shown is %s, from %v to %v", leaf.Subject, leaf.NotBefore, leaf.NotAfter)
				}
				if p, err := loadPair(certPath, keyPath); err != nil || p.leaf.SerialNumber.Cmp(leaf.SerialNumber) != 0 {
					t.Errorf("on disk: %v", err)
				}
			})
		})
	}
}

// own is a pair that Bosun made some time from now.
func own(n *node, in time.Duration) (certPEM, keyPEM []byte) {
	certPEM, keyPEM, err := (&ownPair{name: "n1", names: []string{"n1"}}).sign(time.Now().Add(in))
	if err != nil {
		n.t.Fatal(err)
	}
	return certPEM, keyPEM
}

func TestServingOwnPairThatCannotBeKept(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		c := n.servingConfig()
		var room atomic.Bool
		c.step = func(string) error {
			if !room.Load() {
				return syscall.ENOSPC
			}
			return nil
		}
		s, stop := startServing(t, c)
		defer stop()
		synctest.Wait()
		leaf := shown(t, s)
		time.Sleep(3 * day)
		if shown(t, s).SerialNumber.Cmp(leaf.SerialNumber) != 0 {
			t.Error("made again and again")
		}
		if got := n.logged.count("cannot keep"); got != 1 {
			t.Errorf("said %d times, want once", got)
		}
		room.Store(true)
		time.Sleep(day)
		if p, err := s.own.pairOnDisk(); err != nil || p.leaf.SerialNumber.Cmp(leaf.SerialNumber) != 0 {
			t.Errorf("not kept once there was room: %v", err)
		}
	})
}

func (o *ownPair) pairOnDisk() (*pair, error) { return loadPair(o.cert, o.key) }

func TestServingConfigThatMakesNoSense(t *testing.T) {
	n := newNode(t)
	for _, c := range []struct {
		want   string
		change func(*ServingConfig)
	}{
		{"want both or neither", func(c *ServingConfig) { c.CertFile = "a" }},
		{"want both or neither", func(c *ServingConfig) { c.KeyFile = "a" }},
		{"serverTLSBootstrap needs an API server", func(c *ServingConfig) { c.Bootstrap, c.Requests = true, nil }},
		{"want a node name", func(c *ServingConfig) { c.NodeName = "" }},
	} {
		config := n.servingConfig()
		c.change(&config)
		_, err := NewServing(config)
		if err == nil {
			t.Errorf("no error, want %q", c.want)
			continue
		}
		has(t, err.Error(), c.want)
	}
	// Files that are not there yet are a problem, not an end.
	config := n.servingConfig()
	config.CertFile, config.KeyFile = filepath.Join(n.dir, "later.crt"), filepath.Join(n.dir, "later.key")
	s, err := NewServing(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.GetCertificate(nil)
	if err == nil {
		t.Fatal("a certificate out of nothing")
	}
	has(t, err.Error(), "later.crt: no such file")
}

func TestServingOrderSkipsWhatIsNoAddress(t *testing.T) {
	o, ok := servingOrder("n1", []corev1.NodeAddress{address(corev1.NodeInternalIP, "nonsense"), address(corev1.NodeInternalIP, "::ffff:10.0.0.7"),
		address(corev1.NodeInternalIP, "fe80::1%eth0"), address(corev1.NodeHostName, ""), address("Odd", "10.0.0.9"), address(corev1.NodeExternalIP, "10.0.0.7")}, false)
	if !ok || len(o.dns) != 0 || len(o.ips) != 2 {
		t.Fatalf("order %+v, %v", o, ok)
	}
	leaf := &x509.Certificate{IPAddresses: []net.IP{net.ParseIP("10.0.0.7"), net.ParseIP("fe80::1")}}
	leaf.Subject.CommonName = "system:node:n1"
	if !o.metBy(leaf) {
		t.Error("the same addresses do not meet the order")
	}
	if leaf.Subject.CommonName = "system:node:n2"; o.metBy(leaf) {
		t.Error("another node's certificate meets the order")
	}
	if _, ok := servingOrder("n1", nil, true); ok {
		t.Error("an order without any address")
	}
	names := []corev1.NodeAddress{address(corev1.NodeHostName, "n1")}
	for _, suffice := range []bool{false, true} {
		if _, ok := servingOrder("n1", names, suffice); ok != suffice {
			t.Errorf("a name alone: ordered %v, want %v", ok, suffice)
		}
	}
}

// With the gate ReloadKubeletServerCertificateFile off, files count as they were at the start.
func TestServingFilesAreReadOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		now := time.Now()
		n.putPair("serving", "n1", now.Add(-time.Hour), now.Add(30*day))
		c := n.servingConfig()
		c.CertFile, c.KeyFile, c.Fixed = filepath.Join(n.dir, "serving.crt"), filepath.Join(n.dir, "serving.key"), true
		s, err := NewServing(c)
		if err != nil {
			t.Fatal(err)
		}
		stop := background(t, s.Run)
		defer stop()
		first, err := s.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		n.putPair("serving", "n1", now, now.Add(60*day))
		time.Sleep(day)
		if got, err := s.GetCertificate(nil); err != nil || got != first {
			t.Errorf("another certificate is shown: %v", err)
		}
	})
}
