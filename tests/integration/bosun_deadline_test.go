package integration

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/testbed"
)

// long tells whether tests may take minutes and have the machine for themselves: BOSUN_TEST_LONG=1.
func long() bool { return os.Getenv("BOSUN_TEST_LONG") != "" }

// An agent that is killed in any second of a pod's termination ends it by the same deadline, and its hook runs once (issue:
// health; behaviours 133, 143, 144). One crash meets many pods, each in another second: of 10, or with BOSUN_TEST_LONG of the
// 30 that most pods have. Beside other tests the runtime may take seconds for a kill: then it counts that no grace begins anew.
func TestCrashInEachSecondOfTermination(t *testing.T) {
	grace, tolerance := 10, 5*time.Second // on a busy machine
	if long() {
		grace, tolerance = 30, time.Second
	} else {
		t.Parallel()
	}
	n := ownNode(t, testbed.Options{})
	out := n.path(t)
	var boxes []*box
	for i := range grace - 1 {
		boxes = append(boxes, n.pod(t, fmt.Sprint("ending-", i), ending(out, fmt.Sprint("hook-", i), grace, time.Duration(grace)*time.Second/2)))
	}
	for _, b := range boxes {
		b.untilSays("main", "ignoring TERM")
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for _, b := range boxes {
		b.remove()
		<-tick.C
	}
	n.restart(t)
	var worst time.Duration
	for i, b := range boxes {
		worst = max(worst, b.endsBy(grace, tolerance))
		same(t, b.name+": runs of the hook", holds(t, fmt.Sprint(out, "/hook-", i)), "once\n")
	}
	t.Logf("a crash in each of %d seconds of termination: at most %v off the deadline", grace-1, worst)
}

// An agent that is killed again and again while a pod ends does no better and no worse.
func TestCrashesDuringTermination(t *testing.T) {
	grace, tolerance := 10, 5*time.Second
	if long() {
		grace, tolerance = 30, time.Second
	} else {
		t.Parallel()
	}
	n := ownNode(t, testbed.Options{})
	out := n.path(t)
	b := n.pod(t, "ending", ending(out, "hook", grace, time.Duration(grace)*time.Second/2))
	b.untilSays("main", "ignoring TERM")
	b.remove()
	untilHolds(t, out+"/hook", "once\n")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range grace - 1 {
		<-tick.C
		n.restart(t)
	}
	t.Logf("%d crashes during one termination: %v off the deadline", grace-1, b.endsBy(grace, tolerance))
	same(t, "runs of the hook", holds(t, out+"/hook"), "once\n")
}

// ending is a pod that ends only when it is killed, with a preStop hook that takes a while and leaves a line in a file.
func ending(dir, hook string, grace int, takes time.Duration) string {
	return fmt.Sprintf(`
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: %d
  volumes: [{name: out, hostPath: {path: %s}}]
  containers:
  - {name: main, image: BOX, args: [ignore-term], lifecycle: {preStop: {exec: {command: [/testbox, append, /out/%s, once, then, sleep, %v]}}}, volumeMounts: [{name: out, mountPath: /out}]}
`, grace, dir, hook, takes)
}

// endsBy waits for the end of the pod's container, which has to come at its deadline, and returns how far off it was.
func (b *box) endsBy(grace int, tolerance time.Duration) time.Duration {
	b.t.Helper()
	due := b.loggedAt(b.t, "Stopping container main", "pod=default/"+b.full()+" ").Add(time.Duration(grace) * time.Second)
	c := b.lastSeen("main")
	off := time.Unix(0, c.FinishedAt).Sub(due)
	if off.Abs() > tolerance {
		b.t.Errorf("%s ended %v after its deadline", b.name, off)
	}
	same(b.t, b.name+": exit code", c.ExitCode, 137)
	return off.Abs()
}
