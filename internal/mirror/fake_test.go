package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
)

var podsResource = schema.GroupResource{Resource: "pods"}

// errDown is what a call meets when nobody listens; errLost when the answer gets lost on its way.
var (
	errDown = errors.New("connect: connection refused")
	errLost = errors.New("read: connection reset by peer")
)

type call struct {
	at   time.Duration
	verb string
	name string
	err  error
}

type list struct {
	pods   map[types.UID]*v1.Pod
	synced bool
	rv     int
}

// world is an API server with the admission that mirror pods meet, the watch of one client, and the static pods of a node.
type world struct {
	t *testing.T

	mu    sync.Mutex
	began time.Time
	pods  map[types.UID]*v1.Pod
	rv    int
	calls []call
	open  map[string]int
	notes []note.Note

	latency, lag func() time.Duration
	fail         func(verb, name string) error

	view   latest.Cell[list]
	nodes  latest.Cell[*v1.Node]
	static latest.Cell[Static]
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, began: time.Now(), pods: map[types.UID]*v1.Pod{}, open: map[string]int{}}
	w.view.Set(list{synced: true})
	w.nodes.Set(node("n1"))
	return w
}

// start runs a loop until stop is called, which waits for its end.
func (w *world) start() (stop func()) {
	l := New(Config{
		Static: w.static.Get, Node: w.nodes.Get, Cluster: w,
		API: func() (map[types.UID]*v1.Pod, bool, <-chan struct{}) {
			v, newer := w.view.Get()
			return v.pods, v.synced, newer
		},
		Notes: func(n note.Note) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.notes = append(w.notes, n)
		},
	})
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := l.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	return sync.OnceFunc(func() { cancel(); <-ended })
}

// change changes the pods and lets the watch know. Call it with mu held.
func (w *world) change(uid types.UID, p *v1.Pod) {
	w.rv++
	if p == nil {
		delete(w.pods, uid)
	} else {
		p.ResourceVersion = strconv.Itoa(w.rv)
		w.pods[uid] = p
	}
	snapshot := list{pods: maps.Clone(w.pods), synced: true, rv: w.rv}
	show := func() {
		if w.view.Value().rv < snapshot.rv {
			w.view.Set(snapshot)
		}
	}
	if w.lag == nil {
		show()
	} else {
		time.AfterFunc(w.lag(), show)
	}
}

func (w *world) set(change func(*world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// named is the pod of that name. Call it with mu held.
func (w *world) named(name string) *v1.Pod {
	for _, p := range w.pods {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// edit changes a pod that may be there; a nil result removes it.
func (w *world) edit(name string, edit func(*v1.Pod) *v1.Pod) {
	w.set(func(w *world) {
		if p := w.named(name); p != nil {
			w.change(p.UID, edit(p.DeepCopy()))
		}
	})
}

func (w *world) put(p *v1.Pod) { w.set(func(w *world) { w.change(p.UID, p.DeepCopy()) }) }

func (w *world) since() time.Duration { return time.Since(w.began) }

func (w *world) count(verb string, from time.Duration) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		if (verb == "" || c.verb == verb) && c.at >= from {
			n++
		}
	}
	return n
}

// serve waits as long as a call takes, then runs it.
func (w *world) serve(ctx context.Context, verb, name string, do func() (*v1.Pod, error)) (*v1.Pod, error) {
	w.mu.Lock()
	w.open[name]++
	if w.open[name] > 1 {
		w.t.Errorf("%d calls at once for %s", w.open[name], name)
	}
	var wait time.Duration
	if w.latency != nil {
		wait = w.latency()
	}
	w.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[name]--
	err := ctx.Err()
	if err == nil && w.fail != nil {
		err = w.fail(verb, name)
	}
	var p *v1.Pod
	switch {
	case err == nil:
		p, err = do()
	case errors.Is(err, errLost), ctx.Err() != nil && w.rv%2 == 0:
		if _, failed := do(); failed != nil {
			err = failed
		}
	}
	w.calls = append(w.calls, call{w.since(), verb, name, err})
	return p, err
}

func (w *world) CreatePod(ctx context.Context, p *v1.Pod) (*v1.Pod, error) {
	return w.serve(ctx, "create", p.Name, func() (*v1.Pod, error) {
		if w.named(p.Name) != nil {
			return nil, apierrors.NewAlreadyExists(podsResource, p.Name)
		}
		owner := metav1.GetControllerOf(p)
		switch at := w.nodes.Value(); {
		case p.UID != "" || p.ResourceVersion != "" || hash(p) == "" || p.Spec.NodeName != "node1" || p.Spec.Priority != nil || len(p.OwnerReferences) != 1:
			w.t.Errorf("the server would not take this pod: %+v", p)
		case owner == nil || at == nil || owner.UID != at.UID:
			return nil, apierrors.NewForbidden(podsResource, p.Name, errors.New("node UID mismatch"))
		}
		made := p.DeepCopy()
		made.UID = types.UID(fmt.Sprint("m", w.rv))
		w.change(made.UID, made)
		return made, nil
	})
}

func (w *world) DeletePod(ctx context.Context, namespace, name string, uid types.UID, grace time.Duration) error {
	_, err := w.serve(ctx, "delete", name, func() (*v1.Pod, error) {
		p := w.named(name)
		switch {
		case p == nil:
			return nil, apierrors.NewNotFound(podsResource, name)
		case p.UID != uid:
			return nil, apierrors.NewConflict(podsResource, name, errors.New("Precondition failed"))
		case hash(p) == "" || grace != 0 || namespace != p.Namespace:
			w.t.Errorf("delete of pod %s/%s with annotations %v and grace %v", namespace, name, p.Annotations, grace)
		case len(p.Finalizers) > 0:
			p = deleting(p.DeepCopy())
			p.DeletionGracePeriodSeconds = new(int64(0))
			w.change(uid, p)
			return p, nil
		}
		w.change(uid, nil)
		return nil, nil
	})
	return err
}

// check checks that there is exactly one right mirror pod for each static pod, and none else.
func (w *world) check() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	right := map[types.UID]int{}
	for _, p := range w.pods {
		if hash(p) == "" {
			continue
		}
		right[hash(p)]++
		if p.DeletionTimestamp != nil || !ownedBy(p, w.nodes.Value()) {
			w.t.Errorf("mirror %s is being deleted, or another node's: %+v", p.Name, p.ObjectMeta)
		}
	}
	for _, d := range w.static.Value().Wanted {
		if n := right[d.UID()]; n != 1 {
			w.t.Errorf("static pod %s (%s) has %d mirrors", d.Pod.Name, d.UID(), n)
		}
		delete(right, d.UID())
	}
	if len(right) > 0 {
		w.t.Errorf("mirrors of static pods that nobody wants: %v", right)
	}
}

func constant(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

var schemaNamespaces = schema.GroupResource{Resource: "namespaces"}
