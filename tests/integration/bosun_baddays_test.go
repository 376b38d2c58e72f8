package integration

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/ledger"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/testbed"
)

// A manifest that cannot be used: the message names file, field and what would be right, the pods of the last good
// version stay, others are unharmed, and a mended file runs at once (issue: bad days).
func TestBadManifests(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	good := func(name string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}\n"
	}
	bystander := n.manifest(t, "bystander", good("bystander"))
	there := bystander.untilRunning("main")
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"unparsable", "apiVersion: v1\nkind: Pod\nmetadata: {name: x\n", []string{"line "}},
		{"unknownfield", strings.Replace(good("unknownfield"), "spec: {", "spec: {restartpolicy: Never, ", 1), []string{"spec.restartpolicy", "restartPolicy"}},
		{"wrongtype", strings.Replace(good("wrongtype"), "spec: {", "spec: {hostNetwork: maybe, ", 1), []string{"spec.hostNetwork", "true or false"}},
		{"badvalue", strings.Replace(good("badvalue"), "spec: {", "spec: {restartPolicy: Sometimes, ", 1), []string{"spec.restartPolicy", "Sometimes", "Always"}},
		{"nocontainers", "apiVersion: v1\nkind: Pod\nmetadata: {name: nocontainers}\nspec: {}\n", []string{"spec.containers", "Required"}},
		{"claim", strings.Replace(good("claim"), "spec: {", "spec: {volumes: [{name: s, persistentVolumeClaim: {claimName: s}}], ", 1), []string{"static pods may not reference", "PersistentVolumeClaims"}},
		{"otherkind", "apiVersion: v1\nkind: Pods\nmetadata: {name: otherkind}\n", []string{"Pods", "Pod"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := n.manifest(t, test.name, good(test.name))
			first := b.untilRunning("main")
			b.write(test.text)
			n.untilLogged(t, append([]string{b.file, "FailedValidation"}, test.want...)...)
			same(t, "container after the file became bad", b.untilRunning("main").Id, first.Id)
			b.write(strings.Replace(good(test.name), "image: BOX", "image: BOX, args: [say, mended, then, wait]", 1))
			b.until("main", "mended", renewed(first))
		})
	}
	t.Cleanup(func() {
		same(t, "the bystander", bystander.untilRunning("main").Id, there.Id)
	})
}

// Two manifests of one name: the one that runs stays, the message names both files, and takes its turn when the other
// goes (behaviour 7).
func TestNameClash(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	text := "apiVersion: v1\nkind: Pod\nmetadata: {name: clash}\nspec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX, args: [say, %s, then, wait]}]}\n"
	b := n.manifest(t, "clash", fmt.Sprintf(text, "one"))
	first := b.untilRunning("main")
	second := filepath.Join(n.manifests, "clash-again.yaml")
	t.Cleanup(func() { _ = os.Remove(second) })
	if err := os.WriteFile(second, []byte(expand.Replace(fmt.Sprintf(text, "two"))), 0o644); err != nil {
		t.Fatal(err)
	}
	n.untilLogged(t, "FailedValidation", "clash", second, b.file)
	same(t, "container", b.untilRunning("main").Id, first.Id)
	b.remove()
	b.until("main", "that of the other file", renewed(first))
	b.untilSays("main", "two\n")
	if err := neverTwice(n.history.of(b.full())); err != nil {
		t.Error(err)
	}
	if err := os.Remove(second); err != nil {
		t.Fatal(err)
	}
}

