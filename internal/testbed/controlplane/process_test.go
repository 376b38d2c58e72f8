package controlplane

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestProcessThatEndsIsExplained(t *testing.T) {
	p, err := Program{Name: "part", Path: "/bin/sh", Args: []string{"-c", "echo no such flag; exit 3"}, Dir: t.TempDir()}.Start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = p.Await(ctx, func(context.Context) error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "part ended (exit status 3)") || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("got %v", err)
	}
	if p.alive() {
		t.Error("it is said to live")
	}
}

func TestProcessEnds(t *testing.T) {
	p, err := Program{Name: "part", Path: "/bin/sleep", Args: []string{"600"}, Dir: t.TempDir()}.Start()
	if err != nil {
		t.Fatal(err)
	}
	if !p.alive() {
		t.Error("it is said to be dead")
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.End(syscall.SIGTERM); err != nil { // which a stopped process sees only when it goes on
		t.Error(err)
	}
	if p.alive() {
		t.Error("it is said to live")
	}
	if err := p.End(syscall.SIGTERM); err != nil {
		t.Errorf("ending it twice: %v", err)
	}
	var none *Process
	if err := none.End(syscall.SIGTERM); err != nil || none.alive() {
		t.Errorf("no process: %v, %v", err, none.alive())
	}
}
