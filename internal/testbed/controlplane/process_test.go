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
	p, err := program{name: "part", path: "/bin/sh", args: []string{"-c", "echo no such flag; exit 3"}, dir: t.TempDir()}.start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = p.await(ctx, func(context.Context) error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "part ended (exit status 3)") || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("got %v", err)
	}
	if p.alive() {
		t.Error("it is said to live")
	}
}

func TestProcessEnds(t *testing.T) {
	p, err := program{name: "part", path: "/bin/sleep", args: []string{"600"}, dir: t.TempDir()}.start()
	if err != nil {
		t.Fatal(err)
	}
	if !p.alive() {
		t.Error("it is said to be dead")
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.end(syscall.SIGTERM); err != nil { // which a stopped process sees only when it goes on
		t.Error(err)
	}
	if p.alive() {
		t.Error("it is said to live")
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("ending it twice: %v", err)
	}
	var none *process
	if err := none.end(syscall.SIGTERM); err != nil || none.alive() {
		t.Errorf("no process: %v, %v", err, none.alive())
	}
}
