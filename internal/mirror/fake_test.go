package mirror

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/bosun-project/bosun/internal/simworld/podapi"
)

// world is an API server with the admission that mirror pods meet, the watch of one client, and the static pods of a node.
type world struct {
	*podapi.Server
	notes  []note.Note
	nodes  latest.Cell[*v1.Node]
	static latest.Cell[Static]
}

func newWorld(t *testing.T) *world {
	w := &world{Server: podapi.New(t)}
	w.Relist()
	w.nodes.Set(node("n1"))
	return w
}

// start runs a loop until stop is called, which waits for its end.
func (w *world) start() (stop func()) {
	l := New(Config{
		Static: w.static.Get, Node: w.nodes.Get, Cluster: w, API: w.API,
		Notes: func(n note.Note) {
			w.Locked(func() { w.notes = append(w.notes, n) })
		},
	})
	ctx, cancel := context.WithCancel(w.T.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := l.Run(ctx); err != nil {
			w.T.Error(err)
		}
	}()
	return sync.OnceFunc(func() { cancel(); <-ended })
}

// named is the pod of that name. Call it with mu held.
func (w *world) named(name string) *v1.Pod {
	for _, p := range w.Pods {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// edit changes a pod that may be there; a nil result removes it.
func (w *world) edit(name string, edit func(*v1.Pod) *v1.Pod) {
	w.Locked(func() {
		if p := w.named(name); p != nil {
			w.Change(p.UID, edit(p.DeepCopy()))
		}
	})
}

func (w *world) CreatePod(ctx context.Context, p *v1.Pod) (*v1.Pod, error) {
	return w.Serve(ctx, "create", p.Name, p.Name, func() (*v1.Pod, error) {
		if w.named(p.Name) != nil {
			return nil, apierrors.NewAlreadyExists(podapi.Resource, p.Name)
		}
		owner := metav1.GetControllerOf(p)
		switch at := w.nodes.Value(); {
		case p.UID != "" || p.ResourceVersion != "" || hash(p) == "" || p.Spec.NodeName != "node1" || p.Spec.Priority != nil || len(p.OwnerReferences) != 1:
			w.T.Errorf("the server would not take this pod: %+v", p)
		case owner == nil || at == nil || owner.UID != at.UID:
			return nil, apierrors.NewForbidden(podapi.Resource, p.Name, errors.New("node UID mismatch"))
		}
		made := p.DeepCopy()
		made.UID = types.UID(fmt.Sprint("m", w.Version))
		w.Change(made.UID, made)
		return made, nil
	})
}

func (w *world) DeletePod(ctx context.Context, namespace, name string, uid types.UID, grace time.Duration) error {
	_, err := w.Serve(ctx, "delete", name, name, func() (*v1.Pod, error) {
		p := w.named(name)
		switch {
		case p == nil:
			return nil, apierrors.NewNotFound(podapi.Resource, name)
		case p.UID != uid:
			return nil, apierrors.NewConflict(podapi.Resource, name, errors.New("Precondition failed"))
		case hash(p) == "" || grace != 0 || namespace != p.Namespace:
			w.T.Errorf("delete of pod %s/%s with annotations %v and grace %v", namespace, name, p.Annotations, grace)
		case len(p.Finalizers) > 0:
			p = deleting(p.DeepCopy())
			p.DeletionGracePeriodSeconds = new(int64(0))
			w.Change(uid, p)
			return p, nil
		}
		w.Change(uid, nil)
		return nil, nil
	})
	return err
}

// check checks that there is exactly one right mirror pod for each static pod, and none else.
func (w *world) check() {
	w.T.Helper()
	w.Mu.Lock()
	defer w.Mu.Unlock()
	right := map[types.UID]int{}
	for _, p := range w.Pods {
		if hash(p) == "" {
			continue
		}
		right[hash(p)]++
		if p.DeletionTimestamp != nil || !ownedBy(p, w.nodes.Value()) {
			w.T.Errorf("mirror %s is being deleted, or another node's: %+v", p.Name, p.ObjectMeta)
		}
	}
	for _, d := range w.static.Value().Wanted {
		if n := right[d.UID()]; n != 1 {
			w.T.Errorf("static pod %s (%s) has %d mirrors", d.Pod.Name, d.UID(), n)
		}
		delete(right, d.UID())
	}
	if len(right) > 0 {
		w.T.Errorf("mirrors of static pods that nobody wants: %v", right)
	}
}

func constant(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

var schemaNamespaces = schema.GroupResource{Resource: "namespaces"}
