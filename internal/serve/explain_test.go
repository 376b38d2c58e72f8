package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/golden"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/worker"
)

// A story is one situation a person may ask about.
type story struct {
	title string
	edit  func(*worker.Entry, *v1.PodStatus)
}

func waitingStatus(names ...string) []v1.ContainerStatus {
	var out []v1.ContainerStatus
	for _, name := range names {
		out = append(out, v1.ContainerStatus{Name: name, State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}}})
	}
	return out
}

func runningStatus(name string, ready bool, since time.Duration) v1.ContainerStatus {
	return v1.ContainerStatus{Name: name, Ready: ready, ContainerID: "containerd://" + name + "0",
		State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.NewTime(before(since))}}}
}

func endedStatus(name string, code int32, why, message string) v1.ContainerStatus {
	return v1.ContainerStatus{Name: name, State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
		ExitCode: code, Reason: why, Message: message, FinishedAt: metav1.NewTime(before(90 * time.Second)), ContainerID: "containerd://" + name + "0"}}}
}

func pending(e *worker.Entry, s *v1.PodStatus) {
	e.Memory.Stage = plan.Preparing
	e.Observed = pod.Observed{}
	*s = v1.PodStatus{Phase: v1.PodPending, ContainerStatuses: waitingStatus("app", "log")}
}

func stopped(e *worker.Entry, cause plan.Cause, message string) {
	e.Memory.Stage = plan.Stopping
	e.Memory.Kept.Stop = &plan.Stop{Cause: cause, Message: message, At: before(5 * time.Second), Deadline: noon.Add(25 * time.Second), Grace: 30 * time.Second}
}

