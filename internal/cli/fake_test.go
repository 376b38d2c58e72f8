package cli

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/serve"
	"github.com/bosun-project/bosun/internal/worker"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return noon.Add(-d) }

func clock() time.Time { return noon }

// sample is a node with a pod for each mood.
func sample() serve.Overview {
	one, oom := int32(1), int32(137)
	return serve.Overview{
		At: noon,
		Pods: []serve.Pod{
			{
				Namespace: "default", Name: "nginx-log-node", UID: "uid-nginx", Node: "node", Source: "file", Origin: "/m/nginx.yaml",
				Summary: "is running: all 2 containers are ready, for 3h", Status: "Running", Phase: v1.PodRunning, Ready: 2, Containers: 2, Settled: true,
				IPs: []string{"10.88.0.5"}, Seen: before(time.Hour), Started: before(3 * time.Hour), Stage: "Running", DefaultContainer: "nginx",
				Stages: []worker.StageAt{
					{Stage: "Waiting", At: before(3 * time.Hour)}, {Stage: "Preparing", At: before(3*time.Hour - 1500*time.Microsecond)},
					{Stage: "Running", At: before(3*time.Hour - 841*time.Millisecond)},
				},
				Parts: []serve.Part{
					{Name: "nginx", Kind: "container", Image: "nginx:1.27", State: "running", Ready: true, Since: before(3 * time.Hour)},
					{Name: "tail", Kind: "container", Image: "busybox", State: "running", Ready: true, Since: before(2 * time.Hour), Restarts: 1, LastExit: &serve.Exit{Code: 137, Reason: "OOMKilled", At: before(2 * time.Hour)}},
				},
				Restarts: 1, LastRestart: before(2 * time.Hour),
				Recent: []worker.Ended{
					{Effect: "make pod", Began: before(3 * time.Hour), Took: 900 * time.Microsecond},
					{Effect: "run sandbox #0", Began: before(3 * time.Hour), Took: 312 * time.Millisecond},
					{Effect: "start container tail#0", Began: before(3 * time.Hour), Took: 12 * time.Second, Error: "no \x1b[31mentrypoint"},
				},
			},
			{
				Namespace: "default", Name: "typo-node", UID: "uid-typo", Node: "node", Source: "file", Origin: "/m/typo.yaml",
				Summary: "is not running: getting the image of container app fails (4 times in 2m): \"ngnix\": not found; the next try is in 1m",
				Status:  "ImagePullBackOff", Phase: v1.PodPending, Containers: 1, Seen: before(2 * time.Minute), Stage: "Preparing", DefaultContainer: "app",
				Stages:   []worker.StageAt{{Stage: "Waiting", At: before(2 * time.Minute)}, {Stage: "Preparing", At: before(2*time.Minute - time.Millisecond)}},
				InFlight: []worker.InFlight{{Effect: "set up volume data", Since: before(5 * time.Second)}, {Effect: "run sandbox #0", Since: before(5 * time.Second), Cancelled: true}},
				Waits:    []worker.Waiting{{For: "ensure image app", Detail: "\"ngnix\": not found", Since: before(20 * time.Second), Until: noon.Add(time.Minute)}, {For: "network", Detail: "network is not ready: no CNI configuration", Since: before(time.Minute)}},
				Failures: []serve.Failure{{Effect: "ensure image app", Reason: "ErrImagePull", Message: "\"ngnix\": not found", Count: 4, Since: before(2 * time.Minute), At: before(20 * time.Second), RetryAt: noon.Add(time.Minute)}},
				Parts: []serve.Part{
					{Name: "prepare", Kind: "init", Image: "busybox", State: "terminated", ExitCode: new(int32), Reason: "Completed", Since: before(time.Minute)},
					{Name: "app", Kind: "container", Image: "ngnix", State: "waiting", Reason: "ImagePullBackOff"},
				},
			},
			{
				Namespace: "other", Name: "crash", UID: "uid-crash", Source: "http", Origin: "http://example.com/pods", Summary: "does not stay up: container app ended with exit code 1 12s ago",
				Status: "CrashLoopBackOff", Phase: v1.PodRunning, Containers: 1, Restarts: 5, LastRestart: before(12 * time.Second), Seen: before(50 * time.Hour), Stage: "Running",
				Parts: []serve.Part{{Name: "app", Kind: "container", Image: "busybox", State: "waiting", Reason: "CrashLoopBackOff", Restarts: 5,
					LastExit: &serve.Exit{Code: 1, Reason: "Error", At: before(12 * time.Second)}, RetryAt: noon.Add(28 * time.Second)}},
			},
			{
				Namespace: "other", Name: "failed", UID: "uid-failed", Source: "file", Summary: "has failed: container app ended with exit code 137 (OOMKilled) 1m30s ago", Status: "OOMKilled",
				Phase: v1.PodFailed, Containers: 1, Settled: true, Stop: &plan.Stop{Cause: plan.Completed},
				Parts: []serve.Part{
					{Name: "side", Kind: "sidecar", State: "running", Image: "busybox", Since: before(time.Hour)},
					{Name: "app", Kind: "container", State: "terminated", ExitCode: &oom, Reason: "OOMKilled", Image: "busybox", Since: before(90 * time.Second)},
					{Name: "look", Kind: "ephemeral", State: "terminated", ExitCode: &one, Reason: "Error", Image: "busybox"},
				},
			},
		},
		Troubles: []serve.Trouble{
			{What: "API server", Message: "dial tcp 10.0.0.1:6443: connect: connection refused", Since: before(12 * time.Second)},
			{What: "client certificate", Message: "waiting for approval of certificate signing request node-csr-x; approve it with: kubectl certificate approve node-csr-x"},
		},
		Problems: []serve.Problem{{Source: "file", Origin: "/m/bad.yaml", Messages: []string{"document 1, line 7: spec.containers[0].imagee: unknown field; did you mean image?"}, Since: before(3 * time.Minute), Keeps: 1}},
	}
}

