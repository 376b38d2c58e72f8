package certs

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	certv1 "k8s.io/api/certificates/v1"
)

const day = 24 * time.Hour

// joined is a node after its bootstrap.
func joined(t *testing.T, n *node) {
	t.Helper()
	if err := Bootstrap(t.Context(), n.bootstrapConfig()); err != nil {
		t.Fatal(err)
	}
}

// startClient runs a client; stop waits for its end.
func startClient(t *testing.T, c ClientConfig, requests Requests) (client *Client, stop func()) {
	t.Helper()
	client, err := NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	stop = background(t, func(ctx context.Context) error { return client.Run(ctx, requests) })
	t.Cleanup(stop)
	return client, stop
}

func TestClientRenewsForYears(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		joined(t, n)
		c := n.clientConfig()
		var lived []time.Duration
		c.Renewed = func(d time.Duration) { lived = append(lived, d) }
		client, stop := startClient(t, c, n.api)
		defer stop()
		for range 4 * 365 {
			time.Sleep(day)
			if leaf := client.Current().Leaf; leaf.NotAfter.Before(time.Now()) {
				t.Fatalf("at %v the certificate has expired, at %v", time.Now(), leaf.NotAfter)
			}
		}
		if len(lived) < 4 || len(lived) > 5 {
			t.Errorf("renewed %d times in four years, want once in 70 to 90 %% of a year", len(lived))
		}
		for _, d := range lived {
			if share := d.Hours() / (365 * 24); share < 0.7 || share > 0.91 {
				t.Errorf("a certificate was renewed at %.0f %% of its life", share*100)
			}
		}
		if got := client.Changed().Value(); got != uint64(len(lived))+1 {
			t.Errorf("%d certificates were announced, want %d", got, len(lived)+1)
		}
		if names := list(t, n.certDir); len(names) != 3 {
			t.Errorf("directory of certificates holds %v, want the link, the current one and the one before", names)
		}
		s := client.State().Value()
		if s.Subject != "system:node:n1" || s.Problem != "" || s.Request != "" || !s.RenewAt.After(time.Now()) || !s.RenewAt.Before(s.NotAfter) {
			t.Errorf("state %+v", s)
		}
		if ttl, ok := s.TTL(time.Now()); !ok || ttl <= 0 {
			t.Errorf("TTL %v, %v", ttl, ok)
		}
		if err := Usable(n.kubeconfig, time.Now()); err != nil {
			t.Error(err)
		}
	})
}

func TestClientKeepsTheOldCertificateWhileRenewalFails(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.life = 10 * day
		joined(t, n)
		c := n.clientConfig()
		var failed atomic.Int64
		c.RenewFailed = func() { failed.Add(1) }
		client, stop := startClient(t, c, n.api)
		defer stop()
		synctest.Wait()
		first := client.Current()
		n.api.set(func() {
			n.api.refuse = errors.New("create certificate signing request: the server is currently unable to handle the request")
		})
		time.Sleep(9*day + 12*time.Hour)
		if client.Current() != first {
			t.Fatal("the certificate has changed")
		}
		if failed.Load() < 5 {
			t.Errorf("%d failures counted", failed.Load())
		}
		has(t, client.State().Value().Problem, "unable to handle the request")
		time.Sleep(day)
		has(t, n.logged.String(), "expired at 2000-01-11")
		if client.Current() != first {
			t.Error("an expired certificate is not shown any more; it is the API server that must say no")
		}
		if got := n.logged.count("problem="); got != 2 { // the failure, and the end of the life
			t.Errorf("problems were said %d times, want 2:\n%s", got, n.logged)
		}
		n.api.set(func() { n.api.refuse = nil })
		time.Sleep(10 * time.Minute)
		if client.Current() == first || client.State().Value().Problem != "" {
			t.Errorf("not renewed: %+v", client.State().Value())
		}
	})
}

