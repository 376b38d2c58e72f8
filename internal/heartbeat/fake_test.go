package heartbeat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/note"
)

var nodes = schema.GroupResource{Resource: "nodes"}

// server is an API server with one node and one lease.
type server struct {
	t  *testing.T
	mu sync.Mutex

	node    *v1.Node
	lease   *coordinationv1.Lease
	version int
	uids    int
	// lag is how much later than it happens the watch shows a change; deaf makes it show nothing.
	lag  time.Duration
	deaf bool
	// odd makes versions that are no numbers.
	odd bool
	// slow is how long each call takes. fail may refuse a call by its verb.
	slow time.Duration
	fail func(verb string) error
	// admit changes a node before it is stored.
	admit func(*v1.Node)

	verbs   []string
	busy    map[string]int
	patches []string

	watched      latest.Cell[view]
	shows, shown int
}

var errDown = errors.New("connection refused")

// begin counts a call and lets it take its time.
func (s *server) begin(ctx context.Context, verb string) error {
	s.mu.Lock()
	s.verbs = append(s.verbs, verb)
	kind := "node"
	if strings.HasSuffix(verb, "lease") {
		kind = "lease"
	}
	if s.busy == nil {
		s.busy = map[string]int{}
	}
	s.busy[kind]++
	if s.busy[kind] > 1 {
		s.t.Errorf("%s while another request for the %s is under way", verb, kind)
	}
	slow, fail := s.slow, s.fail
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.busy[kind]--
		s.mu.Unlock()
	}()
	if slow > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(slow):
		}
	}
	if fail != nil {
		return fail(verb)
	}
	return nil
}

func (s *server) tick() string {
	s.version++
	if s.odd {
		return fmt.Sprint("v", s.version)
	}
	return fmt.Sprint(s.version)
}

// show makes the watch tell of the node as it is now.
func (s *server) show() {
	n := s.node
	s.shows++
	turn := s.shows
	tell := func() { // in the order in which it happened
		s.mu.Lock()
		defer s.mu.Unlock()
		if turn > s.shown {
			s.shown = turn
			s.watched.Set(view{n, true})
		}
	}
	switch {
	case s.deaf:
	case s.lag > 0:
		time.AfterFunc(s.lag, tell)
	default:
		s.shown = turn
		s.watched.Set(view{n, true})
	}
}

// edit changes the node as somebody else does.
func (s *server) edit(change func(*v1.Node)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node.DeepCopy()
	change(n)
	n.ResourceVersion = s.tick()
	s.node = n
	s.show()
}

// put makes n the node; nil deletes it.
func (s *server) put(n *v1.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(n)
}

func (s *server) store(n *v1.Node) {
	s.node = nil
	if n != nil {
		s.node = n.DeepCopy()
		s.uids++
		s.node.UID = types.UID(fmt.Sprint("uid-", s.uids))
		s.node.ResourceVersion = s.tick()
	}
	s.show()
}

