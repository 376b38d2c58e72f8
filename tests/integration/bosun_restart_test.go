package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/testbed"
)

// awake waits until the agent does what it should: it runs a pod that is new to it.
func (n *node) awake(t *testing.T, name string) {
	t.Helper()
	n.pod(t, name, "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}").untilRunning("main")
}

// An agent that is killed and starts again leaves what runs as it is (behaviours 24, 61, 137).
func TestRestartLeavesContainersAlone(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	b := n.pod(t, "steady", `
spec:
  initContainers:
  - {name: init, image: BOX, args: [say, hello]}
  - {name: side, restartPolicy: Always, image: BOX}
  containers: [{name: one, image: BOX}, {name: two, image: BOX}]
`)
	done := n.pod(t, "completed", "spec: {restartPolicy: OnFailure, containers: [{name: main, image: BOX, args: [exit, \"0\"]}]}")
	b.untilRunning("two")
	done.untilExited("main")
	eventually(t, done.settled)
	before := b.everything() + done.everything()
	for i := range 3 {
		n.restart(t)
		n.awake(t, fmt.Sprint("awake-", i))
		if after := b.everything() + done.everything(); after != before {
			t.Fatalf("after restart %d there is\n%s\nbefore there was\n%s", i+1, after, before)
		}
	}
}

// everything is all that the runtime has of the pod, with the times of starts.
func (b *box) everything() string {
	b.t.Helper()
	sandboxes, err := b.sandboxes()
	if err != nil {
		b.t.Fatal(err)
	}
	containers, err := b.containers()
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, s := range sandboxes {
		out = append(out, fmt.Sprintln("sandbox", s.Id, s.State))
	}
	for _, c := range containers {
		status, err := b.runtime.ContainerStatus(b.t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, fmt.Sprintln(c.Metadata.Name, c.Metadata.Attempt, c.Id, c.State, status.Status.StartedAt, status.Status.FinishedAt))
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

// An agent that is told to end does so soon, whatever is under way, and leaves the pods as they are.
func TestTermEndsOnlyTheAgent(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	registry := n.bed.StartRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-hang:
			}
		})
	})
	b := n.pod(t, "staying", "spec: {containers: [{name: main, image: BOX}]}")
	first := b.untilRunning("main")
	n.pod(t, "pulling", "spec: {containers: [{name: main, image: \""+registry.Host+"/a/b:v1\"}]}")
	n.untilLogged(t, "pulling-here", "Pulling image")
	began := time.Now()
	n.end(t, syscall.SIGTERM)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the agent took %v to end", took)
	}
	n.start(t)
	n.awake(t, "awake")
	same(t, "container", b.untilRunning("main").Id, first.Id)
}

// Attempts are counted on from the logs when the runtime has forgotten the containers (behaviour 61).
func TestCountsGoOnFromLogs(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	b := n.pod(t, "forgotten", "spec: {containers: [{name: main, image: BOX, args: [exit, \"1\"]}]}")
	n.untilLogged(t, "Back-off restarting failed container main in pod forgotten-here_default(")
	n.kill(t)
	all, err := b.containers()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if _, err := n.runtime.RemoveContainer(t.Context(), &runtimeapi.RemoveContainerRequest{ContainerId: c.Id}); err != nil {
			t.Fatal(err)
		}
	}
	n.start(t)
	c := b.until("main", "there again", func(*runtimeapi.ContainerStatus) bool { return true })
	if c.Metadata.Attempt != 2 {
		t.Errorf("attempt %d after logs of 0 and 1, want 2", c.Metadata.Attempt)
	}
}

