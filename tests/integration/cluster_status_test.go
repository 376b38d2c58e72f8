package integration

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func podCondition(p *v1.Pod, t v1.PodConditionType) v1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == t {
			return c
		}
	}
	return v1.PodCondition{}
}

// told is the condition as one line.
func told(c v1.PodCondition) string {
	return strings.TrimSpace(fmt.Sprint(c.Status, " ", c.Reason, " ", c.Message))
}

// Readiness gates hold a pod back until somebody opens them; the pod follows at once (behaviours 131, 271, 282).
func TestReadinessGates(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "gated", `
spec: {readinessGates: [{conditionType: example.com/open}], containers: [{name: main, image: BOX}]}`)
	p := g.until("ready but for its gate", func(p *v1.Pod) bool { return podCondition(p, v1.ContainersReady).Status == v1.ConditionTrue })
	same(t, "Ready", told(podCondition(p, v1.PodReady)), `False ReadinessGatesNotReady corresponding condition of pod readiness gate "example.com/open" does not exist.`)
	open := func(status string) {
		t.Helper()
		patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"example.com/open","status":%q}]}}`, status)
		if _, err := m.api.CoreV1().Pods(g.ns).Patch(t.Context(), "gated", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	open("True")
	g.untilReady()
	open("False")
	p = g.until("not ready", func(p *v1.Pod) bool { return !isReady(p) })
	same(t, "Ready", told(podCondition(p, v1.PodReady)), `False ReadinessGatesNotReady the status of pod readiness gate "example.com/open" is not "True", but False`)
	same(t, "the gate", podCondition(p, "example.com/open").Status, v1.ConditionFalse)
}

// Probes are told of: a container that is not ready, one that is killed for its liveness and counted.
func TestProbesInTheAPI(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "probed", `
spec:
  containers:
  - {name: main, image: SHELL, command: [sh, -c, 'touch /tmp/alive; exec sleep 3600'],
     readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1, failureThreshold: 1},
     livenessProbe: {exec: {command: [test, -e, /tmp/alive]}, periodSeconds: 1, failureThreshold: 1}}
`)
	p := g.until("running", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodRunning })
	same(t, "Ready", told(podCondition(p, v1.PodReady)), "False ContainersNotReady containers with unready status: [main]")
	run := func(command string) { m.kubectl(t, g.ns, "exec", "probed", "--", "sh", "-c", command) }
	run("touch /tmp/ready")
	g.untilReady()
	run("rm /tmp/ready")
	g.until("not ready", func(p *v1.Pod) bool { return !isReady(p) })
	run("rm /tmp/alive")
	p = g.until("restarted", func(p *v1.Pod) bool {
		s := apiStatus(p, "main")
		return s != nil && s.RestartCount == 1 && s.State.Running != nil
	})
	last := apiStatus(p, "main").LastTerminationState.Terminated
	if last == nil || last.ExitCode != 137 || last.ContainerID == "" || last.ContainerID == apiStatus(p, "main").ContainerID {
		t.Errorf("the attempt before: %+v", last)
	}
	eventually(t, func() error {
		return containsAll(m.kubectl(t, g.ns, "get", "events", "-o", "jsonpath={range .items[*]}{.reason}: {.message}\n{end}"),
			"Unhealthy: Readiness probe failed", "Unhealthy: Liveness probe failed", "Killing: Container main failed liveness probe, will be restarted")
	})
}

// Init containers go one after the other, a sidecar stays beside the main container and ends after it; the status tells of
// each, and the termination messages are there.
func TestInitAndSidecarsInTheAPI(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "staged", `
spec:
  restartPolicy: OnFailure
  volumes: [{name: d, emptyDir: {}}]
  initContainers:
  - {name: first, image: BOX, args: [append, /d/log, first, then, write, /dev/termination-log, well done], volumeMounts: [{name: d, mountPath: /d}]}
  - {name: side, image: BOX, restartPolicy: Always, args: [append, /d/log, side, then, wait], volumeMounts: [{name: d, mountPath: /d}]}
  - {name: second, image: BOX, args: [append, /d/log, second, then, await, /d/go], volumeMounts: [{name: d, mountPath: /d}]}
  containers:
  - {name: main, image: SHELL, terminationMessagePolicy: FallbackToLogsOnError, command: [sh, -c, 'if test -e /d/again; then exit 0; fi; touch /d/again; cat /d/log; exit 6'], volumeMounts: [{name: d, mountPath: /d}]}
