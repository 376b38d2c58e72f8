package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"
)

// inBubble runs a test where time passes when all rest.
func inBubble(t *testing.T, f func(t *testing.T, n *node)) {
	synctest.Test(t, func(t *testing.T) { f(t, newNode(t)) })
}

func TestBootstrapWritesAKubeconfigThatWorks(t *testing.T) {
	old := syscall.Umask(0o077) // modes are ours, not the umask's
	defer syscall.Umask(old)
	inBubble(t, func(t *testing.T, n *node) {
		if err := Bootstrap(t.Context(), n.bootstrapConfig()); err != nil {
			t.Fatal(err)
		}
		n.checkJoined(t)
		csr, err := n.api.GetCSR(t.Context(), n.api.names()[0])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(csr.Spec.Usages, []certv1.KeyUsage{certv1.UsageDigitalSignature, certv1.UsageClientAuth}) ||
			csr.Spec.SignerName != "kubernetes.io/kube-apiserver-client-kubelet" || csr.Spec.ExpirationSeconds != nil || !strings.HasPrefix(csr.Name, "node-csr-") {
			t.Errorf("request %s: signer %s, usages %v, expiration %v", csr.Name, csr.Spec.SignerName, csr.Spec.Usages, csr.Spec.ExpirationSeconds)
		}
		r, err := parseRequest(csr.Spec.Request)
		if err != nil {
			t.Fatal(err)
		}
		if r.Subject.String() != "CN=system:node:n1,O=system:nodes" || len(r.DNSNames)+len(r.IPAddresses)+len(r.URIs)+len(r.EmailAddresses) > 0 {
			t.Errorf("request is for %s with names %v %v", r.Subject, r.DNSNames, r.IPAddresses)
		}
		if err := r.CheckSignature(); err != nil {
			t.Error(err)
		}
		// Once more: nothing is asked.
		if err := Bootstrap(t.Context(), n.bootstrapConfig()); err != nil || n.api.asked.Load() != 1 {
			t.Errorf("second bootstrap: %v, %d requests, want 1", err, n.api.asked.Load())
		}
	})
}

// checkJoined looks at what a bootstrap leaves behind.
func (n *node) checkJoined(t *testing.T) {
	t.Helper()
	now := time.Now()
	if err := Usable(n.kubeconfig, now); err != nil {
		t.Error(err)
	}
	file, err := clientcmd.LoadFromFile(n.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	current := filepath.Join(n.certDir, "kubelet-client-current.pem")
	c := file.Clusters[file.Contexts[file.CurrentContext].Cluster]
	u := file.AuthInfos[file.Contexts[file.CurrentContext].AuthInfo]
	if c.Server != "https://10.0.0.1:6443" || c.CertificateAuthority != filepath.Join(n.dir, "ca.crt") || c.TLSServerName != "api" {
		t.Errorf("cluster %+v", c)
	}
	if u.ClientCertificate != current || u.ClientKey != current || u.Token != "" {
		t.Errorf("user %v: certificate %s, key %s", u, u.ClientCertificate, u.ClientKey)
	}
	p, err := loadPair(current, current)
	if err != nil {
		t.Fatal(err)
	}
	if p.leaf.Subject.CommonName != "system:node:n1" {
		t.Errorf("certificate of %s", p.subject())
	}
	target, err := os.Readlink(current)
	if err != nil || !strings.HasPrefix(target, "kubelet-client-2000-01-") {
		t.Errorf("current is linked to %q, %v", target, err)
	}
	if names := list(t, n.certDir); !slices.Equal(names, []string{target, "kubelet-client-current.pem"}) && len(names) != 3 {
		t.Errorf("directory of certificates holds %v", names)
	}
	for path, want := range map[string]fs.FileMode{n.kubeconfig: 0o600, filepath.Join(n.certDir, target): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("mode of %s is %v, want %v", path, info.Mode(), want)
		}
	}
	for _, name := range append(list(t, n.certDir), list(t, n.dir)...) {
		if strings.HasSuffix(name, ".new") || strings.HasSuffix(name, ".tmp") {
			t.Errorf("%s was left behind", name)
		}
	}
}

