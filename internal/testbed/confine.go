package testbed

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The program runs as four processes, each a child of the one before:
//
//	outer       what `go test` started. Waits. Its end, even by SIGKILL, closes a pipe.
//	supervisor  outside the namespaces, in its own session. Ends the rest when the pipe closes; cleans up.
//	init        process 1 of the namespaces. Sets them up, reaps orphans. Dies with the supervisor, and all else with it.
//	inner       runs the tests.
//
// A [Machine] is one more, a child of inner.
const (
	stageVariable   = "BOSUN_TESTBED_STAGE"
	scratchVariable = "BOSUN_TESTBED_SCRATCH"
)

// lifeline is the descriptor of the pipe in the supervisor.
const lifeline = 3

// Main is the whole body of TestMain in a package whose tests use a [Bed]. It does not return.
func Main(m *testing.M) {
	os.Exit(Confined(m.Run))
}

// Confined runs run in the namespaces and returns its result. Without root it runs it plainly; RequireRoot then
// skips the tests. It must be called first thing: the program starts itself again, with the same arguments.
func Confined(run func() int) int {
	if os.Geteuid() != 0 {
		return run()
	}
	var code int
	var err error
	switch stage := os.Getenv(stageVariable); stage {
	case "":
		defer raiseWatchers()()
		code, err = outer()
	case "supervisor":
		code, err = supervisor()
	case "init":
		code, err = initProcess()
	case "inner":
		return run()
	case "machine":
		code, err = machineProcess()
	default:
		err = fmt.Errorf("%s=%q is no stage", stageVariable, stage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testbed:", err)
		return 1
	}
	return code
}

// again is this program started anew as another stage.
func again(stage string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVariable+"="+stage)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

func outer() (int, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer w.Close()
	cmd := again("supervisor")
	cmd.ExtraFiles = []*os.File{r}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	r.Close()
	forward(cmd.Process, syscall.SIGQUIT) // go test asks so for the goroutines of a test that hangs
	return exitCode(cmd.Wait())
}

func supervisor() (int, error) {
	syscall.CloseOnExec(lifeline)
	base := filepath.Join(os.TempDir(), "bosun-testbed")
	sweepDead(base)
	s, err := newScratch(base)
	if err != nil {
		return 0, err
	}
	defer s.remove()

	runtime.LockOSThread() // Pdeathsig fires when the thread that started the child ends
	cmd := again("init")
	cmd.Env = append(cmd.Env, scratchVariable+"="+s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("make namespaces: %w", err)
	}
	forward(cmd.Process, syscall.SIGQUIT)
	go func() {
		// Nothing is ever written: this returns when the outer process is gone.
		_, _ = io.Copy(io.Discard, os.NewFile(lifeline, "lifeline"))
		_ = cmd.Process.Kill() // may have ended already
	}()
	// When process 1 of a PID namespace has been waited for, every other process in it is dead.
	return exitCode(cmd.Wait())
}

// initProcess sets up the namespaces, starts the inner process and reaps every orphan until it ends.
func initProcess() (int, error) {
	runtime.LockOSThread() // the cgroup namespace is the thread's
	scratch := os.Getenv(scratchVariable)
	if err := enterCgroups(filepath.Base(scratch)); err != nil {
		return 0, fmt.Errorf("enter own cgroups: %w", err)
	}
	if err := privateMounts(scratch); err != nil {
		return 0, err
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	// The tests' temporary directories go with the scratch directory.
	tmp := filepath.Join(scratch, "tmp")
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return 0, err
	}
	cmd := again("inner")
	cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	forward(cmd.Process, syscall.SIGQUIT)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == cmd.Process.Pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == cmd.Process.Pid:
			return status.ExitStatus(), nil
		}
	}
}

func forward(to *os.Process, sig os.Signal) {
	got := make(chan os.Signal, 1)
	signal.Notify(got, sig)
	go func() {
		for s := range got {
			_ = to.Signal(s) // it may have ended
		}
	}()
}

func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status := exit.Sys().(syscall.WaitStatus)
		if status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
	return 0, err
}

// watchers is how many inotify instances the machine must allow: a bed with its agent has six, a control plane eleven, and the
// kernel's default is 128 for all programs of root together.
const watchers = 1024

// raiseWatchers raises that limit, if it can and need be, and returns what sets it back.
func raiseWatchers() (restore func()) {
	const limit = "/proc/sys/fs/inotify/max_user_instances"
	before, err := os.ReadFile(limit)
	if n, parse := strconv.Atoi(strings.TrimSpace(string(before))); err != nil || parse != nil || n >= watchers {
		return func() {}
	}
	_ = os.WriteFile(limit, []byte(strconv.Itoa(watchers)), 0) // without it tests may find a containerd that lacks a part
	return func() { _ = os.WriteFile(limit, before, 0) }
}
