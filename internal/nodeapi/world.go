package nodeapi

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/given"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/source"
	"github.com/bosun-project/bosun/internal/worker"
)

// mostGone is how many objects that are gone are remembered, for watchers that look away.
const mostGone = 1000

// world is what there was when somebody looked last, with the version at which each object was seen to change.
type world struct {
	cfg   Config
	kinds []*kind
	began time.Time

	mu      sync.Mutex
	version uint64
	// floor is the oldest version of which all that was gone since is remembered.
	floor   uint64
	objects map[string]map[name]*record // by kind.name
	gone    []change
}

type name struct{ namespace, name string }

// record is an object as it was seen last.
type record struct {
	object object
	// token is what it was made from; while that is the same, so is the object.
	token any
	// created and changed are versions.
	created, changed uint64
}

// change is something that happened to an object.
type change struct {
	kind    string
	what    string // ADDED, MODIFIED, DELETED
	object  object
	version uint64
}

func newWorld(cfg Config, now time.Time) *world {
	w := &world{cfg: cfg, kinds: kinds(), began: now, objects: map[string]map[name]*record{}}
	// Versions of an earlier life are less than all of this one, so that watchers of then begin anew.
	w.version = uint64(now.UnixMicro())
	w.floor = w.version
	for _, k := range w.kinds {
		w.objects[k.name] = map[name]*record{}
	}
	return w
}

// news are the channels of what objects of a kind are made from, as they were before they were looked at.
type news []<-chan struct{}

