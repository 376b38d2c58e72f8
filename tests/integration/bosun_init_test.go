package integration

import (
	"strings"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Init containers run one after the other, each once the one before has succeeded (behaviours 104, 105, 107).
func TestInitContainers(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	out := n.path(t)
	b := n.pod(t, "inits", `
spec:
  volumes: [{name: out, hostPath: {path: `+out+`}}]
  initContainers:
  - {name: one, image: BOX, args: [append, /out/log, one begins, then, sleep, 300ms, then, append, /out/log, one ends], volumeMounts: [{name: out, mountPath: /out}]}
  - {name: two, image: BOX, args: [append, /out/log, two begins, then, append, /out/log, two ends], volumeMounts: [{name: out, mountPath: /out}]}
  containers:
  - {name: main, image: BOX, args: [append, /out/log, main, then, wait], volumeMounts: [{name: out, mountPath: /out}]}
`)
	b.untilRunning("main")
	untilHolds(t, out+"/log", "one begins\none ends\ntwo begins\ntwo ends\nmain\n")
}

// One that fails is tried again, at first at once, until it succeeds (behaviours 105, 137).
func TestInitContainerFailsOnce(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	out := n.path(t)
	b := n.pod(t, "initfails", `
spec:
  volumes: [{name: out, hostPath: {path: `+out+`}}]
  initContainers:
  - {name: init, command: [sh, -c, "echo try >>/out/log; test $(wc -l </out/log) -ge 2"], image: SHELL, volumeMounts: [{name: out, mountPath: /out}]}
  containers: [{name: main, image: BOX, args: [append, /out/log, main, then, wait], volumeMounts: [{name: out, mountPath: /out}]}]
`)
	b.untilRunning("main")
	untilHolds(t, out+"/log", "try\ntry\nmain\n")
}

// With restart policy Never a failed init container ends the pod (behaviour 105).
func TestInitContainerFailsForGood(t *testing.T) {
	t.Parallel()
	b := sharedNode(t).pod(t, "initnever", `
spec:
  restartPolicy: Never
  initContainers: [{name: init, image: BOX, args: [exit, "3"]}]
  containers: [{name: main, image: BOX}]
`)
	same(t, "exit code", b.untilExited("init").ExitCode, int32(3))
	eventually(t, b.settled)
	if c, err := b.instance("main"); err != nil || c != nil {
		t.Errorf("container main: %v %v, want none", c, err)
	}
}

// Sidecars start before regular containers and end after them, the last declared first (behaviours 104, 109, 111).
func TestSidecars(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	out := n.path(t)
	sidecar := func(name string) string {
		return `{name: ` + name + `, restartPolicy: Always, image: BOX, args: [append, /out/log, ` + name + ` begins, then, linger, 300ms, then, append, /out/log, ` + name + ` ends], volumeMounts: [{name: out, mountPath: /out}]}`
	}
	b := n.pod(t, "sidecars", `
spec:
  terminationGracePeriodSeconds: 20
  volumes: [{name: out, hostPath: {path: `+out+`}}]
  initContainers:
  - `+sidecar("a")+`
  - {name: init, image: BOX, args: [append, /out/log, init], volumeMounts: [{name: out, mountPath: /out}]}
  - `+sidecar("b")+`
  containers:
  - {name: main, image: BOX, args: [append, /out/log, main begins, then, linger, 300ms, then, append, /out/log, main ends], volumeMounts: [{name: out, mountPath: /out}]}
`)
	b.untilRunning("main")
	untilMatches(t, out+"/log", func(log string) bool { return strings.Contains(log, "main begins\n") })
	log := holds(t, out+"/log")
	if before(log, "init", "a begins") || before(log, "main begins", "init") {
		t.Errorf("want a, then init, then main:\n%s", log)
	}
	b.remove()
	b.awaitGone()
	if log = holds(t, out+"/log"); !strings.HasSuffix(log, "main ends\nb ends\na ends\n") {
		t.Errorf("want the ends of main, b and a, in this order:\n%s", log)
	}
}

// A sidecar that ends starts again even if the pod's policy is Never, and does not keep the pod from completing
// (behaviours 109, 110).
func TestSidecarRestartsAndEndsWithThePod(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	out := n.path(t)
	b := n.pod(t, "sidecarnever", `
spec:
  restartPolicy: Never
  volumes: [{name: out, hostPath: {path: `+out+`}}]
  initContainers:
  - {name: side, restartPolicy: Always, command: [sh, -c, "echo side >>/out/log; test $(wc -l </out/log) -ge 2 && exec sleep 1000"], image: SHELL, volumeMounts: [{name: out, mountPath: /out}]}
  containers: [{name: main, image: BOX, args: [await, /out/end], volumeMounts: [{name: out, mountPath: /out}]}]
  terminationGracePeriodSeconds: 1
`)
	b.untilRunning("main")
	untilHolds(t, out+"/log", "side\nside\n")
	b.until("side", "restarted", func(c *runtimeapi.ContainerStatus) bool {
		return c.Metadata.Attempt == 1 && c.State == runtimeapi.ContainerState_CONTAINER_RUNNING
	})
	touch(t, out+"/end")
	main, side := b.untilExited("main"), b.untilExited("side")
	if side.FinishedAt < main.FinishedAt {
		t.Errorf("the sidecar ended %v before the container it serves", time.Duration(main.FinishedAt-side.FinishedAt))
	}
	eventually(t, b.settled)
}
