package integration

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A ward answers HTTP probes of pods as a test tells it, and notes when it first gave an answer that is new.
type ward struct {
	mu    sync.Mutex
	well  map[string]bool      // by path
	told  map[string]time.Time // when the present answer was first given
	asked map[string]int
	port  int
}

func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{well: map[string]bool{}, told: map[string]time.Time{}, asked: map[string]int{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: w}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
	})
	w.port = l.Addr().(*net.TCPAddr).Port
	return w
}

func (w *ward) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/")
	w.asked[path]++
	if !w.well[path] {
		out.WriteHeader(http.StatusInternalServerError)
	}
	if w.told[path].IsZero() {
		w.told[path] = time.Now()
	}
}

func (w *ward) set(path string, well bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.well[path], w.told[path] = well, time.Time{}
}

func (w *ward) toldAt(path string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told[path]
}

func (w *ward) askedOf(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[path]
}

// probe is a probe that asks the ward, each second.
func (w *ward) probe(path string) string {
	return fmt.Sprintf("{httpGet: {host: 127.0.0.1, port: %d, path: /%s}, periodSeconds: 1, failureThreshold: 1}", w.port, path)
}

// arrivals is when a watch showed what somebody waits for.
type arrivals struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func (a *arrivals) at(key string) (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.seen[key]
	return at, ok
}

// watchPods notes when each key that a pod's versions have first came.
func (m *member) watchPods(t *testing.T, ns string, keys func(*v1.Pod) []string) *arrivals {
	t.Helper()
	w, err := m.api.CoreV1().Pods(ns).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	a := &arrivals{seen: map[string]time.Time{}}
	go func() {
		for e := range w.ResultChan() {
			now := time.Now()
			p, ok := e.Object.(*v1.Pod)
			if !ok {
				continue
			}
			a.mu.Lock()
			for _, k := range keys(p) {
				if _, have := a.seen[k]; !have {
					a.seen[k] = now
				}
			}
			a.mu.Unlock()
		}
	}()
	return a
}

// What a probe finds is in the API server in less than 50 ms beside what the API server itself takes from a write to its
// being seen (issue: health). The probed answers come from this test, which knows when it gave them.
func TestReadinessIsSoonInTheAPI(t *testing.T) { // not in parallel: it measures time
	const pods, rounds = 8, 5
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	w := newWard(t)
	var names []string
	for i := range pods {
		name := fmt.Sprint("swift-", i)
		w.set(name, true)
		m.create(t, ns, name, "spec: {hostNetwork: true, containers: [{name: main, image: BOX, readinessProbe: "+w.probe(name)+"}]}").untilReady()
		names = append(names, name)
	}
	round := func(p *v1.Pod) string { return fmt.Sprint(p.Name, " ", isReady(p), " ", p.Annotations["round"]) }
	seen := m.watchPods(t, ns, func(p *v1.Pod) []string { return []string{round(p)} })
	var own, all []time.Duration
	for i := range rounds {
		ready := i%2 == 1
		for _, name := range names { // a change of another kind tells how quick the API server is, and marks the round
			began := time.Now()
			patch := fmt.Sprintf(`{"metadata":{"annotations":{"round":"%d"}}}`, i)
			if _, err := m.api.CoreV1().Pods(ns).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			own = append(own, seen.await(t, fmt.Sprint(name, " ", !ready, " ", i)).Sub(began))
		}
		for _, name := range names {
			w.set(name, ready)
		}
		for _, name := range names {
			at := seen.await(t, fmt.Sprint(name, " ", ready, " ", i))
			all = append(all, at.Sub(w.toldAt(name)))
		}
	}
	mine, all := median(all)
	server, _ := median(own)
	t.Logf("a probe's answer was seen in the API after %v (median of %d, longest %v); a write of a pod after %v", mine, len(all), all[len(all)-1], server)
	if mine > server+50*time.Millisecond {
		t.Errorf("a probe's answer is seen in the API after %v, want less than 50 ms beside the API server's own %v", mine, server)
	}
}

