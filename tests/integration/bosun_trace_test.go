package integration

import (
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/testbed"
	"github.com/bosun-project/bosun/internal/testbed/collector"
)

const tracedPod = `
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: scratch, emptyDir: {}}]
  containers:
  - {name: app, image: BOX, args: [ignore-term], volumeMounts: [{name: scratch, mountPath: /scratch}]}
`

// tree tells of the spans below one, a line each, sorted, with the calls to the runtime below them.
func tree(spans []collector.Span, of collector.Span) string {
	var lines []string
	for _, s := range collector.Children(spans, of) {
		line := s.GetName()
		if line == "look" { // not where a listing has shown the pod already
			continue
		}
		for _, key := range []string{"k8s.container.name", "k8s.volume.name"} {
			if v := s.Attrs()[key]; v != "" {
				line += " " + v
			}
		}
		var calls []string
		for _, call := range collector.Children(spans, s) {
			if m := call.Attrs()["rpc.method"]; !slices.Contains([]string{"ListPodSandbox", "ListContainers", "ContainerStatus", "PodSandboxStatus"}, m) {
				calls = append(calls, m)
			}
		}
		slices.Sort(calls)
		if len(calls) > 0 {
			line += ": " + strings.Join(slices.Compact(calls), ", ")
		}
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// spansOf are the spans of a name that say something; all of that name if key is empty.
func spansOf(spans []collector.Span, name, key, value string) []collector.Span {
	return slices.DeleteFunc(slices.Clone(spans), func(s collector.Span) bool {
		return s.GetName() != name || key != "" && s.Attrs()[key] != value
	})
}

// The spans of a pod's start and of its end, without the calls that only look. What is done at the same time has no order: lines are sorted.
const (
	startTree = `admit
create app: CreateContainer
first ready
make pod
pull app: ImageStatus
sandbox: RunPodSandbox
start app: StartContainer
volume scratch
`
	endTree = `read end app
remove app: RemoveContainer
remove cgroup
remove directories
remove sandbox: RemovePodSandbox
stop app: StopContainer
stop sandbox: StopPodSandbox
tear down volumes
`
)

// TestTraces: what a collector gets of the start and the end of a pod, of collecting garbage, and of a request (behaviour 337).
func TestTraces(t *testing.T) {
	t.Parallel()
	n := quietNode(t, testbed.Options{})
	c, address := collector.Start(t)
	secure := n.healthz + 2
	config := holds(t, n.configFile()) + fmt.Sprintf("tracing: {endpoint: '%s', samplingRatePerMillion: 1000000}\nport: %d\n"+
		"authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}\nauthorization: {mode: AlwaysAllow}\n", address, secure)
	if err := os.WriteFile(n.configFile(), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	b := n.pod(t, "traced", tracedPod)
	eventually(t, func() error { return n.readyInTable(b) })
	uid := b.uid()
	n.askTraced(t, fmt.Sprintf("https://127.0.0.1:%d/run/default/%s/app?cmd=/testbox+say+hello", secure, b.full()))
	b.remove()
	b.awaitGone()
	n.end(t, syscall.SIGTERM) // it sends what it has
	spans, _ := c.Spans()
	one := func(name, key, value string) collector.Span {
		t.Helper()
		found := spansOf(spans, name, key, value)
		if len(found) != 1 {
			t.Fatalf("%d spans %s with %s=%s came, want 1", len(found), name, key, value)
		}
		return found[0]
	}
	// The pod may be looked at again while it runs; that is another act.
	spans = slices.DeleteFunc(spans, func(s collector.Span) bool { return s.Attrs()["k8s.pod.update_type"] == "sync" })
	below := func(act, update string) string {
		t.Helper()
		s := one(act, "k8s.pod.name", b.full())
		has(t, "attributes of "+act, s.Attrs(), map[string]string{
			"k8s.pod": "default/" + b.full(), "k8s.namespace.name": "default", "k8s.pod.uid": uid, "k8s.pod.update_type": update,
		})
		has(t, "resource", s.Resource, map[string]string{"service.name": "kubelet", "host.name": nodeName})
		same(t, "what is above "+act, hex.EncodeToString(s.GetParentSpanId()), "")
		return tree(spans, s)
	}
	same(t, "spans of the start", below("syncPod", "create"), startTree)
	// A container's last words may be read when the pod counts as ended already.
	first, second := below("syncTerminatingPod", "kill"), below("syncTerminatedPod", "kill")
	contains(t, "spans of the end", first, "stop app: StopContainer")
	contains(t, "spans of what comes after", second, "stop sandbox: StopPodSandbox", "remove directories")
	all := slices.Sorted(strings.Lines(first + second))
	same(t, "spans of both", strings.Join(all, ""), endTree)
	asked := one("POST /run/{namespace}/{pod}/{container}", "http.response.status_code", "200")
	same(t, "kind of a request", asked.GetKind(), tracev1.Span_SPAN_KIND_SERVER)
	same(t, "trace of a request", hex.EncodeToString(asked.GetTraceId()), "0af7651916cd43dd8448eb211c80319c")
	if calls := collector.Children(spans, asked); len(calls) != 1 || calls[0].GetName() != "runtime.v1.RuntimeService/ExecSync" {
		t.Errorf("below the request is %v", calls)
	}
	if len(spansOf(spans, "Images/GarbageCollect", "", "")) == 0 {
		t.Error("nothing was told of collecting images")
	}
}

// readyInTable tells whether the agent knows a pod as ready.
func (n *node) readyInTable(b *box) error {
	_, text, err := n.get("/pods")
	if err != nil {
		return err
	}
	var list v1.PodList
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return err
	}
	if i := slices.IndexFunc(list.Items, func(p v1.Pod) bool { return p.Name == b.full() }); i < 0 || !isReady(&list.Items[i]) {
		return fmt.Errorf("%s is not ready", b.full())
	}
	return nil
}

// askTraced sends a request that belongs to a trace.
func (n *node) askTraced(t *testing.T, url string) {
	t.Helper()
	r, err := http.NewRequestWithContext(deadline(t, patience), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	same(t, "answer to a traced request", answer.StatusCode, http.StatusOK)
}
