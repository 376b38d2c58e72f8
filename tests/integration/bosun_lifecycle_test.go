package integration

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Who starts again after which end (behaviours 89, 114, 140).
func TestRestartPolicies(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	for _, test := range []struct {
		policy, code string
		again        bool
	}{
		{"Always", "0", true},
		{"Always", "1", true},
		{"OnFailure", "0", false},
		{"OnFailure", "1", true},
		{"Never", "1", false},
	} {
		name := "rp-" + strings.ToLower(test.policy) + "-" + test.code
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := n.pod(t, name, "spec: {restartPolicy: "+test.policy+", containers: [{name: main, image: BOX, args: [exit, \""+test.code+"\"]}]}")
			if test.again {
				b.until("main", "started again", func(c *runtimeapi.ContainerStatus) bool { return c.Metadata.Attempt >= 1 })
				return
			}
			b.untilExited("main")
			eventually(t, b.settled)
			same(t, "attempt", b.untilExited("main").Metadata.Attempt, uint32(0))
		})
	}
}

// The first restart is immediate, the second waits ten seconds from the end before; each has its log; all are kept but
// those before the last (behaviours 61, 137, 139, 142).
func TestCrashBackoff(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "crashing", "spec: {containers: [{name: main, image: BOX, args: [say, again, then, exit, \"1\"]}, {name: other, image: BOX}]}")
	other := b.untilRunning("other")
	attempt := func(a uint32) *runtimeapi.ContainerStatus {
		return b.until("main", fmt.Sprint("attempt ", a, " ended"), func(c *runtimeapi.ContainerStatus) bool {
			return c.Metadata.Attempt == a && c.State == runtimeapi.ContainerState_CONTAINER_EXITED
		})
	}
	one := attempt(1)
	n.untilLogged(t, "Back-off restarting failed container main in pod crashing-here_default(", "reason=BackOff")
	two := attempt(2)
	if pause := time.Duration(two.StartedAt - one.FinishedAt); pause < 9900*time.Millisecond || pause > 15*time.Second {
		t.Errorf("the second restart came %v after the end before, want 10s", pause)
	}
	for a := range 3 {
		same(t, fmt.Sprint("log of attempt ", a), b.output("main", a), "again\n")
	}
	eventually(t, func() error {
		all, err := b.containers()
		if err == nil && len(all) != 2 {
			err = fmt.Errorf("%d containers, want the newest of each", len(all))
		}
		return err
	})
	same(t, "the other container", b.untilRunning("other").Id, other.Id)
}

// postStart runs before the next container is begun; one that fails ends its container (behaviours 58, 132).
func TestPostStart(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	out := n.path(t)
	b := n.pod(t, "poststart", `
spec:
  volumes: [{name: out, hostPath: {path: `+out+`}}]
  containers:
  - {name: one, image: BOX, args: [append, /out/log, one, then, wait], lifecycle: {postStart: {exec: {command: [/testbox, await, /out/log, then, sleep, 300ms, then, append, /out/log, hook]}}}, volumeMounts: [{name: out, mountPath: /out}]}
  - {name: two, image: BOX, args: [append, /out/log, two, then, wait], volumeMounts: [{name: out, mountPath: /out}]}
`)
	b.untilRunning("two")
	untilHolds(t, out+"/log", "one\nhook\ntwo\n")

	bad := n.pod(t, "poststartfails", `
spec:
  restartPolicy: Never
  containers: [{name: main, image: BOX, lifecycle: {postStart: {exec: {command: [/testbox, exit, "9"]}}}}]
`)
	bad.untilExited("main")
	n.untilLogged(t, "poststartfails-here", "FailedPostStartHook")
}

