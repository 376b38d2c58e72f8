package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

// reader reads one document.
type reader struct {
	from   chunk
	number int
	// objects tells that ConfigMaps and Secrets are taken, and that what a node cannot run is left alone.
	objects bool
	docs    []document
	faults  []Fault
	left    []Fault
}

// head is what tells how to read the rest of an object.
type head struct {
	APIVersion any             `json:"apiVersion"`
	Kind       any             `json:"kind"`
	Metadata   json.RawMessage `json:"metadata"`
	Items      json.RawMessage `json:"items"`
}

// syntax keeps a fault whose line counts from the begin of the document.
func (r *reader) syntax(f Fault) {
	f.Document, f.Line = r.number, r.from.line+f.Line-1
	r.faults = append(r.faults, f)
}

func (r *reader) wrong(at steps, format string, args ...any) {
	f := Fault{Document: r.number, Field: at.String(), Message: fmt.Sprintf(format, args...)}
	if l := lineIn(r.from.text, f.Field); l > 0 {
		f.Line = r.from.line + l - 1
	}
	r.faults = append(r.faults, f)
}

// object reads a pod, or what is in a list; at is empty outside of lists.
func (r *reader) object(raw []byte, at steps) {
	var h head
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &h); err != nil {
		r.wrong(at, "is %s: want an object with the fields apiVersion, kind, metadata and spec", describeRaw(raw))
		return
	}
	kind, _ := h.Kind.(string)
	switch kind {
	case "Pod":
		r.pod(raw, h, at)
	case "PodList", "List":
		r.list(raw, h, at, kind)
	default:
		if !r.objects || !r.localObject(raw, h, at, kind) {
			r.otherKind(h, at)
		}
	}
}

func (r *reader) otherKind(h head, at steps) {
	accepted := "want Pod, or PodList or List of pods"
	if r.objects {
		accepted = "want Pod, ConfigMap, Secret, or a List of them"
	}
	kind, isText := h.Kind.(string)
	switch {
	case h.Kind == nil:
		r.wrong(at.to("kind"), "is missing: %s", accepted)
	case !isText:
		r.wrong(at.to("kind"), "is %s: %s", describe(h.Kind), accepted)
	default:
		hint := ""
		if near := nearest(kind, []string{"Pod", "PodList", "List"}); near != "" {
			hint = "; did you mean " + near + "?"
		} else if _, ok := ownsPods[kind]; ok {
			hint = "; write the pod of its template as a manifest of its own"
		}
		r.wrong(at.to("kind"), "%s is not something a node runs by itself: %s%s", quote(kind), accepted, hint)
	}
}

// ownsPods lists kinds that hold a pod template, which people try to give to a node.
var ownsPods = map[string]struct{}{
	"Deployment": {}, "DaemonSet": {}, "StatefulSet": {}, "ReplicaSet": {}, "Job": {}, "CronJob": {},
	"ReplicationController": {}, "PodTemplate": {},
}

func (r *reader) version(h head, at steps) bool {
	switch v, isText := h.APIVersion.(string); {
	case h.APIVersion == nil:
		r.wrong(at.to("apiVersion"), "is missing: want v1")
	case !isText:
		r.wrong(at.to("apiVersion"), "is %s: want v1", describe(h.APIVersion))
	case v != "v1":
		r.wrong(at.to("apiVersion"), "is %s: want v1", quote(v))
	default:
		return true
	}
	return false
}

func (r *reader) list(raw []byte, h head, at steps, kind string) {
	known := len(r.faults)
	r.version(h, at)
	wrapper := struct {
		metav1.TypeMeta `json:",inline"`
		metav1.ListMeta `json:"metadata"`
		Items           []rawItem `json:"items"`
	}{}
	r.strict(raw, &wrapper, at)
	if len(r.faults) > known {
		return
	}
	for i, item := range wrapper.Items {
		here := at.to("items").to(i)
		if kind != "PodList" {
			r.object(item, here)
			continue
		}
		var h head
		if err := kjson.UnmarshalCaseSensitivePreserveInts(item, &h); err != nil || string(item) == "null" {
			r.wrong(here, "is %s: want a pod", describeRaw(item))
			continue
		}
		// In a typed list the items need not repeat what they are.
		if k, _ := h.Kind.(string); h.Kind != nil && k != "Pod" {
			r.wrong(here.to("kind"), "is %s: want Pod, or none, in a PodList", describe(h.Kind))
			continue
		}
		if h.APIVersion == nil {
			h.APIVersion = "v1"
		}
		r.pod(item, h, here)
	}
}

