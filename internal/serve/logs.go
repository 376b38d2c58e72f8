package serve

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/containerlog"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/worker"
)

// refusal is an error with the HTTP status that tells it.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

func refuse(code int, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// logQuery is what a request for logs asks.
type logQuery struct {
	containerlog.Options
	previous bool
}

// containerLogs answers kubectl logs and bosun logs (behaviours 264, 366).
func (f *Faces) containerLogs(w http.ResponseWriter, r *http.Request) {
	reading, q, err := f.openLog(r)
	if err != nil {
		code := http.StatusInternalServerError
		var refused *refusal
		if errors.As(err, &refused) {
			code = refused.code
		} else {
			f.cfg.Log.Warn("a log cannot be read", "path", r.URL.Path, "err", err)
		}
		http.Error(w, err.Error(), code)
		return
	}
	defer reading.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var out io.Writer = w
	if q.Follow {
		live := flushing{w, http.NewResponseController(w)}
		if err := live.control.Flush(); err != nil { // the reader learns at once that there is a log
			return
		}
		out = live
	}
	if err := reading.Copy(r.Context(), out, q.Options); err != nil && r.Context().Err() == nil {
		f.cfg.Log.Warn("a log could not be read to its end", "path", r.URL.Path, "err", err)
	}
}

// flushing sends what it gets at once.
type flushing struct {
	out     io.Writer
	control *http.ResponseController
}

func (w flushing) Write(p []byte) (int, error) {
	n, err := w.out.Write(p)
	if err != nil {
		return n, err
	}
	return n, w.control.Flush()
}

func (f *Faces) openLog(r *http.Request) (*containerlog.Reading, logQuery, error) {
	query := r.URL.Query()
	if !f.cfg.SplitLogStreams {
		query.Del("stream")
	}
	q, err := parseLogQuery(query, f.now())
	if err != nil {
		return nil, q, err
	}
	namespace, name, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	e := f.find(namespace, name, "")
	if e == nil {
		return nil, q, refuse(http.StatusNotFound, "pod %q does not exist", name)
	}
	if c, _ := pod.FindContainer(e.Desired.Pod, container); c == nil && e.Observed.Latest(container) == nil {
		return nil, q, refuse(http.StatusNotFound, "container %q not found in pod %q", container, name)
	}
	instance, err := f.instance(e, container, q.previous)
	if err != nil {
		return nil, q, err
	}
	reading, err := f.log(e, instance).Open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, q, refuse(http.StatusNotFound, "container %q in pod %q has no log file any more", container, name)
	}
	return reading, q, err
}

// instance finds the container instance whose log is meant: by the status, so that both tell the same story.
func (f *Faces) instance(e *worker.Entry, container string, previous bool) (*pod.Container, error) {
	name := e.Desired.Pod.Name
	if e.Desired.Source == pod.FromRuntime { // nobody wants it, so there is no status; the runtime is asked instead
		return newest(e, container, name, previous)
	}
	status := containerStatus(f.cfg.Status(e), container)
	if status == nil {
		return nil, refuse(http.StatusBadRequest, "container %q in pod %q is not available", container, name)
	}
	last, now := status.LastTerminationState.Terminated, status.State
	id := ""
	switch {
	case previous && (last == nil || last.ContainerID == ""):
		return nil, refuse(http.StatusBadRequest, "previous terminated container %q in pod %q not found", container, name)
	case previous:
		id = last.ContainerID
	case now.Running != nil:
		id = status.ContainerID
	case now.Terminated != nil && now.Terminated.ContainerID != "":
		id = now.Terminated.ContainerID
	case last != nil && last.ContainerID != "":
		id = last.ContainerID
	default:
		return nil, waitingToStart(container, name, now.Waiting)
	}
	if _, bare, ok := strings.Cut(id, "://"); ok {
		id = bare
	}
	c := e.Observed.Container(id)
	if c == nil || c.State == pod.Gone {
		return nil, refuse(http.StatusNotFound, "unable to retrieve container logs for %s: the container is gone", id)
	}
	return c, nil
}

func waitingToStart(container, name string, w *v1.ContainerStateWaiting) error {
	why := "not started yet"
	if w != nil {
		why = w.Reason
		switch w.Reason {
		case reason.ErrImagePull:
			why = "image can't be pulled"
		case reason.ImagePullBackOff:
			why = "trying and failing to pull image"
		}
	}
	return refuse(http.StatusBadRequest, "container %q in pod %q is waiting to start: %s", container, name, why)
}

