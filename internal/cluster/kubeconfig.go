package cluster

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	goruntime "runtime"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// UserAgent is how Bosun names itself to the API server: `kubelet/v1.37.1 (linux/amd64) bosun/0.3`. Audit rules and flow schemas match
// on the beginning, which is therefore the upstream kubelet's; only what comes after the platform, there the commit of Kubernetes, differs.
func UserAgent(kubernetes, release string) string {
	return fmt.Sprintf("kubelet/%s (%s/%s) bosun/%s", kubernetes, goruntime.GOOS, goruntime.GOARCH, release)
}

// LoadKubeconfig reads the kubeconfig file at path and returns how to reach the API server of its current context. Relative paths in the
// file are relative to its directory. Errors name the file and the field that is wrong; os.IsNotExist tells that there is no file.
func LoadKubeconfig(path string) (*rest.Config, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, errors.Unwrap(err))
	}
	file, err := (&clientcmd.ClientConfigLoadingRules{ExplicitPath: path}).Load()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	if err := checkKubeconfig(file); err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*file, "", &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return config, nil
}

// checkKubeconfig says what a person left out, in the words of the file; clientcmd would fall back to something else, or say it from
// its own point of view.
func checkKubeconfig(file *api.Config) error {
	if file.CurrentContext == "" {
		return errors.New("current-context is empty; it must name one of the contexts")
	}
	current, ok := file.Contexts[file.CurrentContext]
	if !ok {
		return fmt.Errorf("current-context %q is not among the contexts", file.CurrentContext)
	}
	cluster, ok := file.Clusters[current.Cluster]
	if !ok {
		return fmt.Errorf("context %q: cluster %q is not among the clusters", file.CurrentContext, current.Cluster)
	}
	server, err := url.Parse(cluster.Server)
	if err != nil || server.Host == "" || server.Scheme != "https" && server.Scheme != "http" {
		return fmt.Errorf("cluster %q: server %q is not a URL such as https://10.0.0.1:6443", current.Cluster, cluster.Server)
	}
	if _, ok := file.AuthInfos[current.AuthInfo]; !ok && current.AuthInfo != "" {
		return fmt.Errorf("context %q: user %q is not among the users", file.CurrentContext, current.AuthInfo)
	}
	for field, name := range filesOf(cluster, file.AuthInfos[current.AuthInfo]) {
		if name == "" {
			continue
		}
		if _, err := os.Stat(name); err != nil {
			return fmt.Errorf("%s %s: %w", field, name, errors.Unwrap(err))
		}
	}
	return nil
}

// filesOf returns the files that a cluster and a user refer to, by field. Where data stands beside a file, data wins.
func filesOf(cluster *api.Cluster, user *api.AuthInfo) map[string]string {
	files := map[string]string{}
	if len(cluster.CertificateAuthorityData) == 0 {
		files["certificate-authority"] = cluster.CertificateAuthority
	}
	if user == nil {
		return files
	}
	if len(user.ClientCertificateData) == 0 {
		files["client-certificate"] = user.ClientCertificate
	}
	if len(user.ClientKeyData) == 0 {
		files["client-key"] = user.ClientKey
	}
	return files
}
