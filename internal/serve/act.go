package serve

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/safepath"
)

// run runs a command in a container and answers with all it has written. There is no shell: the words are what lies
// between spaces. The content type is upstream's, wrong as it is.
func (f *Faces) run(w http.ResponseWriter, r *http.Request) {
	c, err := f.runningContainer(r)
	if err != nil {
		f.sayNo(w, r, err)
		return
	}
	words := strings.Fields(r.URL.Query().Get("cmd"))
	if len(words) == 0 {
		f.sayNo(w, r, refuse(http.StatusBadRequest, "run needs a command, as ?cmd="))
		return
	}
	f.tell(r, "run")
	result, err := f.cfg.Containers.ExecSync(r.Context(), c.ID, words, 0)
	if err == nil && result.ExitCode != 0 {
		err = refuse(http.StatusInternalServerError, "command '%s' exited with %d: %s%s", strings.Join(words, " "), result.ExitCode, result.Stdout, result.Stderr)
	}
	if err != nil {
		f.sayNo(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(result.Stdout, result.Stderr...)) // a client that has left needs no answer
}

// checkpoint writes a running container to a file and answers with its name.
func (f *Faces) checkpoint(w http.ResponseWriter, r *http.Request) {
	path, err := f.makeCheckpoint(r)
	if err != nil {
		code := http.StatusInternalServerError // whatever the runtime says
		if no, ok := err.(*refusal); ok {
			code = no.code
		} else {
			f.cfg.Log.Warn("a container cannot be checkpointed", "path", r.URL.Path, "err", err)
		}
		http.Error(w, err.Error(), code)
		return
	}
	f.answer(w, r, struct {
		Items []string `json:"items"`
	}{[]string{path}})
}

func (f *Faces) makeCheckpoint(r *http.Request) (string, error) {
	namespace, name, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	e, known := f.named(r)
	if !known {
		return "", refuse(http.StatusNotFound, "pod does not exist")
	}
	if c, _ := pod.FindContainer(e.Desired.Pod, container); c == nil && runs(e, container) == nil {
		return "", refuse(http.StatusNotFound, "container %q does not exist in pod %q", container, name)
	}
	timeout := int64(0)
	if given := r.URL.Query()["timeout"]; len(given) > 0 {
		last := given[len(given)-1]
		var err error
		if timeout, err = strconv.ParseInt(last, 10, 64); err != nil || timeout < 0 {
			return "", refuse(http.StatusNotFound, "timeout: %q is not a number of seconds", last)
		}
	}
	c := runs(e, container)
	if c == nil {
		return "", refuse(http.StatusInternalServerError, "container not found (%q)", container)
	}
	file := fmt.Sprintf("checkpoint-%s_%s-%s-%s.tar", name, namespace, container, f.now().Format(time.RFC3339))
	if err := safepath.Component(file); err != nil {
		return "", fmt.Errorf("name the checkpoint of container %s: %w", container, err)
	}
	if err := os.MkdirAll(f.cfg.CheckpointsDir, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of checkpoints: %w", err)
	}
	f.tell(r, "checkpoint")
	path := filepath.Join(f.cfg.CheckpointsDir, file)
	return path, f.cfg.Containers.CheckpointContainer(r.Context(), c.ID, path, timeout)
}
