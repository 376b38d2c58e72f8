package environ

import "fmt"

// The kinds of things that can be Missing.
const (
	ConfigMap = "ConfigMap"
	Secret    = "Secret"
	EnvFile   = "file"
)

// Missing says that something the environment is built from is not there. The container cannot be created before it is
// (behaviour 71). Its text is the one users know from upstream.
type Missing struct {
	// Kind is ConfigMap, Secret or EnvFile.
	Kind string
	// Namespace is the pod's; empty for a file.
	Namespace string
	// Name is the object's, or "volume/path" for a file.
	Name string
	// Key is the key that lacks; empty if the whole object does.
	Key string
}

// Error tells what is missing.
func (m *Missing) Error() string {
	switch {
	case m.Kind == EnvFile && m.Key == "":
		return fmt.Sprintf("env file %q not found", m.Name)
	case m.Kind == EnvFile:
		return fmt.Sprintf("couldn't find key %s in env file %s", m.Key, m.Name)
	case m.Key != "":
		return fmt.Sprintf("couldn't find key %s in %s %s/%s", m.Key, m.Kind, m.Namespace, m.Name)
	case m.Kind == Secret:
		return fmt.Sprintf("secret %q not found", m.Name)
	}
	return fmt.Sprintf("configmap %q not found", m.Name)
}
