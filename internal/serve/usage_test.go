package serve

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/bosun-project/bosun/internal/machine"
	"github.com/bosun-project/bosun/internal/usage"
)

// reader gives one pod, and remembers how much it was asked to read.
type reader struct {
	depths []usage.Depth
	err    error
}

func (r *reader) Read(_ context.Context, depth usage.Depth) (*usage.Snapshot, error) {
	r.depths = append(r.depths, depth)
	c := usage.Cgroup{Path: "/kubepods/podx", At: noon, CPU: usage.CPU{Usage: usage.Of(2e9)}, Memory: usage.Memory{Usage: usage.Of(10), WorkingSet: usage.Of(9)}, IO: &usage.Pressure{}}
	return &usage.Snapshot{At: noon, Depth: depth, Node: usage.Node{Cgroup: c}, Pods: []usage.Pod{{
		Namespace: "default", Name: "web-node", UID: "uid-web", Cgroup: c, Containers: []usage.Container{{Name: "app", Started: noon, Cgroup: c}},
	}}}, r.err
}

func usageScene(t *testing.T) (*scene, *reader) {
	t.Helper()
	r := &reader{}
	return newScene(t, func(c *Config) {
		c.Usage, c.NodeName, c.Kernel, c.Debugging = r, "node", "6.18", false
		c.Machine = func() (*machine.Info, error) { return &machine.Info{NumCores: 3}, nil }
	}), r
}

// What is used is told behind every door, whether debugging is on or not.
func TestUsage(t *testing.T) {
	s, r := usageScene(t)
	for _, door := range []Door{ReadOnly, Full, Admin} {
		for _, c := range []struct {
			method, path string
			depth        usage.Depth
			code         int
			kind, text   string
		}{
			{"GET", "/stats/summary", usage.Storage, 200, "application/json", `"podRef":{"name":"web-node","namespace":"default","uid":"uid-web"}`},
			{"POST", "/stats/summary", usage.Storage, 200, "application/json", `"io":`},
			{"GET", "/stats/summary?only_cpu_and_memory=false", usage.Storage, 200, "application/json", `"io":`},
			{"GET", "/stats/summary?only_cpu_and_memory=true", usage.Basic, 200, "application/json", `"nodeName":"node"`},
			{"GET", "/metrics/resource", usage.Basic, 200, "text/plain; version=0.0.4", `container_cpu_usage_seconds_total{container="app",namespace="default",pod="web-node"} 2 `},
			{"GET", "/metrics/cadvisor", usage.Detail, 200, "text/plain; version=0.0.4", `machine_cpu_cores{boot_id="",machine_id="",system_uuid=""} 3`},
			{"POST", "/metrics/resource", 0, 405, "", "Method Not Allowed"},
			{"GET", "/stats", 0, 404, "", "404"},
			{"GET", "/stats/container", 0, 404, "", "404"},
		} {
			r.depths = nil
			code, header, body := s.ask(door, c.method, c.path)
			if code != c.code || !strings.HasPrefix(header.Get("Content-Type"), c.kind) || !strings.Contains(body, c.text) {
				t.Errorf("%v: %s %s: %d %q, want %d %q with %q:\n%s", door, c.method, c.path, code, header.Get("Content-Type"), c.code, c.kind, c.text, body)
			}
			if c.code == 200 && (len(r.depths) != 1 || r.depths[0] != c.depth) {
				t.Errorf("%v: %s %s reads %v, want %v", door, c.method, c.path, r.depths, c.depth)
			}
			if strings.HasSuffix(c.path, "=true") && strings.Contains(body, `"io":`) {
				t.Errorf("%s tells more than processors and memory: %s", c.path, body)
			}
		}
	}
}

func TestSummaryDecodes(t *testing.T) {
	s, _ := usageScene(t)
	_, _, body := s.ask(ReadOnly, "GET", "/stats/summary")
	var got stats.Summary
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if p := got.Pods[0]; *p.Containers[0].CPU.UsageCoreNanoSeconds != 2e9 || *p.Memory.WorkingSetBytes != 9 || p.Containers[0].CPU.UsageNanoCores != nil {
		t.Errorf("%s", body)
	}
}

// Clients may ask for OpenMetrics, and for less to carry.
func TestUsageNegotiates(t *testing.T) {
	s, _ := usageScene(t)
	request := httptest.NewRequest("GET", "/metrics/resource", nil)
	request.Header.Set("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
	request.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	s.faces.Handler(ReadOnly).ServeHTTP(w, request)
	if kind := w.Header().Get("Content-Type"); !strings.HasPrefix(kind, "application/openmetrics-text; version=1.0.0") || w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("header %v", w.Header())
	}
	unpacked, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(text), "# EOF\n") || !strings.Contains(string(text), "# TYPE container_cpu_usage_seconds counter\n") {
		t.Errorf("%s", text)
	}
}

func TestUsageUnknown(t *testing.T) {
	s, r := usageScene(t)
	r.err = errors.New("nobody is at home")
	for _, path := range []string{"/stats/summary", "/metrics/resource", "/metrics/cadvisor"} {
		s.want(t, ReadOnly, path, http.StatusServiceUnavailable, "nobody is at home")
	}
}