// A file that cannot be read (as root there are few) harms nobody.
func TestUnreadableManifest(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	path := filepath.Join(n.manifests, "huge.yaml")
	t.Cleanup(func() { _ = os.Remove(path) })
	if err := os.WriteFile(path, bytes.Repeat([]byte("# much\n"), 2<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	n.untilLogged(t, path, "10")
	n.pod(t, "beside-huge", "spec: {containers: [{name: main, image: BOX}]}").untilRunning("main")
}

// The manifest directory goes and comes back: its pods go with their files, as if each had been removed; those of other
// places stay; what is in the new directory runs (issue: bad days).
func TestManifestDirectoryRemovedAndMadeAgain(t *testing.T) {
	t.Parallel()
	spec := "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}"
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, expand.Replace((&node{}).text("from-url", spec)))
	}))
	t.Cleanup(web.Close)
	n := ownNode(t, testbed.Options{}, "--manifest-url="+web.URL)
	b, other := n.pod(t, "inside", spec), &box{node: n, t: t, name: "from-url"}
	first, stays := b.untilRunning("main"), other.untilRunning("main")
	if err := os.RemoveAll(n.manifests); err != nil {
		t.Fatal(err)
	}
	n.untilLogged(t, n.manifests, "waiting for the path to appear")
	b.awaitGone()
	if err := os.Mkdir(n.manifests, 0o755); err != nil {
		t.Fatal(err)
	}
	b.write(n.text("inside", spec))
	b.until("main", "made again", renewed(first))
	same(t, "the pod of another source", other.untilRunning("main").Id, stays.Id)
}

// The runtime is down at the start, then dies, hangs and restarts: the pods that run go on, what was wanted meanwhile
// comes and goes once it is back (issue: bad days; behaviours 20, 332).
func TestRuntimeTroubles(t *testing.T) {
	t.Parallel()
	n := quietNode(t, testbed.Options{})
	if err := n.bed.Kill(); err != nil {
		t.Fatal(err)
	}
	spec := "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}"
	b := n.pod(t, "early", spec)
	n.start(t)
	n.untilLogged(t, "container runtime is down", n.endpoint)
	n.bedUp(t)
	first := b.untilRunning("main")

	mark := len(n.said())
	if err := n.bed.Kill(); err != nil {
		t.Fatal(err)
	}
	n.untilLoggedAfter(t, mark, "container runtime is down")
	meanwhile := n.pod(t, "meanwhile", spec)
	if err := unix.Kill(pidOf(t, first), 0); err != nil {
		t.Errorf("the container without its runtime: %v", err)
	}
	n.bedUp(t)
	meanwhile.untilRunning("main")
	same(t, "container after the runtime's death", b.untilRunning("main").Id, first.Id)

	mark = len(n.said())
	if err := n.bed.Pause(); err != nil {
		t.Fatal(err)
	}
	meanwhile.remove()
	hung := n.manifestQuietly(t, "hung", n.text("hung", spec))
	n.untilLoggedAfter(t, mark, "container runtime is down", "does not answer")
	if err := n.bed.Resume(); err != nil {
		t.Fatal(err)
	}
	hung.untilRunning("main")
	meanwhile.awaitGone()
	same(t, "container after the runtime hung", b.untilRunning("main").Id, first.Id)

	for range 3 { // in the middle of starts
		again := n.manifestQuietly(t, "again", n.text("again", spec))
		n.bedUp(t)
		again.untilRunning("main")
		eventually(t, func() error { return alone(again) })
		again.remove()
		again.awaitGone()
	}
	same(t, "container after restarts of the runtime", b.untilRunning("main").Id, first.Id)
	hung.remove()
	hung.awaitGone()
}

// manifestQuietly is manifest for a pod that the test itself sees off.
func (n *node) manifestQuietly(t *testing.T, name, text string) *box {
	t.Helper()
	b := &box{node: n, t: t, name: name, file: filepath.Join(n.manifests, name+".yaml")}
	b.write(text)
	return b
}

func (n *node) bedUp(t *testing.T) {
	t.Helper()
	if err := n.bed.Restart(); err != nil {
		t.Fatal(err)
	}
}

// untilLoggedAfter is untilLogged without the first part of the log.
func (n *node) untilLoggedAfter(t *testing.T, from int, words ...string) {
	t.Helper()
	eventually(t, func() error {
		for line := range strings.Lines(n.said()[from:]) {
			if hasAll(line, words) {
				return nil
			}
		}
		return fmt.Errorf("the agent has not logged %q again", words)
	})
}

// pidOf finds a container's first process by its cgroup.
func pidOf(t *testing.T, c *runtimeapi.ContainerStatus) int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err == nil && strings.Contains(string(text), c.Id) {
			var pid int
			if _, err := fmt.Sscan(filepath.Base(dir), &pid); err == nil {
				return pid
			}
		}
	}
	t.Fatalf("no process of container %s", c.Id)
	return 0
}