func TestBootstrapWaitsForApprovalForDays(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.approve = false
		c := n.bootstrapConfig()
		done := make(chan error, 1)
		go func() { done <- Bootstrap(t.Context(), c) }()
		began := time.Now()
		synctest.Wait()
		s := c.State.Value()
		name := n.api.names()[0]
		if want := "waiting for approval of certificate signing request " + name + "; approve it with: kubectl certificate approve " + name; s.Waiting != want || s.Request != name || s.Since.Sub(began).Abs() > time.Second {
			t.Errorf("state %+v, want %q", s, want)
		}
		time.Sleep(24 * time.Hour)
		n.api.set(func() { delete(n.api.objects, name) }) // as kube-controller-manager does
		time.Sleep(30 * time.Hour)
		if got := n.api.names(); !slices.Equal(got, []string{name, name}) {
			t.Errorf("requests %v, want the same one made again", got)
		}
		// Approved, but the signer is away.
		n.api.set(func() {
			o := n.api.objects[name].DeepCopy()
			n.api.decideLocked(o, certv1.CertificateApproved, "ByHand", "")
			n.api.objects[name] = o
		})
		synctest.Wait()
		has(t, c.State.Value().Waiting, "is approved; waiting for its signer kubernetes.io/kube-apiserver-client-kubelet")
		n.api.set(func() {
			o := n.api.objects[name].DeepCopy()
			n.api.signLocked(o)
			n.api.objects[name] = o
		})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		n.checkJoined(t)
		if s := c.State.Value(); s.Waiting != "" || s.Request != "" || s.Problem != "" {
			t.Errorf("state after the bootstrap: %+v", s)
		}
		if got := n.logged.count("waiting for approval"); got != 1 {
			t.Errorf("waiting was said %d times, want once:\n%s", got, n.logged)
		}
	})
}

var errCrash = errors.New("crash")

// TestBootstrapGoesOnAfterACrash cuts the first bootstrap before each change on disk and after each request, and begins again.
func TestBootstrapGoesOnAfterACrash(t *testing.T) {
	for _, wait := range []bool{false, true} {
		for cut := 0; ; cut++ {
			steps := 0
			t.Run(fmt.Sprintf("approval by hand %v, cut %d", wait, cut), func(t *testing.T) {
				inBubble(t, func(t *testing.T, n *node) {
					n.api.approve = !wait
					ctx, crash := context.WithCancel(t.Context())
					c := n.bootstrapConfig()
					c.step = func(what string) error {
						if steps++; steps > cut {
							crash()
							return fmt.Errorf("%w before %s", errCrash, what)
						}
						return nil
					}
					n.api.afterCreate = func() {
						if steps++; steps > cut {
							crash()
						}
					}
					done := make(chan error, 1)
					go func() { done <- Bootstrap(ctx, c) }()
					synctest.Wait()
					if wait { // cut while it waits
						crash()
					}
					<-done
					crash()
					// Again, an hour later, as after a reboot.
					time.Sleep(time.Hour)
					n.api.afterCreate = nil
					go func() { done <- Bootstrap(t.Context(), n.bootstrapConfig()) }()
					synctest.Wait()
					if names := n.api.names(); wait && len(names) > 0 {
						n.api.decide(names[0], certv1.CertificateApproved, "ByHand", "")
					}
					if err := <-done; err != nil {
						t.Fatal(err)
					}
					n.checkJoined(t)
					if names := n.api.names(); len(names) != 1 {
						t.Errorf("requests %v, want one", names)
					}
				})
			})
			if steps <= cut {
				break
			}
		}
	}
}

func TestBootstrapAsksAgainAfterANo(t *testing.T) {
	for _, c := range []struct {
		kind certv1.RequestConditionType
		want string
	}{
		{certv1.CertificateDenied, "was denied: NotYou: ask Bob"},
		{certv1.CertificateFailed, "failed at its signer kubernetes.io/kube-apiserver-client-kubelet: NotYou: ask Bob"},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *node) {
				n.api.approve = false
				config := n.bootstrapConfig()
				done := make(chan error, 1)
				go func() { done <- Bootstrap(t.Context(), config) }()
				synctest.Wait()
				n.api.decide(n.api.names()[0], c.kind, "NotYou", "ask Bob")
				synctest.Wait()
				has(t, config.State.Value().Problem, c.want)
				if got := len(n.api.names()); got != 1 {
					t.Fatalf("%d requests at once after the no, want a pause", got)
				}
				time.Sleep(2 * time.Minute)
				names := n.api.names()
				if len(names) != 2 || names[0] == names[1] {
					t.Fatalf("requests %v, want a second one with another key", names)
				}
				n.api.decide(names[1], certv1.CertificateApproved, "ByHand", "")
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				n.checkJoined(t)
			})
		})
	}
}