// node is an agent that answers from values.
type node struct {
	mu       sync.Mutex
	overview serve.Overview
	pods     v1.PodList
	events   serve.Events
	socket   string
	asked    url.Values // the last query for logs
	path     string
	watchers chan serve.Overview
}

func newNode(t *testing.T) *node {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "bosun")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := &node{overview: sample(), socket: filepath.Join(dir, SocketName), watchers: make(chan serve.Overview)}
	for _, p := range n.overview.Pods {
		n.pods.Items = append(n.pods.Items, v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: types.UID(p.UID)}})
	}
	l, err := net.Listen("unix", n.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: n.handler()}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-ended })
	return n
}

func (n *node) handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(path string, value func() any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			n.mu.Lock()
			defer n.mu.Unlock()
			_ = json.NewEncoder(w).Encode(value())
		})
	}
	mux.HandleFunc("GET /debug/pods", func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("watch") {
			_ = json.NewEncoder(w).Encode(n.overview)
			return
		}
		for o := range n.watchers {
			_ = json.NewEncoder(w).Encode(o)
			_ = http.NewResponseController(w).Flush()
		}
	})
	answer("/pods", func() any { return n.pods })
	answer("/events", func() any { return n.events })
	answer("/debug/pulls", func() any { return serve.Pulls{} })
	mux.HandleFunc("GET /containerLogs/{ns}/{pod}/{ctr}", func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		n.asked, n.path = r.URL.Query(), r.URL.Path
		n.mu.Unlock()
		if r.PathValue("ctr") == "prepare" {
			http.Error(w, "container \"prepare\" in pod \"typo-node\" is waiting to start: \x07PodInitializing", http.StatusBadRequest)
			return
		}
		_, _ = w.Write([]byte("line\n"))
	})
	return mux
}

// asking is a command's way to the node.
func (n *node) asking() asking { return asking{socket: n.socket, now: clock} }
