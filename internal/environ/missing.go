package environ

import "fmt"

// The kinds of things that can be Missing.
const (
	ConfigMap   = "ConfigMap"
	Secret      = "Secret"
	EnvFile     = "file"
	TrustBundle = "ClusterTrustBundle"
)

// Missing says that something the environment or a volume is built from is not there. The container cannot be created
// before it is, unless it is optional (behaviours 71, 178). Its text is the one users know from upstream.
type Missing struct {
	// Kind is ConfigMap, Secret, EnvFile or TrustBundle.
	Kind string
	// Namespace is the pod's; empty for a file or a trust bundle.
	Namespace string
	// Name is the object's, or "volume/path" for a file; empty for the trust bundles of a signer.
	Name string
	// Key is the key that lacks, empty if the whole object does; of trust bundles it is the signer.
	Key string
	// InVolume tells that a volume wants the key; upstream has other words then.
	InVolume bool
	// Where tells what to do about it; empty where everybody knows.
	Where string
}

// Error tells what is missing.
func (m *Missing) Error() string {
	if m.Where != "" {
		return m.text() + ": " + m.Where
	}
	return m.text()
}

func (m *Missing) text() string {
	switch {
	case m.Kind == EnvFile && m.Key == "":
		return fmt.Sprintf("env file %q not found", m.Name)
	case m.Kind == EnvFile:
		return fmt.Sprintf("couldn't find key %s in env file %s", m.Key, m.Name)
	case m.Kind == TrustBundle && m.Name == "":
		return fmt.Sprintf("no ClusterTrustBundle of signer %q matches the label selector", m.Key)
	case m.Kind == TrustBundle:
		return fmt.Sprintf("clustertrustbundle.certificates.k8s.io %q not found", m.Name)
	case m.InVolume && m.Key != "" && m.Kind == Secret:
		return "references non-existent secret key: " + m.Key
	case m.InVolume && m.Key != "":
		return "configmap references non-existent config key: " + m.Key
	case m.Key != "":
		return fmt.Sprintf("couldn't find key %s in %s %s/%s", m.Key, m.Kind, m.Namespace, m.Name)
	case m.Kind == Secret:
		return fmt.Sprintf("secret %q not found", m.Name)
	}
	return fmt.Sprintf("configmap %q not found", m.Name)
}