var stories = []story{
	{"running", func(_ *worker.Entry, s *v1.PodStatus) {
		s.ContainerStatuses = []v1.ContainerStatus{runningStatus("app", true, 2*time.Hour), runningStatus("log", true, time.Hour+5*time.Minute)}
	}},
	{"running, one not ready", func(_ *worker.Entry, s *v1.PodStatus) {
		s.ContainerStatuses = []v1.ContainerStatus{runningStatus("app", true, time.Hour), runningStatus("log", false, time.Hour)}
	}},
	{"not let in", func(e *worker.Entry, s *v1.PodStatus) {
		pending(e, s)
		stopped(e, plan.Refused, "Pod was rejected: Node didn't have enough resource: cpu, requested: 9000, used: 0, capacity: 2000")
		e.Memory.Stage = plan.Cleaning
		s.Phase, s.Reason = v1.PodFailed, "OutOfcpu"
	}},
	{"waiting for an older version", func(e *worker.Entry, s *v1.PodStatus) {
		pending(e, s)
		e.Memory.Stage = plan.Waiting
		e.Waits = []worker.Waiting{{For: "older version", Detail: "pod uid-old of the same name has not ended yet", Since: before(12 * time.Second)}}
	}},
	{"waiting for the runtime, after a failure", func(e *worker.Entry, s *v1.PodStatus) {
		pending(e, s)
		e.Waits = []worker.Waiting{{For: "runtime", Detail: "container runtime is down: connection refused", Since: before(3 * time.Minute)}}
		e.Memory.Kept.Failures = map[string]plan.Failure{"run sandbox": {Count: 1, Message: "unavailable", At: before(3 * time.Minute), RetryAt: before(2 * time.Minute)}}
	}},
	{"preparing", func(e *worker.Entry, s *v1.PodStatus) {
		pending(e, s)
		e.InFlight = []worker.InFlight{{Effect: "ensure image app#0", Since: before(12 * time.Second)}, {Effect: "run sandbox #0", Since: before(10 * time.Millisecond)}, {Effect: "set up volume data", Since: noon, Cancelled: true}}
	}},
	{"image cannot be pulled", func(e *worker.Entry, s *v1.PodStatus) {
		pending(e, s)
		s.ContainerStatuses[0].State.Waiting = &v1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "Back-off pulling image"}
		e.Memory.Kept.Failures = map[string]plan.Failure{"ensure image app": {Count: 4, Reason: "ErrImagePull", Message: `failed to pull image "ngnix:latest": not found`,
			Since: before(2 * time.Minute), At: before(20 * time.Second), RetryAt: noon.Add(60 * time.Second)}}
		e.Waits = []worker.Waiting{{For: "ensure image app", Detail: "not found", Since: before(20 * time.Second), Until: noon.Add(time.Minute)}}
	}},
	{"image is tried again", func(e *worker.Entry, s *v1.PodStatus) {
		pending(e, s)
		e.Memory.Kept.Failures = map[string]plan.Failure{"ensure image app": {Count: 1, Reason: "ErrImagePull", Message: "timed out", Since: before(20 * time.Second), At: before(20 * time.Second), RetryAt: before(10 * time.Second)}}
		e.InFlight = []worker.InFlight{{Effect: "ensure image app#0", Since: before(10 * time.Second)}}
	}},
	{"crash loop", func(e *worker.Entry, s *v1.PodStatus) {
		s.ContainerStatuses = []v1.ContainerStatus{runningStatus("log", true, time.Hour), {
			Name: "app", RestartCount: 5, State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 40s restarting failed container"}},
			LastTerminationState: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "cannot open /etc/app.conf\nsecond line", FinishedAt: metav1.NewTime(before(12 * time.Second))}},
		}}
		e.Observed.Containers = []pod.Container{{ID: "app5", Name: "app", Attempt: 5, State: pod.Exited}}
		e.Memory.Kept.Containers = map[string]plan.ContainerMemory{"app": {Backoff: plan.Backoff{For: "app5", Until: noon.Add(28 * time.Second)}}}
		e.Waits = []worker.Waiting{{For: "back-off of app", Detail: "restarting failed container", Since: before(12 * time.Second), Until: noon.Add(28 * time.Second)}}
	}},
	{"init container runs", func(e *worker.Entry, s *v1.PodStatus) {
		pending(e, s)
		e.Memory.Stage = plan.Initialising
		e.Desired.Pod.Spec.InitContainers = []v1.Container{{Name: "first", Image: "busybox"}, {Name: "second", Image: "busybox"}}
		s.InitContainerStatuses = []v1.ContainerStatus{endedStatus("first", 0, "Completed", ""), runningStatus("second", false, time.Minute)}
		e.Waits = []worker.Waiting{{For: "init container second", Detail: "it runs; the next container starts when it has succeeded", Since: before(time.Minute)}}
	}},
	{"init container fails for good", func(e *worker.Entry, s *v1.PodStatus) {
		pending(e, s)
		e.Memory.Stage = plan.Cleaning
		e.Desired.Pod.Spec.InitContainers = []v1.Container{{Name: "first", Image: "busybox"}}
		s.Phase = v1.PodFailed
		s.InitContainerStatuses = []v1.ContainerStatus{endedStatus("first", 3, "Error", "")}
	}},
	{"sidecar starts", func(e *worker.Entry, s *v1.PodStatus) {
		pending(e, s)
		again := v1.ContainerRestartPolicyAlways
		e.Desired.Pod.Spec.InitContainers = []v1.Container{{Name: "side", Image: "busybox", RestartPolicy: &again}}
		s.InitContainerStatuses = waitingStatus("side")
		s.InitContainerStatuses[0].State.Waiting.Reason = "PodInitializing"
		e.InFlight = []worker.InFlight{{Effect: "create container side#0", Since: noon}}
	}},
	{"stopping", func(e *worker.Entry, _ *v1.PodStatus) {
		stopped(e, plan.Removed, "")
		e.InFlight = []worker.InFlight{{Effect: "stop container app#1", Since: before(5 * time.Second)}, {Effect: "run preStop of log#0", Since: before(5 * time.Second)}}
	}},
	{"evicted, cleaning", func(e *worker.Entry, s *v1.PodStatus) {
		stopped(e, plan.Ordered, "The node was low on resource: memory.")
		e.Memory.Stage = plan.Cleaning
		s.Phase, s.Reason = v1.PodFailed, "Evicted"
		e.InFlight = []worker.InFlight{{Effect: "stop sandbox #0", Since: before(time.Second)}}
	}},
	{"completed", func(e *worker.Entry, s *v1.PodStatus) {
		stopped(e, plan.Completed, "")
		e.Memory.Stage = plan.Cleaning
		s.Phase = v1.PodSucceeded
		s.ContainerStatuses = []v1.ContainerStatus{endedStatus("app", 0, "Completed", ""), endedStatus("log", 0, "Completed", "")}
	}},
	{"failed", func(e *worker.Entry, s *v1.PodStatus) {
		stopped(e, plan.Completed, "")
		e.Memory.Stage = plan.Cleaning
		s.Phase = v1.PodFailed
		s.ContainerStatuses = []v1.ContainerStatus{endedStatus("app", 0, "Completed", ""), endedStatus("log", 137, "OOMKilled", "")}
	}},
	{"stray in the runtime", func(e *worker.Entry, s *v1.PodStatus) {
		stopped(e, plan.Orphaned, "")
		e.Desired.Source, e.Desired.Wanted = pod.FromRuntime, false
		e.Desired.Pod.Spec = v1.PodSpec{}
		*s = v1.PodStatus{}
		e.InFlight = []worker.InFlight{{Effect: "stop container app#1", Since: before(5 * time.Second)}}
	}},
	{"nothing known yet", func(e *worker.Entry, s *v1.PodStatus) {
		e.Memory.Stage = plan.Waiting
		e.Observed = pod.Observed{}
		*s = v1.PodStatus{}
	}},
	{"running, a resize waits", func(e *worker.Entry, s *v1.PodStatus) {
		s.ContainerStatuses = []v1.ContainerStatus{runningStatus("app", true, time.Hour), runningStatus("log", true, time.Hour)}
		e.Waits = []worker.Waiting{{For: "resize", Detail: "Node didn't have enough resource: cpu, requested: 2000, used: 1500, capacity: 2000", Since: before(time.Minute)}}
	}},
}

