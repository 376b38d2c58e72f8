package source

import (
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/pod"
)

// Snapshot is what a source wants at one moment. It is never changed once published.
type Snapshot struct {
	// Pods is a full set: a pod that is not in it is not wanted any more. A pod that stays keeps its *pod.Desired.
	Pods map[types.UID]*pod.Desired
	// Objects are the ConfigMaps and Secrets for the pods of this node's own sources. One that stays keeps its *Object.
	Objects map[ObjectKey]*Object
	// Ready is true once the source has spoken. Until then nothing may be ended for want of being named (behaviour 6).
	Ready bool
	// Source is what kind of source it is of; empty where several are joined.
	Source pod.Source
	// Spoken holds, where several are joined, the kinds of source of which each one has spoken. A pod of such a kind that is not in
	// Pods is not wanted any more, whatever other sources may still say.
	Spoken map[pod.Source]bool
	// Problems tells which manifests cannot be used, in the order of their origins.
	Problems []Problem
}

// ObjectKey names a ConfigMap or Secret.
type ObjectKey struct{ Kind, Namespace, Name string }

// Object is a ConfigMap or a Secret of a source; the other one is nil. It is never changed.
type Object struct {
	ConfigMap *v1.ConfigMap
	Secret    *v1.Secret
	Source    pod.Source
	// Origin is the file or URL; empty for the node's own API.
	Origin string
	Seen   time.Time
}

// Key is the object's name.
func (o *Object) Key() ObjectKey {
	if o.Secret != nil {
		return ObjectKey{"Secret", o.Secret.Namespace, o.Secret.Name}
	}
	return ObjectKey{"ConfigMap", o.ConfigMap.Namespace, o.ConfigMap.Name}
}

// same tells whether two objects say the same.
func (o *Object) same(p *Object) bool {
	return equality.Semantic.DeepEqual(o.ConfigMap, p.ConfigMap) && equality.Semantic.DeepEqual(o.Secret, p.Secret)
}

// String names the object for people.
func (k ObjectKey) String() string {
	return strings.ToLower(k.Kind) + " " + k.Namespace + "/" + k.Name
}

// Problem is a manifest, or one of its pods, that cannot be used as it is.
type Problem struct {
	Source pod.Source
	// Origin is the file or URL.
	Origin string
	// Messages are for people: each names document, line, pod and field as far as there are any.
	Messages []string
	Since    time.Time
	// Keeps is how many pods of an earlier good version stay because of this.
	Keeps int
	// Unknown is true when this agent never saw a good version: which pods of it ran before is not known, so pods found in the
	// runtime that nobody names may be its.
	Unknown bool
}

// Equal tells whether two problems are the same, messages and all.
func (p Problem) Equal(o Problem) bool {
	return p.Source == o.Source && p.Origin == o.Origin && p.Since.Equal(o.Since) && p.Keeps == o.Keeps &&
		p.Unknown == o.Unknown && slices.Equal(p.Messages, o.Messages)
}

// same tells whether a reader of one snapshot learns nothing from the other.
func (s Snapshot) same(o Snapshot) bool {
	if s.Ready != o.Ready || s.Source != o.Source || !maps.Equal(s.Spoken, o.Spoken) || !maps.Equal(s.Objects, o.Objects) || len(s.Pods) != len(o.Pods) || !slices.EqualFunc(s.Problems, o.Problems, Problem.Equal) {
		return false
	}
	for uid, d := range s.Pods {
		if o.Pods[uid] != d {
			return false
		}
	}
	return true
}
