package testbed

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A daemon is one running containerd. Its one goroutine waits for its end.
type daemon struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// startDaemon returns when containerd has told that it is ready, as it would tell systemd: over a datagram socket.
func (b *Bed) startDaemon() (*daemon, error) {
	notify := filepath.Join(b.Dir, "notify")
	if err := os.Remove(notify); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	log, err := os.OpenFile(b.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	command := exec.Command
	if b.on != nil {
		command = b.on.Command
	}
	cmd := command(b.program[0], b.program[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+b.BinDir+":"+os.Getenv("PATH"), "NOTIFY_SOCKET="+notify)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // it ends when it is told to; how does not matter
		close(d.ended)
		conn.Close() // wakes the reader below when containerd ends instead of becoming ready
	}()
	if err := conn.SetReadDeadline(time.Now().Add(startDeadline)); err != nil {
		return d, err
	}
	buf := make([]byte, 1024)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return d, fmt.Errorf("containerd did not become ready: %w; it said:\n%s", err, b.LogTail(4000))
		}
		if strings.Contains(string(buf[:n]), "READY=1") {
			return d, nil
		}
	}
}

// end sends a signal and waits for the end. A paused process must go on to see any signal but SIGKILL.
func (d *daemon) end(s syscall.Signal) error {
	for _, each := range []syscall.Signal{s, syscall.SIGCONT} {
		if err := d.cmd.Process.Signal(each); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	select {
	case <-d.ended:
		return nil
	case <-time.After(startDeadline):
		return errors.Join(fmt.Errorf("containerd did not end on %v", s), d.cmd.Process.Kill())
	}
}
