package serve

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/access"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/runtime"
)

// hands are a runtime that does things to containers at once.
type hands struct {
	result  runtime.ExecResult
	err     error
	id      string
	command []string
	where   string
	seconds int64
}

func (h *hands) ExecSync(_ context.Context, id string, command []string, _ time.Duration) (runtime.ExecResult, error) {
	h.id, h.command = id, command
	return h.result, h.err
}

func (h *hands) CheckpointContainer(_ context.Context, id, location string, seconds int64) error {
	h.id, h.where, h.seconds = id, location, seconds
	return h.err
}

func TestRun(t *testing.T) {
	h := &hands{}
	s := newScene(t, func(c *Config) { c.Containers = h })
	good := runtime.ExecResult{Stdout: []byte("out\n"), Stderr: []byte("err\n")}
	for _, c := range []struct {
		title, path string
		result      runtime.ExecResult
		err         error
		code        int
		want        string
	}{
		{"good", "/run/default/web-node/app?cmd=ls+-l++/tmp", good, nil, 200, "out\nerr\n"},
		{"by UID", "/run/default/web-node/uid-web/app?cmd=ls+-l+/tmp", good, nil, 200, "out\nerr\n"},
		{"fails", "/run/default/web-node/app?cmd=ls+-l+/tmp", runtime.ExecResult{Stderr: []byte("no such file"), ExitCode: 2}, nil, 500, "command 'ls -l /tmp' exited with 2: no such file\n"},
		{"runtime fails", "/run/default/web-node/app?cmd=ls+-l+/tmp", good, errors.New("no"), 500, "no\n"},
		{"no such pod", "/run/default/nothing/app?cmd=ls", good, nil, 404, "pod does not exist\n"},
		{"not running", "/run/default/web-node/log?cmd=ls", good, nil, 500, "container not found (\"log\")\n"},
		{"other UID", "/run/default/web-node/other/app?cmd=ls", good, nil, 500, "container not found (\"app\")\n"},
		{"no command", "/run/default/web-node/app?cmd=+", good, nil, 400, "run needs a command, as ?cmd=\n"},
	} {
		t.Run(c.title, func(t *testing.T) {
			*h = hands{result: c.result, err: c.err}
			code, header, body := s.ask(Full, http.MethodPost, c.path)
			if code != c.code || body != c.want {
				t.Errorf("%d %q, want %d %q", code, body, c.code, c.want)
			}
			if code == 200 && (header.Get("Content-Type") != "application/json" || h.id != "app1" || strings.Join(h.command, "|") != "ls|-l|/tmp") {
				t.Errorf("%s: %q in %s", header.Get("Content-Type"), h.command, h.id)
			}
		})
	}
	if code, header, _ := s.ask(Full, http.MethodGet, "/run/default/web-node/app?cmd=ls"); code != 405 || header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %q", code, header)
	}
}

func TestCheckpoint(t *testing.T) {
	h, dir := &hands{}, filepath.Join(t.TempDir(), "checkpoints")
	s := newScene(t, func(c *Config) { c.Containers, c.CheckpointsDir = h, dir })
	file := filepath.Join(dir, "checkpoint-web-node_default-app-2024-05-01T12:00:00Z.tar")
	for _, c := range []struct {
		title, path string
		err         error
		code        int
		want        string
		seconds     int64
	}{
		{"good", "/checkpoint/default/web-node/app", nil, 200, `{"items":["` + file + `"]}`, 0},
		{"the last timeout counts", "/checkpoint/default/web-node/app?timeout=x&timeout=12", nil, 200, `{"items":["` + file + `"]}`, 12},
		{"bad timeout", "/checkpoint/default/web-node/app?timeout=soon", nil, 404, "timeout: \"soon\" is not a number of seconds\n", 0},
		{"no such pod", "/checkpoint/default/nothing/app", nil, 404, "pod does not exist\n", 0},
		{"no such container", "/checkpoint/default/web-node/nothing", nil, 404, "container \"nothing\" does not exist in pod \"web-node\"\n", 0},
		{"not running", "/checkpoint/default/web-node/log", nil, 500, "container not found (\"log\")\n", 0},
		{"the runtime cannot", "/checkpoint/default/web-node/app", fault.As(fault.ErrUnsupported, errors.New("unknown method")), 500, "unknown method\n", 0},
		{"the runtime has lost it", "/checkpoint/default/web-node/app", fault.As(fault.ErrNotFound, errors.New("gone")), 500, "gone\n", 0},
	} {
		t.Run(c.title, func(t *testing.T) {
			*h = hands{err: c.err}
			code, _, body := s.ask(Full, http.MethodPost, c.path)
			if code != c.code || body != c.want {
				t.Errorf("%d %q, want %d %q", code, body, c.code, c.want)
			}
			if code == 200 && (h.id != "app1" || h.where != file || h.seconds != c.seconds) {
				t.Errorf("%+v", h)
			}
		})
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
}

// TestUseIsTold: who does something to a pod is in the log, and what they do there is not.
func TestUseIsTold(t *testing.T) {
	var told bytes.Buffer
	s := newScene(t, func(c *Config) { c.Containers, c.Log = &hands{}, slog.New(slog.NewTextHandler(&told, nil)) })
	gate, err := access.New(access.Config{Anonymous: true, AlwaysAllow: true})
	if err != nil {
		t.Fatal(err)
	}
	s.faces.handler(Full, gate.Wrap).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/run/default/web-node/app?cmd=secret", nil))
	for _, word := range []string{"kind=run", "namespace=default", "pod=web-node", "container=app", "user=system:anonymous"} {
		if !strings.Contains(told.String(), word) {
			t.Errorf("no %s in %s", word, told.String())
		}
	}
	if strings.Contains(told.String(), "secret") {
		t.Errorf("the command is told: %s", told.String())
	}
}
