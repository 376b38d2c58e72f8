package nodeapi

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/given"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/source"
	"github.com/bosun-project/bosun/internal/worker"
)

// bench is an API with the rest of an agent in memory: pods that are wanted run at once, and are at rest at once when deleted.
type bench struct {
	t      *testing.T
	api    *API
	store  *given.Store
	server *httptest.Server

	table  latest.Cell[[]*worker.Entry]
	wanted latest.Cell[source.Snapshot]
	notes  *note.List
	// passed are the URLs that went to the faces of the kubelet.
	passed chan string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	store, bad, err := given.Open(filepath.Join(t.TempDir(), "given"))
	if err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	b := &bench{t: t, store: store, notes: note.NewList(), passed: make(chan string, 10)}
	b.wanted.Set(source.Snapshot{Ready: true})
	b.api = New(Config{
		NodeName: "here", Version: "v1.37.1", Pods: b.table.Get, Wanted: b.wanted.Get, Notes: b.notes.Follow, Store: store,
		Node: func(context.Context) (*v1.Node, <-chan struct{}) {
			n := &v1.Node{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}, ObjectMeta: metav1.ObjectMeta{Name: "here", UID: "here"}}
			n.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}
			return n, nil
		},
		Streams: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.passed <- r.URL.String()
			http.Error(w, "no streams here", http.StatusNotFound)
		}),
	})
	b.server = httptest.NewServer(b.api.Handler())
	t.Cleanup(b.server.Close)
	return b
}

// live runs the API's loop and an agent that runs what is given.
func (b *bench) live() {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = b.api.Run(ctx) })
	group.Go(func() {
		for {
			held, newer := b.store.Content()
			pods := map[types.UID]*pod.Desired{}
			var entries []*worker.Entry
			for _, e := range b.table.Value() {
				if e.Desired.Static() {
					entries = append(entries, e)
				}
			}
			for _, o := range held {
				p, ok := o.(*v1.Pod)
				if !ok {
					continue
				}
				d := &pod.Desired{Pod: p, Source: pod.FromLocal, Wanted: true}
				e := &worker.Entry{Desired: d, Status: v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}}}
				if p.DeletionTimestamp != nil {
					d.Deletion = &pod.Deletion{At: p.DeletionTimestamp.Time}
					e.Memory.Session.Rested = true
				}
				pods[p.UID] = d
				entries = append(entries, e)
			}
			b.wanted.Set(source.Snapshot{Ready: true, Pods: pods, Objects: b.wanted.Value().Objects})
			b.table.Set(entries)
			select {
			case <-ctx.Done():
				return
			case <-newer:
			}
		}
	})
	b.t.Cleanup(group.Wait)
	b.t.Cleanup(cancel)
}

// static has a pod of a file run.
func (b *bench) static(name string) *worker.Entry {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name), Labels: map[string]string{"app": name}}}
	p.Spec.Containers = []v1.Container{{Name: "main", Image: "box"}}
	p.Spec.NodeName = "here"
	e := &worker.Entry{
		Desired: &pod.Desired{Pod: p, Source: pod.FromFile, Origin: "/etc/pods/" + name + ".yaml", Seen: time.Now(), Wanted: true},
		Status:  v1.PodStatus{Phase: v1.PodRunning, PodIP: "10.0.0.1", ContainerStatuses: []v1.ContainerStatus{{Name: "main", Ready: true, State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}}}},
		Memory:  plan.Memory{},
	}
	b.table.Set(append(b.table.Value()[:len(b.table.Value()):len(b.table.Value())], e))
	return e
}

// ask sends a request and returns the code and the answer.
func (b *bench) ask(method, path, kind, body string) (int, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		b.t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	answer, err := b.server.Client().Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// want is ask for an answer of a code, read into what is asked for.
func (b *bench) want(code int, method, path, kind, body string, into any) string {
	b.t.Helper()
	got, text := b.ask(method, path, kind, body)
	if got != code {
		b.t.Fatalf("%s %s: %d, want %d: %s", method, path, got, code, text)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			b.t.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
	}
	return text
}

const (
	jsonKind      = "application/json"
	mergeKind     = "application/merge-patch+json"
	strategicKind = "application/strategic-merge-patch+json"
	podsPath      = "/api/v1/namespaces/default/pods"
	mapsPath      = "/api/v1/namespaces/default/configmaps"
	webPod        = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","labels":{"app":"web"}},"spec":{"containers":[{"name":"main","image":"box:1"}]}}`
	settingsMap   = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"k":"1"}}`
)