// rawItem is an item of a list that is read later. It does not use json.RawMessage, which would keep null as text.
type rawItem []byte

// UnmarshalJSON keeps a copy of the text.
func (i *rawItem) UnmarshalJSON(b []byte) error {
	*i = append((*i)[:0], b...)
	return nil
}

func (r *reader) pod(raw []byte, h head, at steps) {
	known := len(r.faults)
	r.version(h, at)
	p := &v1.Pod{}
	r.strict(raw, p, at)
	if len(r.faults) == known {
		p.APIVersion, p.Kind = "v1", "Pod"
		r.keep(document{Pod: p}, at)
		return
	}
	name := nameIn(h.Metadata)
	for i := range r.faults[known:] {
		r.faults[known+i].Pod = name
	}
}

// keep takes in what was read.
func (r *reader) keep(d document, at steps) {
	d.Number, d.Item, d.from = r.number, at.String(), r.from
	r.docs = append(r.docs, d)
}

// nameIn finds the name of a pod that could not be read as a whole.
func nameIn(metadata []byte) string {
	var m struct{ Name, Namespace any }
	if json.Unmarshal(metadata, &m) != nil {
		return ""
	}
	name, _ := m.Name.(string)
	if namespace, _ := m.Namespace.(string); namespace != "" && name != "" {
		return namespace + "/" + name
	}
	return name
}

// strict decodes into a typed object. When that fails, it looks for all the reasons.
func (r *reader) strict(raw []byte, into any, at steps) {
	if dangerous.Match(raw) && !r.harmless(raw, reflect.TypeOf(into).Elem(), at) {
		return
	}
	repeated, err := kjson.UnmarshalStrict(raw, into)
	if err == nil && len(repeated) == 0 {
		return
	}
	known := len(r.faults)
	var tree any
	again, _ := kjson.UnmarshalStrict(raw, &tree, kjson.DisallowDuplicateFields)
	for _, e := range again {
		path := e.Error()
		if fe, ok := e.(kjson.FieldError); ok {
			path = fe.FieldPath()
		}
		here := at.String()
		if here != "" {
			here += "."
		}
		names := parseSteps(path)
		f := Fault{Document: r.number, Field: here + path,
			Message: fmt.Sprintf("the field %s is given twice: want it once", quote(names[len(names)-1]))}
		if _, _, _, found := repeatedKey(r.from.text); found {
			f.Line = r.from.line + lineIn(r.from.text, f.Field) - 1
		}
		r.faults = append(r.faults, f)
	}
	r.walk(tree, reflect.TypeOf(into).Elem(), at)
	if len(r.faults) > known {
		return
	}
	// The search knows less than the decoder: pass on its words rather than nothing.
	for _, e := range append(repeated, err) {
		if e != nil {
			r.wrong(at, "%s", strings.TrimPrefix(e.Error(), "json: "))
		}
	}
}

// dangerous finds what may be a number so large or so long that a quantity would be busy with it for hours.
var dangerous = regexp.MustCompile(`[0-9.][eE][+-]?[0-9]{3,}|[0-9.]{100,}`)

// harmless looks at the fields of a text with a dangerous number before anyone takes them for quantities.
func (r *reader) harmless(raw []byte, t reflect.Type, at steps) bool {
	known := len(r.faults)
	for d := newNumberDecoder(raw); ; {
		token, err := d.Token()
		if err != nil {
			break // the end; what is no JSON is told later
		}
		if n, ok := token.(json.Number); ok && dangerous.MatchString(n.String()) {
			r.wrong(at, "the number %s is more than any field can take", quote(n.String()))
			return false
		}
	}
	var tree any
	if kjson.UnmarshalCaseSensitivePreserveInts(raw, &tree) != nil {
		return true
	}
	r.walk(tree, t, at)
	return len(r.faults) == known
}

func newNumberDecoder(raw []byte) *json.Decoder {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d
}