// Without a stream of events, or when it ends, the listing finds what happens (issue: runtime).
func TestEventStreamEndsAndIsMissing(t *testing.T) {
	t.Parallel()
	n := quietNode(t, testbed.Options{})
	p := stand(t, n.bed)
	n.endpoint = p.socket
	n.start(t)
	out := n.path(t)
	b := n.pod(t, "eventless", `
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: out, hostPath: {path: `+out+`}}]
  containers: [{name: main, image: BOX, args: [await, /out/end], volumeMounts: [{name: out, mountPath: /out}]}]
`)
	first := b.untilRunning("main")
	eventually(t, func() error { // containerd says nothing until something happens: the stream stands after a second
		if p.endStreams() == 0 {
			return fmt.Errorf("the agent follows no events")
		}
		if !strings.Contains(n.said(), "event stream of the container runtime ended") {
			return fmt.Errorf("the agent has not said that the stream ended")
		}
		return nil
	})
	p.obey(func(_ context.Context, method string, _ []byte) error {
		if method == eventsMethod {
			return status.Error(codes.Unimplemented, "unknown method GetContainerEvents")
		}
		return nil
	})
	p.endStreams()
	touch(t, out+"/end") // the container ends, and nobody tells the agent
	second := b.until("main", "restarted", func(c *runtimeapi.ContainerStatus) bool { return c.Metadata.Attempt >= 1 })
	if pause := time.Duration(second.CreatedAt - b.lastOf(first.Id).FinishedAt); pause > 5*time.Second {
		t.Errorf("without events the restart came after %v", pause)
	}
}

// lastOf waits for the end of one instance, as the runtime's events tell it.
func (b *box) lastOf(id string) *runtimeapi.ContainerStatus {
	b.t.Helper()
	var last *runtimeapi.ContainerStatus
	eventually(b.t, func() error {
		for _, e := range b.history.of(b.full()) {
			for _, c := range e.ContainersStatuses {
				if c.Id == id && c.FinishedAt != 0 {
					last = c
				}
			}
		}
		if last == nil {
			return fmt.Errorf("no event told of the end of container %s", id)
		}
		return nil
	})
	return last
}

// A call that hangs holds up only its pod (issue: runtime).
func TestHangingCallHoldsUpOnlyItsPod(t *testing.T) {
	t.Parallel()
	n := quietNode(t, testbed.Options{})
	p := stand(t, n.bed)
	n.endpoint = p.socket
	let := make(chan struct{})
	p.obey(func(ctx context.Context, method string, message []byte) error {
		if strings.HasSuffix(method, "/RunPodSandbox") && bytes.Contains(message, []byte("hanging-here")) {
			select {
			case <-let:
			case <-ctx.Done():
			}
		}
		return nil
	})
	n.start(t)
	spec := "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}"
	b := n.pod(t, "hanging", spec)
	for i := range 3 {
		n.pod(t, fmt.Sprint("passing-", i), spec).untilRunning("main")
	}
	if all, err := b.sandboxes(); err != nil || len(all) > 0 {
		t.Errorf("the pod whose sandbox hangs has %v, %v", all, err)
	}
	close(let)
	b.untilRunning("main")
}

// The disk fills up: nothing that runs is harmed, what ends is ended, what is new waits with the reason told, and goes
// on when there is room (issue: bad days).
func TestDiskFull(t *testing.T) {
	t.Parallel()
	n := quietNode(t, testbed.Options{})
	if err := os.MkdirAll(n.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", n.root, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	spec := "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}"
	steady, leaving := n.pod(t, "steady", spec), n.pod(t, "leaving", spec)
	first := steady.untilRunning("main")
	leaving.untilRunning("main")
	fill(t, filepath.Join(n.root, "filler"))
	leaving.remove()
	leaving.awaitGone()
	fill(t, filepath.Join(n.root, "what the pod left")) // what it freed would do for the next one
	late := n.pod(t, "late", spec)
	n.untilLogged(t, "late-here", "no space left on device")
	for _, name := range []string{"filler", "what the pod left"} {
		if err := os.Remove(filepath.Join(n.root, name)); err != nil {
			t.Fatal(err)
		}
	}
	late.untilRunning("main")
	same(t, "the pod beside", steady.untilRunning("main").Id, first.Id)
	n.restart(t)
	n.awake(t, "after")
	same(t, "the pod beside, after a restart", steady.untilRunning("main").Id, first.Id)
}

