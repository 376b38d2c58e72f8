package csinode_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/csinode"
	"github.com/bosun-project/bosun/internal/latest"
)

// server is an API server with one node.
type server struct {
	mu      sync.Mutex
	object  *storage.CSINode
	node    latest.Cell[*v1.Node]
	drivers latest.Cell[map[string]csinode.Driver]
	down    error
	nolabel bool
	writes  []string
}

var errNone = apierrors.NewNotFound(schema.GroupResource{Resource: "csinodes"}, "n")

func (s *server) do(what string, f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	if what != "" {
		s.writes = append(s.writes, what)
	}
	return f()
}

func (s *server) GetCSINode(context.Context, string) (n *storage.CSINode, err error) {
	return n, s.do("", func() error {
		if n = s.object; n == nil {
			return errNone
		}
		return nil
	})
}

func (s *server) CreateCSINode(_ context.Context, n *storage.CSINode) (*storage.CSINode, error) {
	return n, s.do("create", func() error { s.object = n; return nil })
}

func (s *server) UpdateCSINode(_ context.Context, n *storage.CSINode) (*storage.CSINode, error) {
	return n, s.do("update", func() error { s.object = n; return nil })
}

func (s *server) DeleteCSINode(context.Context, string) error {
	return s.do("delete", func() error { s.object = nil; return nil })
}

func (s *server) PatchNode(_ context.Context, _ string, patch []byte) (*v1.Node, error) {
	var n *v1.Node
	return n, s.do("patch", func() error {
		var p struct {
			Metadata struct {
				UID         types.UID
				Annotations map[string]*string
				Labels      map[string]string
			}
		}
		if err := json.Unmarshal(patch, &p); err != nil {
			return err
		}
		n = s.node.Value().DeepCopy()
		if p.Metadata.UID != n.UID {
			return errors.New("another node")
		}
		for key, value := range p.Metadata.Annotations {
			if value == nil {
				delete(n.Annotations, key)
			} else {
				metav1.SetMetaDataAnnotation(&n.ObjectMeta, key, *value)
			}
		}
		if s.nolabel && len(p.Metadata.Labels) > 0 {
			return errors.New("label refused")
		}
		for key, value := range p.Metadata.Labels {
			metav1.SetMetaDataLabel(&n.ObjectMeta, key, value)
		}
		s.node.Set(n)
		return nil
	})
}

func nodeOf(uid types.UID) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", UID: uid, Annotations: map[string]string{"other": "x"}}}
}

func bubble(t *testing.T, test func(s *server, l *csinode.Loop)) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		l := csinode.New(csinode.Config{Name: "n", Cluster: s, Node: s.node.Get, Drivers: s.drivers.Get,
			Back: func() <-chan struct{} { return nil }, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Run(ctx) }()
		synctest.Wait()
		test(s, l)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// has is what the CSINode says, as "name=id name=id".
func (s *server) has() string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.object == nil {
		return "none"
	}
	var all []string
	for _, d := range s.object.Spec.Drivers {
		all = append(all, d.Name+"="+d.NodeID)
	}
	return strings.Join(all, " ")
}

func is(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestTheClusterIsToldOfDrivers(t *testing.T) {
	bubble(t, func(s *server, l *csinode.Loop) {
		is(t, "without a node", s.has(), "none")
		s.node.Set(nodeOf("u1"))
		is(t, "without drivers", s.has(), "")
		is(t, "owner", s.object.OwnerReferences[0].UID, types.UID("u1"))
		is(t, "told", l.State().Value(), csinode.State{Told: true})
		s.drivers.Set(map[string]csinode.Driver{"b": {NodeID: "2", Topology: map[string]string{"z": "1", "a": "2"}, MostVolumes: 9}, "a": {NodeID: "1"}})
		is(t, "with drivers", s.has(), "a=1 b=2")
		b := s.object.Spec.Drivers[1]
		if !slices.Equal(b.TopologyKeys, []string{"a", "z"}) || *b.Allocatable.Count != 9 {
			t.Errorf("driver b: %+v", b)
		}
		n := s.node.Value()
		is(t, "annotation", n.Annotations["csi.volume.kubernetes.io/nodeid"], `{"a":"1","b":"2"}`)
		is(t, "other annotation", n.Annotations["other"], "x")
		is(t, "label", n.Labels["z"], "1")
		writes := len(s.writes)
		time.Sleep(time.Hour)
		s.node.Set(n.DeepCopy())
		s.has()
		is(t, "writes with nothing new", len(s.writes), writes)
		s.drivers.Set(map[string]csinode.Driver{"a": {NodeID: "1"}})
		is(t, "one gone", s.has(), "a=1")
		s.drivers.Set(nil)
		is(t, "all gone", s.has(), "")
		if _, there := s.node.Value().Annotations["csi.volume.kubernetes.io/nodeid"]; there {
			t.Error("the annotation stays")
		}
	})
}

// What an earlier life has told of a driver that has not registered again yet stays.
func TestOtherDriversStay(t *testing.T) {
	bubble(t, func(s *server, _ *csinode.Loop) {
		s.object = &storage.CSINode{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: "Node", UID: "u1"}}}}
		s.object.Spec.Drivers = []storage.CSINodeDriver{{Name: "b", NodeID: "2"}, {Name: "a", NodeID: "old"}}
		n := nodeOf("u1")
		n.Annotations["csi.volume.kubernetes.io/nodeid"] = `{"b":"2","a":"old"}`
		n.Labels = map[string]string{"z": "mine"}
		s.node.Set(n)
		is(t, "at first", s.has(), "b=2 a=old")
		s.drivers.Set(map[string]csinode.Driver{"a": {NodeID: "1", Topology: map[string]string{"z": "other"}}})
		is(t, "one registered", s.has(), "a=1 b=2")
		is(t, "annotation", s.node.Value().Annotations["csi.volume.kubernetes.io/nodeid"], `{"a":"1","b":"2"}`)
		is(t, "label", s.node.Value().Labels["z"], "mine")
	})
}

func TestANodeThatWasMadeAnew(t *testing.T) {
	bubble(t, func(s *server, _ *csinode.Loop) {
		s.node.Set(nodeOf("u1"))
		s.drivers.Set(map[string]csinode.Driver{"a": {NodeID: "1"}})
		is(t, "drivers", s.has(), "a=1")
		s.node.Set(nodeOf("u2"))
		is(t, "drivers", s.has(), "a=1")
		is(t, "owner", s.object.OwnerReferences[0].UID, types.UID("u2"))
	})
}

func TestTroubleIsToldAndTriedAgain(t *testing.T) {
	bubble(t, func(s *server, l *csinode.Loop) {
		s.down = errors.New("away")
		s.node.Set(nodeOf("u1"))
		is(t, "while away", s.has(), "none")
		is(t, "state", l.State().Value().Problem != "" && !l.State().Value().Told, true)
		s.mu.Lock()
		s.down, s.nolabel = nil, true
		s.mu.Unlock()
		time.Sleep(time.Minute)
		is(t, "back", s.has(), "")
		is(t, "state", l.State().Value(), csinode.State{Told: true})
		s.drivers.Set(map[string]csinode.Driver{"a": {NodeID: "1", Topology: map[string]string{"kubernetes.io/no": "1"}}})
		is(t, "with a label that is refused", s.has(), "a=1")
		is(t, "annotation", s.node.Value().Annotations["csi.volume.kubernetes.io/nodeid"], `{"a":"1"}`)
	})
}
