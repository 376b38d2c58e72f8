package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		values []float64
		share  float64
		want   float64
	}{
		{[]float64{3}, 0.9, 3},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{5, 1, 4, 2, 3}, 0.5, 3},
		{[]float64{0, 10}, 0.9, 9},
		{[]float64{1, 2, 3}, 0, 1},
		{[]float64{1, 2, 3}, 1, 3},
	} {
		if got := quantile(c.values, c.share); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("quantile(%v, %v) = %v, want %v", c.values, c.share, got, c.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v, want NaN", got)
	}
}

func TestOrderFavoursNobody(t *testing.T) {
	for n := 1; n <= 4; n++ {
		places := map[[2]int]int{} // agent, place: how often
		before := map[[2]int]int{} // agent, later agent: how often
		for turn := range 2 * n {
			who := order(turn, n)
			for i, a := range who {
				places[[2]int{a, i}]++
				for _, b := range who[i+1:] {
					before[[2]int{a, b}]++
				}
			}
		}
		for a := range n {
			for b := range n {
				if places[[2]int{a, b}] != 2 {
					t.Errorf("%d agents: agent %d has place %d %d times, want 2", n, a, b, places[[2]int{a, b}])
				}
				if before[[2]int{a, b}] != before[[2]int{b, a}] {
					t.Errorf("%d agents: agent %d comes before %d %d times, after it %d times", n, a, b, before[[2]int{a, b}], before[[2]int{b, a}])
				}
			}
		}
	}
}

func newJournal(t *testing.T) *journal {
	t.Helper()
	j, err := openJournal(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.file.Close() })
	return j
}

func TestRatiosArePaired(t *testing.T) {
	const startOne, removeOne = "start", "remove"
	j := newJournal(t).of("files")
	for _, s := range []sample{
		{startOne, "bare", 0, 0, 100, "ms"}, {startOne, "bosun", 0, 0, 110, "ms"},
		{startOne, "bosun", 1, 0, 240, "ms"}, {startOne, "bare", 1, 0, 200, "ms"},
		{startOne, "bare", 2, 0, 50, "ms"}, // its partner is missing
		{removeOne, "bosun", 0, 0, 9, "ms"}, {removeOne, "bare", 0, 0, 3, "ms"},
		{removeOne, "kubelet", 0, 0, 90, "ms"}, // has no budget
	} {
		if err := j.add(s); err != nil {
			t.Fatal(err)
		}
	}
	got := j.ratios(startOne, "bosun", "bare")
	if len(got) != 2 || got[0] != 1.1 || got[1] != 1.2 {
		t.Errorf("ratios are %v, want [1.1 1.2]", got)
	}

	p := &part{
		journal: j, works: []work{{start: thing{startOne, 1.15}, remove: thing{removeOne, 1.4}, stages: runtimeStages("one")}},
		agents: []agent{&bare{label: "bare"}, &bosun{program: program{label: "bosun"}}, &bosun{program: program{label: "kubelet"}}},
	}
	for _, f := range []judgement{
		{"resident memory", "bosun", 41, 40, "MB"}, {"resident memory", "kubelet", 90, 40, "MB"},
		{requestsPerMinute + " idle", "bosun", 7, 0, "per minute"}, {requestsPerMinute + " idle", "kubelet", 6, 0, "per minute"},
	} {
		if err := p.state(f); err != nil {
			t.Fatal(err)
		}
	}
	var text bytes.Buffer
	missed, err := writeTables(&text, p)
	if err != nil {
		t.Fatal(err)
	}
	if len(missed) != 3 || !strings.Contains(missed[0], removeOne) || !strings.Contains(missed[1], "resident memory") || !strings.Contains(missed[2], requestsPerMinute) {
		t.Errorf("missed budgets are %q, want those for removal, memory and requests of bosun; the table:\n%s", missed, &text)
	}
	written, err := os.ReadFile(j.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(written, []byte("\n")); n != 15 { // 8 samples, 4 facts, 3 ratios
		t.Errorf("%d lines of JSON, want 15:\n%s", n, written)
	}
}

func podEvent(kind watch.EventType, name string, ready v1.ConditionStatus) watch.Event {
	return watch.Event{Type: kind, Object: &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.PodStatus{Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: ready}}},
	}}
}

func TestObserverOfAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newObserver()
		begin := time.Now()
		go func() {
			for _, e := range []watch.Event{
				podEvent(watch.Added, "a", v1.ConditionFalse), {Type: watch.Bookmark}, podEvent(watch.Modified, "a", v1.ConditionTrue),
				podEvent(watch.Modified, "a", v1.ConditionTrue), podEvent(watch.Deleted, "a", v1.ConditionFalse),
			} {
				time.Sleep(time.Second)
				o.hearPod(e, time.Now())
			}
		}()
		got, err := o.await(t.Context(), []string{"a"}, (&member{}).there)
		if err != nil || got[0].ready.Sub(begin) != 3*time.Second {
			t.Errorf("ready %+v, %v; want after 3s", got, err)
		}
		got, err = o.await(t.Context(), []string{"a"}, (&member{}).gone)
		if err != nil || got[0].deleted.Sub(begin) != 5*time.Second || got[0].ready.Sub(begin) != 3*time.Second {
			t.Errorf("gone %+v, %v; want after 5s", got, err)
		}
	})
}

