package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
	"github.com/bosun-project/bosun/internal/testbed/logind"
)

// going lets an agent that has yet to start hear of shutdowns, on a bus of its own. The lines go into its configuration.
func (n *node) going(t *testing.T, machine *logind.Logind, lines string) *logind.Bus {
	t.Helper()
	bus := logind.NewBus(t)
	bus.Start(t)
	machine.Join(t, bus)
	n.env = append(n.env, "DBUS_SYSTEM_BUS_ADDRESS="+bus.Address)
	config := holds(t, n.configFile())
	if err := os.WriteFile(n.configFile(), []byte(config+lines), 0o644); err != nil {
		t.Fatal(err)
	}
	return bus
}

// locked waits until the agent holds its lock, and no other.
func locked(t *testing.T, machine *logind.Logind) {
	t.Helper()
	logind.Until(t, "the agent holds a lock", func() bool { return len(machine.Held()) == 1 })
	if got := machine.Held()[0]; got.What != "shutdown" || got.Mode != "delay" || got.Who != "kubelet" {
		t.Errorf("the lock is %+v", got)
	}
}

// tail is what a pod says when it ends, and when it was told to.
func tail(name, out, spec string) string {
	return `
spec:
  ` + spec + `
  volumes: [{name: out, hostPath: {path: ` + out + `}}]
  containers:
  - {name: main, image: BOX, args: [wait, then, append, /out/log, ` + name + `], volumeMounts: [{name: out, mountPath: /out}]}
`
}

const byPriority = `
shutdownGracePeriodByPodPriority:
- {priority: 0, shutdownGracePeriodSeconds: 4}
- {priority: 1000, shutdownGracePeriodSeconds: 20}
- {priority: 2000000000, shutdownGracePeriodSeconds: 20}
`

// When the machine goes down, pods end in groups, from low priority to high, and the machine waits for the last (behaviours 41,
// 305, 306, 307, 309, 310). A shutdown that is called off lets static pods begin anew (308).
func TestShutdownOfTheMachine(t *testing.T) {
	t.Parallel()
	n := quietNode(t, testbed.Options{})
	machine := logind.New(time.Minute, nil)
	n.going(t, machine, byPriority)
	n.start(t)
	out := n.path(t)
	if err := os.MkdirAll(out, 0o777); err != nil {
		t.Fatal(err)
	}
	pods := map[string]*box{
		"critical": n.pod(t, "critical", tail("critical", out, "priorityClassName: system-node-critical")),
		"middle":   n.pod(t, "middle", tail("middle", out, "priority: 1500")),
		"low":      n.pod(t, "low", tail("low", out, "terminationGracePeriodSeconds: 30")),
		// It never heeds TERM: its group's four seconds are all it gets of its ten.
		"deaf": n.pod(t, "deaf", "spec: {terminationGracePeriodSeconds: 10, containers: [{name: main, image: BOX, args: [ignore-term]}]}"),
	}
	before := map[string]string{}
	for name, b := range pods {
		before[name] = b.untilRunning("main").Id
	}
	pods["deaf"].untilSays("main", "ignoring TERM")
	locked(t, machine)

	t.Log("the end of the agent is not the end of the machine")
	n.end(t, syscall.SIGTERM)
	logind.Until(t, "the lock is free", func() bool { return len(machine.Held()) == 0 })
	n.start(t)
	locked(t, machine)
	for name, b := range pods {
		same(t, name+"'s container", b.untilRunning("main").Id, before[name])
	}

	began := time.Now()
	machine.Announce(t, true)
	n.untilLogged(t, "reason=Shutdown", "Shutdown manager detected shutdown event")
	late := n.pod(t, "late", "spec: {containers: [{name: main, image: BOX}]}")
	late.untilAPI("refused", func(p *v1.Pod) bool {
		return p.Status.Phase == v1.PodFailed && p.Status.Reason == "NodeShutdown" && p.Status.Message == "Pod was rejected: Pod was rejected as the node is shutting down."
	})
	if text, err := n.bosun(t, "explain"); err != nil || !strings.Contains(text, "the machine is going down") {
		t.Errorf("explain says (%v):\n%s", err, text)
	}
	untilHolds(t, out+"/log", "low\n")
	same(t, "locks", len(machine.Held()), 1)
	logind.Until(t, "the lock is free", func() bool { return len(machine.Held()) == 0 })
	took(t, "shutdown", began, 44*time.Second)
	same(t, "what the pods said", holds(t, out+"/log"), "low\nmiddle\ncritical\n")
	for name, b := range pods {
		if err := b.settled(); err != nil {
			t.Errorf("the lock was given back too early: %v", err)
		}
		p := b.untilAPI("Failed", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
		same(t, name, p.Status.Reason+": "+p.Status.Message, "Terminated: Pod was terminated in response to imminent node shutdown.")
		same(t, name+"'s condition", terminationOf(p), "True TerminationByKubelet: Pod was terminated in response to imminent node shutdown.")
	}
	for _, name := range []string{"deaf", "middle", "critical"} { // all wait for the deaf one
		if after := time.Unix(0, pods[name].lastSeen("main").FinishedAt).Sub(began); after < 3*time.Second {
			t.Errorf("pod %s ended %v after the announcement, want 4s or more", name, after)
		}
	}
	if after := time.Unix(0, pods["deaf"].lastSeen("main").FinishedAt).Sub(began); after > 9*time.Second {
		t.Errorf("the deaf pod was killed %v after the announcement, want 4s", after)
	}
	n.checkTimes(t, began)

	machine.Announce(t, false)
	locked(t, machine)
	for name, b := range pods {
		again := b.until("main", "running anew", func(c *runtimeapi.ContainerStatus) bool {
			return c.Id != before[name] && c.State == runtimeapi.ContainerState_CONTAINER_RUNNING
		})
		same(t, name+"'s attempt", again.Metadata.Attempt, uint32(1))
	}
	late.untilRunning("main")
	untilNumber(t, n, "kubelet_graceful_shutdown_end_time_seconds")
}

// terminationOf is the condition that says that somebody ended the pod.
func terminationOf(p *v1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == v1.DisruptionTarget {
			return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
	}
	return ""
}

// checkTimes checks what is remembered of a shutdown, and what the metrics say (behaviour 309).
func (n *node) checkTimes(t *testing.T, began time.Time) {
	t.Helper()
	text := holds(t, filepath.Join(n.root, "graceful_node_shutdown_state"))
	if !strings.Contains(text, `"startTime"`) || !strings.Contains(text, `"endTime"`) {
		t.Errorf("remembered is %s", text)
	}
	for _, name := range []string{"kubelet_graceful_shutdown_start_time_seconds", "kubelet_graceful_shutdown_end_time_seconds"} {
		if at := untilNumber(t, n, name); at < float64(began.Unix()-1) || at > float64(time.Now().Unix()+1) {
			t.Errorf("%s is %v", name, at)
		}
	}
}

// untilNumber is a gauge of the agent, once it is not zero.
func untilNumber(t *testing.T, n *node, name string) (value float64) {
	t.Helper()
	eventually(t, func() error {
		_, text, err := n.get("/metrics")
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, name+" "); ok {
				if _, err := fmt.Sscan(rest, &value); err != nil {
					return err
				}
			}
		}
		if value == 0 {
			return errors.New(name + " is zero")
		}
		return nil
	})
	return value
}

