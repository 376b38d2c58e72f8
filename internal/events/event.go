package events

import (
	"cmp"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record/util"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// component is the source that users and tools know a node's events by.
const component = "kubelet"

// longest is how many bytes of a message are sent: more than any of ours should have.
const longest = 8 << 10

// public tells whether a note is about something that the API server knows. Manifests are not; what is wrong with one stays on the node.
func public(n note.Note) bool {
	switch n.About.Kind {
	case "Pod":
		return n.About.Name != "" && n.About.Namespace != ""
	case "Node":
		return true
	}
	return false
}

// eventOf returns a note as an event. at makes its name; no two events may have the same. version is the resourceVersion of the object
// and uid the UID of the node's, if they are known.
func eventOf(n note.Note, node string, uid types.UID, version string, at int64) *corev1.Event {
	about := corev1.ObjectReference{Kind: n.About.Kind, APIVersion: "v1", Name: n.About.Name, Namespace: n.About.Namespace, UID: n.About.UID,
		FieldPath: n.About.FieldPath, ResourceVersion: version}
	namespace := n.About.Namespace
	if n.About.Kind == "Node" {
		// `kubectl describe node` looks for the object's UID, and for the name as UID, which events of nodes had for many years.
		about.Name, about.UID, about.Namespace = node, cmp.Or(uid, types.UID(node)), ""
		namespace = metav1.NamespaceDefault
	}
	when := metav1.NewTime(n.At)
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: util.GenerateEventName(about.Name, at), Annotations: n.Annotations},
		InvolvedObject: about, Type: n.Level.String(), Reason: n.Reason, Message: message(n),
		Source: corev1.EventSource{Component: component, Host: node}, ReportingController: component, ReportingInstance: node,
		FirstTimestamp: when, LastTimestamp: when, Count: 1,
	}
}

// message is what an event says. A note about a hook may quote what the hook wrote, which is for those who may read the pod's logs; more
// people may read events.
func message(n note.Note) string {
	switch n.Reason {
	case reason.FailedPostStartHook:
		return "PostStartHook failed"
	case reason.FailedPreStopHook:
		return "PreStopHook failed"
	}
	text := strings.ToValidUTF8(n.Message, "\uFFFD") // nothing else can be encoded
	if len(text) <= longest {
		return text
	}
	end := longest
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// stale is the age at which the API server would have forgotten an event.
const stale = time.Hour
