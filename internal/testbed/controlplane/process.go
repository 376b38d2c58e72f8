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

// A program is how one part of the control plane is started.
type program struct {
	name string
	path string
	args []string
	dir  string // working directory; its log is dir/name.log
}

// A process is a running program. It dies with us.
type process struct {
	program
	cmd   *exec.Cmd
	ended chan struct{}
}

func (s program) log() string { return filepath.Join(s.dir, s.name+".log") }

// start runs the program. What it says goes to the end of its log.
func (s program) start() (*process, error) {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	p := &process{program: s, cmd: exec.Command(s.path, s.args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = s.dir, log, log
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
		return nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	return p, nil
}

// end sends a signal and waits for the end; after endPatience it kills. A stopped process goes on first.
func (p *process) end(sig syscall.Signal) error {
	if p == nil {
		return nil
	}
	for _, s := range []syscall.Signal{sig, syscall.SIGCONT} {
		if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("end %s: %w", p.name, err)
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

// alive says whether the process has not ended.
func (p *process) alive() bool {
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

// await asks ready again and again until it says no error. It gives up when ctx is done or the process ends.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended (%v) before it was ready; its log %s ends with:\n%s", p.name, p.cmd.ProcessState, p.log(), tail(p.log(), 3000))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (%w); its log %s ends with:\n%s", p.name, ctx.Err(), err, p.log(), tail(p.log(), 3000))
		case <-time.After(20 * time.Millisecond): // none of them tells when it is ready
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
