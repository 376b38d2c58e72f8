package serve

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

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
	f.stream(w, r, func(c *pod.Container, q streamQuery) (string, error) {
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
	f.stream(w, r, func(c *pod.Container, q streamQuery) (string, error) {
		if e := f.find(r.PathValue("namespace"), r.PathValue("pod"), ""); e != nil {
			if spec, _ := pod.FindContainer(e.Desired.Pod, c.Name); spec != nil {
				q.tty = spec.TTY
			}
		}
		return f.cfg.Streams.Attach(r.Context(), &cri.AttachRequest{
			ContainerId: c.ID, Tty: q.tty, Stdin: q.stdin, Stdout: q.stdout, Stderr: q.stderr && !q.tty,
		})
	})
}

// stream finds the container, has the runtime open a stream, and joins the two connections.
func (f *Faces) stream(w http.ResponseWriter, r *http.Request, open func(*pod.Container, streamQuery) (string, error)) {
	at, err := f.openStream(r, open)
	if err != nil {
		code := statusOf(err)
		if code == http.StatusInternalServerError {
			f.cfg.Log.Warn("a stream to a container cannot be opened", "path", r.URL.Path, "err", err)
		}
		http.Error(w, err.Error(), code)
		return
	}
	f.join(w, r, at)
}

func (f *Faces) openStream(r *http.Request, open func(*pod.Container, streamQuery) (string, error)) (*url.URL, error) {
	if f.cfg.Streams == nil {
		return nil, refuse(http.StatusNotImplemented, "this agent has no streams to containers")
	}
	if !isUpgrade(r) {
		return nil, refuse(http.StatusBadRequest, "Upgrade request required")
	}
	q, err := parseStreamQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	name := r.PathValue("pod")
	e := f.find(r.PathValue("namespace"), name, "")
	if e == nil {
		return nil, refuse(http.StatusNotFound, "pod does not exist")
	}
	c := runningContainer(e, r.PathValue("container"))
	if uid := r.PathValue("uid"); c == nil || uid != "" && uid != string(e.Desired.Pod.UID) {
		return nil, refuse(http.StatusInternalServerError, "container not found (%q)", r.PathValue("container"))
	}
	text, err := open(c, q)
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(text)
	if err != nil || at.Host == "" {
		return nil, errors.New("the runtime answered with something that is no URL of a stream") // it may hold a token: not shown
	}
	return at, nil
}

// runningContainer is the running instance of a container, or nil (behaviour 367).
func runningContainer(e *worker.Entry, name string) *pod.Container {
	for i := range e.Observed.Containers {
		if c := &e.Observed.Containers[i]; c.Name == name && c.State == pod.Running {
			return c
		}
	}
	return nil
}

// statusOf turns an error of the runtime into a status.
func statusOf(err error) int {
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		return refused.code
	case errors.Is(err, fault.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, fault.ErrExhausted):
		return http.StatusTooManyRequests
	}
	return http.StatusInternalServerError
}

// join hands the request to the runtime's streaming server, upgrade and all. It returns when either side hangs up or
// the request's context ends.
func (f *Faces) join(w http.ResponseWriter, r *http.Request, at *url.URL) {
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = at, at.Host
			p.Out.Header.Del("Authorization") // it is for this agent
		},
		// One connection for each stream: it is of no use to another one.
		Transport: &http.Transport{DisableKeepAlives: true},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				f.cfg.Log.Warn("the runtime's stream broke", "path", r.URL.Path, "err", withoutURL(err))
			}
			http.Error(w, "the runtime's streaming server cannot be reached: "+withoutURL(err).Error(), http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0), // a stream that is cut in the middle is everyday life
	}
	proxy.ServeHTTP(w, r)
}

// withoutURL takes a URL out of an error: that of a stream holds the right to use it.
func withoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// isUpgrade tells whether a client asks to speak another protocol.
func isUpgrade(r *http.Request) bool {
	return strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
}
