package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	certificates "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// identified writes the kubeconfig of a member, for a certificate that lives so long, in the file itself or beside it.
func (m *member) identified(t *testing.T, beside bool, from, until time.Time) {
	t.Helper()
	id := controlplane.NodeIdentity(m.name)
	id.NotBefore, id.NotAfter = from, until
	pair, err := m.plane.Issue(id)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(m.bed.Dir, "kubeconfig")
	m.set("kubeconfig", file)
	if !beside {
		if err := m.plane.WriteKubeconfig(file, m.plane.URL, controlplane.Credentials{Pair: pair}); err != nil {
			t.Fatal(err)
		}
		return
	}
	base := filepath.Join(m.bed.Dir, "client")
	for name, data := range map[string][]byte{base + ".crt": pair.Cert, base + ".key": pair.Key} { // one after the other, as people do
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: m.plane.URL, CertificateAuthority: m.plane.CAFile}
	config.AuthInfos["n"] = &clientcmdapi.AuthInfo{ClientCertificate: base + ".crt", ClientKey: base + ".key"}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "n"}
	config.CurrentContext = "x"
	if _, err := os.Stat(file); err == nil {
		return // it stays as it is
	}
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
}

// The client certificate expires while the agent runs: it says so, pods go on, and once there is another one, wherever it is
// kept, the agent goes on with it by itself.
func TestClientCertificateExpires(t *testing.T) {
	t.Parallel()
	for kind, beside := range map[string]bool{"inline": false, "in-files": true} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m := quietMember(t, controlplane.Shared(t), "")
			ns := m.plane.Namespace(t)
			m.set("cert-dir", filepath.Join(m.bed.Dir, "pki"))
			m.identified(t, beside, time.Time{}, time.Now().Add(15*time.Second))
			m.start(t)
			m.untilReady(t)
			g := m.create(t, ns, "expires-"+kind, plain)
			g.untilReady()
			before := g.containerID("main")
			m.untilLogged(t, "level=WARN", "client certificate", m.user(), "expired")
			late := m.create(t, ns, "expired-"+kind, plain)
			m.untilLogged(t, "level=WARN", "node's lease failed", "expired at") // the API server's no, and why
			began := time.Now()
			m.identified(t, beside, time.Time{}, time.Time{})
			late.untilReady()
			took(t, "a new certificate until a pod runs that came meanwhile", began, 10*time.Second)
			same(t, "container of the pod that was there", g.containerID("main"), before)
			m.untilReady(t)
		})
	}
}

// The agent starts with a certificate that has expired: it says so, and goes on as soon as there is another one.
func TestStartWithExpiredCertificate(t *testing.T) {
	t.Parallel()
	m := quietMember(t, controlplane.Shared(t), "")
	m.set("cert-dir", filepath.Join(m.bed.Dir, "pki"))
	m.identified(t, false, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	m.start(t)
	m.untilLogged(t, "level=WARN", "certificate of "+m.user()+" expired at")
	began := time.Now()
	m.identified(t, false, time.Time{}, time.Time{})
	m.untilReady(t)
	took(t, "a new certificate until the node is ready", began, 10*time.Second)
}

// requested are the certificate requests of a node for a signer.
func (m *member) requested(t *testing.T, signer string) []certificates.CertificateSigningRequest {
	t.Helper()
	all, err := m.api.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{FieldSelector: "spec.signerName=" + signer})
	if err != nil {
		t.Fatal(err)
	}
	var own []certificates.CertificateSigningRequest
	for _, r := range all.Items {
		if r.Spec.Username == m.user() || strings.Contains(commonName(r.Spec.Request), m.user()) {
			own = append(own, r)
		}
	}
	return own
}

func commonName(request []byte) string {
	block, _ := pemDecode(request)
	r, err := x509.ParseCertificateRequest(block)
	if err != nil {
		return err.Error()
	}
	return r.Subject.CommonName
}