// preStop hooks of each kind, before TERM (behaviours 133, 135).
func TestPreStop(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	out := n.path(t)
	b := n.pod(t, "prestop", `
spec:
  terminationGracePeriodSeconds: 20
  volumes: [{name: out, hostPath: {path: `+out+`}}]
  containers:
  - {name: exec, image: BOX, args: [wait, then, append, /out/log, exec ends], lifecycle: {preStop: {exec: {command: [/testbox, sleep, 300ms, then, append, /out/log, exec hook]}}}, volumeMounts: [{name: out, mountPath: /out}]}
  - {name: http, image: BOX, args: [http, ":8080"], ports: [{name: web, containerPort: 8080}], lifecycle: {preStop: {httpGet: {port: web, path: /bye, httpHeaders: [{name: Host, value: the.pod}]}}}}
  - {name: sleep, image: BOX, lifecycle: {preStop: {sleep: {seconds: 2}}}}
`)
	for _, c := range []string{"exec", "http", "sleep"} {
		b.untilRunning(c)
	}
	fetch(deadline(t, patience), t, "http://"+b.sandbox().Network.Ip+":8080/ready")
	said := b.keepLog("http")
	began := time.Now()
	b.remove()
	b.awaitGone()
	if took := time.Since(began); took < 2*time.Second || took > 12*time.Second {
		t.Errorf("the pod with a hook of two seconds was gone after %v", took)
	}
	same(t, "log of container exec", holds(t, out+"/log"), "exec hook\nexec ends\n")
	if text := said(); !strings.Contains(text, "GET /bye the.pod kube-lifecycle/") {
		t.Errorf("the hook's request is not in the log of container http:\n%s", text)
	}
}

// The hook's time is taken from the grace, and what is left at the end is killed (behaviours 133, 143, 144).
func TestGraceIsSharedByHookAndTerm(t *testing.T) { // not in parallel: it measures time
	n := sharedNode(t)
	b := n.pod(t, "stubborn", `
spec:
  terminationGracePeriodSeconds: 5
  containers:
  - {name: main, image: BOX, args: [ignore-term], lifecycle: {preStop: {sleep: {seconds: 2}}}}
  - {name: hung, image: BOX, args: [ignore-term], lifecycle: {preStop: {exec: {command: [/testbox, sleep, 100s]}}}}
`)
	b.untilSays("main", "ignoring TERM")
	b.untilSays("hung", "ignoring TERM")
	b.remove()
	decided := n.loggedAt(t, "Stopping container main", "stubborn-here")
	for container, want := range map[string]time.Duration{"main": 5 * time.Second, "hung": 7 * time.Second} { // at least 2 s for TERM
		c := b.lastSeen(container)
		same(t, container+"'s exit code", c.ExitCode, int32(137))
		if took := time.Unix(0, c.FinishedAt).Sub(decided); took < want-1100*time.Millisecond || took > want+time.Second {
			t.Errorf("container %s was killed after %v, want %v", container, took, want)
		}
	}
}

// The signal that stops: the image's, or the pod's own (behaviour 136).
func TestStopSignal(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "signals", `
spec:
  os: {name: linux}
  terminationGracePeriodSeconds: 20
  containers:
  - {name: plain, image: BOX, args: [say, ready, then, wait]}
  - {name: own, image: BOX, args: [say, ready, then, wait], lifecycle: {stopSignal: SIGUSR1}}
  - {name: image, image: docker.io/library/nginx:latest, imagePullPolicy: IfNotPresent}
`)
	b.untilSays("plain", "ready")
	b.untilSays("own", "ready")
	b.untilRunning("image")
	plain, own := b.keepLog("plain"), b.keepLog("own")
	fetch(deadline(t, patience), t, "http://"+b.sandbox().Network.Ip)
	b.remove()
	b.awaitGone()
	for what, test := range map[string][2]string{"plain": {plain(), "got terminated"}, "own": {own(), "got user defined signal 1"}} {
		if !strings.Contains(test[0], test[1]) {
			t.Errorf("container %s did not say %q but %q", what, test[1], test[0])
		}
	}
	same(t, "exit code of nginx, which SIGQUIT ends gracefully", b.lastSeen("image").ExitCode, int32(0))
}

// keepLog holds a container's log open; what it returns reads it, even after the pod is gone.
func (b *box) keepLog(container string) func() string {
	b.t.Helper()
	paths, err := filepath.Glob(filepath.Join(b.podLogs, "*_"+b.full()+"_*", container, "0.log"))
	if err != nil || len(paths) != 1 {
		b.t.Fatalf("log of container %s: %v %v", container, paths, err)
	}
	f, err := os.Open(paths[0])
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { f.Close() })
	return func() string {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			b.t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		if err != nil {
			b.t.Fatal(err)
		}
		return string(data)
	}
}