func TestClientExpiredWhileTheNodeWasOff(t *testing.T) {
	for _, withBootstrap := range []bool{true, false} {
		t.Run(fmt.Sprint("bootstrap kubeconfig ", withBootstrap), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *node) {
				n.api.life = day
				joined(t, n)
				time.Sleep(30 * day)
				n.api.approve = false
				c := n.clientConfig()
				refused := &refuser{n.api}
				if withBootstrap {
					c.BootstrapKubeconfig, c.Connect = n.bootstrap, n.api.connect
				}
				client, stop := startClient(t, c, refused)
				defer stop()
				time.Sleep(time.Minute)
				s := client.State().Value()
				if !withBootstrap {
					has(t, s.Problem, "kubeadm token create")
					has(t, n.logged.String(), "expired at 2000-01-02")
					// Somebody mends it: the slow look, at the latest, finds it.
					n.putPair("new", "system:node:n1", time.Now(), time.Now().Add(day))
					n.write(n.kubeconfig, withFiles("new.crt", "new.key"))
					time.Sleep(6 * time.Hour)
				} else {
					has(t, s.Waiting, "approve it with: kubectl certificate approve node-csr-")
					n.api.decide(s.Request, certv1.CertificateApproved, "", "")
				}
				synctest.Wait()
				if s := client.State().Value(); s.Problem != "" || client.Current().Leaf.NotAfter.Before(time.Now()) {
					t.Errorf("state %+v", s)
				}
			})
		})
	}
}

// refuser is the API server for a node whose certificate has expired.
type refuser struct{ *fakeAPI }

func (r *refuser) CreateCSR(ctx context.Context, _ *certv1.CertificateSigningRequest) (*certv1.CertificateSigningRequest, error) {
	return nil, unauthorised()
}

func TestClientRenewalGoesOnAfterACrash(t *testing.T) {
	for cut := 0; ; cut++ {
		steps := 0
		t.Run(fmt.Sprint("cut ", cut), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *node) {
				n.api.life = 10 * day
				joined(t, n)
				c := n.clientConfig()
				var crash func()
				c.step = func(what string) error {
					if steps++; steps > cut {
						crash()
						return errCrash
					}
					return nil
				}
				client, err := NewClient(c)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				crash = cancel
				done := make(chan error, 1)
				go func() { done <- client.Run(ctx, n.api) }()
				time.Sleep(9*day + 12*time.Hour)
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				again, stop := startClient(t, n.clientConfig(), n.api)
				defer stop()
				time.Sleep(time.Minute)
				if s := again.State().Value(); s.Problem != "" || !s.RenewAt.After(time.Now()) {
					t.Errorf("state %+v", s)
				}
				n.checkJoined(t)
				if names := n.api.names(); len(names) != 2 {
					t.Errorf("requests %v, want the first one and one more", names)
				}
			})
		})
		if steps <= cut {
			break
		}
	}
}

// TestClientShortLivesDoNotRace has the signer cut every certificate off at the end of its authority.
func TestClientShortLivesDoNotRace(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.life = day
		joined(t, n)
		end := time.Now().Add(day)
		n.api.set(func() { n.api.life = 0 })
		n.api.sign = func(leaf *leafOf) { leaf.NotAfter = end }
		client, stop := startClient(t, n.clientConfig(), n.api)
		defer stop()
		time.Sleep(day + 12*time.Hour)
		if got := len(n.api.names()); got > 60 {
			t.Errorf("%d requests, want few", got)
		}
		has(t, client.State().Value().Problem, "expired at")
	})
}

// TestClientBriefLives has a signer whose certificates are due for renewal at birth, as those of a few minutes are that begin in the past.
func TestClientBriefLives(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.life = time.Hour
		joined(t, n)
		n.api.set(func() { n.api.life = 0 })
		n.api.sign = func(leaf *leafOf) {
			leaf.NotBefore, leaf.NotAfter = time.Now().Add(-10*time.Minute), time.Now().Add(90*time.Second)
		}
		client, stop := startClient(t, n.clientConfig(), n.api)
		defer stop()
		time.Sleep(time.Hour)
		before := len(n.api.names())
		for end := time.Now().Add(20 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
			if client.Current().Leaf.NotAfter.Before(time.Now()) {
				t.Fatalf("it has run out %v before the end", time.Until(end))
			}
		}
		if got := len(n.api.names()) - before; got > 80 {
			t.Errorf("%d requests in 20 minutes", got)
		}
	})
}

func TestClientCertificateNotYetValid(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		// This machine's clock is three hours behind.
		n.api.skew = 3 * time.Hour
		joined(t, n)
		client, stop := startClient(t, n.clientConfig(), n.api)
		defer stop()
		synctest.Wait()
		if client.Current() == nil {
			t.Fatal("the certificate is not used; only this machine's clock is behind")
		}
		has(t, client.State().Value().Problem, "later than the clock of this machine says")
		time.Sleep(3 * time.Hour)
		if s := client.State().Value(); s.Problem != "" {
			t.Errorf("state %+v once it is valid", s)
		}
		if got := len(n.api.names()); got != 1 {
			t.Errorf("%d requests, want none but the first", got)
		}
	})
}