func TestBootstrapWhileTheAPIRefuses(t *testing.T) {
	for _, c := range []struct {
		title string
		err   error
		want  string
	}{
		{"forbidden", apierrors.NewForbidden(csrs, "", errors.New("no such role")), "system:node-bootstrapper"},
		{"unauthorised", apierrors.NewUnauthorized("Unauthorized"), "kubeadm token create"},
		{"unreachable", errors.New("dial tcp 10.0.0.1:6443: connection refused"), "connection refused"},
	} {
		t.Run(c.title, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *node) {
				n.api.refuse = c.err
				config := n.bootstrapConfig()
				done := make(chan error, 1)
				go func() { done <- Bootstrap(t.Context(), config) }()
				time.Sleep(24 * time.Hour)
				has(t, config.State.Value().Problem, c.want)
				if asked := n.api.asked.Load(); asked < 240 || asked > 320 {
					t.Errorf("asked %d times within a day, want about every five minutes at last", n.api.asked.Load())
				}
				if got := n.logged.count("problem="); got != 1 {
					t.Errorf("said %d times, want once:\n%s", got, n.logged)
				}
				n.api.set(func() { n.api.refuse = nil })
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				n.checkJoined(t)
			})
		})
	}
}

// TestBootstrapRequestVanishesWhileTheAPIIsIll has the request removed and the look for it fail.
func TestBootstrapRequestVanishesWhileTheAPIIsIll(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.approve = false
		c := n.bootstrapConfig()
		var ill atomic.Bool
		c.Connect = func(string) (Requests, func(), error) { return illReader{n.api, &ill}, nil, nil }
		done := make(chan error, 1)
		go func() { done <- Bootstrap(t.Context(), c) }()
		synctest.Wait()
		name := n.api.names()[0]
		ill.Store(true)
		n.api.set(func() { delete(n.api.objects, name) })
		synctest.Wait()
		has(t, c.State.Value().Problem, "etcd has no leader")
		ill.Store(false)
		time.Sleep(10 * time.Second)
		if got := n.api.names(); !slices.Equal(got, []string{name, name}) {
			t.Fatalf("requests %v, want the same one made again", got)
		}
		n.api.decide(name, certv1.CertificateApproved, "", "")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		n.checkJoined(t)
	})
}

// illReader cannot read single objects for now.
type illReader struct {
	*fakeAPI
	ill *atomic.Bool
}

func (r illReader) GetCSR(ctx context.Context, name string) (*certv1.CertificateSigningRequest, error) {
	if r.ill.Load() {
		return nil, errors.New("get certificate signing request " + name + ": etcd has no leader")
	}
	return r.fakeAPI.GetCSR(ctx, name)
}

func TestBootstrapTakesUpANewToken(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.approve = false
		c := n.bootstrapConfig()
		files := newPoked()
		c.watch = files.make
		var used []string
		c.Connect = func(path string) (Requests, func(), error) {
			text, err := os.ReadFile(path)
			used = append(used, string(text))
			return n.api, func() { used = append(used, "released") }, err
		}
		done := make(chan error, 1)
		go func() { done <- Bootstrap(t.Context(), c) }()
		synctest.Wait()
		n.write(n.bootstrap, "rubbish: [")
		files.poke()
		synctest.Wait()
		has(t, c.State.Value().Problem, "waiting for a bootstrap kubeconfig that can be used: bootstrap kubeconfig "+n.bootstrap)
		n.write(n.bootstrap, bootstrapText("bbbbbb.0123456789abcdef"))
		files.poke()
		synctest.Wait()
		if names := n.api.names(); len(names) != 1 || c.State.Value().Request != names[0] {
			t.Errorf("requests %v, state %+v: want the same request followed", names, c.State.Value())
		}
		n.api.decide(n.api.names()[0], certv1.CertificateApproved, "", "")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if want := []string{bootstrapText("abcdef.0123456789abcdef"), "released", bootstrapText("bbbbbb.0123456789abcdef"), "released"}; !slices.Equal(used, want) {
			t.Errorf("connections %q", used)
		}
		if strings.Contains(n.logged.String(), "0123456789abcdef") {
			t.Errorf("a token is in the log:\n%s", n.logged)
		}
	})
}

func TestBootstrapEndsWhenSomebodyBringsAKubeconfig(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.approve = false
		c := n.bootstrapConfig()
		files := newPoked()
		c.watch = files.make
		done := make(chan error, 1)
		go func() { done <- Bootstrap(t.Context(), c) }()
		synctest.Wait()
		n.putPair("admin", "system:node:n1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		n.write(n.kubeconfig, withFiles("admin.crt", "admin.key"))
		files.poke()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if text, _ := os.ReadFile(n.kubeconfig); string(text) != withFiles("admin.crt", "admin.key") {
			t.Errorf("the kubeconfig was changed: %s", text)
		}
	})
}