func (s *server) GetNode(ctx context.Context, name string) (*v1.Node, error) {
	if err := s.begin(ctx, "get node"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node == nil {
		return nil, fmt.Errorf("get node: %w", apierrors.NewNotFound(nodes, name))
	}
	return s.node, nil
}

func (s *server) CreateNode(ctx context.Context, n *v1.Node) (*v1.Node, error) {
	if err := s.begin(ctx, "create node"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node != nil {
		return nil, fmt.Errorf("create node: %w", apierrors.NewAlreadyExists(nodes, n.Name))
	}
	n = n.DeepCopy()
	if s.admit != nil {
		s.admit(n)
	}
	s.store(n)
	return s.node, nil
}

func (s *server) patch(ctx context.Context, verb, name string, patch []byte) (*v1.Node, error) {
	if err := s.begin(ctx, verb); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patches = append(s.patches, string(patch))
	if s.node == nil {
		return nil, fmt.Errorf("%s: %w", verb, apierrors.NewNotFound(nodes, name))
	}
	var meant struct {
		Metadata struct{ UID types.UID } `json:"metadata"`
	}
	was, err := json.Marshal(s.node)
	if err == nil {
		err = json.Unmarshal(patch, &meant)
	}
	if err != nil {
		return nil, err
	}
	if meant.Metadata.UID != s.node.UID {
		return nil, fmt.Errorf("%s: %w", verb, apierrors.NewInvalid(v1.SchemeGroupVersion.WithKind("Node").GroupKind(), name, nil)) // as the real one does
	}
	is, err := strategicpatch.StrategicMergePatch(was, patch, v1.Node{})
	if err != nil {
		return nil, err
	}
	n := &v1.Node{}
	if err := json.Unmarshal(is, n); err != nil {
		return nil, err
	}
	if s.admit != nil {
		s.admit(n)
	}
	n.ResourceVersion = s.tick()
	s.node = n
	s.show()
	return n, nil
}

func (s *server) PatchNode(ctx context.Context, name string, patch []byte) (*v1.Node, error) {
	return s.patch(ctx, "patch node", name, patch)
}

func (s *server) PatchNodeStatus(ctx context.Context, name string, patch []byte) (*v1.Node, error) {
	return s.patch(ctx, "patch status", name, patch)
}

var leases = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

func (s *server) GetLease(ctx context.Context, name string) (*coordinationv1.Lease, error) {
	if err := s.begin(ctx, "get lease"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil {
		return nil, apierrors.NewNotFound(leases, name)
	}
	return s.lease, nil
}

func (s *server) CreateLease(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if err := s.begin(ctx, "create lease"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease != nil {
		return nil, apierrors.NewAlreadyExists(leases, l.Name)
	}
	s.lease = l.DeepCopy()
	s.lease.ResourceVersion = s.tick()
	return s.lease, nil
}

func (s *server) UpdateLease(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if err := s.begin(ctx, "update lease"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.lease == nil:
		return nil, apierrors.NewNotFound(leases, l.Name)
	case s.lease.ResourceVersion != l.ResourceVersion:
		return nil, apierrors.NewConflict(leases, l.Name, errors.New("changed"))
	}
	s.lease = l.DeepCopy()
	s.lease.ResourceVersion = s.tick()
	return s.lease, nil
}

// facts are those of a node that is well.
func facts() nodestatus.Facts {
	room := v1.ResourceList{}
	for name, q := range map[v1.ResourceName]string{v1.ResourceCPU: "4", v1.ResourceMemory: "8Gi", v1.ResourcePods: "110", v1.ResourceEphemeralStorage: "100Gi"} {
		room[name] = resource.MustParse(q)
	}
	return nodestatus.Facts{
		Name: "node-1", OS: "linux", Arch: "amd64", AttachDetach: true, Addresses: []string{"192.0.2.7"},
		Labels: map[string]string{"node.kubernetes.io/role": "db"}, Taints: []v1.Taint{{Key: "dedicated", Effect: v1.TaintEffectNoSchedule}},
		Room: nodestatus.Room{Capacity: room, Allocatable: room}, BootID: "b1", Port: 10250, MostImages: 50, CgroupVersion: 2,
		Runtime: nodestatus.Runtime{Asked: true, Name: "containerd", Version: "2", Up: true, NetworkReady: true},
	}
}

// world is a node beside its API server, in a bubble.
type world struct {
	*testing.T
	*server
	loop  *Loop
	facts latest.Cell[nodestatus.Facts]
	back  latest.Cell[struct{}]

	mu    sync.Mutex
	notes []string
	lines []string

	stop func()
}

// run plays in a bubble: prepare may change what is there before the node starts.
func run(t *testing.T, prepare func(*world, *Config), play func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, server: &server{t: t}}
		w.facts.Set(facts())
		w.watched.Set(view{nil, true})
		cfg := Config{
			Name: "node-1", Cluster: w.server, Register: true,
			Node: func() (*v1.Node, bool, <-chan struct{}) {
				v, newer := w.watched.Get()
				return v.node, v.known, newer
			},
			Facts: w.facts.Get, Back: func() <-chan struct{} { _, back := w.back.Get(); return back },
			Notes: func(n note.Note) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.notes = append(w.notes, n.Reason)
			},
			Log: slog.New(slog.NewTextHandler(lines{w}, nil)),
		}
		if prepare != nil {
			prepare(w, &cfg)
		}
		w.loop = New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.loop.Run(ctx) }()
		w.stop = func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			ended <- nil
		}
		defer w.stop()
		synctest.Wait()
		play(w)
	})
}

// lines keeps what is logged.
type lines struct{ w *world }

func (l lines) Write(text []byte) (int, error) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.lines = append(l.w.lines, string(text))
	return len(text), nil
}

func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// tell changes the facts.
func (w *world) tell(change func(*nodestatus.Facts)) {
	f := w.facts.Value()
	change(&f)
	w.facts.Set(f)
}

// requests are the calls since the last time it was asked, counted by verb.
func (w *world) requests() map[string]int {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	all := map[string]int{}
	for _, verb := range w.verbs {
		all[verb]++
	}
	w.verbs = nil
	return all
}

func (w *world) object() *v1.Node {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return w.server.node
}

func (w *world) held() *coordinationv1.Lease {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return w.server.lease
}

func (w *world) set(change func(*server)) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	change(w.server)
}

func (w *world) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := strings.Join(w.notes, " ")
	w.notes = nil
	return all
}

func (w *world) logged(word string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.lines {
		if strings.Contains(line, word) {
			n++
		}
	}
	return n
}

// ready is the Ready condition as the API server has it.
func (w *world) ready() v1.ConditionStatus {
	n := w.object()
	if n == nil {
		return "none"
	}
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeReady {
			return c.Status
		}
	}
	return ""
}