func (a *arrivals) await(t *testing.T, key string) time.Time {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if at, ok := a.at(key); ok {
			return at
		}
		if time.Now().After(deadline) {
			t.Fatalf("never seen: %s", key)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// A pod that is being deleted is still asked whether it is ready, so that who sends it requests learns when it is not, and
// not whether it lives (behaviour 128). Its series go when it has gone (behaviour 130).
func TestProbesOfAPodThatEnds(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	w := newWard(t)
	w.set("ready", true)
	w.set("alive", true)
	g := m.create(t, m.plane.Namespace(t), "leaving", `
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 30
  containers: [{name: main, image: BOX, args: [linger, 4s], readinessProbe: `+w.probe("ready")+`, livenessProbe: `+w.probe("alive")+`}]
`)
	g.untilReady()
	eventually(t, func() error { return m.hasProbeSeries(t, g, true, "Readiness", "Liveness") })
	g.remove()
	g.untilSays("main", "got terminated")
	w.set("alive", false)
	w.set("ready", false)
	p := g.until("not ready, and not yet gone", func(p *v1.Pod) bool { return !isReady(p) && p.DeletionTimestamp != nil })
	if s := apiStatus(p, "main"); s.State.Running == nil || s.Ready {
		t.Errorf("the container is %+v", s)
	}
	same(t, "phase", p.Status.Phase, v1.PodRunning)
	before := w.askedOf("ready")
	w.set("ready", true)
	g.until("ready again, and not yet gone", isReady)
	if w.askedOf("ready") == before {
		t.Error("readiness is not asked any more")
	}
	same(t, "asked whether it lives", w.toldAt("alive"), time.Time{})
	g.untilGone()
	eventually(t, func() error { return m.hasProbeSeries(t, g, false, "Readiness", "Liveness") })
	if events := m.kubectl(t, g.ns, "get", "events", "-o", "jsonpath={.items[*].message}"); strings.Contains(events, "Liveness") {
		t.Errorf("events tell of liveness: %s", events)
	}
}

// hasProbeSeries tells what is wrong unless /metrics/probes has series of each kind of probe of a pod, or none.
func (m *member) hasProbeSeries(t *testing.T, g *guest, want bool, kinds ...string) error {
	t.Helper()
	text := fetch(deadline(t, patience), t, fmt.Sprintf("http://127.0.0.1:%d/metrics/probes", m.readOnly))
	for _, kind := range kinds {
		for _, line := range []string{
			fmt.Sprintf(`prober_probe_total{container="main",namespace=%q,pod=%q,pod_uid=%q,probe_type=%q,result="successful"} `, g.ns, g.name, g.uid, kind),
			fmt.Sprintf(`prober_probe_duration_seconds_count{container="main",namespace=%q,pod=%q,probe_type=%q} `, g.ns, g.name, kind),
		} {
			if strings.Contains(text, line) != want {
				return fmt.Errorf("%s: want it there: %v", line, want)
			}
		}
	}
	return nil
}

// A container says by gRPC how it is (behaviour 125).
func TestGRPCProbe(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	l, err := net.Listen("tcp", nodeIP+":0")
	if err != nil {
		t.Fatal(err)
	}
	s, h := grpc.NewServer(), grpchealth.NewServer()
	grpc_health_v1.RegisterHealthServer(s, h)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-ended
	})
	g := m.create(t, m.plane.Namespace(t), "calling", fmt.Sprintf(`
spec: {hostNetwork: true, containers: [{name: main, image: BOX, readinessProbe: {grpc: {port: %d, service: door}, periodSeconds: 1, failureThreshold: 1}}]}
`, l.Addr().(*net.TCPAddr).Port))
	messages := func() string {
		return m.kubectl(t, g.ns, "get", "events", "-o", "jsonpath={.items[*].message}")
	}
	eventually(t, func() error {
		return containsAll(messages(), "Readiness probe failed: error: health rpc probe failed: rpc error: code = NotFound")
	})
	h.SetServingStatus("door", grpc_health_v1.HealthCheckResponse_SERVING)
	g.untilReady()
	h.SetServingStatus("door", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	g.until("not ready", func(p *v1.Pod) bool { return !isReady(p) })
	eventually(t, func() error { return containsAll(messages(), `service unhealthy (responded with "NOT_SERVING")`) })
}

// A sidecar that is not ready makes the pod so; one that is restarted for its liveness leaves the others alone (behaviours 109,
// 123). A redirect to elsewhere is a success with a warning (behaviour 124).
func TestProbesOfASidecar(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	w := newWard(t)
	for _, path := range []string{"started", "ready", "alive"} {
		w.set(path, path != "started")
	}
	away := newRedirect(t, "http://elsewhere.invalid/")
	g := m.create(t, m.plane.Namespace(t), "escorted", `
spec:
  hostNetwork: true
  initContainers:
  - {name: side, restartPolicy: Always, image: BOX, startupProbe: `+strings.Replace(w.probe("started"), "failureThreshold: 1", "failureThreshold: 60", 1)+`,
     readinessProbe: `+w.probe("ready")+`, livenessProbe: `+w.probe("alive")+`}
  containers: [{name: main, image: BOX, readinessProbe: {httpGet: {host: 127.0.0.1, port: `+fmt.Sprint(away)+`}}}]
`)
	p := g.until("waiting for the sidecar's startup probe", func(p *v1.Pod) bool {
		s := apiStatus(p, "side")
		return s != nil && s.State.Running != nil && s.Started != nil && !*s.Started && w.askedOf("started") > 0
	})
	if s := apiStatus(p, "main"); s.State.Waiting == nil {
		t.Errorf("main does not wait: %+v", s)
	}
	same(t, "asked whether it lives", w.askedOf("alive"), 0)
	w.set("started", true)
	p = g.untilReady()
	first := apiStatus(p, "main").ContainerID
	eventually(t, func() error {
		return containsAll(m.kubectl(t, g.ns, "get", "events", "-o", "jsonpath={range .items[*]}{.reason}: {.message}\n{end}"),
			"ProbeWarning: Readiness probe warning: Probe terminated redirects, Response body: ")
	})
	w.set("ready", false)
	p = g.until("not ready", func(p *v1.Pod) bool { return !isReady(p) })
	same(t, "Ready", told(podCondition(p, v1.PodReady)), "False ContainersNotReady containers with unready status: [side]")
	w.set("ready", true)
	w.set("alive", false)
	eventually(t, func() error { return g.restartedTo("side", 1) })
	w.set("alive", true)
	p = g.untilReady()
	same(t, "main's container", apiStatus(p, "main").ContainerID, first)
}

// restartedTo tells what is wrong unless a container was restarted at least so many times.
func (g *guest) restartedTo(container string, times int32) error {
	p, err := g.now()
	if err != nil {
		return err
	}
	if s := apiStatus(p, container); s == nil || s.RestartCount < times {
		return fmt.Errorf("container %s: %+v", container, s)
	}
	return nil
}

// newRedirect is a server that sends everybody elsewhere, and its port.
func newRedirect(t *testing.T, to string) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.RedirectHandler(to, http.StatusFound)}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
	})
	return l.Addr().(*net.TCPAddr).Port
}

