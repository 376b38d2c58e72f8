package boxruntime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

const (
	// startTimeout is generous: with many containers on a slow disk containerd needs a while to look at all of them.
	startTimeout = 2 * time.Minute
	// keepTimeout is how long one that an earlier Bosun started may take to answer before it is replaced.
	keepTimeout = time.Minute
	// endPatience is how long containerd may take to end by itself.
	endPatience = 10 * time.Second
)

var waitForReady = grpc.WaitForReady(true)

// spawn starts containerd in a session of its own and returns when it is ready. What was started has ended when it fails.
func (b *Box) spawn(ctx context.Context, boot string) (Health, error) {
	if err := writeFile(b.cfg.configFile(), b.toml, 0o600); err != nil {
		return Health{}, err
	}
	log, err := openLog(b.cfg.logFile())
	if err != nil {
		return Health{}, err
	}
	defer func() { _ = log.Close() }()
	info, err := log.Stat()
	if err != nil {
		return Health{}, fmt.Errorf("open containerd's log: %w", err)
	}
	ready, notify, err := listenReady(b.cfg.RunDir)
	if err != nil {
		return Health{}, err
	}
	defer func() { _ = ready.Close() }()

	// Not CommandContext: containerd goes on when ctx ends.
	cmd := exec.Command(b.containerd(), "--config", b.cfg.configFile())
	cmd.Dir = "/"
	cmd.Env = append(slices.Clone(b.env), "NOTIFY_SOCKET="+notify)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Health{}, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	pid := cmd.Process.Pid
	_ = cmd.Process.Release() // from here on through the pidfd, as with one that we did not start
	p, err := openProcess(pid, 0)
	if err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL) // our child, not waited for: the number is still its own
		return Health{}, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	b.logStart = info.Size()
	answer, err := b.becomeReady(ctx, p, boot, ready)
	if err != nil {
		how := "was not ready and was ended"
		if p.ended() {
			how = p.reap()
		} else if e := p.end(ctx, endPatience); e != nil {
			err = errors.Join(err, e)
		}
		p.close()
		return Health{}, b.explain(ctx, how, err)
	}
	b.cfg.Log.Info("started the container runtime", "pid", pid, "version", answer.Version, "socket", b.cfg.SocketPath, "log", b.cfg.logFile())
	b.follow(p)
	return Health{Up: true, PID: pid, Since: time.Now(), Version: answer.Version}, nil
}

// errEnded: the process ended before it was ready.
var errEnded = errors.New("it ended before it was ready")

// becomeReady waits until containerd says so. That comes when CRI serves, so no asking again and again is needed.
func (b *Box) becomeReady(ctx context.Context, p *process, boot string, ready *net.UnixConn) (Answer, error) {
	if err := b.writeRecord(p, boot); err != nil {
		return Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	waiting, ended := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if p.wait(waiting) == nil {
			ended(errEnded)
		}
	}()
	err := readReady(waiting, ready)
	var answer Answer
	if err == nil {
		answer, err = ask(waiting, b.cfg.SocketPath, waitForReady)
	}
	if cause := context.Cause(waiting); cause != nil {
		err = cause
	}
	ended(nil)
	<-watched
	return answer, err
}

// listenReady makes the socket on which containerd says that it is ready, by systemd's protocol for that.
func listenReady(dir string) (*net.UnixConn, string, error) {
	path := filepath.Join(dir, "notify")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", fmt.Errorf("prepare to hear when containerd is ready: %w", err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, "", fmt.Errorf("prepare to hear when containerd is ready: %w", err)
	}
	return conn, path, nil
}

// readReady blocks until READY=1 arrives or ctx ends.
func readReady(ctx context.Context, conn *net.UnixConn) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	message := make([]byte, 4096)
	for {
		n, err := conn.Read(message)
		if err != nil {
			return fmt.Errorf("wait for containerd to be ready: %w", errors.Join(ctx.Err(), err))
		}
		for line := range strings.SplitSeq(string(message[:n]), "\n") {
			if line == "READY=1" {
				return nil
			}
		}
	}
}

// explain puts together why containerd does not run: how it ended, its last words, and what to do.
func (b *Box) explain(ctx context.Context, how string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	if errors.Is(err, errEnded) {
		err = errors.New(how)
	} else {
		err = fmt.Errorf("%s: %w", how, err)
	}
	return lastWords(b.cfg, err, logTail(b.cfg.logFile(), b.logStart))
}

// lastWords adds the log's last lines and the way out to an error.
func lastWords(c Config, err error, lines []string) error {
	said := "; its log " + c.logFile() + " does not say why"
	if len(lines) > 0 {
		said = "; its log " + c.logFile() + " ends with:\n\t" + strings.Join(lines, "\n\t")
	}
	return fmt.Errorf("containerd %w%s\n%s", err, said, wayOut(c, err.Error()+"\n"+strings.Join(lines, "\n")))
}

// wayOut says what to do about how containerd ended and the log's last lines.
func wayOut(c Config, log string) string {
	other := "Another containerd seems to use " + c.Root + ": end it, or use another root directory."
	additions := "Look at your additions in " + filepath.Join(c.Root, "config.d") + "."
	powers := "Run Bosun as root with all capabilities; `bosun check` says which are missing."
	for _, known := range []struct{ sign, advice string }{
		{"boltdb", other},
		{"address already in use", "Something else listens on " + c.SocketPath + ": end it, or use another root directory."},
		{"no space left", "Make room on the disk of " + c.Root + "."},
		{"read-only file system", "Use a root directory that can be written; " + c.Root + " cannot."},
		{"toml:", additions},
		{"failed to load TOML", additions},
		{"invalid plugin config", additions},
		{"operation not permitted", powers},
		{"permission denied", powers},
		{"SIGKILL", "If nobody ended it, the kernel may have done so for lack of memory: `dmesg` then says so."},
	} {
		if strings.Contains(log, known.sign) {
			return known.advice
		}
	}
	return "Run `bosun check` to see whether something is missing on this machine; `" + filepath.Join(c.RuntimeDir, "containerd") +
		" --log-level debug --config " + c.configFile() + "` shows more."
}
