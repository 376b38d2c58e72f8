package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// wires are the ways kubectl may speak to the API server, and so it to the node.
var wires = map[string][]string{
	"WebSocket": nil, // what it takes by itself
	"SPDY":      {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"},
}

// command is kubectl in the guest's namespace over a wire, not yet started.
func (g *guest) command(wire []string, args ...string) *exec.Cmd {
	cmd := g.plane.KubectlCommand(deadline(g.t, patience), append([]string{"-n", g.ns}, args...)...)
	cmd.Env = append(cmd.Env, wire...)
	return cmd
}

// kubectl exec: both outputs, input, exit codes, a terminal with its size, what is not there; over WebSocket and SPDY.
func TestKubectlExec(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "shell", `spec: {containers: [{name: main, image: SHELL, command: [sleep, "3600"]}]}`)
	g.untilReady()
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := g.in(t)
			cmd := g.command(wire, "exec", "-i", "shell", "--", "sh", "-c", "cat; echo aside >&2; exit 7")
			var out, errs bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(strings.Repeat("0123456789abcde\n", 1<<14)), &out, &errs
			err := cmd.Run()
			same(t, "exit code", cmd.ProcessState.ExitCode(), 7)
			same(t, "bytes that came back", out.Len(), 1<<18)
			if !strings.HasPrefix(errs.String(), "aside\n") {
				t.Errorf("standard error %q (%v)", errs.String(), err)
			}

			cmd = g.command(wire, "exec", "shell", "--", "no-such-program")
			said, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(said), "no-such-program") {
				t.Errorf("a program that is not there: %v %s", err, said)
			}

			term := atTerminal(t, 33, 101, g.command(wire, "exec", "-it", "shell", "--", "sh"))
			term.types("stty size; tty | tr a-z A-Z\n")
			term.untilShown("33 101")
			term.untilShown("/DEV/PTS/")
			term.resize(44, 120)
			eventually(t, func() error {
				term.types("stty size\n")
				return containsAll(term.shown(), "44 120")
			})
			term.types("exit 5\n")
			same(t, "exit code at the terminal", term.untilOver(), 5)
		})
	}
	t.Run("nowhere", func(t *testing.T) {
		t.Parallel()
		said, err := g.in(t).command(nil, "exec", "shell", "-c", "other", "--", "true").CombinedOutput()
		if err == nil || !strings.Contains(string(said), "container other is not valid for pod shell") {
			t.Errorf("exec in a container that is not there: %v %s", err, said)
		}
	})
}

// in is the guest for a part of the test.
func (g *guest) in(t *testing.T) *guest {
	part := *g
	part.t = t
	return &part
}

// kubectl attach takes what a container says and gives it input; several may watch.
func TestKubectlAttach(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	// Without stdinOnce, containerd stops passing output on as soon as standard error has ended, and now and then the last
	// line is not out by then.
	g := m.create(t, m.plane.Namespace(t), "reader", `
spec: {restartPolicy: Never, containers: [{name: main, image: SHELL, stdin: true, stdinOnce: true, command: [sh, -c, 'while read x; do echo "heard $x"; test "$x" = end && exit 4; done']}]}`)
	g.untilReady()
	watcher := g.command(wires["SPDY"], "attach", "reader")
	watched := started(t, watcher)
	talker := g.command(nil, "attach", "-i", "reader")
	keys, err := talker.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	heard := started(t, talker)
	// Who attaches hears only what is said from then on.
	eventually(t, func() error {
		if _, err := fmt.Fprintln(keys, "hello"); err != nil {
			return err
		}
		return errors.Join(containsAll(heard.String(), "heard hello"), containsAll(watched.String(), "heard hello"))
	})
	if _, err := fmt.Fprintln(keys, "end"); err != nil {
		t.Fatal(err)
	}
	p := g.untilPhase(v1.PodFailed)
	same(t, "exit code", apiStatus(p, "main").State.Terminated.ExitCode, 4)
	for _, c := range []*exec.Cmd{watcher, talker} {
		_ = c.Wait() // it tells of exit codes only in the pod's status
	}
	contains(t, "what was heard", heard.String(), "heard end")
}

// started starts a program and collects what it prints.
func started(t *testing.T, cmd *exec.Cmd) *screen {
	t.Helper()
	s := &screen{}
	cmd.Stdout, cmd.Stderr = s, s
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// kubectl run -it --rm gives a shell that is gone when it ends.
func TestKubectlRunInteractively(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	overrides := `{"spec":{"nodeSelector":{"kubernetes.io/hostname":"` + m.name + `"}}}`
	cmd := m.plane.KubectlCommand(deadline(t, patience), "-n", ns, "run", "visitor", "-it", "--rm", "--restart=Never", "--image-pull-policy=IfNotPresent",
		"--image=docker.io/library/busybox:latest", "--overrides="+overrides, "--", "sh")
	term := atTerminal(t, 24, 80, cmd)
	eventually(t, func() error {
		if len(m.labelled(t, ns, "run=visitor")) == 0 {
			return errors.New("no pod")
		}
		return nil
	})
	g := m.known(t, &m.labelled(t, ns, "run=visitor")[0])
	g.untilReady()
	eventually(t, func() error {
		term.types("echo $((6 * 7)) answers\n")
		return containsAll(term.shown(), "42 answers")
	})
	term.types("exit 0\n")
	same(t, "exit code", term.untilOver(), 0)
	g.untilGone()
}

// kubectl cp copies files into containers and out of them.
func TestKubectlCopy(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "store", `spec: {containers: [{name: main, image: SHELL, command: [sleep, "3600"]}]}`)
	g.untilReady()
	dir := t.TempDir()
	data := bytes.Repeat([]byte("some bytes \x00\xff and more\n"), 1<<16)
	if err := os.MkdirAll(filepath.Join(dir, "in", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "in", "deep", "file"), data, 0o640); err != nil {
		t.Fatal(err)
	}
	m.kubectl(t, g.ns, "cp", filepath.Join(dir, "in"), "store:/tmp/there", "-c", "main")
	m.kubectl(t, g.ns, "cp", "store:/tmp/there", filepath.Join(dir, "out"))
	got, err := os.ReadFile(filepath.Join(dir, "out", "deep", "file"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back (%v), want %d the same", len(got), err, len(data))
	}
}

// kubectl debug adds a container to a pod that sees the processes of another one.
func TestKubectlDebug(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "patient", `spec: {containers: [{name: main, image: BOX, args: [wait]}]}`)
	before := apiStatus(g.untilReady(), "main").ContainerID
	term := atTerminal(t, 24, 80, g.command(nil, "debug", "-it", "patient", "--image=docker.io/library/busybox:latest", "--image-pull-policy=IfNotPresent",
		"--target=main", "--container=doctor", "--profile=general", "--", "sh"))
	eventually(t, func() error {
		term.types("ps\n")
		return containsAll(term.shown(), "/testbox wait")
	})
	term.types("exit 3\n")
	term.untilOver()
	p := g.until("left by its doctor", func(p *v1.Pod) bool {
		s := apiStatus(p, "doctor")
		return s != nil && s.State.Terminated != nil
	})
	same(t, "exit code of the doctor", apiStatus(p, "doctor").State.Terminated.ExitCode, 3)
	main := apiStatus(p, "main")
	if main.ContainerID != before || !isReady(p) || p.Status.Phase != v1.PodRunning {
		t.Errorf("the patient did not go on: %+v, was %s", main, before)
	}
}
