package ask

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/bosun-project/bosun/internal/health"
)

// Runtime is what a question needs of the container runtime.
type Runtime interface {
	// Exec runs a command in a container and returns what it wrote, at least the first 10 KiB. A command that takes longer
	// than timeout is an error fault.ErrTimeout; it returns soon after ctx ends.
	Exec(ctx context.Context, containerID string, command []string, timeout time.Duration) (output []byte, exitCode int32, err error)
	// Ended tells whether a container is known not to run any more.
	Ended(ctx context.Context, containerID string) bool
}

// Config says what an Asker uses.
type Config struct {
	Runtime Runtime
	// Version is told to servers as User-Agent kube-probe/<Version>: major.minor; 1.37 if empty.
	Version string
}

// Asker puts questions. It is safe for concurrent use.
type Asker struct {
	runtime Runtime
	agent   string
}

// New builds an Asker.
func New(c Config) *Asker {
	if c.Version == "" {
		c.Version = "1.37"
	}
	return &Asker{runtime: c.Runtime, agent: "kube-probe/" + c.Version}
}

// maxOutput is how much of what a container says is read, in bytes.
const maxOutput = 10 << 10

// Ask puts a question and returns when it is answered, its time is up, or ctx ends. An error means that the question
// could not be put, and so says nothing of the container.
func (a *Asker) Ask(ctx context.Context, q health.Question) (health.Answer, error) {
	switch h := q.Handler; {
	case h == nil:
	case h.Exec != nil:
		return a.exec(ctx, q)
	case h.HTTPGet != nil:
		return a.httpGet(ctx, q)
	case h.TCPSocket != nil:
		return connect(ctx, q)
	case h.GRPC != nil:
		return a.grpc(ctx, q)
	}
	return health.Answer{}, errors.New("the probe has none of exec, httpGet, tcpSocket and grpc")
}

// Ended tells whether a container is known not to run any more: what it answered then means nothing.
func (a *Asker) Ended(ctx context.Context, containerID string) bool {
	return a.runtime.Ended(ctx, containerID)
}

func failed(output string) health.Answer {
	return health.Answer{Result: health.Failure, Output: output}
}

// newDialer builds the dialer of all questions. Connections are closed within a second and leave nothing behind:
// thousands of probes would otherwise fill the node's tables with connections that nobody needs (behaviour 126).
func newDialer() *net.Dialer {
	return &net.Dialer{
		KeepAlive: -1,
		Control: func(_, _ string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) {
				failed = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1, Linger: 1})
			})
			return errors.Join(err, failed)
		},
	}
}