// A machine that has nothing but a bootstrap token becomes a node, gets its certificates, and renews the one that soon ends.
func TestBootstrapAndRotation(t *testing.T) {
	t.Parallel()
	// The signer backdates certificates by five minutes: one that lives 45 s from now is at 87 % of its life already, and due
	// for renewal at 70 to 90 %.
	plane := controlplane.Start(t, controlplane.Options{ControllerManager: []string{"--cluster-signing-duration=45s"}})
	m := quietMember(t, plane, "", "--rotate-certificates=true")
	bootstrap, err := plane.BootstrapKubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	pki := filepath.Join(m.bed.Dir, "pki")
	m.set("cert-dir", pki)
	m.set("kubeconfig", filepath.Join(m.bed.Dir, "kubeconfig"))
	m.set("bootstrap-kubeconfig", bootstrap)
	if _, err := binary(); err != nil { // not part of what is measured
		t.Fatal(err)
	}
	began := time.Now()
	m.start(t)
	m.untilReady(t)
	took(t, "bootstrap until the node is ready", began, 15*time.Second)
	eventually(t, func() error {
		if n := strings.Count(m.said(), "certificate: got a new one"); n < 2 {
			return fmt.Errorf("the agent got %d certificates", n)
		}
		return nil
	})
	took(t, "bootstrap until the certificate was renewed", began, 30*time.Second)
	m.create(t, plane.Namespace(t), "bootstrapped", plain).untilReady()
	if n := len(m.requested(t, certificates.KubeAPIServerClientKubeletSignerName)); n > 3 {
		t.Errorf("there are %d requests for client certificates", n)
	}
}

// The agent is killed again and again while it bootstraps: in the end it is a node, by one request.
func TestBootstrapIsInterrupted(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t)
	x := plane.StartProxy(t)
	defer x.Heal()
	x.Inject(controlplane.Fault{Delay: 100 * time.Millisecond})
	m := quietMember(t, plane, "", "--rotate-certificates=true")
	bootstrap, err := x.BootstrapKubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	pki := filepath.Join(m.bed.Dir, "pki")
	m.set("cert-dir", pki)
	m.set("kubeconfig", filepath.Join(m.bed.Dir, "kubeconfig"))
	m.set("bootstrap-kubeconfig", bootstrap)
	for i := range 8 {
		m.start(t)
		<-time.After(time.Duration(100+80*i+rand.IntN(80)) * time.Millisecond)
		m.kill(t)
	}
	m.start(t)
	m.untilReady(t)
	if own := m.requested(t, certificates.KubeAPIServerClientKubeletSignerName); len(own) != 1 {
		t.Errorf("there are %d requests for client certificates, want 1: %v", len(own), own)
	}
	if left, err := filepath.Glob(filepath.Join(pki, "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("left in %s: %v (%v)", pki, left, err)
	}
	info, err := os.Stat(filepath.Join(pki, "kubelet-client-current.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the certificate's file: %v (%v)", info, err)
	}
	// With what the bootstrap gave, the token is of no use any more.
	m.unset("bootstrap-kubeconfig")
	m.restart(t)
	m.create(t, plane.Namespace(t), "interrupted", plain).untilReady()
}

// A certificate that ends soon is renewed by the node itself; then the old one's end, and a restart after it, go unnoticed.
func TestClientCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	m := quietMember(t, controlplane.Shared(t), "", "--rotate-certificates=true")
	pki := filepath.Join(m.bed.Dir, "pki")
	m.set("cert-dir", pki)
	ends := time.Now().Add(12 * time.Second)
	m.identified(t, false, time.Now().Add(-time.Hour), ends)
	m.start(t)
	m.untilReady(t)
	m.untilLogged(t, "certificate: got a new one")
	eventually(t, func() error {
		if time.Now().Before(ends.Add(time.Second)) {
			return fmt.Errorf("the first certificate has not expired yet")
		}
		return nil
	})
	ns := m.plane.Namespace(t)
	m.create(t, ns, "renewed-after-its-end", plain).untilReady()
	m.restart(t)
	m.create(t, ns, "renewed-after-a-restart", plain).untilReady()
	if strings.Contains(m.said(), "level=WARN msg=certificate") {
		t.Error("the agent complained of a certificate")
	}
}

