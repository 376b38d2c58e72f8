package integration

import (
	"bufio"
	"errors"
	"strings"
	"testing"
	"time"
)

const speakers = `
spec:
  containers:
  - {name: main, image: SHELL, command: [sh, -c, 'test -e /k/again || { touch /k/again; echo before; exit 3; }; for i in 1 2 3 4 5; do echo line $i; done; while test ! -e /k/aside; do sleep 0.1; done; echo aside >&2; while test ! -e /k/more; do sleep 0.1; done; echo more; while test ! -e /k/end; do sleep 0.1; done'], volumeMounts: [{name: k, mountPath: /k}]}
  - {name: side, image: SHELL, command: [sh, -c, 'echo from the side; while :; do sleep 1; done'], volumeMounts: [{name: k, mountPath: /k}]}
  volumes: [{name: k, emptyDir: {}}]
`

// kubectl logs in all its forms, through the API server.
func TestKubectlLogs(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "speaker", speakers)
	eventually(t, func() error { return errors.Join(g.hasRestarted("main", 1), g.hasRestarted("side", 0)) })
	// Nothing orders what comes through two pipes: the second speaks when the first has been heard.
	eventually(t, func() error { return containsAll(g.says("main", 1), "line 5") })
	m.kubectl(t, ns, "exec", "speaker", "-c", "side", "--", "touch", "/k/aside")
	eventually(t, func() error { return containsAll(g.says("main", 1), "aside") })
	for _, c := range []struct{ args, want string }{
		{"speaker -c main", "line 1\nline 2\nline 3\nline 4\nline 5\naside\n"},
		{"speaker", "line 1\nline 2\nline 3\nline 4\nline 5\naside\n"},
		{"speaker -c main --previous", "before\n"},
		{"speaker -c main --tail=2", "line 5\naside\n"},
		{"speaker -c main --tail=0", ""},
		{"speaker -c main --limit-bytes=9", "line 1\nli"},
		{"speaker -c main --since=1h", "line 1\nline 2\nline 3\nline 4\nline 5\naside\n"},
		{"speaker -c main --since-time=2099-01-01T00:00:00Z", ""},
		{"speaker -c side", "from the side\n"},
	} {
		same(t, "kubectl logs "+c.args, m.kubectl(t, ns, append([]string{"logs"}, strings.Fields(c.args)...)...), c.want)
	}
	all := m.kubectl(t, ns, "logs", "speaker", "--all-containers", "--prefix")
	contains(t, "logs of all containers", all, "[pod/speaker/main] line 1", "[pod/speaker/side] from the side")
	stamp, text, _ := strings.Cut(m.kubectl(t, ns, "logs", "speaker", "--timestamps", "--tail=1"), " ")
	if at, err := time.Parse(time.RFC3339Nano, stamp); err != nil || time.Since(at) > 5*time.Minute || text != "aside\n" {
		t.Errorf("a line with its time is %q %q (%v)", stamp, text, err)
	}
	if _, err := m.plane.Kubectl(t.Context(), "-n", ns, "logs", "speaker", "-c", "side", "--previous"); err == nil ||
		!strings.Contains(err.Error(), `previous terminated container "side" in pod "speaker" not found`) {
		t.Errorf("logs of an attempt that never was: %v", err)
	}
	g.followLogs(ns)
}

// followLogs follows the log until the container ends.
func (g *guest) followLogs(ns string) {
	t := g.t
	t.Helper()
	follower := g.plane.KubectlCommand(deadline(t, patience), "-n", ns, "logs", "-f", "speaker", "-c", "main", "--tail=1")
	out, err := follower.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func(want string) {
		t.Helper()
		lines.Scan()
		same(t, "a line that is followed", lines.Text(), want)
	}
	next("aside")
	g.kubectl(t, ns, "exec", "speaker", "-c", "side", "--", "touch", "/k/more")
	next("more")
	g.kubectl(t, ns, "exec", "speaker", "-c", "side", "--", "touch", "/k/end")
	if lines.Scan() {
		t.Errorf("one line too many: %q", lines.Text())
	}
	if err := follower.Wait(); err != nil {
		t.Errorf("kubectl logs -f: %v", err)
	}
}

// The log of a container that has not started is refused in the words that users know (behaviour 366).
func TestLogsOfAContainerThatWaits(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	m.create(t, ns, "waiter", `
spec: {containers: [{name: main, image: BOX, env: [{name: X, valueFrom: {configMapKeyRef: {name: nothing, key: x}}}]}]}
`).until("waiting for its configuration", waitsFor("main", "CreateContainerConfigError"))
	_, err := m.plane.Kubectl(t.Context(), "-n", ns, "logs", "waiter")
	if want := `container "main" in pod "waiter" is waiting to start: CreateContainerConfigError`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("logs: %v, want %q", err, want)
	}
}
