package observe

import (
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/pod"
	"k8s.io/apimachinery/pkg/types"
)

// mark is a fingerprint, or the lack of one.
type mark struct {
	set   bool
	print uint64
}

// entry is what the observer remembers of a pod that the runtime has something of.
type entry struct {
	namespace, name string
	// mentioned is when an event, a listing or an inspection last said that there is something of it.
	mentioned time.Time
	// objects are the IDs of its sandboxes and containers.
	objects []string
	// asked is the fingerprint of the listing that wants an inspection; read is that of the listing whose
	// inspection was delivered.
	asked, read mark
}

// roster remembers which pods the runtime has something of, and which state of them was delivered.
type roster struct {
	mu   sync.Mutex
	pods map[types.UID]*entry
	// owners finds the pod of a sandbox or container.
	owners map[string]types.UID
	// first holds the pods of the first listing that were not delivered yet; nil before that listing.
	first map[types.UID]struct{}
}

func newRoster() roster {
	return roster{pods: map[types.UID]*entry{}, owners: map[string]types.UID{}}
}

// ownerOf returns the pod that has the sandbox or container, or "".
func (r *roster) ownerOf(id string) types.UID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.owners[id]
}

// nameOf returns namespace and name of a pod, empty if they are not known.
func (r *roster) nameOf(uid types.UID) (namespace, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.pods[uid]; e != nil {
		return e.namespace, e.name
	}
	return "", ""
}

// mention notes that an event told of a pod.
func (r *roster) mention(uid types.UID, report *pod.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.entryOf(uid)
	e.mentioned = time.Now()
	r.learn(uid, e, report)
}

// entryOf returns the entry of a pod, a new one if need be.
func (r *roster) entryOf(uid types.UID) *entry {
	e := r.pods[uid]
	if e == nil {
		e = &entry{}
		r.pods[uid] = e
	}
	return e
}

func (r *roster) learn(uid types.UID, e *entry, report *pod.Report) {
	if report.Name != "" {
		e.namespace, e.name = report.Namespace, report.Name
	}
	add := func(id string) {
		if _, known := r.owners[id]; !known {
			r.owners[id] = uid
			e.objects = append(e.objects, id)
		}
	}
	for i := range report.Sandboxes {
		add(report.Sandboxes[i].ID)
	}
	for i := range report.Containers {
		add(report.Containers[i].ID)
	}
}

func (r *roster) forget(uid types.UID) {
	if e := r.pods[uid]; e != nil {
		r.disown(e)
		delete(r.pods, uid)
	}
}

func (r *roster) disown(e *entry) {
	for _, id := range e.objects {
		delete(r.owners, id)
	}
	e.objects = nil
}

// compare takes a listing that began at a time. It returns the pods that must be inspected because they changed, those
// that are gone, and whether everything of the first listing has been delivered once gone have been.
func (r *roster) compare(briefs map[types.UID]engine.Brief, began time.Time) (changed, gone []types.UID, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.first == nil {
		r.first = make(map[types.UID]struct{}, len(briefs))
		for uid := range briefs {
			r.first[uid] = struct{}{}
		}
	}
	for uid, b := range briefs {
		e := r.entryOf(uid)
		e.namespace, e.name = b.Namespace, b.Name
		if e.mentioned.Before(began) {
			e.mentioned = began
		}
		if now := (mark{true, b.Fingerprint}); e.read != now && e.asked != now {
			e.asked = now
			changed = append(changed, uid)
		}
	}
	for uid, e := range r.pods {
		if _, listed := briefs[uid]; !listed && e.mentioned.Before(began) {
			r.forget(uid)
			delete(r.first, uid)
			gone = append(gone, uid)
		}
	}
	return changed, gone, len(r.first) == 0
}

// forgetRead makes the next listing ask for every pod again.
func (r *roster) forgetRead() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.pods {
		e.asked, e.read = mark{}, mark{}
	}
}

// asked returns which listing an inspection that begins now answers.
func (r *roster) asked(uid types.UID) mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.pods[uid]; e != nil {
		return e.asked
	}
	return mark{}
}

// delivered notes a complete report. It tells whether everything of the first listing has been delivered.
func (r *roster) delivered(uid types.UID, report *pod.Report, answered mark) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.pods[uid]
	nothing := len(report.Sandboxes) == 0 && len(report.Containers) == 0
	switch {
	case nothing && e != nil && e.mentioned.Before(report.Began):
		r.forget(uid)
	case !nothing:
		e = r.entryOf(uid)
		if e.mentioned.Before(report.Began) {
			e.mentioned = report.Began
		}
		r.disown(e)
		r.learn(uid, e, report)
	}
	if e != nil && answered.set && e.asked == answered {
		e.read, e.asked = answered, mark{}
	}
	delete(r.first, uid)
	return r.first != nil && len(r.first) == 0
}