// What was known of a container's readiness holds when the agent starts again, until it has been asked anew, which is spread over
// a period; a pod that is new to the agent is asked at once all the same (behaviours 24, 116, 354).
func TestReadinessOverARestartOfTheAgent(t *testing.T) {
	t.Parallel()
	m := ownMember(t)
	ns := m.plane.Namespace(t)
	w := newWard(t)
	const slow = "periodSeconds: 10, failureThreshold: 1"
	spec := func(path, pace string) string {
		return "spec: {hostNetwork: true, containers: [{name: main, image: BOX, readinessProbe: " + strings.Replace(w.probe(path), "periodSeconds: 1, failureThreshold: 1", pace, 1) + "}]}"
	}
	w.set("well", true)
	well := m.create(t, ns, "well", spec("well", slow))
	m.create(t, ns, "sick", spec("sick", slow)).until("running", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodRunning })
	well.untilReady()
	eventually(t, func() error {
		if w.askedOf("sick") == 0 {
			return fmt.Errorf("nobody has asked")
		}
		return nil
	})
	m.kill(t)
	w.set("well", false)
	w.set("sick", true)
	seen := m.watchPods(t, ns, func(p *v1.Pod) []string { return []string{fmt.Sprint(p.Name, " ", isReady(p))} })
	m.start(t)
	w.set("new", true)
	fresh := m.create(t, ns, "fresh", spec("new", "periodSeconds: 3600"))
	started := apiStatus(fresh.untilReady(), "main").State.Running.StartedAt.Time // to the second
	if after := w.toldAt("new").Sub(started); after > 5*time.Second {
		t.Errorf("a new pod was asked %v after its start", after)
	}
	for path, ready := range map[string]bool{"well": false, "sick": true} {
		at := seen.await(t, fmt.Sprint(path, " ", ready))
		if told := w.toldAt(path); told.IsZero() || at.Before(told) {
			t.Errorf("%s was shown as ready=%v before anybody had asked it", path, ready)
		}
	}
}
