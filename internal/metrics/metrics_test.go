package metrics

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/usage"
)

var seen = time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC)

func desired(uid string, edit func(*pod.Desired)) *pod.Desired {
	d := &pod.Desired{
		Pod: &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: uid, Namespace: "default", UID: types.UID(uid)},
			Spec: v1.PodSpec{
				InitContainers: []v1.Container{{Name: "init"}}, Containers: []v1.Container{{Name: "app"}, {Name: "log"}},
				EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug"}}},
				Volumes:             []v1.Volume{{Name: "data"}},
			},
		},
		Source: pod.FromFile, Seen: seen, Wanted: true,
	}
	if edit != nil {
		edit(d)
	}
	return d
}

// busy is a registry in which everything has happened once.
func busy() *Metrics {
	no := false
	a := desired("a", func(d *pod.Desired) { d.Pod.Spec.HostUsers = &no })
	m := New(Config{
		NodeName: "node", CgroupVersion: 1, Find: func(types.UID) *pod.Desired { return a },
		Pods: func() []Pod {
			return []Pod{{Desired: a, Observed: &pod.Observed{}, Kept: &plan.Kept{Pending: &plan.Pending{Reason: reason.Deferred}}}}
		},
	})
	end := func(kind plan.Kind, container string, after time.Duration, failed *plan.Fault) {
		m.Ended(a, plan.Outcome{Effect: plan.Effect{Kind: kind, Container: container}, Began: seen, Ended: seen.Add(after), Failed: failed,
			Pulled: &plan.Pulled{Took: 2 * time.Second, Bytes: 200 << 20}})
	}
	end(plan.MakePod, "", time.Second, nil)
	end(plan.EnsureImage, "app", 2*time.Second, nil)
	for _, failed := range []*plan.Fault{{Reason: reason.FailedMount}, nil} {
		m.Ended(a, plan.Outcome{Effect: plan.Effect{Kind: plan.SetupVolume, Volume: "data"}, Began: seen, Ended: seen.Add(time.Second), Failed: failed})
	}
	m.Cgroups("create", time.Millisecond)
	end(plan.RunSandbox, "", time.Second, &plan.Fault{Reason: reason.FailedCreatePodSandBox})
	end(plan.RunSandbox, "", 2*time.Second, nil)
	end(plan.CreateContainer, "init", time.Second, &plan.Fault{Reason: reason.CreateContainerError})
	end(plan.CreateContainer, "init", time.Second, nil)
	end(plan.StartContainer, "init", time.Second, nil)
	end(plan.StartContainer, "app", 3*time.Second, nil)
	end(plan.StartContainer, "log", 4*time.Second, nil)
	end(plan.StartContainer, "debug", 4*time.Second, &plan.Fault{Class: plan.Cancelled})
	end(plan.StopContainer, "app", time.Second, nil)
	m.Ended(desired("stray", func(d *pod.Desired) { d.Source = pod.FromRuntime }), plan.Outcome{Effect: plan.Effect{Kind: plan.ForgetPod}})
	m.Seen("a", pod.Report{Containers: []pod.Container{{ID: "1", Name: "init", State: pod.Exited, FinishedAt: time.Now(), Reason: "Completed"}}})
	m.Operation("run_podsandbox", time.Second, nil)
	m.Operation("stop_container", time.Second, errors.New("no"))
	m.Note(note.Note{Reason: reason.LifecycleHTTPFallback})
	m.Note(note.Note{Reason: reason.Started})
	pinned(m)
	m.Rejected("OutOfcpu")
	m.Evicted("memory.available", time.Second)
	m.Restarted(a)
	m.SleepCut()
	m.Image(v1.PullIfNotPresent, false, "")
	m.ImageCollected("age")
	m.Relisted(time.Millisecond)
	m.RelistInterval(time.Minute)
	m.Inspected(time.Millisecond)
	m.LastSeen(seen)
	m.StreamUp()
	m.StreamFailed()
	m.EventDelay(time.Millisecond)
	m.Request("GET", "pods", "readonly", false)()
	resized(m)
	other(m)
	m.Healthcheck("ping", true)
	m.Healthcheck("syncloop", false)
	return m
}

