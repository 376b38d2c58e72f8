package integration

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// The agent is killed again and again while pods come and go. What runs goes on, each pod that is wanted starts once, what
// ends is told as it ended, and restarts are counted on (behaviours 24, 61, 266).
func TestMemberIsKilledAtRandom(t *testing.T) {
	t.Parallel()
	m := quietMember(t, controlplane.Shared(t), "")
	config := holds(t, m.configFile()) + "crashLoopBackOff: {maxContainerRestartPeriod: 1s}\n"
	if err := os.WriteFile(m.configFile(), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	m.untilReady(t)
	ns := m.plane.Namespace(t)
	throw := dice(t)
	steady := m.create(t, ns, "steady", `
spec: {initContainers: [{name: side, image: BOX, restartPolicy: Always}], containers: [{name: main, image: BOX}]}`)
	dir := m.path(t)
	counter := m.create(t, ns, "counter", `spec: {containers: [{name: main, image: BOX}]}`)
	before := steady.untilReady()
	counter.untilReady()
	ids := func(p *v1.Pod) string {
		return apiStatus(p, "main").ContainerID + " " + apiStatus(p, "side").ContainerID
	}

	const pods = 14
	var running, ending, once []*guest
	for i := range pods {
		name := fmt.Sprint("p", i)
		switch {
		case i%3 == 0: // one run, whose count is on the node's disk
			once = append(once, m.create(t, ns, name, `
spec: {restartPolicy: Never, volumes: [{name: d, hostPath: {path: `+dir+`}}], containers: [{name: main, image: BOX, args: [append, /d/`+name+`, ran, then, sleep, 100ms, then, exit, "7"], volumeMounts: [{name: d, mountPath: /d}]}]}`))
		default:
			running = append(running, m.create(t, ns, name, "spec: {containers: [{name: main, image: BOX}]}"))
		}
		if len(running) > 4 {
			g := running[throw.IntN(len(running))]
			g.remove()
			ending = append(ending, g)
			running = without(running, g)
		}
		if i == 2 {
			counter.crash("main")
		}
		if i%3 == 2 {
			<-time.After(time.Duration(throw.IntN(400)) * time.Millisecond) // whatever is under way then
			m.restart(t)
		}
	}
	for _, g := range running {
		g.untilReady()
		g.startedOnce("main")
	}
	for _, g := range ending {
		g.untilGone()
	}
	for _, g := range once {
		p := g.untilPhase(v1.PodFailed)
		runs := strings.Count(read(dir+"/"+g.name), "ran")
		switch end := apiStatus(p, "main").State.Terminated; {
		case end != nil && end.ExitCode == 7 && runs == 1:
		case end != nil && cutShort(end.Reason, end.Message) && runs == 0:
			t.Logf("pod %s could not start: the agent was killed while the runtime was at it", g.name)
		default:
			t.Errorf("pod %s ran %d times and ended as %+v", g.name, runs, end)
		}
	}
	after := steady.untilReady()
	same(t, "containers of the steady pod", ids(after), ids(before))
	same(t, "restarts of the steady pod", apiStatus(after, "main").RestartCount+apiStatus(after, "side").RestartCount, 0)
	p := counter.until("running again", func(p *v1.Pod) bool {
		s := apiStatus(p, "main")
		return s.RestartCount > 0 && s.State.Running != nil
	})
	count := apiStatus(p, "main").RestartCount
	m.restart(t)
	counter.crash("main")
	eventually(t, func() error { return counter.hasRestarted("main", count+1) })
}

// An agent that is told to end, as for an upgrade, while pods begin does not make one fail that is to run once.
func TestUpgradeFailsNoPod(t *testing.T) {
	t.Parallel()
	m := ownMember(t)
	ns := m.plane.Namespace(t)
	throw := dice(t)
	for round := range 3 {
		var pods []*guest
		for i := range 5 {
			pods = append(pods, m.create(t, ns, fmt.Sprint("once-", round, "-", i), `
spec: {restartPolicy: Never, containers: [{name: main, image: BOX, args: [exit, "0"]}]}`))
		}
		<-time.After(time.Duration(100+throw.IntN(400)) * time.Millisecond) // some are starting then
		m.end(t, syscall.SIGTERM)
		m.start(t)
		for _, g := range pods {
			p := g.until("over", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed })
			if p.Status.Phase == v1.PodFailed {
				t.Errorf("pod %s failed: %+v", g.name, apiStatus(p, "main").State.Terminated)
			}
		}
	}
}

// cutShort tells whether a container did not begin to run because the agent that asked for it went away.
func cutShort(reason, message string) bool {
	return reason == "StartError" && strings.Contains(message, "context canceled")
}

// startedOnce checks that one container runs, and that none ran before.
func (g *guest) startedOnce(container string) {
	g.t.Helper()
	all, err := g.containersOf(g.name)
	if err != nil {
		g.t.Fatal(err)
	}
	for i, c := range all {
		s, err := g.runtime.ContainerStatus(g.t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
		if err != nil {
			g.t.Fatal(err)
		}
		if i > 0 && !cutShort(s.Status.Reason, s.Status.Message) {
			g.t.Errorf("container %s of pod %s was started %d times, at first as %v", container, g.name, len(all), s.Status)
		}
	}
}

// read is the text of a file, nothing if there is none.
func read(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

// crash ends a container behind the agent's back.
func (g *guest) crash(container string) {
	g.t.Helper()
	if _, err := g.runtime.StopContainer(g.t.Context(), &runtimeapi.StopContainerRequest{ContainerId: g.containerID(container)}); err != nil {
		g.t.Fatal(err)
	}
}

func without(all []*guest, one *guest) []*guest {
	var rest []*guest
	for _, g := range all {
		if g != one {
			rest = append(rest, g)
		}
	}
	return rest
}
