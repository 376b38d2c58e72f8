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
}

// Read does everything that lies between the text of a manifest and pods that can run: documents, and for each Static.
// A manifest is taken as a whole or not at all: with an error, which is an *Error with all that is wrong, there are no
// pods.
func Read(data []byte, from From) ([]*v1.Pod, error) {
	docs, count, err := documents(data, from.Origin)
	if err != nil {
		return nil, err
	}
	pods := make([]*v1.Pod, 0, len(docs))
	e := &Error{Origin: from.Origin, Documents: count}
	for i := range docs {
		p, wrong := Static(docs[i].Pod, from)
		for _, w := range wrong {
			e.Faults = append(e.Faults, docs[i].fault(w))
		}
		pods = append(pods, p)
	}
	if len(e.Faults) > 0 {
		e.sort()
		return nil, e
	}
	return pods, nil
}

// fault places what is wrong with a pod in the text the pod came from.
func (d *document) fault(w *field.Error) Fault {
	f := Fault{Document: d.Number, Field: w.Field, Message: w.ErrorBody(), Refers: refersTo(w), Pod: d.Pod.Name}
	if d.Pod.Namespace != "" && f.Pod != "" {
		f.Pod = d.Pod.Namespace + "/" + f.Pod
	}
	if d.Item != "" {
		f.Field = d.Item + "." + f.Field
	}
	if l := lineIn(d.from.text, f.Field); l > 0 {
		f.Line = d.from.line + l - 1
	}
	return f
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
	wrong = append(wrong, references(p)...)
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