// Static pods that a shutdown has ended run again after a reboot, which the agent knows only by not hearing of a shutdown
// (behaviour 310); and no agent that starts while the machine goes down brings any back.
func TestStaticPodsAfterShutdown(t *testing.T) {
	t.Parallel()
	n := quietNode(t, testbed.Options{})
	machine := logind.New(time.Minute, nil)
	n.going(t, machine, "\nshutdownGracePeriod: 10s\nshutdownGracePeriodCriticalPods: 5s\n")
	n.start(t)
	b := n.pod(t, "static", "spec: {containers: [{name: main, image: BOX}]}")
	first := b.untilRunning("main")
	locked(t, machine)
	machine.Announce(t, true)
	logind.Until(t, "the lock is free", func() bool { return len(machine.Held()) == 0 })
	n.restart(t)
	n.untilLogged(t, "the machine is going down")
	b.untilAPI("Failed", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed && p.Status.Reason == "Terminated" })
	same(t, "containers that run", b.untilExited("main").Id, first.Id)
	n.kill(t)
	machine.Set(false) // as after a boot
	n.start(t)
	b.until("main", "running anew", renewed(first))
	b.untilAPI("Running", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodRunning && p.Status.Reason == "" })
}

// Logind is asked for more time by a drop-in file when it leaves too little; a bus that was not there, or goes, is looked for
// until it is back (behaviour 305).
func TestLogindComesAndGoes(t *testing.T) {
	testbed.RequireRoot(t)
	t.Parallel()
	dir := "/etc/systemd" // this test's own for a while; the file systems of the run are its own
	if err := os.Mkdir(dir, 0o755); err == nil {
		t.Cleanup(func() { _ = os.Remove(dir) })
	} else if !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	n := quietNode(t, testbed.Options{})
	machine := logind.New(5*time.Second, func() time.Duration {
		text, _ := os.ReadFile(dir + "/logind.conf.d/99-kubelet.conf") // none has no such line
		var seconds int
		for line := range strings.Lines(string(text)) {
			_, _ = fmt.Sscanf(line, "InhibitDelayMaxSec=%d", &seconds) // of other lines it reads nothing
		}
		return time.Duration(seconds) * time.Second
	})
	bus := n.going(t, machine, "\nshutdownGracePeriod: 20s\nshutdownGracePeriodCriticalPods: 5s\n")
	machine.Leave()
	bus.Stop(t)
	n.start(t)
	b := n.pod(t, "alone", "spec: {containers: [{name: main, image: BOX}]}")
	first := b.untilRunning("main")
	n.untilLogged(t, "shutdowns of the machine are not heard of", "bus")
	if text, err := n.bosun(t, "explain"); err != nil || !strings.Contains(text, "graceful shutdown") {
		t.Errorf("explain says (%v):\n%s", err, text)
	}
	bus.Start(t)
	machine.Join(t, bus)
	locked(t, machine)
	n.untilLogged(t, "heard of again")
	n.untilLogged(t, "logind lets pods have more time", "time=20s")
	bus.Stop(t)
	machine.Leave()
	bus.Start(t)
	machine.Join(t, bus)
	logind.Until(t, "the agent has another lock", func() bool { return machine.Taken() == 2 && len(machine.Held()) == 1 })
	same(t, "container", b.untilRunning("main").Id, first.Id)
	if said := strings.Count(n.said(), "shutdowns of the machine are not heard of"); said != 2 {
		t.Errorf("that the bus is away was said %d times, want once for each time", said)
	}
}

