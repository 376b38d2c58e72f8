package note

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	// again is how long a happening that is noted once more counts as the same.
	again = 10 * time.Minute
	// mostNotes is how many notes are kept of one object, mostObjects of how many objects. A crash-looping pod cannot
	// push out what is known of others.
	mostNotes   = 50
	mostObjects = 500
)

// List keeps the newest notes of each object in memory. It is safe for concurrent use.
type List struct {
	mu      sync.Mutex
	objects map[object][]Note
	// newer is closed at the next note; nil while nobody waits for one.
	newer chan struct{}
}

// object is what tells objects apart: the UID if there is one.
type object struct {
	kind, namespace, name string
	uid                   types.UID
}

// NewList returns an empty list.
func NewList() *List { return &List{objects: map[object][]Note{}} }

// Add takes a note in and tells whether it is news: not the same as one of the last ten minutes.
func (l *List) Add(n Note) (fresh bool) {
	key := object{kind: n.About.Kind, namespace: n.About.Namespace, name: n.About.Name, uid: n.About.UID}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.objects[key]; !known && len(l.objects) >= mostObjects {
		l.dropQuietest()
	}
	notes := Merge(l.objects[key], n, mostNotes)
	l.objects[key] = notes
	if l.newer != nil {
		close(l.newer)
		l.newer = nil
	}
	return notes[len(notes)-1].Count == max(n.Count, 1)
}

// dropQuietest forgets the object that was longest without a note. It needs l.mu.
func (l *List) dropQuietest() {
	var quietest object
	var since time.Time
	found := false
	for key, notes := range l.objects {
		if at := notes[len(notes)-1].At; !found || at.Before(since) {
			quietest, since, found = key, at, true
		}
	}
	delete(l.objects, quietest)
}

// Follow is All for everything, with a channel that is closed at the next note.
func (l *List) Follow() ([]Note, <-chan struct{}) {
	l.mu.Lock()
	if l.newer == nil {
		l.newer = make(chan struct{})
	}
	newer := l.newer
	l.mu.Unlock()
	return l.All(""), newer
}

// All returns the notes about a pod, or about everything if uid is empty: oldest first, by when each happened last.
func (l *List) All(uid types.UID) []Note {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Note
	for key, notes := range l.objects {
		if uid == "" || key.uid == uid {
			out = append(out, notes...)
		}
	}
	slices.SortStableFunc(out, func(a, b Note) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.About.Namespace, b.About.Namespace), cmp.Compare(a.About.Name, b.About.Name))
	})
	return out
}

// Merge returns list with n added at its end: a happening that was noted within the last ten minutes is counted up
// instead of told twice, and of more than most notes the oldest are left out. list is oldest first and not changed.
func Merge(list []Note, n Note, most int) []Note {
	n.Count, n.Since = max(n.Count, 1), n.At
	out := make([]Note, 0, len(list)+1)
	for _, have := range list {
		if same(have, n) && n.At.Sub(have.At) <= again {
			n.Count += max(have.Count, 1)
			n.Since = have.Since
			if have.At.After(n.At) { // told late
				n.At = have.At
			}
			continue
		}
		out = append(out, have)
	}
	out = append(out, n)
	return out[max(len(out)-most, 0):]
}

func same(a, b Note) bool {
	return a.About == b.About && a.Level == b.Level && a.Reason == b.Reason && a.Message == b.Message
}
