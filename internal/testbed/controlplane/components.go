package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// auditPolicy has every request written down once, when it ends, and long ones also when they begin.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// newAuthorities makes the cluster's three authorities. They differ so that no node's certificate opens etcd, or speaks
// for others as a front proxy may.
func (p *Plane) newAuthorities() error {
	var err error
	if p.ca, err = newAuthority("bosun-cluster"); err != nil {
		return err
	}
	if p.etcdCA, err = newAuthority("bosun-etcd"); err != nil {
		return err
	}
	if p.frontCA, err = newAuthority("bosun-front-proxy"); err != nil {
		return err
	}
	for name, a := range map[string]*authority{"ca": p.ca, "etcd-ca": p.etcdCA, "front-ca": p.frontCA} {
		if err := a.write(p.file(name)); err != nil {
			return err
		}
	}
	return nil
}

// writeSecrets writes certificates, keys, kubeconfigs and the audit policy.
func (p *Plane) writeSecrets(extraHosts []string) error {
	if err := p.newAuthorities(); err != nil {
		return err
	}
	hosts := append([]string{"127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", p.advertise}, extraHosts...)
	for name, wanted := range map[string]struct {
		by *authority
		id Identity
	}{
		"apiserver":      {p.ca, Identity{User: "kube-apiserver", Hosts: hosts}},
		"kubelet-client": {p.ca, Identity{User: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}}},
		"etcd":           {p.etcdCA, Identity{User: "etcd", Hosts: []string{"127.0.0.1"}}},
		"etcd-client":    {p.etcdCA, Identity{User: "kube-apiserver"}},
		"front-proxy":    {p.frontCA, Identity{User: frontProxyUser}},
	} {
		pair, err := wanted.by.issue(wanted.id)
		if err != nil {
			return err
		}
		if err := pair.write(p.file(name)); err != nil {
			return err
		}
	}
	for name, id := range map[string]Identity{
		"admin":              {User: "admin", Groups: []string{"system:masters"}},
		"controller-manager": {User: "system:kube-controller-manager"},
		"scheduler":          {User: "system:kube-scheduler"},
	} {
		pair, err := p.Issue(id)
		if err != nil {
			return err
		}
		if err := p.WriteKubeconfig(p.file(name+".kubeconfig"), p.URL, Credentials{Pair: pair}); err != nil {
			return err
		}
	}
	if err := writeServiceAccountKey(p.file("sa")); err != nil {
		return err
	}
	return os.WriteFile(p.file("audit-policy.yaml"), []byte(auditPolicy), 0o644)
}

// writeServiceAccountKey makes the key that signs service account tokens: base.key, and base.pub to verify them.
func writeServiceAccountKey(base string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := os.WriteFile(base+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(base+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644)
}

func (p *Plane) etcdProgram() Program {
	client, peer := fmt.Sprint("https://127.0.0.1:", p.ports.Etcd), fmt.Sprint("https://127.0.0.1:", p.ports.EtcdPeer)
	return p.program("etcd",
		"--name=bosun", "--data-dir="+p.etcdData(),
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=bosun="+peer,
		"--client-cert-auth", "--trusted-ca-file="+p.file("etcd-ca.crt"), "--cert-file="+p.file("etcd.crt"), "--key-file="+p.file("etcd.key"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file="+p.file("etcd-ca.crt"), "--peer-cert-file="+p.file("etcd.crt"), "--peer-key-file="+p.file("etcd.key"),
		"--unsafe-no-fsync",                                 // nothing here is worth a wait for the disk
		"--heartbeat-interval=20", "--election-timeout=200", // alone, it elects itself after one of them
		"--log-level=warn")
}

func (p *Plane) apiServerProgram() Program {
	return p.program("kube-apiserver", append([]string{
		"--bind-address=" + p.options.BindAddress, "--secure-port=" + strconv.Itoa(p.ports.APIServer),
		"--advertise-address=" + p.advertise,
		"--endpoint-reconciler-type=none", // the address may not even be there
		"--etcd-servers=https://127.0.0.1:" + strconv.Itoa(p.ports.Etcd),
		"--etcd-cafile=" + p.file("etcd-ca.crt"), "--etcd-certfile=" + p.file("etcd-client.crt"), "--etcd-keyfile=" + p.file("etcd-client.key"),
		"--tls-cert-file=" + p.file("apiserver.crt"), "--tls-private-key-file=" + p.file("apiserver.key"),
		"--client-ca-file=" + p.CAFile,
		"--service-cluster-ip-range=" + p.serviceCIDR,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + p.file("sa.pub"), "--service-account-signing-key-file=" + p.file("sa.key"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--enable-bootstrap-token-auth",
		"--allow-privileged",
		"--kubelet-client-certificate=" + p.file("kubelet-client.crt"), "--kubelet-client-key=" + p.file("kubelet-client.key"),
		"--kubelet-certificate-authority=" + p.CAFile,
		"--kubelet-preferred-address-types=InternalIP,Hostname",
		"--requestheader-client-ca-file=" + p.file("front-ca.crt"), "--requestheader-allowed-names=" + frontProxyUser,
		"--requestheader-username-headers=" + headerUser, "--requestheader-group-headers=" + headerGroup,
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + p.file("front-proxy.crt"), "--proxy-client-key-file=" + p.file("front-proxy.key"),
		"--audit-policy-file=" + p.file("audit-policy.yaml"), "--audit-log-path=" + p.AuditLog,
		"--audit-log-mode=blocking", "--audit-log-maxsize=0", // unbuffered, one file
		"--shutdown-watch-termination-grace-period=5s", // else watches hold up its end for a minute
	}, p.options.APIServer...)...)
}

func (p *Plane) controllerManagerProgram() Program {
	kubeconfig := p.file("controller-manager.kubeconfig")
	return p.program("kube-controller-manager", append([]string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(p.ports.ControllerManager),
		"--leader-elect=false",
		"--controllers=*,bootstrapsigner,tokencleaner",
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + p.file("sa.key"),
		"--root-ca-file=" + p.CAFile,
		"--cluster-signing-cert-file=" + p.CAFile, "--cluster-signing-key-file=" + p.file("ca.key"),
		"--kube-api-qps=1000", "--kube-api-burst=1000", // tests should not wait for a client's modesty
	}, p.options.ControllerManager...)...)
}

func (p *Plane) schedulerProgram() Program {
	kubeconfig := p.file("scheduler.kubeconfig")
	return p.program("kube-scheduler", append([]string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(p.ports.Scheduler),
		"--leader-elect=false",
		"--kube-api-qps=1000", "--kube-api-burst=1000",
	}, p.options.Scheduler...)...)
}

func (p *Plane) program(name string, args ...string) Program {
	return Program{Name: name, Path: filepath.Join(p.binDir, name), Args: args, Dir: p.Dir}
}

func (p *Plane) file(name string) string { return filepath.Join(p.Dir, name) }

func (p *Plane) etcdData() string { return p.file("etcd") }

// StartTimes say how long after the start what was there.
type StartTimes struct {
	APIServer      time.Duration // /readyz says ok
	ServiceAccount time.Duration // the default service account exists: pods can be made
}
