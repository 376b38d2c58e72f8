package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	batch "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// goneAfter waits until the API server has the pod no more, and returns how long after since.
func (g *guest) goneAfter(since time.Time) time.Duration {
	g.t.Helper()
	g.untilGone()
	return time.Since(since)
}

// A pod under deletion has its grace: the container is told, the status goes on, and the object goes when it has ended (behaviours
// 143, 146, 147).
func TestDeletionWithGrace(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "graceful", `
spec: {terminationGracePeriodSeconds: 30, containers: [{name: main, image: BOX, args: [linger, 1s, then, exit, "0"]}]}`)
	g.untilReady()
	seen := g.watched()
	began := time.Now()
	g.remove()
	g.untilSays("main", "got terminated")
	if took := g.goneAfter(began); took > 15*time.Second {
		t.Errorf("gone after %v, want soon after the container's end after 1 s", took)
	}
	last := seen()
	same(t, "the last phase", last.Status.Phase, v1.PodSucceeded)
	if s := apiStatus(last, "main").State.Terminated; s == nil || s.ExitCode != 0 || s.Reason != "Completed" {
		t.Errorf("the last status %+v", apiStatus(last, "main"))
	}
}

// watched collects what the API server shows of the pod until it is deleted; the result waits for that and is the last
// version of it.
func (g *guest) watched() (last func() *v1.Pod) {
	g.t.Helper()
	ctx := deadline(g.t, patience)
	options := metav1.ListOptions{FieldSelector: "metadata.name=" + g.name}
	list, err := g.api.CoreV1().Pods(g.ns).List(ctx, options)
	if err != nil {
		g.t.Fatal(err)
	}
	options.ResourceVersion = list.ResourceVersion
	w, err := g.api.CoreV1().Pods(g.ns).Watch(ctx, options)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(w.Stop)
	return func() *v1.Pod {
		g.t.Helper()
		for e := range w.ResultChan() {
			if p, ok := e.Object.(*v1.Pod); ok && e.Type == "DELETED" {
				return p
			}
		}
		g.t.Fatalf("pod %s was not seen to be deleted", g.name)
		return nil
	}
}

// A second deletion with less grace shortens the first (behaviour 143).
func TestGraceIsShortened(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "stubborn", `
spec: {terminationGracePeriodSeconds: 60, containers: [{name: main, image: BOX, args: [ignore-term]}]}`)
	g.untilReady()
	g.untilSays("main", "ignoring TERM")
	seen := g.watched()
	g.remove()
	g.untilSays("main", "ignored terminated")
	began := time.Now()
	m.kubectl(t, ns, "delete", "pod", "stubborn", "--grace-period=2", "--wait=false")
	took := g.goneAfter(began)
	t.Logf("gone %v after the grace became 2 s", took)
	if took > 15*time.Second {
		t.Errorf("gone after %v, want 2 s and a moment", took)
	}
	last := seen()
	same(t, "the last phase", last.Status.Phase, v1.PodFailed)
	if s := apiStatus(last, "main").State.Terminated; s == nil || s.ExitCode != 137 {
		t.Errorf("the last status %+v", apiStatus(last, "main"))
	}
}

// A pod whose object is gone at once is ended all the same (behaviour 144).
func TestForcedDeletion(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "forced", `
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX, args: [ignore-term]}]}`)
	g.untilReady()
	m.kubectl(t, ns, "delete", "pod", "forced", "--grace-period=0", "--force")
	if _, err := g.now(); err == nil {
		t.Error("the object is still there")
	}
	g.untilGone()
}

// Pods that end by themselves stay as they ended, and a Job counts them.
func TestJobsEnd(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: NAME}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {kubernetes.io/hostname: NODE}
      containers:
      - {name: main, image: BOX, args: [say, done, then, write, /dev/termination-log, last words, then, exit, "CODE"]}
