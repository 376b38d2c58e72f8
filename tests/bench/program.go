package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A program is the process of an agent, started anew for each turn.
type program struct {
	label, binary string
	log           string // the file with what all its lives said
	// failed is told when the process ends though nobody asked it to.
	failed func(error)

	cmd   *exec.Cmd
	began time.Time
	ended chan struct{}
	// leaving is closed before the process is asked to end.
	leaving chan struct{}
}

func (p *program) name() string { return p.label }
func (p *program) process() int { return p.cmd.Process.Pid }

// launch starts the process.
func (p *program) launch(arguments ...string) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(p.binary, arguments...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return err
	}
	cmd, ended, leaving := p.cmd, make(chan struct{}), make(chan struct{})
	p.ended, p.leaving = ended, leaving
	go func() {
		err := cmd.Wait()
		close(ended)
		select {
		case <-leaving:
		default:
			p.failed(fmt.Errorf("%s ended by itself: %w", p.label, err))
		}
	}()
	return nil
}

func (p *program) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// stop asks the process to end and waits for it.
func (p *program) stop(ctx context.Context) error {
	close(p.leaving)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late.C:
		return errors.Join(fmt.Errorf("%s did not end within 20 s of TERM", p.label), p.cmd.Process.Kill())
	}
}

// settled is how long after its start an agent has done what starting leaves to do. Bosun gives back the code that only its
// start needed after 20 s.
const settled = 28 * time.Second

// untilSettled waits until the process is that old.
func (p *program) untilSettled(ctx context.Context) error {
	return pause(ctx, time.Until(p.began.Add(settled)))
}
