package serve

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/worker"
)

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return noon.Add(-d) }

// table is a table of pods that tests write.
type table struct {
	mu      sync.Mutex
	entries []*worker.Entry
	status  map[types.UID]v1.PodStatus
	newer   chan struct{}
}

func newTable() *table {
	return &table{status: map[types.UID]v1.PodStatus{}, newer: make(chan struct{})}
}

func (t *table) Pods() ([]*worker.Entry, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.entries), t.newer
}

func (t *table) statusOf(e *worker.Entry) v1.PodStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status[e.Desired.UID()]
}

// put shows a pod, in the place of an older one of its UID.
func (t *table) put(e *worker.Entry, s v1.PodStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries = slices.DeleteFunc(slices.Clone(t.entries), func(old *worker.Entry) bool { return old.Desired.UID() == e.Desired.UID() })
	t.entries = append(t.entries, e)
	t.status[e.Desired.UID()] = s
	close(t.newer)
	t.newer = make(chan struct{})
}

// remove takes a pod out.
func (t *table) remove(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries = slices.DeleteFunc(slices.Clone(t.entries), func(old *worker.Entry) bool { return old.Desired.UID() == uid })
	close(t.newer)
	t.newer = make(chan struct{})
}

// web is a pod with two containers, of which app runs for the second time and log is waiting.
func web() (*worker.Entry, v1.PodStatus) {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-node", Namespace: "default", UID: "uid-web", Annotations: map[string]string{names.ConfigSource: "file"}},
		Spec:       v1.PodSpec{NodeName: "node", Containers: []v1.Container{{Name: "app", Image: "nginx"}, {Name: "log", Image: "busybox"}}},
	}
	e := &worker.Entry{
		At:      noon,
		Desired: &pod.Desired{Pod: p, Source: pod.FromFile, Origin: "/etc/kubernetes/manifests/web.yaml", Seen: before(time.Hour), Wanted: true},
		Memory:  plan.Memory{Stage: plan.Running},
		Observed: pod.Observed{
			Sandboxes: []pod.Sandbox{{ID: "box", Ready: true, CreatedAt: before(time.Hour)}},
			Containers: []pod.Container{
				{ID: "app1", Name: "app", Attempt: 1, State: pod.Running, Image: "nginx:1"},
				{ID: "log0", Name: "log", State: pod.Created},
				{ID: "app0", Name: "app", State: pod.Exited, ExitCode: 1},
			},
		},
		Stages: []worker.StageAt{{Stage: "Waiting", At: before(time.Hour)}, {Stage: "Running", At: before(time.Hour - time.Second)}},
	}
	s := v1.PodStatus{Phase: v1.PodRunning, PodIPs: []v1.PodIP{{IP: "10.0.0.1"}}, ContainerStatuses: []v1.ContainerStatus{
		{
			Name: "app", Ready: true, RestartCount: 1, ContainerID: "containerd://app1",
			State:                v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.NewTime(before(time.Minute))}},
			LastTerminationState: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ContainerID: "containerd://app0", ExitCode: 1, Reason: "Error", FinishedAt: metav1.NewTime(before(2 * time.Minute))}},
		},
		{Name: "log", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}}},
	}}
	return e, s
}

// edited is an entry changed by a test; entries are never changed in place.
func edited(e *worker.Entry, edit func(*worker.Entry)) *worker.Entry {
	c := *e
	c.Observed.Containers = slices.Clone(e.Observed.Containers)
	d := *e.Desired
	d.Pod = e.Desired.Pod.DeepCopy()
	c.Desired = &d
	edit(&c)
	return &c
}

// scene is a table with the pod web, and faces that look at it.
type scene struct {
	*table
	faces *Faces
	logs  string
}

func newScene(t *testing.T, edit func(*Config)) *scene {
	t.Helper()
	s := &scene{table: newTable(), logs: t.TempDir()}
	s.put(web())
	cfg := Config{Pods: s.table, Status: s.statusOf, PodLogsDir: s.logs, Debugging: true}
	if edit != nil {
		edit(&cfg)
	}
	s.faces = New(cfg)
	s.faces.now = func() time.Time { return noon }
	return s
}

// write adds lines to the log of web's container.
func (s *scene) write(t *testing.T, container string, attempt uint32, lines ...string) {
	t.Helper()
	path := filepath.Join(names.PodLogDir(s.logs, "default", "web-node", "uid-web"), names.ContainerLog(container, attempt))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, line := range lines {
		if _, err := f.WriteString("2024-05-01T11:00:00Z stdout F " + line + "\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends a request through a door.
func (s *scene) ask(door Door, method, path string) (int, http.Header, string) {
	w := httptest.NewRecorder()
	s.faces.Handler(door).ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Result().Header, w.Body.String()
}

func (s *scene) want(t *testing.T, door Door, path string, code int, text string) {
	t.Helper()
	got, _, body := s.ask(door, http.MethodGet, path)
	if got != code || strings.TrimSuffix(body, "\n") != text {
		t.Errorf("GET %s: %d %q, want %d %q", path, got, body, code, text)
	}
}

// run runs a server on a free port or a socket, and returns where. The test ends when it has ended.
func run(t *testing.T, s *Server) (address string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("the server did not end")
		}
	})
	t.Cleanup(stop)
	deadline := time.After(10 * time.Second)
	for {
		at, newer := s.Listening()
		if at != nil {
			return at.String(), stop
		}
		select {
		case <-newer:
		case <-deadline:
			t.Fatal("the server does not listen")
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}