// putPair writes NAME.crt and NAME.key.
func (n *node) putPair(name, subject string, from, to time.Time) {
	cert, key := n.api.pair(subject, from, to)
	n.write(filepath.Join(n.dir, name+".crt"), string(cert))
	n.write(filepath.Join(n.dir, name+".key"), string(key))
}

func TestBootstrapResumedRequestThatExpiredIsNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.life = time.Hour
		ctx, crash := context.WithCancel(t.Context())
		c := n.bootstrapConfig()
		c.step = func(what string) error {
			if what == "write pair" {
				crash()
				return errCrash
			}
			return nil
		}
		if err := Bootstrap(ctx, c); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		if err := Bootstrap(t.Context(), n.bootstrapConfig()); err != nil {
			t.Fatal(err)
		}
		n.checkJoined(t)
		if names := n.api.names(); len(names) != 2 || names[0] == names[1] {
			t.Errorf("requests %v, want two with different keys", names)
		}
	})
}

func TestBootstrapSaysWhoseClockIsWrong(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		n.api.skew = -10 * 365 * 24 * time.Hour // the signer's clock was set back
		c := n.bootstrapConfig()
		done := make(chan error, 1)
		go func() { done <- Bootstrap(t.Context(), c) }()
		synctest.Wait()
		has(t, c.State.Value().Problem, "set the clock that is wrong, here or where kube-controller-manager runs")
		time.Sleep(24 * time.Hour)
		if got := len(n.api.names()); got > 40 {
			t.Errorf("%d requests within a day, want about one an hour", got)
		}
		n.api.set(func() { n.api.skew = 3 * time.Hour }) // the other way round it is used
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		n.checkJoined(t)
	})
}

func TestBootstrapNameTakenBySomebodyElse(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node) {
		first := true
		n.api.approve = false
		c := n.bootstrapConfig()
		c.Connect = func(string) (Requests, func(), error) { return thief{n.api, &first}, nil, nil }
		done := make(chan error, 1)
		go func() { done <- Bootstrap(t.Context(), c) }()
		time.Sleep(10 * time.Second)
		names := n.api.names()
		if len(names) != 2 || names[0] == names[1] {
			t.Fatalf("requests %v, want the thief's and another", names)
		}
		n.api.decide(names[1], certv1.CertificateApproved, "", "")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		n.checkJoined(t)
	})
}

// thief makes a request of its own under the first name that it hears.
type thief struct {
	*fakeAPI
	first *bool
}

func (f thief) CreateCSR(ctx context.Context, csr *certv1.CertificateSigningRequest) (*certv1.CertificateSigningRequest, error) {
	if *f.first {
		*f.first = false
		k, err := newKey()
		if err != nil {
			return nil, err
		}
		other, err := clientOrder("evil").request(k)
		if err != nil {
			return nil, err
		}
		other.Name = csr.Name
		if _, err := f.fakeAPI.CreateCSR(ctx, other); err != nil {
			return nil, err
		}
	}
	return f.fakeAPI.CreateCSR(ctx, csr)
}

// The certificate in the kubeconfig has expired while the agent was down: one that was renewed before is enough, and without a
// bootstrap kubeconfig nothing else can be done than to use the old one.
func TestBootstrapWithAnExpiredCertificate(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		title                     string
		bootstrap, rotate, stored bool
		asked                     int64
	}{
		{"nothing else", false, false, false, 0},
		{"a renewed one", true, true, true, 0},
		{"a renewed one that is not to be used", true, false, true, 1},
		{"a bootstrap kubeconfig", true, true, false, 1},
	} {
		t.Run(c.title, func(t *testing.T) {
			n := newNode(t)
			n.putPair("old", "system:node:n1", now.Add(-2*time.Hour), now.Add(-time.Hour))
			n.write(n.kubeconfig, withFiles("old.crt", "old.key"))
			config := n.bootstrapConfig()
			if config.Rotate = c.rotate; !c.bootstrap {
				config.BootstrapKubeconfig = ""
			}
			if c.stored {
				cert, key := n.api.pair("system:node:n1", now.Add(-time.Hour), now.Add(time.Hour))
				if err := (&store{dir: n.certDir, name: clientPairs}).save(cert, key, now); err != nil {
					t.Fatal(err)
				}
			}
			if err := Bootstrap(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			if n := n.api.asked.Load(); n != c.asked {
				t.Errorf("%d requests, want %d", n, c.asked)
			}
		})
	}
}
