package serve

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/image"
	"github.com/bosun-project/bosun/internal/machine"
	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/source"
	"github.com/bosun-project/bosun/internal/worker"
)

func TestHealthz(t *testing.T) {
	sick := errors.New("nothing was heard of it")
	var broken error
	s := newScene(t, func(c *Config) { c.Checks = []Check{{"syncloop", func() error { return broken }}} })
	s.want(t, ReadOnly, "/healthz", 200, "ok")
	s.want(t, ReadOnly, "/healthz?verbose", 200, "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed")
	for _, one := range []string{"ping", "log", "syncloop"} {
		s.want(t, ReadOnly, "/healthz/"+one, 200, "ok")
	}
	s.want(t, ReadOnly, "/healthz/nothing", 404, "404 page not found")
	broken = sick
	s.want(t, ReadOnly, "/healthz", 500, "[+]ping ok\n[+]log ok\n[-]syncloop failed: nothing was heard of it\nhealthz check failed")
	s.want(t, ReadOnly, "/healthz/syncloop", 500, "syncloop failed: nothing was heard of it")
	s.want(t, ReadOnly, "/healthz?exclude=syncloop", 200, "ok")
	s.want(t, ReadOnly, "/healthz/ping", 200, "ok")
}

func TestFresh(t *testing.T) {
	last := time.Time{}
	c := Fresh("syncloop", func() time.Time { return last }, time.Minute)
	if err := c.Run(); err != nil {
		t.Errorf("just made: %v", err)
	}
	c.Run = Fresh("syncloop", func() time.Time { return time.Now().Add(time.Hour) }, 0).Run
	if err := c.Run(); err != nil {
		t.Errorf("heard of lately: %v", err)
	}
	if err := Fresh("syncloop", func() time.Time { return last }, -time.Second).Run(); err == nil {
		t.Error("quiet for too long, and no error")
	}
}

func listed(t *testing.T, s *scene, path string) v1.PodList {
	t.Helper()
	code, header, body := s.ask(ReadOnly, http.MethodGet, path)
	if code != 200 || header.Get("Content-Type") != "application/json" {
		t.Fatalf("GET %s: %d %q", path, code, header)
	}
	var list v1.PodList
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	if list.Kind != "PodList" || list.APIVersion != "v1" || list.Items == nil {
		t.Errorf("GET %s: kind %q, apiVersion %q, items %v", path, list.Kind, list.APIVersion, list.Items)
	}
	return list
}

func TestPods(t *testing.T) {
	s := newScene(t, nil)
	mirror := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "mirror", UID: "m", Annotations: map[string]string{names.ConfigMirror: "x"}}}
	s.put(&worker.Entry{Desired: &pod.Desired{Pod: mirror, Source: pod.FromAPI}}, v1.PodStatus{})
	s.put(&worker.Entry{Desired: &pod.Desired{Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "s"}}, Source: pod.FromRuntime}}, v1.PodStatus{})
	for _, path := range []string{"/pods", "/pods/"} {
		list := listed(t, s, path)
		if len(list.Items) != 1 {
			t.Fatalf("%d pods, want only web: neither mirrors nor strays", len(list.Items))
		}
		p := list.Items[0]
		if p.Name != "web-node" || p.UID != "uid-web" || p.Status.Phase != v1.PodRunning || len(p.Status.ContainerStatuses) != 2 {
			t.Errorf("pod %+v", p)
		}
	}
	e, _ := s.Pods()
	if e[0].Desired.Pod.Status.Phase != "" {
		t.Error("the desired pod was changed")
	}
}

func TestPodsOfAnEmptyNode(t *testing.T) {
	s := newScene(t, nil)
	s.entries = nil
	if list := listed(t, s, "/pods"); len(list.Items) != 0 {
		t.Errorf("pods: %v", list.Items)
	}
}

func TestRunningPods(t *testing.T) {
	s := newScene(t, nil)
	ended, status := web()
	s.put(edited(ended, func(e *worker.Entry) {
		e.Desired.Pod.UID = "ended"
		e.Observed.Containers = []pod.Container{{ID: "x", Name: "app", State: pod.Exited}}
	}), status)
	list := listed(t, s, "/runningpods/")
	if len(list.Items) != 1 || len(list.Items[0].Spec.Containers) != 1 {
		t.Fatalf("running: %+v, want web with app only", list.Items)
	}
	p := list.Items[0]
	if c := p.Spec.Containers[0]; p.Name != "web-node" || p.UID != "uid-web" || c.Name != "app" || c.Image != "nginx:1" {
		t.Errorf("pod %+v", p)
	}
}