// TestClientKeepsWhatKubeadmEmbedded covers kubeadm init, which writes the certificate into the kubeconfig and afterwards looks
// for kubelet-client-current.pem.
func TestClientKeepsWhatKubeadmEmbedded(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		cert, key := n.api.pair("system:node:n1", time.Now().Add(-time.Minute), time.Now().Add(365*day))
		text := strings.NewReplacer("client-certificate: x", "client-certificate-data: "+base64.StdEncoding.EncodeToString(cert),
			"client-key: y", "client-key-data: "+base64.StdEncoding.EncodeToString(key)).Replace(withFiles("x", "y"))
		n.write(n.kubeconfig, text)
		client, stop := startClient(t, n.clientConfig(), n.api)
		defer stop()
		synctest.Wait()
		p, err := client.store.load()
		if err != nil {
			t.Fatal(err)
		}
		if string(p.cert.Certificate[0]) != string(client.Current().Certificate[0]) {
			t.Error("the store has another certificate than the kubeconfig")
		}
		if text, _ := os.ReadFile(client.store.current()); string(text) != string(cert)+string(key) {
			t.Errorf("current.pem holds\n%s", text)
		}
		if len(n.api.names()) != 0 {
			t.Errorf("requests %v, want none before it is due", n.api.names())
		}
		// It is renewed at its time, and the new one wins over the one that stands in the kubeconfig.
		time.Sleep(340 * day)
		if len(n.api.names()) != 1 || client.Current().Leaf.NotBefore.Before(time.Now().Add(-120*day)) {
			t.Errorf("requests %v, certificate from %v", n.api.names(), client.Current().Leaf.NotBefore)
		}
		again, err := NewClient(n.clientConfig())
		if err != nil {
			t.Fatal(err)
		}
		if again.Current().Leaf.SerialNumber.Cmp(client.Current().Leaf.SerialNumber) != 0 {
			t.Error("after a restart another certificate is used")
		}
		// A new kubeconfig, issued later, wins over the store.
		time.Sleep(time.Hour)
		n.putPair("later", "system:node:n1", time.Now(), time.Now().Add(day))
		n.write(n.kubeconfig, withFiles("later.crt", "later.key"))
		time.Sleep(6 * time.Hour)
		if got := time.Until(client.Current().Leaf.NotAfter); got > day {
			t.Errorf("the certificate still lives %v, want the new one of a day", got)
		}
	})
}

func TestClientFollowsFilesOfOthers(t *testing.T) {
	n := newNode(t)
	now := time.Now()
	n.putPair("client", "system:node:n1", now.Add(-time.Hour), now.Add(time.Hour))
	n.write(n.kubeconfig, withFiles("client.crt", "client.key"))
	c := n.clientConfig()
	c.Rotate, c.watch = false, nil // the real one
	client, stop := startClient(t, c, nil)
	defer stop()
	first := client.Current()
	if first == nil {
		t.Fatal("no certificate")
	}

	// Broken: the old one stays, and that is said once.
	n.write(filepath.Join(n.dir, "client.crt"), "-----BEGIN CERTIFICATE-----\nrubbish")
	await(t, client.State(), func(s State) bool {
		return strings.Contains(s.Problem, "the last good client certificate stays in use")
	})
	if client.Current() != first {
		t.Error("a broken certificate was taken")
	}
	// Whole again, by way of a rename, certificate first.
	n.putPair("next", "system:node:n1", now.Add(-time.Minute), now.Add(2*time.Hour))
	for _, ext := range []string{".crt", ".key"} {
		if err := os.Rename(filepath.Join(n.dir, "next"+ext), filepath.Join(n.dir, "client"+ext)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, client.State(), func(s State) bool { return s.Problem == "" && s.NotAfter.Sub(now) > 90*time.Minute })
	if client.Current() == first || client.Changed().Value() != 2 {
		t.Errorf("certificate %v, changed %d times", client.Current().Leaf.NotAfter, client.Changed().Value())
	}
	// The kubeconfig itself names others.
	n.putPair("third", "system:node:n1", now.Add(-time.Minute), now.Add(4*time.Hour))
	n.write(n.kubeconfig, withFiles("third.crt", "third.key"))
	await(t, client.State(), func(s State) bool { return s.NotAfter.Sub(now) > 3*time.Hour })
	// It goes away and comes back.
	text, _ := os.ReadFile(n.kubeconfig)
	if err := os.Remove(n.kubeconfig); err != nil {
		t.Fatal(err)
	}
	await(t, client.State(), func(s State) bool { return strings.Contains(s.Problem, "no such file") })
	n.write(n.kubeconfig, string(text))
	await(t, client.State(), func(s State) bool { return s.Problem == "" })
}

func TestClientWithAToken(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.write(n.kubeconfig, bootstrapText("a.b"))
		c := n.clientConfig()
		c.BootstrapKubeconfig, c.Connect = n.bootstrap, n.api.connect
		client, stop := startClient(t, c, n.api)
		defer stop()
		time.Sleep(day)
		if client.Current() != nil || n.api.asked.Load() != 0 || client.State().Value() != (State{}) {
			t.Errorf("certificate %v, %d requests, state %+v; want nothing", client.Current(), n.api.asked.Load(), client.State().Value())
		}
		has(t, n.logged.String(), "rotateCertificates has nothing to renew")
		if _, ok := client.State().Value().TTL(time.Now()); ok {
			t.Error("there is a TTL without a certificate")
		}
	})
}