// The API server knows of the shutdown before the machine is let go: the node is not ready, pods have failed, new ones are
// refused (behaviours 41, 150, 292, 307, 310). When it is called off the node is ready again, and static pods have other mirrors.
func TestShutdownInACluster(t *testing.T) {
	t.Parallel()
	m := quietMember(t, controlplane.Shared(t), "")
	machine := logind.New(time.Minute, nil)
	m.going(t, machine, "\nshutdownGracePeriod: 20s\nshutdownGracePeriodCriticalPods: 10s\n")
	m.start(t)
	m.untilReady(t)
	ns := m.plane.Namespace(t)
	guests := map[string]*guest{
		"usual":    m.create(t, ns, "usual", "spec: {terminationGracePeriodSeconds: 5, containers: [{name: main, image: BOX}]}"),
		"critical": m.create(t, "kube-system", "critical-"+m.name, "spec: {priorityClassName: system-node-critical, terminationGracePeriodSeconds: 5, containers: [{name: main, image: BOX}]}"),
	}
	static := m.pod(t, "static", "spec: {containers: [{name: main, image: BOX}]}")
	for _, g := range guests {
		g.untilReady()
	}
	mirror := m.mirror(t, static, nil, "ready", isReady)
	locked(t, machine)

	machine.Announce(t, true)
	m.untilNotReady(t, "node is shutting down")
	late := m.create(t, ns, "late", plain)
	logind.Until(t, "the lock is free", func() bool { return len(machine.Held()) == 0 })
	for name, g := range guests { // now, without another look
		p, err := g.now()
		if err != nil {
			t.Fatal(err)
		}
		same(t, name, fmt.Sprint(p.Status.Phase, " ", p.Status.Reason, ": ", p.Status.Message), "Failed Terminated: Pod was terminated in response to imminent node shutdown.")
		same(t, name+"'s condition", terminationOf(p), "True TerminationByKubelet: Pod was terminated in response to imminent node shutdown.")
	}
	if p := m.mirror(t, static, nil, "there", func(*v1.Pod) bool { return true }); p.Status.Phase != v1.PodFailed || p.Status.Reason != "Terminated" {
		t.Errorf("the mirror of the static pod is %s %s", p.Status.Phase, p.Status.Reason)
	}
	late.until("refused", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed && p.Status.Reason == "NodeShutdown" })
	eventually(t, func() error {
		list, err := m.api.CoreV1().Events("").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Node,involvedObject.name=" + m.name + ",reason=Shutdown"})
		if err == nil && (len(list.Items) != 1 || list.Items[0].Message != "Shutdown manager detected shutdown event") {
			err = fmt.Errorf("events %+v", list.Items)
		}
		return err
	})

	machine.Announce(t, false)
	m.untilReady(t)
	locked(t, machine)
	if p := m.mirror(t, static, mirror, "ready", isReady); terminationOf(p) != "" {
		t.Errorf("the new mirror tells of the life before: %s", terminationOf(p))
	}
	g := m.create(t, ns, "after", plain)
	g.untilReady()
	for name, g := range guests {
		if p, err := g.now(); err != nil || p.Status.Phase != v1.PodFailed {
			t.Errorf("pod %s is %v (%v)", name, p.Status.Phase, err)
		}
	}
}

// An API server that is away does not hold up the machine, and is told when the machine is up again: how pods have ended is
// remembered (pains, row 33).
func TestShutdownWithoutTheAPIServer(t *testing.T) {
	t.Parallel()
	m, x := besieged(t)
	defer x.Heal()
	machine := logind.New(2*time.Minute, nil)
	m.going(t, machine, "\nshutdownGracePeriod: 90s\n")
	m.start(t)
	m.untilReady(t)
	g := m.create(t, m.plane.Namespace(t), "alone", plain)
	g.untilReady()
	first := g.containerID("main")
	locked(t, machine)
	x.Inject(controlplane.Fault{Cut: true})
	x.CutConnections()
	began := time.Now()
	machine.Announce(t, true)
	logind.Until(t, "the lock is free", func() bool { return len(machine.Held()) == 0 })
	took(t, "shutdown", began, 30*time.Second)
	m.kill(t)
	machine.Set(false)
	x.Heal()
	m.start(t)
	p := g.untilPhase(v1.PodFailed)
	same(t, "status", p.Status.Reason+": "+p.Status.Message, "Terminated: Pod was terminated in response to imminent node shutdown.")
	same(t, "container", g.containerID("main"), first)
	m.untilReady(t)
}