// An agent that is killed at any moment of a pod's start finishes that start: one sandbox, each container once.
func TestRestartDuringStart(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	n.awake(t, "first")
	for i := range 6 {
		name := fmt.Sprint("cut-", i)
		b := n.pod(t, name, `
spec:
  terminationGracePeriodSeconds: 1
  initContainers: [{name: init, image: BOX, args: [say, hello]}]
  containers: [{name: one, image: BOX}, {name: two, image: BOX}]
`)
		cut := time.Duration(rand.Int64N(int64(1500 * time.Millisecond)))
		<-time.After(cut)
		n.restart(t)
		b.untilRunning("one")
		b.untilRunning("two")
		if err := neverTwice(b.history.of(b.full())); err != nil {
			t.Errorf("killed %v after the file was written: %v", cut, err)
		}
		eventually(t, func() error { return alone(b) })
	}
}

// neverTwice holds that no two instances of one container, and no two versions of a pod, ever ran at one time. It
// takes the events of one pod by name.
func neverTwice(events []*runtimeapi.ContainerEventResponse) error {
	type life struct {
		uid, name, id string
		from, to      int64
	}
	lives := map[string]life{}
	for _, e := range events {
		for _, c := range e.ContainersStatuses {
			if c.StartedAt == 0 {
				continue
			}
			l := life{c.Labels[names.PodUID], c.Metadata.Name, c.Id, c.StartedAt, c.FinishedAt}
			if known, ok := lives[c.Id]; ok && known.to != 0 {
				l.to = known.to
			}
			lives[c.Id] = l
		}
	}
	if len(lives) == 0 {
		return errors.New("no event told of a container that ran")
	}
	for _, a := range lives {
		for _, b := range lives {
			switch {
			case a.id == b.id, a.uid == b.uid && a.name != b.name: // one, or two of one version side by side
			case a.from <= b.from && (a.to == 0 || a.to > b.from):
				return fmt.Errorf("at one time there were %+v and %+v", a, b)
			}
		}
	}
	return nil
}

// An agent that is killed while a pod ends ends it by the same deadline, and the hook does not run again
// (issue: restart; behaviours 133, 144).
func TestRestartDuringTermination(t *testing.T) { // not in parallel: it measures time
	n := ownNode(t, testbed.Options{})
	out := n.path(t)
	b := n.pod(t, "ending", `
spec:
  terminationGracePeriodSeconds: 10
  volumes: [{name: out, hostPath: {path: `+out+`}}]
  containers:
  - {name: main, image: BOX, args: [ignore-term], lifecycle: {preStop: {exec: {command: [/testbox, append, /out/hook, once, then, sleep, 4s]}}}, volumeMounts: [{name: out, mountPath: /out}]}
`)
	b.untilSays("main", "ignoring TERM")
	b.remove()
	untilHolds(t, out+"/hook", "once\n")
	due := n.loggedAt(t, "Stopping container main", "ending-here").Add(10 * time.Second)
	n.restart(t) // while the hook runs
	b.untilSays("main", "ignored terminated")
	n.restart(t) // while the runtime waits for the container
	again := time.Now()
	c := b.lastSeen("main")
	ended := time.Unix(0, c.FinishedAt)
	most := due.Add(time.Second)
	if floor := again.Add(4 * time.Second); floor.After(most) { // on a slow machine: it gets 2 s in any case
		most = floor
	}
	if ended.Before(due.Add(-1100*time.Millisecond)) || ended.After(most) {
		t.Errorf("the container ended %v after its deadline", ended.Sub(due))
	}
	same(t, "exit code", c.ExitCode, int32(137))
	same(t, "runs of the hook", holds(t, out+"/hook"), "once\n")
}

