package hook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/note"
)

// Kind is which hook of a container is run.
type Kind string

// The kinds, spelled as in Error.Brief and in the events FailedPostStartHook and FailedPreStopHook.
const (
	PostStart Kind = "PostStart"
	PreStop   Kind = "PreStop"
)

// Runtime runs a command in a container. It has no time limit but ctx, and must end the command when ctx ends.
type Runtime interface {
	Exec(ctx context.Context, containerID string, command []string) (stdout, stderr []byte, exitCode int32, err error)
}

// Config says what a Runner uses.
type Config struct {
	Runtime Runtime
	// Version is told to HTTP servers as User-Agent kube-lifecycle/<Version>: major.minor, such as 1.37.
	Version string
	// Notes receives a note when an HTTPS hook fell back to HTTP; nil is fine.
	Notes note.Sink
}

// Runner carries out lifecycle handlers. It is safe for concurrent use.
type Runner struct {
	config Config
	client *http.Client
}

// New builds a Runner.
func New(c Config) *Runner {
	if c.Notes == nil {
		c.Notes = func(note.Note) {}
	}
	return &Runner{config: c, client: newClient()}
}

// Request is one hook to run.
type Request struct {
	Kind    Kind
	Handler *v1.LifecycleHandler
	Pod     *v1.Pod
	// Container is the hook's container: the names of its ports may be used in the handler.
	Container *v1.Container
	// ContainerID is the instance to run a command in.
	ContainerID string
	// FieldPath is the container's event field path, such as spec.containers{app}.
	FieldPath string
	// PodIP is where an HTTP request goes that names no host.
	PodIP string
}

// Error says why a hook failed.
type Error struct {
	Kind Kind
	// Message names handler, container and pod, and what went wrong. It may quote up to 1 KiB of a command's output.
	Message string

	cause error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Brief is the text of the event since Kubernetes 1.26, which keeps a command's output from those who may read events
// but not logs: "PostStartHook failed" or "PreStopHook failed".
func (e *Error) Brief() string { return string(e.Kind) + "Hook failed" }

// Unwrap returns the cause, such as context.DeadlineExceeded for a hook that was cut short.
func (e *Error) Unwrap() error { return e.cause }

// Run carries out a handler and returns when it is over or ctx ends. The error is an *Error.
func (r *Runner) Run(ctx context.Context, q Request) error {
	h := q.Handler
	switch {
	case h == nil:
		return q.fail("Lifecycle hook", errors.New("it names no handler"))
	case h.Exec != nil:
		return r.exec(ctx, q)
	case h.HTTPGet != nil:
		return r.httpGet(ctx, q)
	case h.Sleep != nil:
		return r.sleep(ctx, q)
	case h.TCPSocket != nil:
		// The API accepts the field for old objects' sake and documents that it fails at runtime.
		return q.fail("TCP lifecycle hook", errors.New("tcpSocket is not supported in lifecycle hooks; use exec, httpGet or sleep"))
	}
	return q.fail("Lifecycle hook", errors.New("it has none of exec, httpGet and sleep"))
}

// exec runs the command; only an exit code of 0 is success.
func (r *Runner) exec(ctx context.Context, q Request) error {
	command := q.Handler.Exec.Command
	what := fmt.Sprintf("Exec lifecycle hook (%v)", command)
	stdout, stderr, code, err := r.config.Runtime.Exec(ctx, q.ContainerID, command)
	if err == nil && code == 0 {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if err == nil {
		err = fmt.Errorf("command '%s' exited with %d: %s", strings.Join(command, " "), code, brief(stderr))
	}
	e := q.fail(what, err)
	e.Message += fmt.Sprintf(", message: %q", brief(append(stdout[:len(stdout):len(stdout)], stderr...)))
	return e
}

// sleep pauses; a pause that ctx ends early is a failure, because what the pause was for may not have happened.
func (r *Runner) sleep(ctx context.Context, q Request) error {
	timer := time.NewTimer(time.Duration(q.Handler.Sleep.Seconds) * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return q.fail(fmt.Sprintf("Sleep lifecycle hook (%d)", q.Handler.Sleep.Seconds),
			fmt.Errorf("container terminated before sleep hook finished: %w", context.Cause(ctx)))
	}
}

// fail builds the error of a hook, in the words of upstream.
func (q *Request) fail(what string, cause error) *Error {
	return &Error{Kind: q.Kind, cause: cause, Message: fmt.Sprintf("%s for Container %q in Pod %q failed - error: %v", what, q.Container.Name, q.podName(), cause)}
}

func (q *Request) podName() string {
	return fmt.Sprintf("%s_%s(%s)", q.Pod.Name, q.Pod.Namespace, q.Pod.UID)
}

// about is the container as the object of a note.
func (q *Request) about() note.About {
	return note.About{Kind: "Pod", Namespace: q.Pod.Namespace, Name: q.Pod.Name, UID: q.Pod.UID, Container: q.Container.Name,
		FieldPath: cmp.Or(q.FieldPath, "spec.containers{"+q.Container.Name+"}")}
}

// maxOutput bounds what is repeated of a command's output, in bytes.
const maxOutput = 1024

// brief keeps the end of an output, where a failing command usually says why.
func brief(output []byte) string {
	if len(output) > maxOutput {
		output = append([]byte("…"), output[len(output)-maxOutput:]...)
	}
	return strings.ToValidUTF8(string(output), "?")
}
