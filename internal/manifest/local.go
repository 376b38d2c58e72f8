package manifest

import (
	"bytes"
	"encoding/json"
	"strings"

	v1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// localObject reads what a lone node takes beside pods. It is false for what may be a slip of the pen.
func (r *reader) localObject(raw []byte, h head, at steps, kind string) bool {
	switch kind {
	case "ConfigMap":
		m := &v1.ConfigMap{}
		if r.typed(raw, h, at, m, "configmap") {
			m.APIVersion, m.Kind = "v1", kind
			r.keep(document{ConfigMap: m}, at)
		}
		return true
	case "Secret":
		s := &v1.Secret{}
		known := len(r.faults)
		if r.typed(raw, h, at, s, "secret") {
			s.APIVersion, s.Kind = "v1", kind
			r.keep(document{Secret: s}, at)
		}
		hideValues(r.faults[known:], at)
		return true
	case "Namespace", "ServiceAccount": // a namespace is there when something is in it; an account gives a pod nothing here
		return true
	case "", "Pods", "pod", "pods", "configmap", "Configmap", "ConfigMaps", "secret", "Secrets":
		return false
	}
	hint, known := instead[kind]
	if !known && nearest(kind, []string{"Pod", "PodList", "List", "ConfigMap", "Secret"}) != "" {
		return false
	}
	if !known {
		hint = "nobody here acts on it: leave it out"
	}
	f := Fault{Document: r.number, Field: at.to("kind").String(), Object: quote(kind) + " " + nameIn(h.Metadata),
		Message: "a node runs no controllers; " + hint + "; the rest of the manifest is used"}
	if l := lineIn(r.from.text, f.Field); l > 0 {
		f.Line = r.from.line + l - 1
	}
	r.left = append(r.left, f)
	return true
}

// instead says what to write in place of what only a cluster runs.
var instead = map[string]string{
	"Deployment":            templateHint,
	"DaemonSet":             templateHint,
	"StatefulSet":           templateHint,
	"ReplicaSet":            templateHint,
	"ReplicationController": templateHint,
	"PodTemplate":           templateHint,
	"Job":                   "write the pod of its template as a manifest of its own, with restartPolicy OnFailure or Never",
	"CronJob":               "write the pod as a manifest, and have a timer of the system give it to the node with kubectl",
	"Service":               "a pod is reached at its own address, at a hostPort, or in the network of the node with hostNetwork",
	"Ingress":               "a pod is reached at its own address, at a hostPort, or in the network of the node with hostNetwork",
	"PersistentVolumeClaim": "give the pod a hostPath volume",
	"PersistentVolume":      "give the pod a hostPath volume",
}

const templateHint = "write the pod of its template as a manifest of its own; restartPolicy Always keeps it running"

// typed reads an object that is no pod.
func (r *reader) typed(raw []byte, h head, at steps, into any, what string) bool {
	known := len(r.faults)
	r.version(h, at)
	r.strict(raw, into, at)
	for i := range r.faults[known:] {
		r.faults[known+i].Object = what + " " + nameIn(h.Metadata)
	}
	return len(r.faults) == known
}

// hideValues takes out of messages what they may show of a Secret's values.
func hideValues(faults []Fault, at steps) {
	data, text := at.to("data").String(), at.to("stringData").String()
	for i := range faults {
		f := &faults[i]
		switch {
		case strings.HasPrefix(f.Field, data):
			f.Message = "is not what a Secret holds: want a mapping of names to base64 text (the value is not shown)"
		case strings.HasPrefix(f.Field, text):
			f.Message = "is not what a Secret holds: want a mapping of names to text (the value is not shown)"
		case f.Field == "" || f.Field == at.String():
			f.Message = "cannot be read as a Secret: data wants a mapping of names to base64 text, stringData one of names to text"
		}
	}
}

// mostData is how many bytes an object may hold in all.
const mostData = v1.MaxSecretSize

// ConfigMap makes a decoded ConfigMap one that can be used, and tells what is wrong with it.
func ConfigMap(m *v1.ConfigMap) field.ErrorList {
	wrong := localMeta(&m.ObjectMeta)
	size, data, binary := 0, field.NewPath("data"), field.NewPath("binaryData")
	for key, value := range m.Data {
		size += len(value)
		wrong = append(wrong, dataKey(data.Key(key), key)...)
		if _, twice := m.BinaryData[key]; twice {
			wrong = append(wrong, field.Invalid(data.Key(key), key, "is in binaryData, too: want it once"))
		}
	}
	for key, value := range m.BinaryData {
		size += len(value)
		wrong = append(wrong, dataKey(binary.Key(key), key)...)
	}
	if size > mostData {
		wrong = append(wrong, field.TooLong(data, "", mostData))
	}
	return wrong
}

// Secret is ConfigMap for a Secret. No message shows a value.
func Secret(s *v1.Secret) field.ErrorList {
	wrong := localMeta(&s.ObjectMeta)
	setTo(&s.Type, v1.SecretTypeOpaque)
	size, data := 0, field.NewPath("data")
	for key, value := range s.StringData {
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		s.Data[key] = []byte(value)
	}
	s.StringData = nil
	for key, value := range s.Data {
		size += len(value)
		wrong = append(wrong, dataKey(data.Key(key), key)...)
	}
	if size > mostData {
		wrong = append(wrong, field.TooLong(data, "", mostData))
	}
	for _, key := range wantedKeys[s.Type] {
		if _, there := s.Data[key]; !there {
			wrong = append(wrong, field.Required(data.Key(key), "a Secret of type "+string(s.Type)+" has it"))
		}
	}
	for _, key := range []string{v1.DockerConfigJsonKey, v1.DockerConfigKey} {
		at := map[v1.SecretType]string{v1.SecretTypeDockerConfigJson: v1.DockerConfigJsonKey, v1.SecretTypeDockercfg: v1.DockerConfigKey}[s.Type]
		if text := s.Data[key]; key == at && len(text) > 0 && (!json.Valid(text) || bytes.TrimSpace(text)[0] != '{') {
			wrong = append(wrong, field.Invalid(data.Key(key), "<not shown>", "is not a JSON object"))
		}
	}
	return wrong
}

// wantedKeys are those that a Secret of a type must have.
var wantedKeys = map[v1.SecretType][]string{
	v1.SecretTypeDockerConfigJson: {v1.DockerConfigJsonKey},
	v1.SecretTypeDockercfg:        {v1.DockerConfigKey},
	v1.SecretTypeTLS:              {v1.TLSCertKey, v1.TLSPrivateKeyKey},
	v1.SecretTypeSSHAuth:          {v1.SSHAuthPrivateKey},
}

// localMeta forgets what only a server says of an object, defaults its namespace and checks its names.
func localMeta(m *metav1.ObjectMeta) field.ErrorList {
	var wrong field.ErrorList
	if m.Name == "" && m.GenerateName != "" {
		wrong = append(wrong, field.Forbidden(field.NewPath("metadata", "generateName"), "want a name that stays the same: set metadata.name"))
		m.GenerateName = ""
	}
	*m = metav1.ObjectMeta{Name: m.Name, Namespace: m.Namespace, Labels: m.Labels, Annotations: m.Annotations}
	setTo(&m.Namespace, metav1.NamespaceDefault)
	return append(wrong, apivalidation.ValidateObjectMeta(m, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))...)
}

func dataKey(at *field.Path, key string) field.ErrorList {
	var wrong field.ErrorList
	for _, says := range validation.IsConfigMapKey(key) {
		wrong = append(wrong, field.Invalid(at, key, says))
	}
	return wrong
}
