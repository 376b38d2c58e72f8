package nodeapi

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// uidOf makes an identity that stays for what has none of its own.
func uidOf(parts ...string) types.UID {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	x := hex.EncodeToString(sum[:16])
	return types.UID(x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:])
}

// events are the notes.
func (w *world) events() (map[name]*record, news) {
	notes, newer := w.cfg.Notes()
	seen := make(map[name]*record, len(notes))
	for i := range notes {
		n := &notes[i]
		since := n.Since
		if since.IsZero() {
			since = n.At
		}
		uid := uidOf(n.About.Kind, n.About.Namespace, n.About.Name, string(n.About.UID), n.About.Container, n.About.FieldPath, n.Reason, n.Message, n.Level.String(), since.UTC().Format(time.RFC3339Nano))
		e := &v1.Event{
			Reason: n.Reason, Message: n.Message, Type: n.Level.String(), Count: int32(max(n.Count, 1)),
			FirstTimestamp: metav1.NewTime(since.Truncate(time.Second)), LastTimestamp: metav1.NewTime(n.At.Truncate(time.Second)),
			Source: v1.EventSource{Component: "kubelet", Host: w.cfg.NodeName}, ReportingController: "kubelet", ReportingInstance: w.cfg.NodeName,
			InvolvedObject: v1.ObjectReference{Kind: n.About.Kind, Namespace: n.About.Namespace, Name: n.About.Name, UID: n.About.UID, FieldPath: n.About.FieldPath},
		}
		e.APIVersion, e.Kind = "v1", "Event"
		e.Namespace, e.Name, e.UID = n.About.Namespace, eventName(n.About.Name, uid), uid
		e.CreationTimestamp, e.Annotations = e.FirstTimestamp, n.Annotations
		switch n.About.Kind {
		case "Pod":
			e.InvolvedObject.APIVersion = "v1"
		case "Node":
			e.InvolvedObject.APIVersion, e.InvolvedObject.UID = "v1", types.UID(n.About.Name)
		}
		if e.Namespace == "" {
			e.Namespace = metav1.NamespaceDefault
		}
		seen[name{e.Namespace, e.Name}] = &record{token: eventToken{uid, n.Count, n.At}, object: e}
	}
	return seen, news{newer}
}

// eventToken is what may change of an event.
type eventToken struct {
	uid   types.UID
	count int
	at    time.Time
}

// eventName is a name for an event about something that may be called anything, such as a file.
func eventName(about string, uid types.UID) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, about)
	const most = 200
	clean = strings.Trim(clean[:min(len(clean), most)], "-.")
	if clean == "" {
		clean = "event"
	}
	return clean + "." + strings.ReplaceAll(string(uid[:13]), "-", "")
}