// shows is the certificate that the node shows at its port, verified by the cluster's authority if wanted.
func (m *member) shows(authority bool) (*x509.Certificate, error) {
	config := &tls.Config{InsecureSkipVerify: true, ServerName: nodeIP}
	if authority {
		data, err := os.ReadFile(m.plane.CAFile)
		if err != nil {
			return nil, err
		}
		config.InsecureSkipVerify, config.RootCAs = false, x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(data)
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", net.JoinHostPort(nodeIP, strconv.Itoa(m.secure)), config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// The serving certificate is asked for, and shown as soon as somebody approves it; until then there is none, and the log says
// what helps. It is used again after a restart.
func TestServingCertificateByRequest(t *testing.T) {
	t.Parallel()
	m := quietMember(t, controlplane.Shared(t), "", "--rotate-server-certificates=true")
	m.set("cert-dir", filepath.Join(m.bed.Dir, "pki"))
	m.unset("tls-cert-file")
	m.unset("tls-private-key-file")
	m.start(t)
	m.untilReady(t)
	m.untilLogged(t, "certificate: ", "kubectl certificate approve")
	own := m.requested(t, certificates.KubeletServingSignerName)
	if len(own) != 1 {
		t.Fatalf("there are %d requests for serving certificates", len(own))
	}
	if _, err := m.shows(false); err == nil {
		t.Error("the node shows a certificate before one was approved")
	}
	g := m.create(t, m.plane.Namespace(t), "served", "spec: {containers: [{name: main, image: BOX, args: [say, hello, then, wait]}]}")
	g.untilReady() // without it, too
	began := time.Now()
	if out, err := m.plane.Kubectl(t.Context(), "certificate", "approve", own[0].Name); err != nil {
		t.Fatal(out, err)
	}
	var first *x509.Certificate
	eventually(t, func() (err error) {
		first, err = m.shows(true)
		return err
	})
	took(t, "approval until the certificate is shown", began, 10*time.Second)
	eventually(t, func() error {
		out, err := m.plane.Kubectl(t.Context(), "logs", "-n", g.ns, g.name)
		if err == nil && out != "hello\n" {
			err = fmt.Errorf("the log is %q", out)
		}
		return err
	})
	m.restart(t)
	var second *x509.Certificate
	eventually(t, func() (err error) {
		second, err = m.shows(true)
		return err
	})
	same(t, "serial number after a restart", second.SerialNumber.String(), first.SerialNumber.String())
	same(t, "requests after a restart", len(m.requested(t, certificates.KubeletServingSignerName)), 1)
}

// Without anything else the node shows a certificate that it made itself, for its name and address, and keeps it.
func TestServingCertificateOfItsOwn(t *testing.T) {
	t.Parallel()
	m := quietMember(t, controlplane.Shared(t), "")
	m.set("cert-dir", filepath.Join(m.bed.Dir, "pki"))
	m.unset("tls-cert-file")
	m.unset("tls-private-key-file")
	m.start(t)
	m.untilReady(t)
	var first, second *x509.Certificate
	eventually(t, func() (err error) {
		first, err = m.shows(false)
		return err
	})
	for _, host := range []string{m.name, nodeIP} {
		if err := first.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	m.restart(t)
	eventually(t, func() (err error) {
		second, err = m.shows(false)
		return err
	})
	same(t, "serial number after a restart", second.SerialNumber.String(), first.SerialNumber.String())
}

// The files of the serving certificate are replaced: new connections see the new one, the old ones go on.
func TestServingCertificateFilesAreReplaced(t *testing.T) {
	t.Parallel()
	m := ownMember(t)
	first, err := m.shows(true)
	if err != nil {
		t.Fatal(err)
	}
	g := m.create(t, m.plane.Namespace(t), "replaced", "spec: {containers: [{name: main, image: BOX, args: [say, hello, then, wait]}]}")
	g.untilReady()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	follow := m.plane.KubectlCommand(ctx, "logs", "-f", "-n", g.ns, g.name)
	out, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = follow.Wait() }() // killed
	buf := make([]byte, 100)
	if n, err := out.Read(buf); string(buf[:n]) != "hello\n" {
		t.Fatalf("the log is %q (%v)", buf[:n], err)
	}
	cert, key, err := m.plane.ServingFiles(m.name, nodeIP)
	if err != nil {
		t.Fatal(err)
	}
	for flag, from := range map[string]string{"tls-cert-file": cert, "tls-private-key-file": key} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(m.flag(flag), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	eventually(t, func() error {
		now, err := m.shows(true)
		if err == nil && now.SerialNumber.Cmp(first.SerialNumber) == 0 {
			err = fmt.Errorf("the node shows the old certificate")
		}
		return err
	})
	took(t, "files until the new certificate is shown", began, 10*time.Second)
	g.remove() // the follower hears the end
	if n, err := out.Read(buf); string(buf[:n]) != "got terminated\n" {
		t.Errorf("the log goes on with %q (%v)", buf[:n], err)
	}
	g.untilGone()
}