`
	for name, c := range map[string]struct {
		code      string
		phase     v1.PodPhase
		condition batch.JobConditionType
	}{"good": {"0", v1.PodSucceeded, batch.JobComplete}, "bad": {"42", v1.PodFailed, batch.JobFailed}} {
		m.apply(t, ns, strings.NewReplacer("NAME", name, "CODE", c.code).Replace(job))
		ctx := deadline(t, patience)
		eventually(t, func() error {
			j, err := m.api.BatchV1().Jobs(ns).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, have := range j.Status.Conditions {
				if have.Type == c.condition && have.Status == v1.ConditionTrue {
					return nil
				}
			}
			return fmt.Errorf("job %s is %+v", name, j.Status)
		})
		pods := m.labelled(t, ns, "job-name="+name)
		if len(pods) != 1 {
			t.Fatalf("%d pods", len(pods))
		}
		same(t, name, pods[0].Status.Phase, c.phase)
		end := apiStatus(&pods[0], "main").State.Terminated
		if end == nil || fmt.Sprint(end.ExitCode) != c.code || end.Message != "last words" {
			t.Errorf("%s ended as %+v", name, end)
		}
		m.known(t, &pods[0]).untilPhase(c.phase)
	}
}

// A pod that has run longer than it may has failed.
func TestActiveDeadline(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "late", `spec: {activeDeadlineSeconds: 2, containers: [{name: main, image: BOX}]}`)
	p := g.untilPhase(v1.PodFailed)
	same(t, "reason", p.Status.Reason, "DeadlineExceeded")
	same(t, "message", p.Status.Message, "Pod was active on the node longer than the specified deadline")
	eventually(t, func() error {
		if left, err := g.containersOf(g.name); err != nil || len(left) == 0 {
			return err
		} else if s := left[0].State.String(); s != "CONTAINER_EXITED" {
			return errors.New(s)
		}
		return nil
	})
}

// Pods that were bound to the node past the scheduler and cannot run on it have failed, with the reason that controllers
// look for (behaviours 29-39).
func TestPodsRefusedPastTheScheduler(t *testing.T) {
	t.Parallel()
	m := ownMember(t)
	ns := m.plane.Namespace(t)
	first := m.create(t, ns, "first", `spec: {containers: [{name: main, image: BOX, ports: [{containerPort: 80, hostPort: 28080}]}]}`)
	first.untilReady()
	for name, c := range map[string]struct{ spec, reason, message string }{
		"affinity": {"nodeSelector: {color: red}, containers: [{name: main, image: BOX}]", "NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
		"cpu":      {"containers: [{name: main, image: BOX, resources: {requests: {cpu: 1000}}}]", "OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: 0, capacity: "},
		"memory":   {"containers: [{name: main, image: BOX, resources: {requests: {memory: 100Ti}}}]", "OutOfmemory", "Pod was rejected: Node didn't have enough resource: memory, requested: 109951162777600, used: 0, capacity: "},
		"port":     {"containers: [{name: main, image: BOX, ports: [{containerPort: 80, hostPort: 28080}]}]", "NodePorts", "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"},
		"os":       {"nodeSelector: {kubernetes.io/os: windows}, containers: [{name: main, image: BOX}]", "PodOSSelectorNodeLabelDoesNotMatch", "Pod was rejected: Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"},
	} {
		g := m.create(t, ns, name, "spec: {"+c.spec+"}")
		p := g.untilPhase(v1.PodFailed)
		same(t, "reason of "+name, p.Status.Reason, c.reason)
		if !strings.HasPrefix(p.Status.Message, c.message) {
			t.Errorf("message of %s: %q, want %q", name, p.Status.Message, c.message)
		}
		eventually(t, func() error {
			return containsAll(m.kubectl(t, ns, "get", "events", "--field-selector=type=Warning,involvedObject.name="+name, "-o", "jsonpath={.items[*].reason}"), c.reason)
		})
		if all, err := g.containersOf(name); err != nil || len(all) > 0 {
			t.Errorf("containers of %s: %v %v", name, all, err)
		}
	}
}
