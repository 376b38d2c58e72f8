package manifest

import (
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"regexp"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
)

// From is where a manifest was read, and which node it was given to.
type From struct {
	Source pod.Source
	// Origin is the absolute path of the file, or the URL.
	Origin   string
	NodeName string
	// Seen is when the manifest was read.
	Seen time.Time
	// Objects tells that manifests may hold ConfigMaps and Secrets, and their pods use them: behaviour 11 is for nodes with an
	// API server.
	Objects bool
}

// Content is what a manifest holds, ready for use.
type Content struct {
	Pods []*v1.Pod
	// ConfigMaps and Secrets are for pods that do not come from an API server.
	ConfigMaps []*v1.ConfigMap
	Secrets    []*v1.Secret
	// Left tells of documents that a node cannot run, such as a Deployment, each with what to do instead; the others run.
	Left []string
}

// Read is ReadAll for the pods alone.
func Read(data []byte, from From) ([]*v1.Pod, error) {
	c, err := ReadAll(data, from)
	if err != nil {
		return nil, err
	}
	return c.Pods, nil
}

// ReadAll does everything that lies between the text of a manifest and pods that can run: documents, and for each Static.
// What a node can run of a manifest is taken as a whole or not at all: with an error, which is an *Error with all that is
// wrong, there is nothing.
func ReadAll(data []byte, from From) (*Content, error) {
	docs, left, err := documents(data, from.Origin, from.Objects)
	if err != nil {
		return nil, err
	}
	c := &Content{Pods: make([]*v1.Pod, 0, len(docs)), Left: left.Messages()}
	e := &Error{Origin: from.Origin, Documents: left.Documents}
	for i := range docs {
		d := &docs[i]
		var wrong field.ErrorList
		switch {
		case d.ConfigMap != nil:
			wrong = ConfigMap(d.ConfigMap)
			c.ConfigMaps = append(c.ConfigMaps, d.ConfigMap)
		case d.Secret != nil:
			wrong = Secret(d.Secret)
			c.Secrets = append(c.Secrets, d.Secret)
		default:
			var p *v1.Pod
			p, wrong = Static(d.Pod, from)
			c.Pods = append(c.Pods, p)
		}
		for _, w := range wrong {
			e.Faults = append(e.Faults, d.fault(w))
		}
	}
	if len(e.Faults) > 0 {
		e.sort()
		return nil, e
	}
	return c, nil
}

// fault places what is wrong with an object in the text it came from.
func (d *document) fault(w *field.Error) Fault {
	f := Fault{Document: d.Number, Field: w.Field, Message: w.ErrorBody(), Refers: refersTo(w)}
	switch {
	case d.ConfigMap != nil:
		f.Object = "configmap " + named(&d.ConfigMap.ObjectMeta)
	case d.Secret != nil:
		f.Object = "secret " + named(&d.Secret.ObjectMeta)
	default:
		f.Pod = named(&d.Pod.ObjectMeta)
	}
	if d.Item != "" {
		f.Field = d.Item + "." + f.Field
	}
	if l := lineIn(d.from.text, f.Field); l > 0 {
		f.Line = d.from.line + l - 1
	}
	return f
}

// named is "namespace/name", or as much of it as there is.
func named(m *metav1.ObjectMeta) string {
	if m.Namespace != "" && m.Name != "" {
		return m.Namespace + "/" + m.Name
	}
	return m.Name
}

// Static makes of a decoded pod the static pod that runs on a node: defaulted, valid, named after the node, with an
// identity that stays as long as the content does (behaviours 8-12). It does not change the pod it is given. Node name
// suffix and the rest are the same with and without an API server. What is wrong comes back as a list; the pod is then
// of no use.
func Static(p *v1.Pod, from From) (*v1.Pod, field.ErrorList) {
	p = p.DeepCopy()
	forgetServer(p)
	wrong := checkGiven(p)
	if p.UID == "" {
		p.UID = identity(p, from)
	}
	Default(p)
	wrong = append(wrong, references(p, from.Objects)...)
	if p.Name != "" {
		p.Name += "-" + strings.ToLower(from.NodeName)
	}
	setTo(&p.Namespace, metav1.NamespaceDefault)
	p.Spec.NodeName = from.NodeName
	tolerateNoExecute(p)
	wrong = append(wrong, Validate(p)...)
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	p.Annotations[names.ConfigSource] = string(from.Source)
	p.Annotations[names.ConfigSeen] = from.Seen.UTC().Format(time.RFC3339Nano)
	p.Annotations[names.ConfigHash] = string(p.UID)
	p.Status = v1.PodStatus{Phase: v1.PodPending}
	return p, wrong
}

// forgetServer removes what only a server or an agent may say of a pod. It is there when somebody saved a running
// pod as a manifest.
func forgetServer(p *v1.Pod) {
	p.Status = v1.PodStatus{}
	p.ResourceVersion, p.Generation = "", 0
	p.SelfLink = "" //lint:ignore SA1019 old files carry it
	p.CreationTimestamp, p.DeletionTimestamp, p.DeletionGracePeriodSeconds = metav1.Time{}, nil, nil
	p.ManagedFields = nil
	for _, a := range []string{names.ConfigSource, names.ConfigSeen, names.ConfigHash, names.ConfigMirror} {
		delete(p.Annotations, a)
	}
	if len(p.Annotations) == 0 {
		p.Annotations = nil
	}
}

// safeUID is what a UID must look like, since it becomes the name of directories and of cgroups.
var safeUID = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9]{0,62}[a-zA-Z0-9])?$`)

// checkGiven checks what the node takes from the manifest although the API server would have made it.
func checkGiven(p *v1.Pod) field.ErrorList {
	var wrong field.ErrorList
	at := field.NewPath("metadata")
	if p.UID != "" && !safeUID.MatchString(string(p.UID)) {
		wrong = append(wrong, field.Invalid(at.Child("uid"), string(p.UID), "must be at most 64 letters, digits and '-', "+
			"beginning and ending with a letter or digit; leave it out to have one made from the content"))
	}
	if p.Name == "" && p.GenerateName != "" {
		wrong = append(wrong, field.Forbidden(at.Child("generateName"), "a pod of a manifest needs a name that stays the same: set metadata.name"))
		p.GenerateName = ""
	}
	return wrong
}

// identity is the hash of what the manifest says of the pod, of the node and of the origin. It is taken before
// defaulting and over sorted fields, so that a newer agent that knows more defaults does not restart every pod.
func identity(p *v1.Pod, from From) types.UID {
	h := fnv.New128a()
	for _, part := range [][]byte{canonical(p), []byte(from.NodeName), []byte(from.Origin)} {
		h.Write(part)
		h.Write([]byte{0})
	}
	return types.UID(hex.EncodeToString(h.Sum(nil)))
}

// canonical writes a pod with its fields sorted by name and without empty ones.
func canonical(p *v1.Pod) []byte {
	raw, err := json.Marshal(p)
	if err != nil {
		return nil // a decoded pod can always be written again
	}
	var tree any
	if json.Unmarshal(raw, &tree) != nil {
		return nil
	}
	out, err := json.Marshal(tree)
	if err != nil {
		return nil
	}
	return out
}

// tolerateNoExecute keeps taints that evict from ending a pod that only its manifest can end (behaviour 10).
func tolerateNoExecute(p *v1.Pod) {
	t := v1.Toleration{Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute}
	for _, has := range p.Spec.Tolerations {
		if has == t {
			return
		}
	}
	p.Spec.Tolerations = append(p.Spec.Tolerations, t)
}