// Counts and pauses go on where they were (issue: restart; behaviours 61, 137).
func TestRestartDuringBackoff(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	b := n.pod(t, "pausing", "spec: {containers: [{name: main, image: BOX, args: [exit, \"1\"]}]}")
	n.untilLogged(t, "Back-off restarting failed container main in pod pausing-here_default(")
	one := b.untilExited("main")
	same(t, "attempt before the first pause", one.Metadata.Attempt, uint32(1))
	n.restart(t)
	n.awake(t, "between")
	n.restart(t)
	again := time.Now()
	two := b.until("main", "ended again", func(c *runtimeapi.ContainerStatus) bool { return c.Id != one.Id && c.FinishedAt != 0 })
	same(t, "attempt after the pause", two.Metadata.Attempt, uint32(2))
	if pause := time.Duration(two.StartedAt - one.FinishedAt); pause < 9900*time.Millisecond {
		t.Errorf("the restart came %v after the end before, want 10s", pause)
	}
	if anew := time.Unix(0, two.StartedAt).Sub(again); anew > 9900*time.Millisecond {
		t.Errorf("the restart came %v after the agent's: the pause of 10s began anew", anew)
	}
}

// What was edited and removed while the agent was down (behaviours 6, 8, 26).
func TestManifestsChangeWhileDown(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	spec := func(word string) string {
		return "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX, args: [say, " + word + ", then, wait]}]}"
	}
	kept, edited, removed := n.pod(t, "kept", spec("one")), n.pod(t, "edited", spec("one")), n.pod(t, "removed", spec("one"))
	keptBefore, editedBefore := kept.untilRunning("main"), edited.untilRunning("main")
	removed.untilRunning("main")
	n.kill(t)
	edited.write(n.text("edited", spec("two")))
	removed.remove()
	n.start(t)
	removed.awaitGone()
	edited.until("main", "new", renewed(editedBefore))
	edited.untilSays("main", "two\n")
	eventually(t, func() error { return alone(edited) })
	if err := neverTwice(n.history.of(edited.full())); err != nil {
		t.Error(err)
	}
	same(t, "container of the pod that was left alone", kept.untilRunning("main").Id, keptBefore.Id)
}

// Editing, renaming and removing a manifest at any speed, with crashes in between, never leaves two versions of its pod
// running, and ends with what the directory says (issue: sources).
func TestChurn(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	b := &box{node: n, t: t, name: "churn"}
	t.Cleanup(func() { n.tellOnFailure(t, "churn") })
	files := []string{filepath.Join(n.manifests, "churn.yaml"), filepath.Join(n.manifests, "another.yaml")}
	at, version := 0, 0 // the file the pod is in now, and its version; no pod if version is 0
	write := func() {
		version++
		b.file = files[at]
		b.write(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: churn, labels: {version: "%d"}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: one, image: BOX}, {name: two, image: BOX}]}
`, version))
	}
	there := false
	for range 30 {
		switch what := random.IntN(10); {
		case what < 4 || !there && what < 8:
			write()
			there = true
		case what < 6:
			at = 1 - at
			if err := os.Rename(files[1-at], files[at]); err != nil {
				t.Fatal(err)
			}
		case what < 8:
			if err := os.Remove(files[at]); err != nil {
				t.Fatal(err)
			}
			there = false
		default:
			n.restart(t)
		}
		<-time.After(time.Duration(random.Int64N(int64(600 * time.Millisecond))))
	}
	if !there {
		b.awaitGone()
		write()
	}
	eventually(t, func() error {
		if err := alone(b); err != nil {
			return err
		}
		for _, name := range []string{"one", "two"} {
			c, err := b.instance(name)
			if err != nil || c.GetState() != runtimeapi.ContainerState_CONTAINER_RUNNING || c == nil {
				return fmt.Errorf("container %s: %v %v", name, c, err)
			}
		}
		return nil
	})
	same(t, "version", b.sandbox().Labels["version"], fmt.Sprint(version))
	if err := neverTwice(n.history.of(b.full())); err != nil {
		t.Error(err)
	}
	if err := os.Remove(files[at]); err != nil {
		t.Fatal(err)
	}
	b.awaitGone()
	eventually(t, func() error {
		if left, err := os.ReadDir(filepath.Join(n.root, "pods")); err != nil || len(left) > 0 {
			return fmt.Errorf("left in the state directory: %v %v", left, err)
		}
		return nil
	})
}
