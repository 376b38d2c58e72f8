package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// The end of a sidecar restarts all containers of its pod in place: quickly and without hooks, the init container first, those
// that had succeeded too. Address, sandbox and volumes stay, the status tells of it, also after a crash of the agent in the
// middle; the next time it is put off (behaviours 114, 137, 270).
func TestRestartAllContainers(t *testing.T) {
	t.Parallel()
	m := ownMember(t)
	g := m.create(t, m.plane.Namespace(t), "renewed", `
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 60
  volumes: [{name: d, emptyDir: {}}]
  initContainers:
  - {name: setup, image: BOX, args: [append, /d/log, setup], volumeMounts: [{name: d, mountPath: /d}]}
  - {name: watch, image: BOX, args: [await, /d/go, then, exit, "88"], volumeMounts: [{name: d, mountPath: /d}],
     restartPolicy: Always, restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [88]}}]}
  containers:
  - {name: main, image: BOX, args: [append, /d/log, main, then, ignore-term], volumeMounts: [{name: d, mountPath: /d}],
     lifecycle: {preStop: {exec: {command: [/testbox, append, /d/log, hook]}}}}
  - {name: done, image: BOX, args: [append, /d/log, done], volumeMounts: [{name: d, mountPath: /d}]}
`)
	settled := func(p *v1.Pod) bool {
		return p.Status.Phase == v1.PodRunning && endedWell(p, "done") && apiStatus(p, "main").State.Running != nil
	}
	p := g.until("running, and done", settled)
	address, sandboxes := p.Status.PodIP, g.sandboxIDs()
	same(t, "AllContainersRestarting", told(podCondition(p, v1.AllContainersRestarting)), "False")
	g.untilSays("main", "ignoring TERM")
	seen := m.watchPods(t, g.ns, func(p *v1.Pod) []string {
		return []string{string(p.Status.Phase), told(podCondition(p, v1.AllContainersRestarting)), "initialized " + string(podCondition(p, v1.PodInitialized).Status)}
	})
	d := filepath.Join(m.root, "pods", g.uid, "volumes/kubernetes.io~empty-dir/d")
	touch(t, d+"/go")
	seen.await(t, "True ContainerExited Container watch exited with code 88, triggering pod restart")
	if err := os.Remove(d + "/go"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	m.restart(t) // while containers end
	p = g.until("running again, and done", func(p *v1.Pod) bool {
		return apiStatus(p, "main").RestartCount == 1 && settled(p) && podCondition(p, v1.AllContainersRestarting).Status == v1.ConditionFalse
	})
	t.Logf("all containers ran again %v after it was told, over a restart of the agent", time.Since(began))
	for _, name := range []string{"setup", "watch", "main", "done"} {
		same(t, "restarts of "+name, apiStatus(p, name).RestartCount, 1)
	}
	for name, want := range map[string]string{"setup": "Completed 0", "watch": "Error 88", "main": "RestartingAllContainers 137", "done": "Completed 0"} {
		last := apiStatus(p, name).LastTerminationState.Terminated
		if last == nil || fmt.Sprint(last.Reason, " ", last.ExitCode) != want {
			t.Errorf("the attempt before of %s ended as %+v, want %s", name, last, want)
		}
	}
	same(t, "address", p.Status.PodIP, address)
	same(t, "sandboxes", g.sandboxIDs(), sandboxes)
	same(t, "what ran", words(holds(t, d+"/log")), "setup main done setup main done")
	for _, bad := range []string{"Pending", "Failed", "Succeeded", "initialized False"} {
		if _, was := seen.at(bad); was {
			t.Errorf("the status said %s meanwhile", bad)
		}
	}
	eventually(t, func() error {
		return containsAll(m.kubectl(t, g.ns, "get", "events", "-o", "jsonpath={range .items[*]}{.reason}: {.message}\n{end}"),
			"Killing: Container watch asked for a restart of all containers")
	})
	if said := m.kubectl(t, g.ns, "logs", "renewed", "-c", "main", "--previous"); !strings.Contains(said, "ignored terminated") {
		t.Errorf("the log of the attempt before: %q", said)
	}
	touch(t, d+"/go")
	g.until("at rest until its next restart", func(p *v1.Pod) bool {
		return waitsFor("watch", "CrashLoopBackOff")(p) && apiStatus(p, "main").State.Running == nil && apiStatus(p, "main").RestartCount == 1
	})
}

func endedWell(p *v1.Pod, container string) bool {
	s := apiStatus(p, container)
	return s != nil && s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
}

// sandboxIDs are the IDs of the pod's sandboxes in the runtime.
func (g *guest) sandboxIDs() string {
	g.t.Helper()
	all, err := g.sandboxesOf(g.name)
	if err != nil {
		g.t.Fatal(err)
	}
	var ids []string
	for _, s := range all {
		ids = append(ids, s.Id)
	}
	return strings.Join(ids, " ")
}
