package worker

import (
	"cmp"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Table shows the newest entry of every pod. Workers write it, everybody may read it.
type Table struct {
	mu      sync.Mutex
	entries map[types.UID]*Entry
	newer   chan struct{}
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{entries: map[types.UID]*Entry{}, newer: make(chan struct{})}
}

// Pods returns the newest entries by namespace and name, and a channel that is closed when any is newer.
func (t *Table) Pods() ([]*Entry, <-chan struct{}) {
	t.mu.Lock()
	out := make([]*Entry, 0, len(t.entries))
	for _, e := range t.entries {
		out = append(out, e)
	}
	newer := t.newer
	t.mu.Unlock()
	slices.SortFunc(out, func(a, b *Entry) int {
		x, y := a.Desired.Pod, b.Desired.Pod
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name), cmp.Compare(x.UID, y.UID))
	})
	return out, newer
}

// Pod returns the newest entry of one pod, or nil.
func (t *Table) Pod(uid types.UID) *Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.entries[uid]
}

func (t *Table) show(uid types.UID, e *Entry) {
	t.change(func() { t.entries[uid] = e })
}

func (t *Table) drop(uid types.UID) {
	t.change(func() { delete(t.entries, uid) })
}

func (t *Table) change(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	close(t.newer)
	t.newer = make(chan struct{})
}