// newest is the newest instance that was started, or the one before it.
func newest(e *worker.Entry, container, name string, previous bool) (*pod.Container, error) {
	skip := previous
	for i := range e.Observed.Containers {
		c := &e.Observed.Containers[i]
		if c.Name != container || c.State == pod.Created || c.State == pod.Gone {
			continue
		}
		if !skip {
			return c, nil
		}
		skip = false
	}
	if !previous {
		return nil, waitingToStart(container, name, nil)
	}
	return nil, refuse(http.StatusBadRequest, "previous terminated container %q in pod %q not found", container, name)
}

func containerStatus(s v1.PodStatus, name string) *v1.ContainerStatus {
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// log is where an instance's log is: below the pod's log directory, whatever the runtime says.
func (f *Faces) log(e *worker.Entry, c *pod.Container) containerlog.Log {
	p := e.Desired.Pod
	l := containerlog.Log{
		Dir:   names.PodLogDir(f.cfg.PodLogsDir, p.Namespace, p.Name, p.UID),
		Name:  names.ContainerLog(c.Name, c.Attempt),
		Alive: func() (bool, <-chan struct{}) { return f.alive(p.UID, c.ID) },
	}
	if beneath, err := filepath.Rel(l.Dir, c.LogPath); err == nil && filepath.IsLocal(beneath) && beneath != "." {
		l.Name = beneath
	}
	return l
}

// alive tells whether a container may still write, and when to ask again.
func (f *Faces) alive(uid types.UID, id string) (bool, <-chan struct{}) {
	entries, newer := f.cfg.Pods.Pods()
	for _, e := range entries {
		if e.Desired.Pod.UID == uid {
			c := e.Observed.Container(id)
			return c != nil && (c.Live() || c.State == pod.Created), newer
		}
	}
	return false, newer
}

func follows(r *http.Request) bool { return truth(r.URL.Query(), "follow") }

// truth reads a switch as the API does: given without a value it is on, and only "false" and "0" are off.
func truth(q url.Values, name string) bool {
	values, given := q[name]
	if !given {
		return false
	}
	switch strings.ToLower(values[0]) {
	case "false", "0":
		return false
	}
	return true
}

// parseLogQuery reads PodLogOptions.
func parseLogQuery(q url.Values, now time.Time) (logQuery, error) {
	out := logQuery{previous: truth(q, "previous")}
	out.Follow, out.Timestamps = truth(q, "follow"), truth(q, "timestamps")
	var bad error
	number := func(name string, least int64) *int64 {
		text := q.Get(name)
		if text == "" {
			return nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case bad != nil:
		case err != nil:
			bad = refuse(http.StatusBadRequest, "%s: %q is not a whole number", name, text)
		case n < least:
			bad = refuse(http.StatusUnprocessableEntity, "%s: %d is less than %d", name, n, least)
		}
		return &n
	}
	tail := "tailLines"
	if old := q.Get("tail"); old != "" && q.Get(tail) == "" { // the name before Kubernetes 1.2
		tail = "tail"
		if old == "all" {
			q.Del(tail)
		}
	}
	out.Tail = number(tail, 0)
	switch stream := q.Get("stream"); {
	case bad != nil, stream == "", stream == v1.LogStreamAll:
	case stream != v1.LogStreamStdout && stream != v1.LogStreamStderr:
		bad = refuse(http.StatusUnprocessableEntity, "stream: %q is not one of All, Stdout, Stderr", stream)
	case out.Tail != nil:
		bad = refuse(http.StatusUnprocessableEntity, "`tailLines` and specific `stream` are mutually exclusive for now")
	default:
		out.Stream = strings.ToLower(stream)
	}
	if limit := number("limitBytes", 1); limit != nil {
		out.LimitBytes = *limit
	}
	seconds := number("sinceSeconds", 1)
	if seconds != nil {
		out.Since = now.Add(-time.Duration(min(*seconds, 1<<32)) * time.Second)
	}
	if text := q.Get("sinceTime"); text != "" && bad == nil {
		at, err := time.Parse(time.RFC3339, text)
		switch {
		case err != nil:
			bad = refuse(http.StatusBadRequest, "sinceTime: %q is not a time such as 2024-05-01T10:00:00Z", text)
		case seconds != nil:
			bad = refuse(http.StatusUnprocessableEntity, "at most one of `sinceTime` or `sinceSeconds` may be specified")
		}
		out.Since = at
	}
	return out, bad
}