// other has happen what is no pod's.
func other(m *Metrics) {
	m.MayUse("credentialRecordFound")
	m.CredentialProvider("ecr", time.Second, errors.New("no"))
	m.CSI("disk.example", "/csi.v1.Node/NodePublishVolume", "OK", time.Second)
	m.Measured("du", time.Second)
	m.WebSocket("exec")
	m.Preempted("cpu")
	m.Pulls(func() (pulled, pulling int) { return 3, 1 })
	m.Plugins(func() []Plugin { return []Plugin{{"/a.sock", true}, {"/b.sock", false}} })
	m.Disks(func() []usage.Pod {
		full := usage.Filesystem{Capacity: usage.Of(9), Available: usage.Of(2), Used: usage.Of(7), Inodes: usage.Of(9), InodesFree: usage.Of(2), InodesUsed: usage.Of(7)}
		return []usage.Pod{{Name: "a", Containers: []usage.Container{{Name: "app", Logs: &full}}, Volumes: []usage.Volume{{Claim: "data", Filesystem: full}}}}
	})
	m.Certificates(func() map[Certificate]int { return map[Certificate]int{{"example.com/s", "fresh"}: 2} })
	live := func() (time.Duration, bool) { return time.Hour, true }
	j := m.Join(MembershipConfig{ClientTTL: live, ServerTTL: live, Mirrors: func() int { return 1 }})
	j.Request(Request{Method: "GET", Code: "200", Waited: time.Millisecond, Again: "429"})
	a := m.Access()
	a.WhoAsked("200", time.Millisecond)
	a.MayAsked("200", time.Millisecond)
	a.Token(true, time.Millisecond)
	a.Fetched(true)
}

type family struct {
	kind   string
	labels []string
	have   bool
}

func specified(t *testing.T) map[string]family {
	t.Helper()
	text, err := os.ReadFile("testdata/families.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]family{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		said, why, _ := strings.Cut(line, " # ")
		words := strings.Fields(said[1:])
		f := family{kind: words[1], have: line[0] == '+'}
		if !f.have && strings.TrimSpace(why) == "" {
			t.Errorf("it is not said why there is no %s", words[0])
		}
		if len(words) > 2 {
			f.labels = strings.Split(words[2], ",")
			slices.Sort(f.labels)
		}
		all[words[0]] = f
	}
	return all
}

// TestFamiliesAreAsSpecified compares names, types and labels with spec/http.md, section 6.1.
func TestFamiliesAreAsSpecified(t *testing.T) {
	want := specified(t)
	gathered, err := busy().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, g := range gathered {
		name := g.GetName()
		got[name] = true
		shared := strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "rest_client_") || strings.HasPrefix(name, "apiserver_") || strings.HasPrefix(name, "authentication_") || strings.HasPrefix(name, "process_") || name == "kubernetes_build_info"
		if shared {
			continue
		}
		w, ok := want[name]
		if !ok || !w.have {
			t.Errorf("%s is not marked in testdata/families.txt", name)
			continue
		}
		if kind := strings.ToLower(g.GetType().String()); kind != w.kind {
			t.Errorf("%s is a %s, want %s", name, kind, w.kind)
		}
		for _, sample := range g.GetMetric() {
			if labels := labelsOf(sample); !slices.Equal(labels, w.labels) {
				t.Errorf("%s has labels %q, want %q", name, labels, w.labels)
			}
		}
	}
	for name, w := range want {
		if w.have && !got[name] {
			t.Errorf("%s is missing", name)
		}
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "process_start_time_seconds", "kubernetes_build_info"} {
		if !got[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func labelsOf(sample *dto.Metric) []string {
	var names []string
	for _, l := range sample.GetLabel() {
		names = append(names, l.GetName())
	}
	slices.Sort(names)
	return names
}

func exposed(t *testing.T, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			t.Errorf("no line %q; there is:\n%s", line, like(text, strings.Fields(name)[0]))
		}
	}
}

