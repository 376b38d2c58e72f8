package certs

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// An identity is the part of a kubeconfig that says who asks.
type identity struct {
	path              string
	cluster           *api.Cluster
	user              *api.AuthInfo
	certFile, keyFile string // absolute; empty where data stands in the file itself
	certData, keyData []byte
	other             string // how else the kubeconfig identifies: "a token" and the like
}

// readIdentity reads the current context of a kubeconfig.
func readIdentity(path string) (*identity, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err) // names the file
	}
	id, err := parseIdentity(path, text)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return id, nil
}

func parseIdentity(path string, text []byte) (*identity, error) {
	file, err := clientcmd.Load(text)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := clientcmd.ResolvePaths(clientcmd.GetConfigFileReferences(file), dir); err != nil {
		return nil, err
	}
	current, ok := file.Contexts[file.CurrentContext]
	if !ok || current == nil {
		return nil, fmt.Errorf("current-context %q is not among the contexts", file.CurrentContext)
	}
	cluster, ok := file.Clusters[current.Cluster]
	if !ok || cluster == nil || cluster.Server == "" {
		return nil, fmt.Errorf("context %q: cluster %q is not among the clusters, or has no server", file.CurrentContext, current.Cluster)
	}
	user, ok := file.AuthInfos[current.AuthInfo]
	if !ok || user == nil {
		return nil, fmt.Errorf("context %q: user %q is not among the users", file.CurrentContext, current.AuthInfo)
	}
	id := &identity{path: path, cluster: cluster, user: user, certData: user.ClientCertificateData, keyData: user.ClientKeyData, other: otherWay(user)}
	if len(id.certData) == 0 {
		id.certFile = user.ClientCertificate
	}
	if len(id.keyData) == 0 {
		id.keyFile = user.ClientKey
	}
	return id, nil
}

// otherWay names how a user identifies without a certificate; empty if not at all.
func otherWay(user *api.AuthInfo) string {
	switch {
	case user.Token != "" || user.TokenFile != "":
		return "a token"
	case user.Exec != nil:
		return "the command " + user.Exec.Command
	case user.AuthProvider != nil:
		return "the auth provider " + user.AuthProvider.Name
	case user.Username != "":
		return "a password"
	default:
		return ""
	}
}

// hasCertificate tells whether the kubeconfig names a client certificate, readable or not.
func (id *identity) hasCertificate() bool {
	return len(id.certData) > 0 || id.certFile != ""
}

// texts returns certificate and key as PEM.
func (id *identity) texts() (certPEM, keyPEM []byte, err error) {
	certPEM, keyPEM = id.certData, id.keyData
	if len(certPEM) == 0 {
		if certPEM, err = readFile(id.certFile); err != nil {
			return nil, nil, fmt.Errorf("client-certificate of kubeconfig %s: %w", id.path, err)
		}
	}
	if len(keyPEM) == 0 {
		if id.keyFile == "" {
			return nil, nil, fmt.Errorf("kubeconfig %s has a client certificate, but neither client-key nor client-key-data", id.path)
		}
		if keyPEM, err = readFile(id.keyFile); err != nil {
			return nil, nil, fmt.Errorf("client-key of kubeconfig %s: %w", id.path, err)
		}
	}
	return certPEM, keyPEM, nil
}

// pair returns the client certificate of the kubeconfig.
func (id *identity) pair() (*pair, error) {
	certPEM, keyPEM, err := id.texts()
	if err != nil {
		return nil, err
	}
	p, err := parsePair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("client certificate of kubeconfig %s: %w", id.path, err)
	}
	return p, nil
}

// files are those that matter: the kubeconfig and what it names.
func (id *identity) files() []string {
	files := []string{id.path}
	for _, f := range []string{id.certFile, id.keyFile, id.caFile()} {
		if f != "" {
			files = append(files, f)
		}
	}
	return files
}

// caFile is the file of the API server's authority; empty if the kubeconfig holds it itself, or names none.
func (id *identity) caFile() string {
	if len(id.cluster.CertificateAuthorityData) > 0 {
		return ""
	}
	return id.cluster.CertificateAuthority
}

// server stands for all that the kubeconfig says of the way to the API server: where it is, who vouches for it, and how the node
// identifies itself beside its certificate. The error is for an authority that cannot be read.
func (id *identity) server() (key [sha256.Size]byte, err error) {
	cluster, user := *id.cluster, *id.user
	user.ClientCertificate, user.ClientKey, user.ClientCertificateData, user.ClientKeyData = "", "", nil, nil
	authority := cluster.CertificateAuthorityData
	if file := id.caFile(); file != "" {
		if authority, err = readFile(file); err != nil {
			return key, fmt.Errorf("certificate-authority of kubeconfig %s: %w", id.path, err)
		}
	}
	text, err := json.Marshal([]any{cluster, user, authority})
	if err != nil {
		return key, fmt.Errorf("kubeconfig %s: %w", id.path, err)
	}
	return sha256.Sum256(text), nil
}

// Usable returns nil if a node can identify itself with the kubeconfig: with a client certificate that has not expired, or in
// another way that it names. A certificate that is not valid yet counts as usable: rather the clock is wrong. The error
// names the file and what is wrong with it; it is fs.ErrNotExist when there is no kubeconfig.
func Usable(kubeconfig string, now time.Time) error {
	id, err := readIdentity(kubeconfig)
	if err != nil {
		return err
	}
	if !id.hasCertificate() {
		if id.other == "" {
			return fmt.Errorf("kubeconfig %s: its user has no client certificate and no other way to identify the node", kubeconfig)
		}
		return nil
	}
	p, err := id.pair()
	if err != nil {
		return err
	}
	if p.expired(now) {
		return fmt.Errorf("client certificate of kubeconfig %s %w at %s", kubeconfig, errExpired, stamp(p.leaf.NotAfter))
	}
	return nil
}

var errExpired = errors.New("expired")

// writeKubeconfig writes a kubeconfig for the cluster of another one, and the pair at a path.
func writeKubeconfig(path string, cluster *api.Cluster, pairFile string) error {
	file := api.NewConfig()
	file.Clusters["default-cluster"] = cluster
	user := api.NewAuthInfo()
	user.ClientCertificate, user.ClientKey = pairFile, pairFile
	file.AuthInfos["default-auth"] = user
	file.Contexts["default-context"] = &api.Context{Cluster: "default-cluster", AuthInfo: "default-auth", Namespace: "default"}
	file.CurrentContext = "default-context"
	text, err := clientcmd.Write(*file)
	if err != nil {
		return fmt.Errorf("write kubeconfig %s: %w", path, err)
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write kubeconfig %s: %w", path, err)
	}
	return writeFile(path, text, 0o600)
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
