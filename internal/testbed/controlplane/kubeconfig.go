package controlplane

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Credentials are what a kubeconfig proves its holder's identity with: a certificate or a token, or nothing.
type Credentials struct {
	Pair
	Token string
}

// WriteKubeconfig writes a kubeconfig for the API server, or whatever stands before it, at server.
func (p *Plane) WriteKubeconfig(file, server string, who Credentials) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["bosun"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: p.ca.Cert}
	config.AuthInfos["me"] = &clientcmdapi.AuthInfo{ClientCertificateData: who.Cert, ClientKeyData: who.Key, Token: who.Token}
	config.Contexts["bosun"] = &clientcmdapi.Context{Cluster: "bosun", AuthInfo: "me"}
	config.CurrentContext = "bosun"
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return os.WriteFile(file, data, 0o600)
}

// Issue signs a certificate with the cluster's authority: for users, nodes and what they serve.
func (p *Plane) Issue(id Identity) (Pair, error) { return p.ca.issue(id) }

// NodeIdentity is who a node is to the API server.
func NodeIdentity(node string) Identity {
	return Identity{User: "system:node:" + node, Groups: []string{"system:nodes"}}
}

// NodeKubeconfig writes a kubeconfig with which the API server knows its holder as this node, and returns its path. Each
// call makes a new certificate and a new file.
func (p *Plane) NodeKubeconfig(node string) (string, error) {
	return p.kubeconfigFor(NodeIdentity(node), p.URL)
}

// Kubeconfig is NodeKubeconfig for any identity, such as one whose certificate has expired.
func (p *Plane) Kubeconfig(id Identity) (string, error) { return p.kubeconfigFor(id, p.URL) }

// BootstrapKubeconfig writes a kubeconfig with the bootstrap token, for TLS bootstrap, and returns its path.
func (p *Plane) BootstrapKubeconfig() (string, error) { return p.bootstrapKubeconfig(p.URL) }

func (p *Plane) bootstrapKubeconfig(server string) (string, error) {
	file := p.newFile("bootstrap", ".kubeconfig")
	return file, p.WriteKubeconfig(file, server, Credentials{Token: BootstrapToken})
}

func (p *Plane) kubeconfigFor(id Identity, server string) (string, error) {
	pair, err := p.Issue(id)
	if err != nil {
		return "", err
	}
	file := p.newFile("client", ".kubeconfig")
	return file, p.WriteKubeconfig(file, server, Credentials{Pair: pair})
}

// ServingFiles writes a serving certificate that the API server trusts when it calls a node, for the node's name and
// the addresses, and returns the paths of certificate and key.
func (p *Plane) ServingFiles(node string, addresses ...string) (cert, key string, err error) {
	id := NodeIdentity(node)
	id.Hosts = append([]string{node}, addresses...)
	pair, err := p.Issue(id)
	if err != nil {
		return "", "", err
	}
	base := p.newFile("serving", "")
	return base + ".crt", base + ".key", pair.write(base)
}

// newFile is a path in the plane's directory that no file has yet.
func (p *Plane) newFile(kind, suffix string) string {
	return filepath.Join(p.Dir, fmt.Sprintf("%s-%d%s", kind, p.files.Add(1), suffix))
}