func like(text, name string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, name) {
			out.WriteString(line)
		}
	}
	return out.String()
}

func TestValues(t *testing.T) {
	m := busy()
	wantLines(t, exposed(t, m.Handler()),
		`kubelet_node_name{node="node"} 1`,
		`kubelet_cgroup_version 1`,
		`kubelet_runtime_operations_total{operation_type="run_podsandbox"} 1`,
		`kubelet_runtime_operations_errors_total{operation_type="stop_container"} 1`,
		`kubelet_runtime_operations_duration_seconds_count{operation_type="stop_container"} 1`,
		`kubelet_started_pods_total 2`,
		`kubelet_started_pods_errors_total 1`,
		`kubelet_started_user_namespaced_pods_total 2`,
		`kubelet_started_user_namespaced_pods_errors_total 1`,
		`kubelet_run_podsandbox_errors_total{runtime_handler=""} 1`,
		`kubelet_run_podsandbox_duration_seconds_count{runtime_handler=""} 2`,
		`kubelet_started_containers_total{container_type="podsandbox"} 2`,
		`kubelet_started_containers_total{container_type="init_container"} 2`,
		`kubelet_started_containers_total{container_type="container"} 2`,
		`kubelet_started_containers_errors_total{code="CreateContainerError",container_type="init_container"} 1`,
		`kubelet_terminated_containers_total{container_type="init_container",exit_code="0",reason="Completed"} 1`,
		`kubelet_image_pull_duration_seconds_sum{image_size_in_bytes="100MB-500MB"} 2`,
		`kubelet_pod_start_duration_seconds_sum 4`,
		`kubelet_pod_start_duration_seconds_count 1`,
		`kubelet_pod_start_total_duration_seconds_count 0`,
		`storage_operation_duration_seconds_count{migrated="false",operation_name="volume_mount",status="fail-unknown",volume_plugin="kubernetes.io/empty-dir"} 1`,
		`storage_operation_duration_seconds_count{migrated="false",operation_name="volume_mount",status="success",volume_plugin="kubernetes.io/empty-dir"} 1`,
		`volume_operation_total_seconds_count{operation_name="overall_volume_mount",plugin_name="kubernetes.io/empty-dir"} 1`,
		`volume_manager_total_volumes{plugin_name="kubernetes.io/empty-dir",state="desired_state_of_world"} 1`,
		`kubelet_cgroup_manager_duration_seconds_count{operation_type="create"} 1`,
		`kubelet_pod_worker_start_duration_seconds_count 1`,
		`kubelet_pod_worker_duration_seconds_count{operation_type="kill"} 2`,
		`kubelet_containers_per_pod_count_sum 2`,
		`kubelet_orphaned_runtime_pods_total 1`,
		`kubelet_restarted_pods_total{static="true"} 1`,
		`kubelet_admission_rejections_total{reason="OutOfcpu"} 1`,
		`kubelet_lifecycle_handler_http_fallbacks_total 1`,
		`kubelet_sleep_action_terminated_early_total 1`,
		fmt.Sprintf(`kubelet_pleg_last_seen_seconds %v`, float64(seen.Unix())),
		`kubelet_http_requests_total{long_running="false",method="GET",path="pods",server_type="readonly"} 1`,
		`kubelet_http_inflight_requests{long_running="false",method="GET",path="pods",server_type="readonly"} 0`,
	)
	slis := exposed(t, m.SLIHandler())
	wantLines(t, slis, `kubernetes_healthcheck{name="ping",type="healthz"} 1`, `kubernetes_healthcheck{name="syncloop",type="healthz"} 0`,
		`kubernetes_healthchecks_total{name="syncloop",status="error",type="healthz"} 1`)
}