// fill writes a file until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// A damaged record of the ledger sets one pod aside, a damaged ledger costs memory only; no container notices
// (issue: bad days; design: one unreadable record never stops the node).
func TestDamagedLedger(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	spec := "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}"
	one, two := n.pod(t, "damaged", spec), n.pod(t, "sound", spec)
	first, second := one.untilRunning("main"), two.untilRunning("main")
	uid := one.uid()
	n.kill(t)
	db, err := bbolt.Open(n.ledger(), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if tx.Bucket([]byte("pods")).Get([]byte(uid)) == nil {
			return fmt.Errorf("the ledger has no record of pod %s", uid)
		}
		return tx.Bucket([]byte("pods")).Put([]byte(uid), []byte("nonsense"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	n.untilLogged(t, "LedgerRecordDamaged", uid, "cannot be read")
	n.awake(t, "after-record")
	same(t, "container of the damaged record", one.untilRunning("main").Id, first.Id)
	same(t, "container of the sound record", two.untilRunning("main").Id, second.Id)

	n.kill(t)
	if err := os.WriteFile(n.ledger(), bytes.Repeat([]byte("garbage "), 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	n.untilLogged(t, "LedgerDamaged", n.ledger(), "was moved to")
	n.awake(t, "after-file")
	same(t, "container after the ledger was lost", one.untilRunning("main").Id, first.Id)
	same(t, "the other container", two.untilRunning("main").Id, second.Id)
}

func (n *node) ledger() string { return filepath.Join(n.root, "bosun.db") }

// The clock is set back by an hour while the agent is down: what was decided before lies in the future, and still no
// pause and no grace is longer than it was (issue: bad days).
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	crashing := n.pod(t, "crashing", "spec: {containers: [{name: main, image: BOX, args: [exit, \"1\"]}]}")
	ending := n.pod(t, "ending", `
spec:
  terminationGracePeriodSeconds: 6
  containers: [{name: main, image: BOX, args: [ignore-term], lifecycle: {preStop: {exec: {command: [/testbox, sleep, 60s]}}}}]
`)
	ending.untilSays("main", "ignoring TERM")
	n.untilLogged(t, "Back-off restarting failed container main in pod crashing-here_default(")
	ending.remove()
	n.untilLogged(t, "Stopping container main", "ending-here")
	n.kill(t)
	shiftLedger(t, n.ledger(), time.Hour)
	n.start(t)
	began := time.Now()
	crashing.until("main", "restarted", func(c *runtimeapi.ContainerStatus) bool { return c.Metadata.Attempt >= 2 })
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the pause of 10s took %v more", took)
	}
	c := ending.lastSeen("main")
	if took := time.Unix(0, c.FinishedAt).Sub(began); took > 30*time.Second {
		t.Errorf("the grace of 6s took %v more", took)
	}
}

// shiftLedger moves every time in the ledger.
func shiftLedger(t *testing.T, path string, by time.Duration) {
	t.Helper()
	l, err := ledger.Open(path, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pods, bad, err := l.Load()
	if err != nil || len(bad) > 0 {
		t.Fatal(err, bad)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	for uid, r := range pods {
		shift(&r.Kept, by)
		if err := l.Save(ctx, uid, r); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func shift(k *plan.Kept, by time.Duration) {
	move := func(times ...*time.Time) {
		for _, at := range times {
			if !at.IsZero() {
				*at = at.Add(by)
			}
		}
	}
	move(&k.Admitted)
	if k.Stop != nil {
		move(&k.Stop.At, &k.Stop.Deadline)
	}
	for name, c := range k.Containers {
		move(&c.Backoff.Updated, &c.Backoff.Until, &c.PostStart.Began, &c.PreStop.Began, &c.Kill.At, &c.Kill.Deadline)
		k.Containers[name] = c
	}
	for subject, f := range k.Failures {
		move(&f.Since, &f.At, &f.RetryAt)
		k.Failures[subject] = f
	}
}