// look finds out what has changed of a kind, and returns the version all of it has, and what tells that there is more.
func (w *world) look(ctx context.Context, k *kind) (uint64, news) {
	var node *v1.Node
	var newer <-chan struct{}
	if k.name == nodes { // this may ask the runtime, and take its time
		node, newer = w.cfg.Node(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, fresh := map[name]*record(nil), news{newer}
	if node != nil {
		seen = map[name]*record{{"", node.Name}: {object: node}}
	} else {
		seen, fresh = w.find(k)
	}
	known := w.objects[k.name]
	for n, r := range known {
		if now := seen[n]; now == nil || now.object.GetUID() != r.object.GetUID() {
			w.version++
			last := r.object.DeepCopyObject().(object)
			last.SetResourceVersion(strconv.FormatUint(w.version, 10))
			w.gone = append(w.gone, change{k.name, "DELETED", last, w.version})
			delete(known, n)
		}
	}
	if excess := len(w.gone) - mostGone; excess > 0 {
		w.floor = w.gone[excess-1].version
		w.gone = slices.Clone(w.gone[excess:])
	}
	order := make([]name, 0, len(seen))
	for n := range seen {
		order = append(order, n)
	}
	slices.SortFunc(order, func(a, b name) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	for _, n := range order {
		w.note(known, n, seen[n])
	}
	return w.version, fresh
}

// note takes in one object as it is now.
func (w *world) note(known map[name]*record, n name, now *record) {
	r := known[n]
	if r != nil && now.token != nil && r.token == now.token {
		return
	}
	if r != nil {
		now.object.SetResourceVersion(r.object.GetResourceVersion())
		if equality.Semantic.DeepEqual(r.object, now.object) {
			r.token = now.token
			return
		}
	}
	w.version++
	now.object.SetResourceVersion(strconv.FormatUint(w.version, 10))
	now.created, now.changed = w.version, w.version
	if r != nil {
		now.created = r.created
	}
	known[n] = now
}

// list returns the objects of a kind by namespace and name; nobody may change them.
func (w *world) list(ctx context.Context, k *kind) ([]object, uint64, news) {
	version, fresh := w.look(ctx, k)
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]object, 0, len(w.objects[k.name]))
	for _, r := range w.objects[k.name] {
		out = append(out, r.object)
	}
	slices.SortFunc(out, func(a, b object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return out, version, fresh
}

// get returns one object, nil if there is none.
func (w *world) get(ctx context.Context, k *kind, n name) object {
	w.look(ctx, k)
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.objects[k.name][n]; r != nil {
		return r.object
	}
	return nil
}

// since returns what happened to objects of a kind after a version, in order. It is false if that is not known any more.
func (w *world) since(k *kind, version uint64) ([]change, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if version < w.floor || version > w.version {
		return nil, false
	}
	var out []change
	for _, g := range w.gone {
		if g.kind == k.name && g.version > version {
			out = append(out, g)
		}
	}
	for _, r := range w.objects[k.name] {
		switch {
		case r.created > version:
			out = append(out, change{k.name, "ADDED", r.object, r.changed})
		case r.changed > version:
			out = append(out, change{k.name, "MODIFIED", r.object, r.changed})
		}
	}
	slices.SortFunc(out, func(a, b change) int { return cmp.Compare(a.version, b.version) })
	return out, true
}

// find makes the objects of a kind as they are now.
func (w *world) find(k *kind) (map[name]*record, news) {
	switch k.name {
	case pods:
		return w.pods()
	case configMaps, secrets:
		return w.dataObjects(k)
	case namespaces:
		return w.namespaces()
	}
	return w.events()
}

// pods are those of the table, and those that were given and have no worker yet.
func (w *world) pods() (map[name]*record, news) {
	entries, newer := w.cfg.Pods()
	held, newerHeld := w.cfg.Store.Content()
	seen := map[name]*record{}
	for _, e := range entries {
		if e.Desired.Source == pod.FromRuntime || e.Desired.Pod.Name == "" {
			continue
		}
		n := name{e.Desired.Pod.Namespace, e.Desired.Pod.Name}
		if other := seen[n]; other == nil || e.Desired.Wanted && !other.token.(podToken).entry.Desired.Wanted {
			seen[n] = &record{token: podToken{entry: e}}
		}
	}
	for key, o := range held {
		p, ok := o.(*v1.Pod)
		if !ok {
			continue
		}
		n := name{key.Namespace, key.Name}
		r := seen[n]
		switch {
		case r == nil, r.token.(podToken).entry.Desired.UID() != p.UID && !r.token.(podToken).entry.Desired.Wanted:
			seen[n] = &record{token: podToken{given: p}}
		case r.token.(podToken).entry.Desired.UID() == p.UID:
			r.token = podToken{r.token.(podToken).entry, p}
		}
	}
	for n, r := range seen {
		if known := w.objects[pods][n]; known == nil || known.token != r.token {
			r.object = r.token.(podToken).show()
		} else {
			r.object = known.object
		}
	}
	return seen, news{newer, newerHeld}
}

// podToken is what a pod is made from: its worker's entry, what was given, or both.
type podToken struct {
	entry *worker.Entry
	given *v1.Pod
}

// show is the pod as an API server would have it.
func (t podToken) show() object {
	p := &v1.Pod{Status: v1.PodStatus{Phase: v1.PodPending}}
	if t.given != nil {
		p.ObjectMeta, p.Spec = *t.given.ObjectMeta.DeepCopy(), t.given.Spec
	} else {
		d := t.entry.Desired
		p.ObjectMeta, p.Spec = *d.Pod.ObjectMeta.DeepCopy(), d.Pod.Spec
		p.CreationTimestamp = metav1.NewTime(d.Seen.Truncate(time.Second))
		if p.Annotations == nil {
			p.Annotations = map[string]string{}
		}
		p.Annotations[names.ConfigSource] = string(d.Source)
	}
	if t.entry != nil {
		p.Status = t.entry.Status
		if stop := t.entry.Memory.Kept.Stop; t.given == nil && stop != nil && !t.entry.Memory.Session.Rested {
			at, seconds := metav1.NewTime(stop.Deadline.Truncate(time.Second)), int64(stop.Grace/time.Second)
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &at, &seconds
		}
	} else {
		p.Status.QOSClass = "" // not known before somebody has looked
	}
	p.APIVersion, p.Kind = "v1", "Pod"
	return p
}

// dataObjects are the ConfigMaps or Secrets of manifests, and those that were given.
func (w *world) dataObjects(k *kind) (map[name]*record, news) {
	wanted, newer := w.cfg.Wanted()
	held, newerHeld := w.cfg.Store.Content()
	seen := map[name]*record{}
	for key, o := range wanted.Objects {
		if key.Kind != k.kind || o.Source == pod.FromLocal { // those are taken from where they are kept
			continue
		}
		seen[name{key.Namespace, key.Name}] = &record{token: o, object: w.shown(k, o)}
	}
	for key, o := range held {
		n := name{key.Namespace, key.Name}
		if key.Kind != k.kind || seen[n] != nil { // that of the manifest is in use
			continue
		}
		seen[n] = &record{token: o, object: o.DeepCopyObject().(object)}
	}
	return seen, news{newer, newerHeld}
}

// shown is an object of a manifest as an API server would have it.
func (w *world) shown(k *kind, o *source.Object) object {
	var out object
	if o.Secret != nil {
		out = o.Secret.DeepCopy()
	} else {
		out = o.ConfigMap.DeepCopy()
	}
	out.SetCreationTimestamp(metav1.NewTime(o.Seen.Truncate(time.Second)))
	out.SetUID(uidOf(k.name, out.GetNamespace(), out.GetName(), o.Origin))
	return out
}

// namespaces are default, those in which something is, and those that were given.
func (w *world) namespaces() (map[name]*record, news) {
	entries, newer := w.cfg.Pods()
	wanted, newerWanted := w.cfg.Wanted()
	held, newerHeld := w.cfg.Store.Content()
	seen := map[name]*record{}
	add := func(ns string) {
		if ns == "" || seen[name{"", ns}] != nil {
			return
		}
		seen[name{"", ns}] = &record{token: ns, object: w.namespace(ns)}
	}
	add(metav1.NamespaceDefault)
	for _, e := range entries {
		add(e.Desired.Pod.Namespace)
	}
	for key := range wanted.Objects {
		add(key.Namespace)
	}
	for key, o := range held {
		if key.Kind == "Namespace" {
			seen[name{"", key.Name}] = &record{token: o, object: o.DeepCopyObject().(object)}
		}
	}
	for key := range held {
		add(key.Namespace)
	}
	return seen, news{newer, newerWanted, newerHeld}
}

func (w *world) namespace(ns string) *v1.Namespace {
	n := &v1.Namespace{Status: v1.NamespaceStatus{Phase: v1.NamespaceActive}}
	n.APIVersion, n.Kind, n.Name = "v1", "Namespace", ns
	n.UID = uidOf(namespaces, "", ns, "")
	n.Labels = map[string]string{v1.LabelMetadataName: ns}
	n.CreationTimestamp = metav1.NewTime(w.began.Truncate(time.Second))
	return n
}

// origin is the manifest that an object comes from; empty if it was given, or there is none.
func (w *world) origin(k *kind, n name) string {
	if k.name == pods {
		entries, _ := w.cfg.Pods()
		for _, e := range entries {
			if d := e.Desired; d.Pod.Namespace == n.namespace && d.Pod.Name == n.name && d.Static() {
				return d.Origin
			}
		}
		return ""
	}
	wanted, _ := w.cfg.Wanted()
	if o := wanted.Objects[source.ObjectKey{Kind: k.kind, Namespace: n.namespace, Name: n.name}]; o != nil {
		return o.Origin
	}
	return ""
}

// held is an object that was given; nil if there is none.
func (w *world) held(k *kind, n name) given.Object {
	held, _ := w.cfg.Store.Content()
	return held[given.Key{Kind: k.kind, Namespace: n.namespace, Name: n.name}]
}