func TestSpec(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Machine = func() (*machine.Info, error) { return &machine.Info{NumCores: 3}, nil } })
	code, _, body := s.ask(ReadOnly, http.MethodGet, "/spec/")
	var m machine.Info
	if err := json.Unmarshal([]byte(body), &m); err != nil || code != 200 || m.NumCores != 3 {
		t.Errorf("%d %v: %s", code, err, body)
	}
	s = newScene(t, func(c *Config) { c.Machine = func() (*machine.Info, error) { return nil, errors.New("no /proc") } })
	s.want(t, ReadOnly, "/spec/", 500, "no /proc")
}

// TestNoWriting: nothing on 10255 takes a verb that writes.
func TestNoWriting(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Machine = func() (*machine.Info, error) { return &machine.Info{}, nil } })
	paths := []string{
		"/healthz", "/healthz/ping", "/metrics", "/metrics/slis", "/metrics/probes", "/pods", "/pods/", "/runningpods/", "/spec/", "/events", "/debug/pods",
		"/debug/pods/default/web-node", "/debug/pulls", "/containerLogs/default/web-node/app",
	}
	for _, path := range paths {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "PURGE"} {
			code, header, _ := s.ask(ReadOnly, method, path)
			if code != http.StatusMethodNotAllowed || header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, path, code, header.Get("Allow"))
			}
		}
	}
	for _, path := range []string{"/exec/default/web-node/app?command=id&output=1", "/attach/default/web-node/app?output=1", "/exec/default/web-node/uid-web/app?command=id"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			code, header, body := s.ask(ReadOnly, method, path)
			if _, allow := header["Allow"]; code != http.StatusMethodNotAllowed || !allow || body != "Debug endpoints are disabled.\n" {
				t.Errorf("%s %s: %d %q %q", method, path, code, header, body)
			}
		}
	}
	for _, path := range []string{"/", "/nothing", "/pods/default", "/stats/", "/run/default/web/app"} {
		if code, _, _ := s.ask(ReadOnly, http.MethodGet, path); code != http.StatusNotFound {
			t.Errorf("GET %s: %d, want 404", path, code)
		}
	}
}

// TestDebuggingTurnedOff: with enableDebuggingHandlers false only what upstream keeps is served, except to root at the node.
func TestDebuggingTurnedOff(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Debugging = false })
	for _, path := range []string{"/containerLogs/default/web-node/app", "/runningpods/", "/debug/pods", "/events", "/debug/pulls"} {
		s.want(t, ReadOnly, path, http.StatusMethodNotAllowed, "Debug endpoints are disabled.")
		s.want(t, Full, path, http.StatusMethodNotAllowed, "Debug endpoints are disabled.")
	}
	s.want(t, Full, "/exec/default/web-node/app", http.StatusMethodNotAllowed, "Debug endpoints are disabled.")
	for _, path := range []string{"/pods", "/healthz", "/metrics"} {
		if code, _, _ := s.ask(ReadOnly, http.MethodGet, path); code == http.StatusMethodNotAllowed {
			t.Errorf("GET %s is turned off", path)
		}
	}
	if code, _, _ := s.ask(Admin, http.MethodGet, "/debug/pods"); code != 200 {
		t.Errorf("the admin socket answers %d", code)
	}
}

func TestEventsAndPullsAndProblems(t *testing.T) {
	s := newScene(t, func(c *Config) {
		c.Notes = func() []note.Note {
			return []note.Note{{At: noon, Level: note.Warning, Reason: "Failed", Message: "no", About: note.About{Kind: "Pod", Namespace: "default", Name: "web", Container: "app"}}}
		}
		c.Pulls = func(context.Context) (image.Progress, error) {
			return image.Progress{Pulls: []image.Pull{{Image: "nginx", Since: noon, Waiters: 2}}, Done: 1, Total: 2}, errors.New("bytes are not known")
		}
		c.Problems = func() []source.Problem {
			return []source.Problem{{Source: pod.FromFile, Origin: "/m/a.yaml", Messages: []string{"line 3: unknown field"}, Since: noon, Keeps: 1}}
		}
	})
	s.want(t, ReadOnly, "/events", 200, `{"events":[{"at":"2024-05-01T12:00:00Z","level":"Warning","reason":"Failed","message":"no","count":1,"kind":"Pod","namespace":"default","name":"web","container":"app"}]}`)
	s.want(t, ReadOnly, "/debug/pulls", 200, `{"pulls":[{"image":"nginx","since":"2024-05-01T12:00:00Z","waiters":2}],"done":1,"total":2}`)
	_, _, body := s.ask(ReadOnly, http.MethodGet, "/debug/pods")
	var o Overview
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		t.Fatal(err)
	}
	if len(o.Pods) != 1 || len(o.Problems) != 1 || o.Problems[0].Messages[0] != "line 3: unknown field" || o.Problems[0].Source != "file" {
		t.Errorf("overview %s", body)
	}
}