func TestPodOf(t *testing.T) {
	if p := podOf(plain, "a", "n", "i"); len(p.Spec.Volumes) != 0 || *p.Spec.AutomountServiceAccountToken || p.Spec.NodeName != "n" {
		t.Errorf("plain: %+v", p.Spec)
	}
	if p := podOf(fed, "a", "n", "i"); len(p.Spec.Volumes) != 2 || len(p.Spec.Containers[0].VolumeMounts) != 2 || p.Spec.AutomountServiceAccountToken != nil {
		t.Errorf("fed: %+v", p.Spec)
	}
}

func event(kind runtimeapi.ContainerEventType, id, sandbox, pod string) *runtimeapi.ContainerEventResponse {
	e := &runtimeapi.ContainerEventResponse{ContainerId: id, ContainerEventType: kind}
	if sandbox != "" {
		e.PodSandboxStatus = &runtimeapi.PodSandboxStatus{Id: sandbox, Metadata: &runtimeapi.PodSandboxMetadata{Name: pod}}
	}
	return e
}

func TestObserver(t *testing.T) {
	const (
		created = runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT
		started = runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT
		stopped = runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT
		deleted = runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT
	)
	synctest.Test(t, func(t *testing.T) {
		o := newObserver()
		begin := time.Now()
		go func() {
			for _, e := range []*runtimeapi.ContainerEventResponse{
				event(created, "s", "s", "a"), event(started, "s", "s", "a"),
				event(created, "c", "s", "a-bench"), event(started, "c", "s", "a"),
				event(stopped, "c", "s", "a"), event(deleted, "c", "s", "a"),
				event(deleted, "s", "", ""), // the runtime knows its sandbox no more
			} {
				time.Sleep(time.Second)
				o.hear(e, time.Now())
			}
		}()
		running, err := o.await(t.Context(), []string{"a"}, (&bosun{}).there)
		if err != nil || time.Since(begin) != 4*time.Second || running[0].sandbox.Sub(begin) != 2*time.Second || running[0].created.Sub(begin) != 3*time.Second {
			t.Errorf("running after %v, %+v, %v; want 4s", time.Since(begin), running, err)
		}
		gone, err := o.await(t.Context(), []string{"a"}, (&bosun{}).gone)
		if err != nil || gone[0].gone.Sub(begin) != 7*time.Second || gone[0].stopped.Sub(begin) != 5*time.Second {
			t.Errorf("gone %+v, %v; want after 7s", gone, err)
		}
		if _, err := o.await(t.Context(), []string{"a", "b"}, (&bosun{}).there); err == nil {
			t.Error("pod b runs, though nobody ever heard of it")
		}
		if len(o.owners) != 0 {
			t.Errorf("gone objects are remembered: %v", o.owners)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := o.await(ctx, []string{"b"}, (&bosun{}).there); err == nil {
			t.Error("await outlives its context")
		}
	})
}

func TestRecipe(t *testing.T) {
	root := t.TempDir()
	const uid = "0123456789abcdef0123456789abcdef"
	own := filepath.Join(root, "pods", uid, "etc-hosts")
	if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte("10.0.0.1 bench-00001\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := &runtimeapi.RunPodSandboxRequest{Config: &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "bench-00001", Uid: uid}, LogDirectory: filepath.Join(root, "logs", uid),
		Linux: &runtimeapi.LinuxPodSandboxConfig{CgroupParent: "/"},
	}}
	create := &runtimeapi.CreateContainerRequest{PodSandboxId: "s", SandboxConfig: run.Config, Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "main"}, Mounts: []*runtimeapi.Mount{{HostPath: own, ContainerPath: "/etc/hosts"}},
	}}
	var calls []call
	for method, m := range map[string]proto.Message{"RunPodSandbox": run, "CreateContainer": create} {
		wire, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, call{method: method, request: wire})
	}
	made, err := learn("bench-00001", root, calls)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other")
	d, err := made.serve("bench-00002", other)
	if err != nil {
		t.Fatal(err)
	}
	if m := d.run.Config.Metadata; m.Name != "bench-00002" || m.Uid == uid || len(m.Uid) != len(uid) {
		t.Errorf("the other pod is %v", m)
	}
	if !proto.Equal(d.create.SandboxConfig, d.run.Config) {
		t.Error("the container is created for another sandbox than the one that runs")
	}
	d.cgroups = nil // the machine's own
	if err := d.lay(); err != nil {
		t.Fatal(err)
	}
	path := d.create.Config.Mounts[0].HostPath
	if text, err := os.ReadFile(path); err != nil || string(text) != "10.0.0.1 bench-00002\n" || !strings.HasPrefix(path, other) {
		t.Errorf("%s holds %q, %v", path, text, err)
	}
	if err := d.wash(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", filepath.Dir(path), err)
	}
	if _, err := learn("bench-00001", root, calls[:1]); err == nil {
		t.Error("a recipe was made of one call")
	}
}