func TestNewClientWantsAKubeconfig(t *testing.T) {
	n := newNode(t)
	if _, err := NewClient(n.clientConfig()); err == nil {
		t.Error("no error without a kubeconfig")
	}
	c := n.clientConfig()
	c.NodeName = ""
	if _, err := NewClient(c); err == nil {
		t.Error("no error without a node name")
	}
	// A certificate that is not there yet is no reason not to start.
	n.write(n.kubeconfig, withFiles("none.crt", "none.key"))
	client, err := NewClient(n.clientConfig())
	if err != nil {
		t.Fatal(err)
	}
	has(t, client.State().Value().Problem, "none.crt")
}

func TestClientReadOnlyStoreIsSaidOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.putPair("client", "system:node:n1", time.Now(), time.Now().Add(365*day))
		n.write(n.kubeconfig, withFiles("client.crt", "client.key"))
		n.write(n.certDir, "a file where the directory should be")
		client, stop := startClient(t, n.clientConfig(), n.api)
		defer stop()
		time.Sleep(day)
		if client.Current() == nil {
			t.Error("the certificate is not used")
		}
		if got := n.logged.count("cannot keep"); got != 1 {
			t.Errorf("said %d times, want once:\n%s", got, n.logged)
		}
		// At its time the renewal cannot keep a key, says so, and asks nothing.
		time.Sleep(time.Until(client.State().Value().RenewAt) + 12*time.Hour)
		has(t, client.State().Value().Problem, "keep the key of a certificate request")
		if len(n.api.names()) != 0 {
			t.Errorf("requests %v whose key would be lost", n.api.names())
		}
		if got := n.logged.count("level=WARN"); got != 2 {
			t.Errorf("%d warnings, want one more:\n%s", got, n.logged)
		}
	})
}

// withServer is a kubeconfig with a token, for an address and an authority.
func withServer(server, authority, token string) string {
	return `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: "` + server + `", certificate-authority: ` + authority + `}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
users: [{name: u, user: {token: ` + token + `}}]
`
}

// TestClientTellsWhereTheKubeconfigLeads: to another address, authority or token; not when only the certificate changes.
func TestClientTellsWhereTheKubeconfigLeads(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		ca := filepath.Join(n.dir, "other-ca.crt")
		n.write(ca, "first")
		n.write(n.kubeconfig, withServer("https://10.0.0.1:6443", ca, "t"))
		hears := newPoked()
		c := n.clientConfig()
		c.watch = hears.make
		client, stop := startClient(t, c, nil)
		defer stop()
		moves := func(want uint64, why string) {
			t.Helper()
			hears.poke()
			synctest.Wait()
			if got := client.Moved().Value(); got != want {
				t.Errorf("%s: moved %d times, want %d", why, got, want)
			}
		}
		moves(0, "nothing")
		n.write(n.kubeconfig, withServer("https://10.0.0.2:6443", ca, "t"))
		moves(1, "another address")
		n.write(ca, "second")
		moves(2, "another authority in the file")
		if err := os.Remove(ca); err != nil {
			t.Fatal(err)
		}
		moves(2, "no authority, for a moment")
		n.write(ca, "second")
		moves(2, "the same authority again")
		n.write(n.kubeconfig, withServer("https://10.0.0.2:6443", ca, "another"))
		moves(3, "another token")
		n.write(n.kubeconfig, "half writ")
		moves(3, "half a file")

		n.putPair("one", "system:node:n1", time.Now(), time.Now().Add(day))
		n.putPair("two", "system:node:n1", time.Now(), time.Now().Add(2*day))
		n.write(n.kubeconfig, withFiles("one.crt", "one.key"))
		moves(4, "no token any more")
		n.write(n.kubeconfig, withFiles("two.crt", "two.key"))
		moves(4, "another certificate")
	})
}