// TestFindPrefersTheWantedPod: of two pods of one name the newer one is meant.
func TestFindPrefersTheWantedPod(t *testing.T) {
	s := newScene(t, nil)
	e, status := web()
	s.put(edited(e, func(e *worker.Entry) { e.Desired.Wanted = false }), status)
	s.put(edited(e, func(e *worker.Entry) { e.Desired.Pod.UID = "newer"; e.Memory.Stage = plan.Waiting }), status)
	_, _, body := s.ask(ReadOnly, http.MethodGet, "/debug/pods/default/web-node")
	if !strings.Contains(body, `"uid":"newer"`) {
		t.Errorf("shown: %s", body)
	}
	s.want(t, ReadOnly, "/debug/pods/default/nothing", 404, `pod "nothing" does not exist in namespace "default"`)
}

func TestRequestsAreCounted(t *testing.T) {
	m := metrics.New(metrics.Config{})
	s := newScene(t, func(c *Config) { c.Numbers = m })
	s.ask(ReadOnly, http.MethodGet, "/pods/")
	s.ask(ReadOnly, http.MethodGet, "/made/up")
	s.ask(ReadOnly, "MADEUP", "/pods")
	s.ask(ReadOnly, http.MethodGet, "/containerLogs/default/web-node/app?follow")
	s.ask(Admin, http.MethodGet, "/healthz")
	_, _, text := s.ask(ReadOnly, http.MethodGet, "/metrics")
	for _, line := range []string{
		`kubelet_http_requests_total{long_running="false",method="GET",path="pods",server_type="readonly"} 1`,
		`kubelet_http_requests_total{long_running="false",method="GET",path="other",server_type="readonly"} 1`,
		`kubelet_http_requests_total{long_running="false",method="other",path="other",server_type="readonly"} 1`,
		`kubelet_http_requests_total{long_running="true",method="GET",path="containerLogs",server_type="readonly"} 1`,
		`kubelet_http_requests_total{long_running="false",method="GET",path="healthz",server_type="admin"} 1`,
		`kubelet_http_inflight_requests{long_running="false",method="GET",path="metrics",server_type="readonly"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if _, _, slis := s.ask(ReadOnly, http.MethodGet, "/metrics/slis"); !strings.Contains(slis, `kubernetes_healthcheck{name="ping",type="healthz"} 1`) {
		t.Errorf("slis: %s", slis)
	}
}

// The alpha endpoint shows what pods were given.
func TestAllocatedPods(t *testing.T) {
	if code, _, _ := newScene(t, nil).ask(Full, http.MethodGet, "/allocatedPods"); code != 404 {
		t.Errorf("with the gate off: %d", code)
	}
	s := newScene(t, func(c *Config) { c.AllocatedPods = true })
	e, status := web()
	s.entries = nil
	s.put(edited(e, func(e *worker.Entry) {
		given := e.Desired.Pod.DeepCopy()
		given.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}
		e.Memory.Kept.Allocated = plan.AllocationOf(given)
		e.Desired.Pod.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")}
	}), status)
	check := func(path string, p v1.Pod) {
		t.Helper()
		cpu := p.Spec.Containers[0].Resources.Requests[v1.ResourceCPU]
		if p.Name != "web-node" || cpu.String() != "1" || p.Status.Phase != "" {
			t.Errorf("%s: pod %s has cpu %s, phase %s", path, p.Name, cpu.String(), p.Status.Phase)
		}
	}
	for _, path := range []string{"/allocatedPods", "/allocatedPods/"} {
		code, _, body := s.ask(Full, http.MethodGet, path)
		var list v1.PodList
		if err := json.Unmarshal([]byte(body), &list); err != nil || code != 200 || len(list.Items) != 1 {
			t.Fatalf("%s: %d %v\n%s", path, code, err, body)
		}
		check(path, list.Items[0])
	}
	for path, want := range map[string]int{
		"/allocatedPods/default/web-node": 200, "/allocatedPods/default/web-node/uid-web": 200, "/allocatedPods/default/other": 404,
		"/allocatedPods/other/web-node": 404, "/allocatedPods/default/web-node/other": 404,
	} {
		code, _, body := s.ask(Full, http.MethodGet, path)
		var p v1.Pod
		if code != want || code == 200 && json.Unmarshal([]byte(body), &p) != nil {
			t.Errorf("%s: %d %s", path, code, body)
		}
		if code == 200 {
			check(path, p)
		}
	}
	if code, _, _ := s.ask(ReadOnly, http.MethodGet, "/allocatedPods"); code != 404 {
		t.Errorf("without a login: %d", code)
	}
}
