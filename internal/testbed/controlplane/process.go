package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// endPatience is how long a process may take to end by itself before it is killed.
const endPatience = 15 * time.Second

// A Program is how a part of a cluster is started: of the control plane, or a node beside it.
type Program struct {
	Name string
	Path string
	Args []string
	Dir  string // working directory; its log is Dir/Name.log
}

// A Process is a running program. It dies with us.
type Process struct {
	Program
	cmd   *exec.Cmd
	ended chan struct{}
}

// Log is the file in which what it says goes to the end.
func (s Program) Log() string { return filepath.Join(s.Dir, s.Name+".log") }

// Start runs the program and does not wait for anything.
func (s Program) Start() (*Process, error) {
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	p := &Process{Program: s, cmd: exec.Command(s.Path, s.Args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = s.Dir, log, log
	// A session of its own: Ctrl-C is for us, who then end it in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the child ends: it must live as long as the child.
		runtime.LockOSThread()
		err := p.cmd.Start()
		log.Close()
		started <- err
		if err != nil {
			return
		}
		_ = p.cmd.Wait() // whoever waits for ended looks at the log
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	return p, nil
}

// End sends a signal and waits for the end; after endPatience it kills. A stopped process goes on first.
func (p *Process) End(sig syscall.Signal) error {
	if p == nil {
		return nil
	}
	for _, s := range []syscall.Signal{sig, syscall.SIGCONT} {
		if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end %s: %w", p.Name, err)
		}
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(endPatience):
		err := p.cmd.Process.Kill()
		<-p.ended
		if errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
		return err
	}
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// alive says whether the process has not ended.
func (p *Process) alive() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Await asks ready again and again until it says no error. It gives up when ctx is done or the process ends.
func (p *Process) Await(ctx context.Context, ready func(context.Context) error) error {
	began := time.Now()
	pause := 20 * time.Millisecond // none of them tells when it is ready
	var why error                  // the last that does not come of giving up
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || why == nil {
			why = err
		}
		if time.Since(began) > 10*time.Second {
			pause = 200 * time.Millisecond
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended (%v) before it was ready; its log %s ends with:\n%s", p.Name, p.cmd.ProcessState, p.Log(), tail(p.Log(), 3000))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w): %w; its log %s ends with:\n%s", p.Name, ctx.Err(), why, p.Log(), tail(p.Log(), 3000))
		case <-time.After(pause):
		}
	}
}

// tail is the last part of a file, at most so many bytes.
func tail(file string, most int64) string {
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	size := int64(0)
	if info, err := f.Stat(); err == nil {
		size = info.Size()
	}
	at := max(0, size-most)
	buf := make([]byte, size-at)
	n, _ := f.ReadAt(buf, at) // short when it was cut meanwhile
	return string(buf[:n])
}