`)
	p := g.until("in its second init container", func(p *v1.Pod) bool {
		s := apiStatus(p, "second")
		return s != nil && s.State.Running != nil
	})
	same(t, "phase", p.Status.Phase, v1.PodPending)
	same(t, "Initialized", told(podCondition(p, v1.PodInitialized)), "False ContainersNotInitialized containers with incomplete status: [second]")
	if s := apiStatus(p, "main"); s.State.Waiting == nil || s.State.Waiting.Reason != "PodInitializing" {
		t.Errorf("main is %+v", s.State)
	}
	if s := apiStatus(p, "first").State.Terminated; s == nil || s.Reason != "Completed" || s.Message != "well done" {
		t.Errorf("first is %+v", s)
	}
	if s := apiStatus(p, "side"); s.State.Running == nil || !s.Ready || s.Started == nil || !*s.Started {
		t.Errorf("side is %+v", s)
	}
	m.kubectl(t, g.ns, "exec", "staged", "-c", "side", "--", "/testbox", "write", "/d/go", "x")
	p = g.untilPhase(v1.PodSucceeded)
	s := apiStatus(p, "main")
	same(t, "restarts", s.RestartCount, 1)
	if last := s.LastTerminationState.Terminated; last == nil || last.ExitCode != 6 || last.Message != "first\nside\nsecond\n" {
		t.Errorf("the first attempt ended as %+v", last)
	}
	if s := apiStatus(p, "side").State.Terminated; s == nil || s.ExitCode != 0 {
		t.Errorf("side ended as %+v", s)
	}
	same(t, "Ready", told(podCondition(p, v1.PodReady)), "False PodCompleted")
}

// The downward API as environment, with what is known only once the pod is on the node.
func TestDownwardEnvironmentInTheAPI(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "aware", `
spec:
  restartPolicy: Never
  enableServiceLinks: false
  containers:
  - {name: main, image: BOX, args: [env], resources: {requests: {memory: 16Mi}, limits: {memory: 32Mi}}, env: [
      {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}},
      {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}},
      {name: SPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}},
      {name: MY_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}},
      {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}},
      {name: HOST, valueFrom: {fieldRef: {fieldPath: status.hostIP}}},
      {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}},
      {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}},
      {name: MILLIS, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}]}
`)
	p := g.untilPhase(v1.PodSucceeded)
	n := m.untilReady(t)
	said := g.says("main", 0)
	contains(t, "the environment", said, "NODE="+m.name, "POD=aware", "SPACE="+ns, "MY_UID="+g.uid, "IP="+p.Status.PodIP, "HOST="+nodeIP, "ACCOUNT=default", "MEMORY=32",
		fmt.Sprint("MILLIS=", n.Status.Allocatable.Cpu().MilliValue()))
	// Those of the API server are there without links too (behaviour 69).
	if !strings.Contains(said, "KUBERNETES_SERVICE_HOST=") {
		t.Errorf("no address of the API server:\n%s", said)
	}
}

// enableServiceLinks decides whether services are in the environment (behaviour 69).
func TestServiceLinks(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	for _, name := range []string{"store-a", "headless"} {
		s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.ServiceSpec{Ports: []v1.ServicePort{{Port: 1}}}}
		if name == "headless" {
			s.Spec.ClusterIP = v1.ClusterIPNone
		}
		if _, err := m.api.CoreV1().Services(ns).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	with := m.create(t, ns, "with", `spec: {restartPolicy: Never, containers: [{name: main, image: BOX, args: [env]}]}`)
	without := m.create(t, ns, "without", `spec: {restartPolicy: Never, enableServiceLinks: false, containers: [{name: main, image: BOX, args: [env]}]}`)
	with.untilPhase(v1.PodSucceeded)
	without.untilPhase(v1.PodSucceeded)
	if said := with.says("main", 0); !strings.Contains(said, "STORE_A_SERVICE_PORT=1\n") || strings.Contains(said, "HEADLESS") {
		t.Errorf("with links:\n%s", said)
	}
	if said := without.says("main", 0); strings.Contains(said, "STORE_A") {
		t.Errorf("without links:\n%s", said)
	}
}