func TestImage(t *testing.T) {
	m := New(Config{})
	for _, c := range []struct {
		policy  v1.PullPolicy
		pulled  bool
		refused string
		want    string
	}{
		{v1.PullIfNotPresent, false, "", "true,false"},
		{v1.PullIfNotPresent, true, "", "false,true"},
		{v1.PullIfNotPresent, true, reason.ErrImagePull, "false,true"},
		{v1.PullAlways, true, "", "unknown,true"},
		{v1.PullNever, false, "", "true,false"},
		{v1.PullNever, false, reason.ErrImageNeverPull, "false,false"},
		{v1.PullAlways, false, reason.InvalidImageName, "unknown,unknown"},
	} {
		m.images.Reset()
		m.Image(c.policy, c.pulled, c.refused)
		present, required, _ := strings.Cut(c.want, ",")
		wantLines(t, exposed(t, m.Handler()), fmt.Sprintf(
			`kubelet_image_manager_ensure_image_requests_total{present_locally=%q,pull_policy=%q,pull_required=%q} 1`, present, c.policy, required))
	}
}

// TestProbes holds names and labels of spec/http.md, section 6.3, and that the series go with the probe.
func TestProbes(t *testing.T) {
	m := New(Config{})
	p := Probe{Pod: desired("a", nil).Pod, Container: "app", Kind: health.Liveness}
	m.ProbeAsked(p, health.Success, 20*time.Millisecond)
	m.ProbeAsked(p, health.Failure, time.Second)
	m.ProbeAsked(p, health.Unknown, 0)
	m.ProbeForgiven(p)
	text := exposed(t, m.ProbesHandler())
	wantLines(t, text,
		`prober_probe_total{container="app",namespace="default",pod="a",pod_uid="a",probe_type="Liveness",result="successful"} 1`,
		`prober_probe_total{container="app",namespace="default",pod="a",pod_uid="a",probe_type="Liveness",result="failed"} 1`,
		`prober_probe_total{container="app",namespace="default",pod="a",pod_uid="a",probe_type="Liveness",result="unknown"} 1`,
		`prober_probe_duration_seconds_count{container="app",namespace="default",pod="a",probe_type="Liveness"} 2`,
		`prober_probe_duration_seconds_sum{container="app",namespace="default",pod="a",probe_type="Liveness"} 0.02`,
		`bosun_probe_failures_forgiven_total{container="app",namespace="default",pod="a",pod_uid="a",probe_type="Liveness"} 1`,
	)
	if want := like(exposed(t, m.Handler()), "process_start_time_seconds"); want == "" || !strings.Contains(text, want) {
		t.Errorf("/metrics says %q, /metrics/probes %q", want, like(text, "process_"))
	}
	if strings.Contains(text, "process_open_fds") {
		t.Error("/metrics/probes tells more of the process than when it started")
	}
	m.ProbeForgotten(p)
	if text := exposed(t, m.ProbesHandler()); strings.Contains(text, "probe_type") {
		t.Errorf("series are left:\n%s", like(text, "prober")+like(text, "bosun"))
	}
}

