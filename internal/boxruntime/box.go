package boxruntime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/latest"
)

// A Box is Bosun's own container runtime, running.
type Box struct {
	cfg         Config
	snapshotter string
	subnet      netip.Prefix
	toml        []byte
	env         []string
	fingerprint string
	logStart    int64 // where in the log the containerd we know of began; of Start and then of Supervise

	health latest.Cell[Health]
	ending chan struct{} // closed by the first Stop
	once   sync.Once
	// supervising is held by Supervise: Stop waits for it, so that nothing is started while it takes down.
	supervising sync.Mutex

	mu   sync.Mutex
	proc *process // the containerd we know of; replaced when it is restarted
}

// Health is how the runtime is. The zero Health is never published.
type Health struct {
	Up    bool
	PID   int
	Since time.Time
	// Kept is true when an earlier Bosun had started this containerd.
	Kept bool
	// Version is containerd's, once it has answered.
	Version string
	// Restarts counts how often Supervise had to start containerd again.
	Restarts int
	// Err says why the runtime is down, with the last lines of its log; or, when up, why it was down before.
	Err error
}

// Start brings up the runtime and returns when it answers. A containerd that runs already with the same configuration is
// kept; with another one it is ended and started anew, which no pod notices. The error names what failed, the log and
// what to do. Nothing of what Start began is left running when it fails.
func Start(ctx context.Context, c Config) (*Box, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	if err := checkBinaries(c); err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	if err := prepareDirs(c); err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	unlock, err := lock(c)
	if err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	defer unlock()

	b := &Box{cfg: c, ending: make(chan struct{}), env: environment(c)}
	ch, f, err := settle(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	b.snapshotter, b.subnet, b.toml = ch.Snapshotter, ch.Subnet, renderTOML(c, f)
	if b.fingerprint, err = fingerprint(c, b.toml, b.env); err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	h, err := b.bringUp(ctx)
	if err != nil {
		return nil, fmt.Errorf("container runtime: %w", err)
	}
	b.health.Set(h)
	return b, nil
}

// Endpoint is where the runtime speaks CRI.
func (b *Box) Endpoint() string { return "unix://" + b.cfg.SocketPath }

// Subnet is where pods get their addresses; the zero Prefix with a network of the user's own.
func (b *Box) Subnet() netip.Prefix { return b.subnet }

// Health returns how the runtime is now, and a channel that closes when that changes.
func (b *Box) Health() (Health, <-chan struct{}) { return b.health.Get() }

// bringUp returns with a containerd that answers: one that runs, or a new one. The caller holds the lock.
func (b *Box) bringUp(ctx context.Context) (Health, error) {
	boot, err := bootID()
	if err != nil {
		return Health{}, err
	}
	if h, ok, err := b.keep(ctx, boot); ok || err != nil {
		return h, err
	}
	return b.spawn(ctx, boot)
}

// keep takes over a containerd that runs with our configuration. One that runs with another, or does not answer, is ended.
func (b *Box) keep(ctx context.Context, boot string) (Health, bool, error) {
	r := readRecord(b.cfg.recordFile())
	p, err := r.find(ctx, boot)
	if errors.Is(err, errNoProcess) {
		r.Config = ""
		p, err = b.search()
	}
	if errors.Is(err, errNoProcess) {
		return Health{}, false, nil
	} else if err != nil {
		return Health{}, false, err
	}
	why := "its configuration or its binary changed"
	if r.Config == b.fingerprint {
		answer, err := b.askUntil(ctx, p, answerTimeout)
		if err != nil && !p.ended() {
			// It may just be starting, when Bosun was restarted meanwhile.
			b.cfg.Log.Warn("the container runtime runs but does not answer; waiting for it", "pid", p.pid, "atMost", keepTimeout)
			answer, err = b.askUntil(ctx, p, keepTimeout)
		}
		if err == nil {
			b.cfg.Log.Info("keeping the container runtime that runs", "pid", p.pid, "version", answer.Version, "socket", b.cfg.SocketPath)
			b.logStart = r.Log
			b.follow(p)
			return Health{Up: true, PID: p.pid, Since: time.Now(), Kept: true, Version: answer.Version}, true, nil
		}
		if ctx.Err() != nil {
			p.close()
			return Health{}, false, fmt.Errorf("wait for containerd %d to answer: %w", p.pid, err)
		}
		why = "it does not answer: " + err.Error()
	}
	b.cfg.Log.Info("replacing the container runtime that runs; pods stay", "pid", p.pid, "why", why)
	defer p.close()
	return Health{}, false, p.end(ctx, endPatience)
}

// search looks for our containerd in the process table.
func (b *Box) search() (*process, error) {
	table, err := processTable()
	if err != nil {
		return nil, err
	}
	r, ok := ourContainerd(table, b.cfg.configFile())
	if !ok {
		return nil, errNoProcess
	}
	return openProcess(r.pid, r.start)
}

// askUntil asks p for its version until it answers, ends, or time is up.
func (b *Box) askUntil(ctx context.Context, p *process, limit time.Duration) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		if p.wait(ctx) == nil {
			cancel()
		}
	}()
	answer, err := ask(ctx, b.cfg.SocketPath, waitForReady)
	cancel()
	<-asked
	return answer, err
}

// follow makes p the containerd that Supervise watches.
func (b *Box) follow(p *process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.proc != nil {
		b.proc.close()
	}
	b.proc = p
}

// lock makes sure that one Bosun at a time starts or stops this runtime. It does not wait: who else is at it will be done
// before long, and its work must be looked at anew.
func lock(c Config) (unlock func(), err error) {
	file := c.lockFile()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the runtime: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another Bosun is starting or stopping the runtime at %s right now (it holds %s): try again when it is done", c.Root, file)
		}
		return nil, fmt.Errorf("lock the runtime: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// writeRecord says which process is ours.
func (b *Box) writeRecord(p *process, boot string) error {
	data, err := json.Marshal(record{Version: recordVersion, PID: p.pid, Start: p.start, Boot: boot, Config: b.fingerprint, Log: b.logStart})
	if err != nil {
		return fmt.Errorf("write the pid record: %w", err)
	}
	return writeFile(b.cfg.recordFile(), append(data, '\n'), 0o600)
}

func (b *Box) containerd() string { return filepath.Join(b.cfg.RuntimeDir, "containerd") }
