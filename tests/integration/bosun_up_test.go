package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

// startUp starts `bosun up` on manifests, with all state in dir, and returns its end and what it printed so far.
func startUp(t *testing.T, dir, manifests string, port int, more ...string) (*exec.Cmd, chan error, func() string) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.CreateTemp(dir, "output")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(path, append([]string{
		"up", manifests, "--images", "../../.cache/images", "--runtime-dir", "../../.cache/bin",
		"--root-dir", filepath.Join(dir, "state"), "--hostname-override", nodeName,
		"--read-only-port", fmt.Sprint(port), "--healthz-port", fmt.Sprint(port + 1),
	}, more...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	said := func() string {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended when the test passes
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "state", "bosun.log")) // only to say more
			t.Logf("bosun up said:\n%s\nits log ends:\n%s", said(), log[max(0, len(log)-4000):])
		}
	})
	return cmd, ended, said
}

// One command runs the example on a container runtime of its own; killed, it leaves pods and runtime, and takes them
// up again; ended, it leaves nothing (issue: bosun up; make run).
func TestUp(t *testing.T) {
	t.Parallel()
	testbed.RequireRoot(t)
	dir, err := os.MkdirTemp("/run", "up") // short: sockets lie below
	if err != nil {
		t.Fatal(err)
	}
	const port, example = 29900, "../../examples/nginx-log"
	n := &node{called: nodeName, readOnly: port, root: filepath.Join(dir, "state")}
	b := &box{node: n, t: t, name: "nginx-log"}
	ready := func(p *v1.Pod) bool {
		return p.Status.Phase == v1.PodRunning && condition(p, v1.PodReady) == v1.ConditionTrue
	}

	first, ended, _ := startUp(t, dir, example, port)
	before := b.untilAPI("Ready", ready)
	if body := fetch(deadline(t, patience), t, "http://"+before.Status.PodIP+"/?first"); !strings.Contains(body, "Welcome to nginx!") {
		t.Errorf("nginx answers %q", body)
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, err := http.Get("http://" + before.Status.PodIP); err != nil {
		t.Errorf("after the agent was killed nginx does not answer: %v", err)
	}

	second, ended, said := startUp(t, dir, example, port)
	after := b.untilAPI("Ready", ready)
	for _, c := range []string{"nginx", "tail"} {
		same(t, "container "+c, statusOf(after, c).ContainerID, statusOf(before, c).ContainerID)
	}
	fetch(deadline(t, patience), t, "http://"+after.Status.PodIP+"/?second")
	eventually(t, func() error {
		out, err := n.bosun(t, "logs", b.full(), "-c", "tail")
		if err != nil || !hasAll(out, []string{"GET /?first ", "GET /?second "}) {
			return fmt.Errorf("bosun logs: %v: %s", err, out)
		}
		return nil
	})
	if conn, err := net.Dial("tcp", "127.0.0.1:10250"); err == nil { // nobody said who may come in there
		conn.Close()
		t.Error("a lone node lets everybody in at 10250")
	}
	if text := said(); !hasAll(text, []string{"runtime: unix://", "nginx-log"}) {
		t.Errorf("bosun up does not say what it runs on and what runs:\n%s", text)
	}
	if err := second.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("bosun up ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("bosun up does not end")
	}
	for line := range strings.Lines(traces(t, dir)) {
		if strings.HasPrefix(line, "/proc/") || strings.HasPrefix(line, "mount ") {
			t.Errorf("left after the end: %s", line)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// `bosun explain` as JSON is what /debug/pods shows (issue: see it).
func TestDebugPodIsJSON(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "debugged", "spec: {containers: [{name: main, image: BOX}]}")
	b.untilRunning("main")
	code, body, err := n.get("/debug/pods/default/debugged-here")
	if err != nil || code != http.StatusOK || !json.Valid([]byte(body)) {
		t.Errorf("/debug/pods: %d %v: %s", code, err, body)
	}
}
