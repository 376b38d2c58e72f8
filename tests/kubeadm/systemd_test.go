package kubeadm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// systemctlVariable names the socket at which a node's systemd is asked.
const systemctlVariable = "BOSUN_TEST_SYSTEMCTL"

// systemctl is the program of that name on the nodes: it hands its arguments on and prints what it is told.
func systemctl(args []string) int {
	conn, err := net.Dial("unix", os.Getenv(systemctlVariable))
	if err != nil {
		fmt.Fprintln(os.Stderr, "systemctl:", err)
		return 1
	}
	defer conn.Close()
	fmt.Fprintln(conn, strings.Join(args, " "))
	answers := bufio.NewReader(conn)
	var code int
	if _, err := fmt.Fscanln(answers, &code); err != nil {
		fmt.Fprintln(os.Stderr, "systemctl:", err)
		return 1
	}
	_, _ = io.Copy(os.Stdout, answers) // whoever reads it says what is missing
	return code
}

// A unit is kubelet.service with kubeadm's drop-in, and the part of systemd that runs it. kubeadm speaks to it through systemctl.
type unit struct {
	node   *node
	log    string
	asked  []string // what systemctl was called with
	wake   chan struct{}
	closed chan struct{}
	ended  chan struct{}

	mu     sync.Mutex
	wanted bool
	cmd    *exec.Cmd     // while it runs
	gone   chan struct{} // closed when cmd has ended
	runs   []run         // those that have ended
}

// A run is one life of the unit's process.
type run struct {
	took    time.Duration
	code    int
	said    string // all it wrote
	stopped bool   // by systemctl
}

// restartDelay is ten seconds in the kubelet's own unit.
const restartDelay = 300 * time.Millisecond

// dropIn are the arguments of kubeadm's 10-kubeadm.conf, but those from kubeadm-flags.env.
var dropIn = []string{
	"--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf", "--kubeconfig=/etc/kubernetes/kubelet.conf",
	"--config=/var/lib/kubelet/config.yaml",
}

// startUnit starts systemd with the unit enabled, as the kubelet's package leaves it.
func startUnit(t *testing.T, n *node) *unit {
	t.Helper()
	u := &unit{node: n, log: filepath.Join(n.bed.Dir, "kubelet.log"), wanted: true,
		wake: make(chan struct{}, 1), closed: make(chan struct{}), ended: make(chan struct{})}
	listener, err := net.Listen("unix", n.systemd)
	if err != nil {
		t.Fatal(err)
	}
	go u.answer(listener)
	go u.keepRunning(t)
	t.Cleanup(func() {
		listener.Close()
		u.stop()
		close(u.closed)
		<-u.ended
	})
	return u
}

// answer serves systemctl, one question at a time.
func (u *unit) answer(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		line, _ := bufio.NewReader(conn).ReadString('\n') // empty: no verb, refused
		code, out := u.do(strings.Fields(line))
		fmt.Fprintf(conn, "%d\n%s", code, out)
		conn.Close()
	}
}

// do is what systemctl does with the unit; other units are not there.
func (u *unit) do(args []string) (code int, out string) {
	u.mu.Lock()
	u.asked = append(u.asked, strings.Join(args, " "))
	running := u.cmd != nil
	u.mu.Unlock()
	if len(args) == 0 {
		return 1, ""
	}
	verb, name := args[0], strings.TrimSuffix(args[len(args)-1], ".service")
	switch {
	case verb == "daemon-reload":
		return 0, ""
	case name != "kubelet" && verb == "status":
		return 4, "Unit " + name + ".service could not be found.\n"
	case name != "kubelet":
		return 3, "inactive\n"
	case verb == "start":
		u.start()
	case verb == "stop":
		u.stop()
	case verb == "restart":
		u.stop()
		u.start()
	case verb == "status":
		return 0, "Loaded: loaded (/usr/lib/systemd/system/kubelet.service; enabled)\n"
	case verb == "is-enabled":
		return 0, "enabled\n"
	case verb == "is-active" && running:
		return 0, "active\n"
	case verb == "is-active":
		return 3, "activating\n"
	default:
		return 1, ""
	}
	return 0, ""
}

func (u *unit) start() {
	u.mu.Lock()
	u.wanted = true
	u.mu.Unlock()
	u.poke()
}

// stop ends the process with SIGTERM and waits for its end; the containers go on, as with KillMode=process.
func (u *unit) stop() {
	u.mu.Lock()
	u.wanted = false
	cmd, gone := u.cmd, u.gone
	u.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-gone
	}
}

func (u *unit) poke() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// keepRunning is Restart=always.
func (u *unit) keepRunning(t *testing.T) {
	defer close(u.ended)
	for {
		if err := u.once(); err != nil {
			t.Errorf("run the unit kubelet: %v", err)
			return
		}
		select {
		case <-u.closed:
			return
		case <-u.wake:
		case <-time.After(restartDelay):
		}
	}
}

// once runs the process to its end, if it is wanted.
func (u *unit) once() error {
	args, err := u.arguments()
	if err != nil {
		return err
	}
	args = append(args, strings.Fields(os.Getenv("BOSUN_TEST_KUBELET_ARGS"))...)
	log, err := os.OpenFile(u.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	var said bytes.Buffer
	cmd := u.node.command(u.node.kubelet[0], append(u.node.kubelet[1:len(u.node.kubelet):len(u.node.kubelet)], args...)...)
	cmd.Stdout = io.MultiWriter(log, &said)
	cmd.Stderr = cmd.Stdout
	began, gone := time.Now(), make(chan struct{})
	u.mu.Lock()
	if !u.wanted {
		u.mu.Unlock()
		return nil
	}
	if err := cmd.Start(); err != nil {
		u.mu.Unlock()
		return err
	}
	u.cmd, u.gone = cmd, gone
	u.mu.Unlock()
	_ = cmd.Wait() // how it ended is in the run
	u.mu.Lock()
	u.cmd, u.runs = nil, append(u.runs, run{time.Since(began), cmd.ProcessState.ExitCode(), said.String(), !u.wanted})
	u.mu.Unlock()
	close(gone)
	return nil
}

// arguments are the drop-in's, with what kubeadm-flags.env says now.
func (u *unit) arguments() ([]string, error) {
	text, err := os.ReadFile(u.node.Path("/var/lib/kubelet/kubeadm-flags.env"))
	if errors.Is(err, fs.ErrNotExist) { // EnvironmentFile=-…
		return dropIn, nil
	}
	if err != nil {
		return nil, err
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(text)), "KUBELET_KUBEADM_ARGS=")
	return append(dropIn[:len(dropIn):len(dropIn)], strings.Fields(strings.Trim(value, `"`))...), nil
}

// pastRuns are those that have ended.
func (u *unit) pastRuns() []run {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.runs
}

func (u *unit) running() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.cmd != nil
}

// restart is `systemctl restart kubelet`.
func (u *unit) restart() {
	u.stop()
	u.start()
}

func tail(path string, most int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-most):])
}

// eventually asks again and again until there is no error.
func eventually(t *testing.T, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("after %v still: %v", patience, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// lines is what a program has written so far.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
