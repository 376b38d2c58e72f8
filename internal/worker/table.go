package worker

import (
	"cmp"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Table shows the newest entry of every pod. Workers write it, everybody may read it.
type Table struct {
	mu sync.Mutex
	// sorted holds the entries by namespace and name, at where each is in it. While stale, pods were added at its end.
	sorted []*Entry
	at     map[types.UID]int
	stale  bool
	newer  chan struct{}
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{at: map[types.UID]int{}, newer: make(chan struct{})}
}

// Pods returns the newest entries by namespace and name, and a channel that is closed when any is newer.
func (t *Table) Pods() ([]*Entry, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stale {
		slices.SortFunc(t.sorted, byName)
		for i, e := range t.sorted {
			t.at[e.Desired.UID()] = i
		}
		t.stale = false
	}
	return slices.Clone(t.sorted), t.newer
}

func byName(a, b *Entry) int {
	x, y := a.Desired.Pod, b.Desired.Pod
	return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name), cmp.Compare(x.UID, y.UID))
}

// Pod returns the newest entry of one pod, or nil.
func (t *Table) Pod(uid types.UID) *Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.at[uid]; ok {
		return t.sorted[i]
	}
	return nil
}

func (t *Table) show(uid types.UID, e *Entry) {
	t.change(func() {
		i, ok := t.at[uid]
		switch {
		case !ok:
			t.at[uid] = len(t.sorted)
			t.sorted = append(t.sorted, e)
			t.stale = true
		default:
			t.stale = t.stale || byName(t.sorted[i], e) != 0 // a name may be learned later
			t.sorted[i] = e
		}
	})
}

func (t *Table) drop(uid types.UID) {
	t.change(func() {
		i, ok := t.at[uid]
		if !ok {
			return
		}
		delete(t.at, uid)
		t.sorted = slices.Delete(t.sorted, i, i+1)
		for j, e := range t.sorted[i:] {
			t.at[e.Desired.UID()] = i + j
		}
	})
}

func (t *Table) change(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.newer)
	t.newer = make(chan struct{})
}
