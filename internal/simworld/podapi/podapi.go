package podapi

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
)

// Resource is what errors of the API call pods.
var Resource = schema.GroupResource{Resource: "pods"}

// ErrDown is what a call meets when nobody listens; ErrLost when it was done and the answer got lost on its way.
var (
	ErrDown = errors.New("dial tcp 10.0.0.1:6443: connect: connection refused")
	ErrLost = errors.New("read: connection reset by peer")
)

// Call is one request that the API server received, or that nobody did.
type Call struct {
	At   time.Duration // since the Server was made
	Verb string
	Name string
	Err  error
}

// List is what the watch has brought so far.
type List struct {
	Pods   map[types.UID]*v1.Pod
	Synced bool
	rv     int
}

// Server has pods and the watch of one client. It complains of two calls at once for one object.
type Server struct {
	T *testing.T

	// Mu guards what follows.
	Mu   sync.Mutex
	Pods map[types.UID]*v1.Pod
	// Version is the newest resource version.
	Version int
	// Calls are all so far; Most is how many there were at once at most.
	Calls []Call
	Most  int

	// Latency, Lag and Fail tell how long a call and the watch take, and what becomes of a call. Each may be nil.
	Latency, Lag func() time.Duration
	Fail         func(verb, name string) error

	// View is what the watch shows. Before it is set the first time it has not brought anything.
	View latest.Cell[List]

	began time.Time
	open  map[string]int
	now   int
}

// New is a Server without pods.
func New(t *testing.T) *Server {
	return &Server{T: t, began: time.Now(), Pods: map[types.UID]*v1.Pod{}, open: map[string]int{}}
}

// API is what the client's watch has brought, whether that is all there was, and what is closed when there is news.
func (s *Server) API() (map[types.UID]*v1.Pod, bool, <-chan struct{}) {
	v, newer := s.View.Get()
	return v.Pods, v.Synced, newer
}

// Relist shows the watch what there is now, as a new list does.
func (s *Server) Relist() {
	s.Locked(func() { s.View.Set(List{Pods: maps.Clone(s.Pods), Synced: true, rv: s.Version}) })
}

// Locked runs do with Mu held.
func (s *Server) Locked(do func()) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	do()
}

// Change sets or, if p is nil, removes a pod, and lets the watch know. Call it with Mu held.
func (s *Server) Change(uid types.UID, p *v1.Pod) {
	s.Version++
	if p == nil {
		delete(s.Pods, uid)
	} else {
		p.ResourceVersion = strconv.Itoa(s.Version)
		s.Pods[uid] = p
	}
	snapshot := List{Pods: maps.Clone(s.Pods), Synced: true, rv: s.Version}
	show := func() {
		if s.View.Value().rv < snapshot.rv {
			s.View.Set(snapshot)
		}
	}
	if s.Lag == nil {
		show()
	} else {
		time.AfterFunc(s.Lag(), show)
	}
}

// Put makes or changes a pod as somebody else would.
func (s *Server) Put(p *v1.Pod) { s.Locked(func() { s.Change(p.UID, p.DeepCopy()) }) }

// Drop removes a pod by force.
func (s *Server) Drop(uid types.UID) {
	s.Locked(func() {
		if s.Pods[uid] != nil {
			s.Change(uid, nil)
		}
	})
}

// Edit changes a pod that may be there.
func (s *Server) Edit(uid types.UID, edit func(*v1.Pod)) {
	s.Locked(func() {
		if p := s.Pods[uid]; p != nil {
			p = p.DeepCopy()
			edit(p)
			s.Change(uid, p)
		}
	})
}

// Pod is the pod of that UID, nil if there is none. It must not be changed.
func (s *Server) Pod(uid types.UID) (p *v1.Pod) {
	s.Locked(func() { p = s.Pods[uid] })
	return p
}

// Since is the time since the Server was made.
func (s *Server) Since() time.Duration { return time.Since(s.began) }

// Count counts the calls of a verb from some moment on; "" is any verb.
func (s *Server) Count(verb string, from time.Duration) (n int) {
	s.Locked(func() {
		for _, c := range s.Calls {
			if (verb == "" || c.Verb == verb) && c.At >= from {
				n++
			}
		}
	})
	return n
}

// Serve waits as long as a call takes, then runs it with Mu held. A call that is cancelled, or whose answer is lost, may
// have been done. Object says of what there must be one call at once.
func (s *Server) Serve(ctx context.Context, verb, name, object string, do func() (*v1.Pod, error)) (*v1.Pod, error) {
	var wait time.Duration
	s.Locked(func() {
		s.open[object]++
		if s.open[object] > 1 {
			s.T.Errorf("%d calls at once for %s", s.open[object], object)
		}
		s.now++
		s.Most = max(s.Most, s.now)
		if s.Latency != nil {
			wait = s.Latency()
		}
	})
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.open[object]--
	s.now--
	err := ctx.Err()
	if err == nil && s.Fail != nil {
		err = s.Fail(verb, name)
	}
	var p *v1.Pod
	switch {
	case err == nil:
		p, err = do()
	case errors.Is(err, ErrLost), ctx.Err() != nil && s.Version%2 == 0:
		if _, failed := do(); failed != nil {
			err = failed
		}
	}
	s.Calls = append(s.Calls, Call{s.Since(), verb, name, err})
	return p, err
}