func told(t *testing.T, s story) Pod {
	t.Helper()
	e, status := web()
	e = edited(e, func(e *worker.Entry) { s.edit(e, &status) })
	return explain(e, status, noon)
}

// TestExplain compares what is said of each story with testdata/explain.txt.
func TestExplain(t *testing.T) {
	var got bytes.Buffer
	for _, s := range stories {
		p := told(t, s)
		fmt.Fprintf(&got, "# %s\n%d/%d %s restarts=%d settled=%v\n%s\n\n", s.title, p.Ready, p.Containers, p.Status, p.Restarts, p.Settled, p.Summary)
	}
	golden.File(t, "explain.txt", got.Bytes())
}

func TestExplainDetails(t *testing.T) {
	p := told(t, stories[8])
	if p.Status != "CrashLoopBackOff" || p.Restarts != 5 || !p.LastRestart.Equal(before(12*time.Second)) || p.IPs[0] != "10.0.0.1" {
		t.Errorf("pod %+v", p)
	}
	app := p.Parts[0]
	if app.State != "waiting" || app.LastExit == nil || app.LastExit.Code != 1 || !app.RetryAt.Equal(noon.Add(28*time.Second)) {
		t.Errorf("part %+v", app)
	}
	if p.DefaultContainer != "app" {
		t.Errorf("default container %q", p.DefaultContainer)
	}
	e, status := web()
	e = edited(e, func(e *worker.Entry) { e.Desired.Pod.Annotations[defaultContainerAnnotation] = "log" })
	if got := explain(e, status, noon).DefaultContainer; got != "log" {
		t.Errorf("default container %q, want the annotation's", got)
	}
}

// TestExplainTellsNoSecrets: values of environment variables are nobody's business.
func TestExplainTellsNoSecrets(t *testing.T) {
	e, status := web()
	e = edited(e, func(e *worker.Entry) {
		e.Desired.Pod.Spec.Containers[0].Env = []v1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}}
		e.Desired.Pod.Spec.Containers[0].Args = []string{"--token=hunter2"}
	})
	text, err := json.Marshal(explain(e, status, noon))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hunter2") {
		t.Errorf("a secret is told: %s", text)
	}
}

// TestEveryEffectHasWords: no key of an effect is shown as it is.
func TestEveryEffectHasWords(t *testing.T) {
	for k := plan.Look; k.String() != "effect?"; k++ {
		key := plan.Effect{Kind: k, Container: "app", Volume: "data", Attempt: 3}.Key()
		words := Doing(key)
		if words == key || strings.Contains(words, "#") || strings.Contains(words, "%") {
			t.Errorf("%q is told as %q", key, words)
		}
	}
	if got := Doing(plan.Effect{Kind: plan.EnsureImage, Volume: "data"}.Key()); got != "getting the image of volume data" {
		t.Errorf("the image of a volume: %q", got)
	}
	if got := Doing("something new"); got != "something new" {
		t.Errorf("unknown effect: %q", got)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 850 * time.Millisecond: "850ms", 59 * time.Second: "59s", 4 * time.Minute: "4m", 4*time.Minute + 10*time.Second: "4m10s",
		3*time.Hour + 20*time.Minute: "3h20m", 52 * time.Hour: "2d4h", 48 * time.Hour: "2d",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestWatch: a watcher gets a document at once and one for each change, and the end of the server ends it.
func TestWatch(t *testing.T) {
	s := newScene(t, nil)
	at, stop := run(t, NewReadOnly("127.0.0.1:0", s.faces, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/debug/pods?watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	next := func(stage string) {
		t.Helper()
		var o Overview
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &o) != nil || len(o.Pods) != 1 || o.Pods[0].Stage != stage {
			t.Fatalf("got %s (%v), want web in stage %s", lines.Text(), lines.Err(), stage)
		}
	}
	next("Running")
	e, status := web()
	s.put(edited(e, func(e *worker.Entry) { e.Memory.Stage = plan.Stopping }), status)
	next("Stopping")
	stop()
	if lines.Scan() {
		t.Errorf("another document: %s", lines.Text())
	}
}
