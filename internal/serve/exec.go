package serve

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/access"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/worker"
)

// streamQuery is what a request for a stream asks.
type streamQuery struct {
	command                    []string
	stdin, stdout, stderr, tty bool
}

func parseStreamQuery(q url.Values) (streamQuery, error) {
	s := streamQuery{
		command: q["command"], stdin: truth(q, "input"), stdout: truth(q, "output"), stderr: truth(q, "error"), tty: truth(q, "tty"),
	}
	if s.tty {
		s.stderr = false // a terminal has one output
	}
	if !s.stdin && !s.stdout && !s.stderr {
		return s, refuse(http.StatusBadRequest, "you must specify at least 1 of stdin, stdout, stderr")
	}
	return s, nil
}

// exec streams a new command of a running container.
func (f *Faces) exec(w http.ResponseWriter, r *http.Request) {
	f.stream(w, r, "exec", func(c *pod.Container, q *streamQuery) (string, error) {
		if len(q.command) == 0 {
			return "", refuse(http.StatusBadRequest, "exec needs at least one word of a command, as ?command=")
		}
		return f.cfg.Streams.Exec(r.Context(), &cri.ExecRequest{
			ContainerId: c.ID, Cmd: q.command, Tty: q.tty, Stdin: q.stdin, Stdout: q.stdout, Stderr: q.stderr,
		})
	})
}

// attach streams a running container's first process. Whether that has a terminal is up to its specification.
func (f *Faces) attach(w http.ResponseWriter, r *http.Request) {
	f.stream(w, r, "attach", func(c *pod.Container, q *streamQuery) (string, error) {
		if e, _ := f.named(r); e != nil {
			if spec, _ := pod.FindContainer(e.Desired.Pod, c.Name); spec != nil {
				q.tty = spec.TTY
			}
		}
		q.stderr = q.stderr && !q.tty
		return f.cfg.Streams.Attach(r.Context(), &cri.AttachRequest{
			ContainerId: c.ID, Tty: q.tty, Stdin: q.stdin, Stdout: q.stdout, Stderr: q.stderr,
		})
	})
}

// stream finds the container, has the runtime open a stream, and joins the two connections. open may change the query
// to what it asked the runtime for.
func (f *Faces) stream(w http.ResponseWriter, r *http.Request, kind string, open func(*pod.Container, *streamQuery) (string, error)) {
	var q streamQuery
	at, err := f.openStream(r, &q, open)
	if err != nil {
		f.sayNo(w, r, err)
		return
	}
	f.tell(r, kind)
	if !f.cfg.OldWebSockets && websocket.IsWebSocketUpgrade(r) && offers(r, channelsV5) {
		f.channels(w, r, at, q)
		return
	}
	f.join(w, r, at)
}

// tell writes down that somebody uses a pod, since this is seen nowhere else if they came past the API server.
func (f *Faces) tell(r *http.Request, kind string) {
	if websocket.IsWebSocketUpgrade(r) {
		f.cfg.Numbers.WebSocket(strings.ReplaceAll(kind, "-", ""))
	}
	args := []any{"kind", kind, "namespace", r.PathValue("namespace"), "pod", r.PathValue("pod"), "from", r.RemoteAddr}
	if c := r.PathValue("container"); c != "" {
		args = append(args, "container", c)
	}
	if user, ok := access.UserOf(r.Context()); ok {
		args = append(args, "user", user.Name)
	}
	f.cfg.Log.Info("somebody uses a pod", args...)
}

// sayNo answers with an error, and logs it if it is not the asker's.
func (f *Faces) sayNo(w http.ResponseWriter, r *http.Request, err error) {
	code := statusOf(err)
	if code == http.StatusInternalServerError && r.Context().Err() == nil {
		f.cfg.Log.Warn("a request fails", "path", r.URL.Path, "err", err)
	}
	http.Error(w, err.Error(), code)
}

func (f *Faces) openStream(r *http.Request, q *streamQuery, open func(*pod.Container, *streamQuery) (string, error)) (*url.URL, error) {
	if f.cfg.Streams == nil {
		return nil, refuse(http.StatusNotImplemented, "this agent has no streams to containers")
	}
	if !isUpgrade(r) {
		return nil, refuse(http.StatusBadRequest, "Upgrade request required")
	}
	var err error
	if *q, err = parseStreamQuery(r.URL.Query()); err != nil {
		return nil, err
	}
	c, err := f.runningContainer(r)
	if err != nil {
		return nil, err
	}
	text, err := open(c, q)
	if err != nil {
		return nil, err
	}
	return streamURL(text)
}

// streamURL reads what the runtime gives as the place of a stream.
func streamURL(text string) (*url.URL, error) {
	at, err := url.Parse(text)
	if err != nil || at.Host == "" {
		return nil, errors.New("the runtime answered with something that is no URL of a stream") // it may hold a token: not shown
	}
	return at, nil
}

// runningContainer finds the running instance of the container that a request names (behaviour 367).
func (f *Faces) runningContainer(r *http.Request) (*pod.Container, error) {
	e, known := f.named(r)
	if !known {
		return nil, refuse(http.StatusNotFound, "pod does not exist")
	}
	if e != nil {
		if c := runs(e, r.PathValue("container")); c != nil {
			return c, nil
		}
	}
	return nil, refuse(http.StatusInternalServerError, "container not found (%q)", r.PathValue("container"))
}

// runs is the running instance of a container, or nil.
func runs(e *worker.Entry, name string) *pod.Container {
	for i := range e.Observed.Containers {
		if c := &e.Observed.Containers[i]; c.Name == name && c.State == pod.Running {
			return c
		}
	}
	return nil
}

// statusOf turns an error of the runtime into a status.
func statusOf(err error) int {
	var no *refusal
	switch {
	case errors.As(err, &no):
		return no.code
	case errors.Is(err, fault.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, fault.ErrExhausted):
		return http.StatusTooManyRequests
	}
	return http.StatusInternalServerError
}

// isUpgrade tells whether a client asks to speak another protocol.
func isUpgrade(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}
