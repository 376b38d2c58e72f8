package certs

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	certv1 "k8s.io/api/certificates/v1"
)

func TestRenewalIsSpreadAndSteady(t *testing.T) {
	a := newAPI(t)
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	life := 100 * day
	var seen []time.Time
	for range 40 {
		cert, key := a.pair("system:node:n1", from, from.Add(life))
		p, err := parsePair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		at := p.renewAt()
		if at != p.renewAt() {
			t.Fatal("the same certificate gets two answers")
		}
		if at.Before(from.Add(70*day)) || at.After(from.Add(90*day)) {
			t.Errorf("renewal at %v, want 70 to 90 %% of the life", at.Sub(from))
		}
		seen = append(seen, at)
	}
	slices.SortFunc(seen, time.Time.Compare)
	if seen[39].Sub(seen[0]) < 10*day {
		t.Errorf("40 nodes renew within %v", seen[39].Sub(seen[0]))
	}
}

func TestKeysOfEveryForm(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	for title, c := range map[string]struct {
		text []byte
		rsa  bool
	}{
		"EC":    {append([]byte("# comment\n"), ec.pem...), false},
		"PKCS1": {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}), true},
		"PKCS8": {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), true},
	} {
		k, err := parseKey(c.text)
		if err != nil {
			t.Errorf("%s: %v", title, err)
			continue
		}
		one, err := clientOrder("n1").request(k)
		if err != nil {
			t.Fatal(err)
		}
		two, err := clientOrder("n1").request(k)
		if err != nil {
			t.Fatal(err)
		}
		if one.Name != two.Name || sameRequest(one, two) != nil {
			t.Errorf("%s: the same request gets the names %s and %s", title, one.Name, two.Name)
		}
		if got := slices.Contains(one.Spec.Usages, certv1.UsageKeyEncipherment); got != c.rsa {
			t.Errorf("%s: usages %v", title, one.Spec.Usages)
		}
		if other, _ := clientOrder("n2").request(k); other.Name == one.Name {
			t.Errorf("%s: two nodes with the same key get one name", title)
		}
	}
}

func TestReadFileIsNotHeldUp(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 1<<40); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "want a regular file", dir: "want a regular file", big: "longer than", filepath.Join(dir, "none"): "no such file"} {
		_, err := readFile(path)
		if err == nil {
			t.Errorf("%s: no error", path)
			continue
		}
		has(t, err.Error(), want)
		has(t, err.Error(), path)
	}
}

func TestWriteFileKeepsLinksAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if err := os.WriteFile(beside(real), []byte("left by a crash, and longer than what follows"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(real, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(link, []byte(text+"!"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(real); string(got) != text+"!" {
			t.Errorf("file holds %q", got)
		}
	}
	if names := list(t, dir); !slices.Equal(names, []string{"link", "real"}) {
		t.Errorf("directory holds %v", names)
	}
	if err := writeFile(filepath.Join(dir, "none", "x"), nil, 0o600); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "none", "x")) {
		t.Errorf("into a missing directory: %v", err)
	}
}

func TestStoreKeepsAPlainFileThatSomebodyCopied(t *testing.T) {
	n := newNode(t)
	s := &store{dir: n.certDir, name: clientPairs}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.Local)
	n.write(s.current(), "by hand")
	before := now.Add(-day)
	if err := os.Chtimes(s.current(), before, before); err != nil {
		t.Fatal(err)
	}
	cert, key := n.api.pair("system:node:n1", now, now.Add(day))
	if err := s.save(cert, key, now); err != nil {
		t.Fatal(err)
	}
	if err := s.prune(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(filepath.Join(n.certDir, "kubelet-client-2026-04-30-12-00-00.pem")); string(text) != "by hand" {
		t.Errorf("what was copied by hand is lost: %v", list(t, n.certDir))
	}
	if _, err := s.load(); err != nil {
		t.Error(err)
	}
	// Within one second, and with a clock that was set back.
	for _, at := range []time.Time{now, now.Add(-time.Hour), now.Add(-2 * time.Hour)} {
		cert, key := n.api.pair("system:node:n1", now, now.Add(day))
		if err := s.save(cert, key, at); err != nil {
			t.Fatal(err)
		}
		if err := s.prune(); err != nil {
			t.Fatal(err)
		}
		if text, _ := os.ReadFile(s.current()); string(text) != string(cert)+string(key) {
			t.Errorf("current.pem is not the pair of %v", at)
		}
	}
	if names := list(t, n.certDir); len(names) != 3 {
		t.Errorf("directory of certificates holds %v", names)
	}
}

func TestStepsTo(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"a", "b"} {
		if err := os.Mkdir(in(d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, target := range map[string]string{"a/l": "../b/f", "link": "a", "loop": "loop", "abs": in("b/f")} {
		if err := os.Symlink(target, in(path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(in("b/f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"b/f":      {"b/f"},
		"b/none":   {"b/none"},
		"none/x/y": {"none"},
		"link/l":   {"link", "a/l", "b/f"},
		"abs":      {"abs", "b/f"},
	} {
		var full []string
		for _, w := range want {
			full = append(full, in(w))
		}
		if got := stepsTo(in(path)); !slices.Equal(got, full) {
			t.Errorf("steps to %s are %v, want %v", path, got, full)
		}
	}
	if got := stepsTo(in("loop")); len(got) == 0 || len(got) > 255 {
		t.Errorf("a loop of links gives %d steps", len(got))
	}
}

func FuzzPair(f *testing.F) {
	a := newAPI(f)
	cert, key := a.pair("system:node:n1", time.Unix(0, 0), time.Unix(1<<32, 0))
	f.Add(cert, key)
	f.Add(append(append([]byte{}, cert...), key...), key)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		p, err := parsePair(cert, key)
		if err != nil {
			return
		}
		if p.leaf == nil || p.cert.PrivateKey == nil || p.sum == "" {
			t.Fatal("half a pair")
		}
		p.renewAt()
		p.clockComplaint(time.Unix(1<<31, 0))
		again, err := parsePair(joinPair(cert, key), joinPair(cert, key))
		if err != nil || !same(p, again) {
			t.Fatalf("kept in one file it is another pair: %v", err)
		}
		if _, err := parseKey(key); err != nil {
			t.Fatalf("the key of a good pair: %v", err)
		}
	})
}

func FuzzKubeconfig(f *testing.F) {
	f.Add([]byte(bootstrapText("a.b")))
	f.Add([]byte(withFiles("a", "b")))
	f.Add([]byte(`{"current-context":"a","contexts":[{"name":"a"}],"users":[{"name":""}],"clusters":[{"name":"","cluster":null}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		id, err := parseIdentity("/dir/kubeconfig", text)
		if err != nil {
			return
		}
		if id.cluster.Server == "" {
			t.Error("a kubeconfig without a server was taken")
		}
		for _, path := range id.files() {
			if !filepath.IsAbs(path) {
				t.Errorf("relative path %q", path)
			}
		}
	})
}

func FuzzRequest(f *testing.F) {
	k, err := newKey()
	if err != nil {
		f.Fatal(err)
	}
	ours, err := clientOrder("n1").request(k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ours.Spec.Request, []byte{})
	f.Fuzz(func(t *testing.T, request, certificate []byte) {
		theirs := ours.DeepCopy()
		theirs.Spec.Request, theirs.Status.Certificate = request, certificate
		_ = sameRequest(ours, theirs)
		theirs.Status.Conditions = []certv1.CertificateSigningRequestCondition{{Type: certv1.CertificateApproved}}
		_, _, _ = verdict(theirs)
	})
}