func TestCensus(t *testing.T) {
	api := func(d *pod.Desired) { d.Source = pod.FromAPI }
	pods := []Pod{
		{Desired: desired("running", nil), Stage: plan.Running, Observed: &pod.Observed{
			Sandboxes:  []pod.Sandbox{{ID: "new", Ready: true}, {ID: "old"}},
			Containers: []pod.Container{{State: pod.Running}, {State: pod.Exited}, {State: pod.Created}, {State: pod.Unknown}, {State: pod.Gone}},
		}},
		{Desired: desired("from the API", api), Stage: plan.Preparing, Observed: &pod.Observed{Sandboxes: []pod.Sandbox{{ID: "new"}}}},
		{Desired: desired("removed", func(d *pod.Desired) { d.Wanted = false }), Stage: plan.Stopping, Observed: &pod.Observed{Sandboxes: []pod.Sandbox{{Ready: true, Gone: true}}}},
		{Desired: desired("completed", api), Stage: plan.Cleaning},
		{Desired: desired("stray", func(d *pod.Desired) { d.Source, d.Wanted = pod.FromRuntime, false }), Stage: plan.Stopping},
	}
	wantLines(t, exposed(t, New(Config{Pods: func() []Pod { return pods }}).Handler()),
		`kubelet_running_pods 1`,
		`kubelet_running_containers{container_state="running"} 1`,
		`kubelet_running_containers{container_state="exited"} 1`,
		`kubelet_running_containers{container_state="created"} 1`,
		`kubelet_running_containers{container_state="unknown"} 1`,
		`kubelet_desired_pods{static="true"} 1`,
		`kubelet_desired_pods{static=""} 2`,
		`kubelet_active_pods{static="true"} 1`,
		`kubelet_active_pods{static=""} 1`,
		`kubelet_managed_ephemeral_containers 2`,
		`kubelet_working_pods{config="desired",lifecycle="sync",static="true"} 1`,
		`kubelet_working_pods{config="orphan",lifecycle="terminating",static="true"} 1`,
		`kubelet_working_pods{config="desired",lifecycle="terminated",static=""} 1`,
		`kubelet_working_pods{config="runtime_only",lifecycle="terminating",static="unknown"} 1`,
		`kubelet_working_pods{config="runtime_only",lifecycle="sync",static="unknown"} 0`,
	)
}

func TestSeenCountsEachEndOnce(t *testing.T) {
	m := New(Config{})
	now := time.Now().Add(time.Second)
	exited := func(id string, at time.Time) pod.Container {
		return pod.Container{ID: id, Name: "app", State: pod.Exited, ExitCode: 1, Reason: "Error", FinishedAt: at}
	}
	report := func(complete bool, c ...pod.Container) { m.Seen("a", pod.Report{Complete: complete, Containers: c}) }
	report(true, exited("before this process", seen), pod.Container{ID: "1", Name: "app", State: pod.Running})
	report(false, exited("1", now))
	report(true, exited("1", now), exited("2", now))
	report(true, exited("2", now))
	wantLines(t, exposed(t, m.Handler()), `kubelet_terminated_containers_total{container_type="container",exit_code="1",reason="Error"} 2`)
	if len(m.ended["a"]) != 1 {
		t.Errorf("%d ends are remembered, want only the one that is still there", len(m.ended["a"]))
	}
	report(true)
	if len(m.ended) != 0 {
		t.Errorf("ends of a pod that is gone are remembered: %v", m.ended)
	}
}

// TestStartsOfEarlierLivesAreNotMeasured: after a restart of the agent a crash of a container is no start of its pod.
func TestStartsOfEarlierLivesAreNotMeasured(t *testing.T) {
	m := New(Config{})
	d := desired("a", nil)
	for _, name := range []string{"app", "log"} {
		m.Ended(d, plan.Outcome{Effect: plan.Effect{Kind: plan.StartContainer, Container: name, Attempt: 1}, Began: seen, Ended: seen.Add(time.Hour)})
	}
	wantLines(t, exposed(t, m.Handler()), `kubelet_pod_start_duration_seconds_count 0`)
	m.Ended(d, plan.Outcome{Effect: plan.Effect{Kind: plan.ForgetPod}})
	if len(m.lives) != 0 {
		t.Errorf("a pod that is gone is remembered: %v", m.lives)
	}
}

func TestSizeClass(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "N/A", 1: "0-10MB", 10 << 20: "10MB-100MB", 100<<20 - 1: "10MB-100MB", 1 << 30: "1GB-5GB", 100 << 30: "GT100GB",
	} {
		if got := sizeClass(bytes); got != want {
			t.Errorf("%d bytes: %s, want %s", bytes, got, want)
		}
	}
}

// TestCost holds what the numbers may cost: no goroutine, less than 3 MB.
func TestCost(t *testing.T) {
	var before, after runtime.MemStats
	goroutines := runtime.NumGoroutine()
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := busy()
	exposed(t, m.Handler())
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 3<<20 {
		t.Errorf("the registry takes %d bytes", grown)
	}
	runtime.KeepAlive(m)
}
