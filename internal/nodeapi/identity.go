package nodeapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	// lasts is how long certificates hold, early how long before their end they are made anew at a start.
	lasts = 10 * 365 * 24 * time.Hour
	early = 30 * 24 * time.Hour
	// identityFile is the file of an Identity in its directory.
	identityFile = "identity.json"
)

// Identity is who the API is, and who its one client is: certificates made at the first start and kept, so that a kubeconfig stays
// good. Whoever has the client's is root on the node.
type Identity struct {
	// Version is that of the file's form.
	Version int `json:"version"`
	// Made is when it was made, which is when the node first had an API.
	Made time.Time `json:"made"`
	// Port is where the API was last; 0 before it was anywhere.
	Port int `json:"port,omitempty"`
	// All are PEM. The key of CA is nowhere: it has signed two certificates and never will another.
	CA         []byte `json:"ca"`
	ServerCert []byte `json:"serverCert"`
	ServerKey  []byte `json:"serverKey"`
	ClientCert []byte `json:"clientCert"`
	ClientKey  []byte `json:"clientKey"`

	dir string
}

// OpenIdentity reads the identity that is kept in a directory, which is made if it is missing, or makes one where there is none that
// can be used.
func OpenIdentity(dir string, now time.Time) (*Identity, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the directory of the node's API: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the directory of the node's API: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is not a directory that only this user can read and write: move it away", dir)
	}
	id := &Identity{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, identityFile))
	if err == nil && json.Unmarshal(text, id) == nil && id.good(now) {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the identity of the node's API: %w", err)
	}
	id = &Identity{Version: 1, Made: now.UTC().Truncate(time.Second), Port: id.Port, dir: dir}
	if err := id.make(now); err != nil {
		return nil, fmt.Errorf("make certificates for the node's API: %w", err)
	}
	return id, id.save()
}

// good tells whether it can be used for a while.
func (id *Identity) good(now time.Time) bool {
	if id.Version != 1 {
		return false
	}
	for _, pair := range [][2][]byte{{id.ServerCert, id.ServerKey}, {id.ClientCert, id.ClientKey}} {
		c, err := tls.X509KeyPair(pair[0], pair[1])
		if err != nil || c.Leaf == nil || now.Before(c.Leaf.NotBefore) || now.Add(early).After(c.Leaf.NotAfter) {
			return false
		}
		roots := x509.NewCertPool()
		usage := x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		if !roots.AppendCertsFromPEM(id.CA) {
			return false
		}
		if _, err := c.Leaf.Verify(usage); err != nil {
			return false
		}
	}
	return true
}

func (id *Identity) make(now time.Time) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := template("bosun-node-api", now)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	id.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	server := template("bosun-node-api", now)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.IPAddresses, server.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, []string{"localhost"}
	if id.ServerCert, id.ServerKey, err = signed(server, ca, caKey); err != nil {
		return err
	}
	client := template("root", now)
	client.Subject.Organization, client.ExtKeyUsage = []string{"system:masters"}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	id.ClientCert, id.ClientKey, err = signed(client, ca, caKey)
	return err
}

func template(name string, now time.Time) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil { // the kernel always has randomness
		serial = big.NewInt(now.UnixNano())
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lasts), KeyUsage: x509.KeyUsageDigitalSignature,
	}
}

func signed(of, by *x509.Certificate, with *ecdsa.PrivateKey) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.CreateCertificate(rand.Reader, of, by, private.Public(), with)
	if err != nil {
		return nil, nil, err
	}
	rawKey, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: rawKey}), nil
}

func (id *Identity) save() error {
	text, err := json.Marshal(id)
	if err == nil {
		err = replace(filepath.Join(id.dir, identityFile), text)
	}
	if err != nil {
		return fmt.Errorf("keep the identity of the node's API: %w", err)
	}
	return nil
}

// TLS is the server's side: it talks to the one client and to nobody else. Streams to containers need HTTP/1.1, and one protocol
// is enough.
func (id *Identity) TLS() (*tls.Config, error) {
	cert, err := tls.X509KeyPair(id.ServerCert, id.ServerKey)
	if err != nil {
		return nil, fmt.Errorf("use the certificate of the node's API: %w", err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(id.CA)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"http/1.1"},
	}, nil
}

// Listen opens the API's port on loopback: port, or, if that is 0, the one of last time, or a free one. Where it is goes into the
// kubeconfig, a file that only its owner can read.
func (id *Identity) Listen(ctx context.Context, port int, kubeconfig, node string) (net.Listener, error) {
	var config net.ListenConfig
	at := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	want := port
	if want == 0 {
		want = id.Port
	}
	l, err := config.Listen(ctx, "tcp", at(want))
	if err != nil && port == 0 && want != 0 { // somebody has taken it
		l, err = config.Listen(ctx, "tcp", at(0))
	}
	if err != nil {
		return nil, err
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.Port != id.Port {
		id.Port = tcp.Port
		err = id.save()
	}
	if err == nil {
		err = replace(kubeconfig, id.kubeconfig(l.Addr().String(), node))
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// kubeconfig is what kubectl needs.
func (id *Identity) kubeconfig(address, node string) []byte {
	b64 := base64.StdEncoding.EncodeToString
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Made by Bosun at each start. Who can read this file is root on this node.
apiVersion: v1
kind: Config
current-context: %[1]q
contexts:
- name: %[1]q
  context: {cluster: %[1]q, user: root, namespace: default}
clusters:
- name: %[1]q
  cluster:
    server: https://%[2]s
    certificate-authority-data: %[3]s
users:
- name: root
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
`, node, address, b64(id.CA), b64(id.ClientCert), b64(id.ClientKey))
	return b.Bytes()
}

// replace writes a file that only its owner can read, such that it is always the old or the new one.
func replace(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
