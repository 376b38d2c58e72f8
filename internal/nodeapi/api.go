package nodeapi

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/given"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/source"
	"github.com/bosun-project/bosun/internal/worker"
)

// Store keeps what was given.
type Store interface {
	Content() (given.Content, <-chan struct{})
	Put(given.Object) error
	Drop(given.Key) error
}

// Config is where the answers come from. All of it is needed but Log. The channels are closed when there is news.
type Config struct {
	// NodeName is the node's name, Version the Kubernetes version it claims, such as v1.37.1.
	NodeName, Version string
	// Pods are those the agent has, Wanted those it is to have, with the objects of manifests; ready tells that all sources have spoken.
	Pods   func() ([]*worker.Entry, <-chan struct{})
	Wanted func() (s source.Snapshot, newer <-chan struct{})
	// Node is the node as an API server would have it; Notes are what happened, oldest first.
	Node  func(context.Context) (*v1.Node, <-chan struct{})
	Notes func() ([]note.Note, <-chan struct{})
	Store Store
	// Streams serves logs, exec, attach and port-forward at the paths of a kubelet.
	Streams http.Handler
	Log     *slog.Logger
}

// API answers requests.
type API struct {
	cfg   Config
	world *world
	// writing is held from looking at an object to having it changed in the store.
	writing sync.Mutex
	now     func() time.Time
}

// New builds it; Handler serves it, and Run must run beside.
func New(cfg Config) *API {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &API{cfg: cfg, world: newWorld(cfg, time.Now()), now: time.Now}
}

// Run takes pods that were deleted out of the store when nothing of them is left on the node, until ctx ends.
func (a *API) Run(ctx context.Context) error {
	for {
		held, newerStore := a.cfg.Store.Content()
		var newerPods, newerWanted <-chan struct{}
		if leaving := deleted(held); len(leaving) > 0 { // nothing else wakes this loop
			var entries []*worker.Entry
			entries, newerPods = a.cfg.Pods()
			var wanted source.Snapshot
			wanted, newerWanted = a.cfg.Wanted()
			for _, p := range leaving {
				if gone(p, entries, wanted) {
					a.forget(p)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newerStore:
		case <-newerPods:
		case <-newerWanted:
		}
	}
}

func deleted(held given.Content) []*v1.Pod {
	var out []*v1.Pod
	for _, o := range held {
		if p, ok := o.(*v1.Pod); ok && p.DeletionTimestamp != nil {
			out = append(out, p)
		}
	}
	return out
}

// gone tells whether nothing of a deleted pod is left on the node: its worker says so, or it never had one, since another source
// has a pod of its name.
func gone(p *v1.Pod, entries []*worker.Entry, wanted source.Snapshot) bool {
	for _, e := range entries {
		if e.Desired.UID() == p.UID {
			return e.Desired.Deletion != nil && e.Memory.Session.Rested
		}
	}
	return wanted.Ready && wanted.Pods[p.UID] == nil
}

// forget drops a pod, unless its name is another's by now.
func (a *API) forget(p *v1.Pod) {
	a.writing.Lock()
	defer a.writing.Unlock()
	key := given.KeyOf(p)
	held, _ := a.cfg.Store.Content()
	if now := held[key]; now == nil || now.GetUID() != p.UID {
		return
	}
	if err := a.cfg.Store.Drop(key); err != nil {
		a.cfg.Log.Error("a deleted pod cannot be forgotten; it is tried again when something changes", "pod", p.Namespace+"/"+p.Name, "err", err)
	}
}

// Bound is what the store says to the source of pods.
func Bound(held given.Content) source.Bound {
	b := source.Bound{Synced: true}
	for key, o := range held {
		var object *source.Object
		switch o := o.(type) {
		case *v1.Pod:
			b.Pods = append(b.Pods, o)
			continue
		case *v1.ConfigMap:
			object = &source.Object{ConfigMap: o}
		case *v1.Secret:
			object = &source.Object{Secret: o}
		default:
			continue
		}
		if b.Objects == nil {
			b.Objects = map[source.ObjectKey]*source.Object{}
		}
		object.Source, object.Seen = pod.FromLocal, o.GetCreationTimestamp().Time
		b.Objects[source.ObjectKey(key)] = object
	}
	return b
}
