package serve

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/bosun-project/bosun/internal/config"
)

// everything turns on all there is.
func everything(c *Config) {
	c.Streams, c.Forward, c.Containers = somewhere("http://127.0.0.1:1/"), somewhere("http://127.0.0.1:1/"), &hands{}
	c.CheckpointsDir, c.SystemLogsDir = os.TempDir(), os.TempDir()
	c.Profiling, c.SetVerbosity = true, func(int) {}
	c.Kubelet, c.Flags = &config.KubeletConfiguration{}, func() map[string]string { return nil }
	c.About = &About{Version: "1.37.1", Started: before(time.Hour)}
}

// TestEndpoints holds the table of endpoints of spec/http.md: which path and method is answered behind which door.
func TestEndpoints(t *testing.T) {
	const (
		served  = 0 // by a handler, whatever that answers
		unknown = http.StatusNotFound
		not     = http.StatusMethodNotAllowed
	)
	for _, c := range []struct {
		methods, path           string
		full, readOnly, noDebug int // noDebug: full, with enableDebuggingHandlers off
	}{
		{"GET", "/healthz", served, served, served},
		{"GET", "/healthz/ping", served, served, served},
		{"GET", "/metrics", served, served, served},
		{"GET", "/metrics/slis", served, served, served},
		{"GET", "/metrics/probes", served, served, served},
		{"GET", "/pods", served, served, served},
		{"GET", "/pods/", served, served, served},
		{"GET", "/runningpods/", served, served, not},
		{"GET", "/containerLogs/default/web-node/app", served, served, not},
		{"POST", "/run/default/web-node/app", served, not, not},
		{"POST", "/run/default/web-node/uid/app", served, not, not},
		{"GET POST", "/exec/default/web-node/app", served, not, not},
		{"GET POST", "/exec/default/web-node/uid/app", served, not, not},
		{"GET POST", "/attach/default/web-node/app", served, not, not},
		{"GET POST", "/attach/default/web-node/uid/app", served, not, not},
		{"GET POST", "/portForward/default/web-node", served, not, not},
		{"GET POST", "/portForward/default/web-node/uid", served, not, not},
		{"GET", "/configz", served, unknown, served},
		{"POST", "/checkpoint/default/web-node/app", served, unknown, served},
		{"GET", "/logs/", served, not, not},
		{"GET", "/debug/pprof/", served, not, not},
		{"GET", "/debug/pprof/cmdline", served, not, not},
		{"GET", "/debug/pprof/goroutine", served, not, not},
		{"PUT", "/debug/flags/v", served, not, not},
		{"GET", "/flagz", served, unknown, served},
		{"GET", "/statusz", served, unknown, served},
		{"GET", "/cri/", unknown, unknown, unknown},
		{"GET", "/stats", unknown, unknown, unknown},
		{"GET", "/stats/container", unknown, unknown, unknown},
		{"GET", "/livez", unknown, unknown, unknown},
		{"GET", "/", unknown, unknown, unknown},
	} {
		for title, want := range map[string]int{"full": c.full, "readOnly": c.readOnly, "noDebug": c.noDebug} {
			s := newScene(t, func(cfg *Config) {
				everything(cfg)
				cfg.Debugging = title != "noDebug"
			})
			door := Full
			if title == "readOnly" {
				door = ReadOnly
			}
			for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
				code, header, body := s.ask(door, method, c.path)
				switch {
				case want == served && !strings.Contains(c.methods, method):
					if code != not || header.Get("Allow") == "" {
						t.Errorf("%s: %s %s: %d, Allow %q; want 405", title, method, c.path, code, header.Get("Allow"))
					}
				case want == served:
					if code == not || code == unknown && body == "404 page not found\n" && !strings.HasPrefix(c.path, "/metrics") {
						t.Errorf("%s: %s %s: %d %q", title, method, c.path, code, body)
					}
				case want == not:
					if code != not || body != "Debug endpoints are disabled.\n" {
						t.Errorf("%s: %s %s: %d %q, want it disabled", title, method, c.path, code, body)
					}
				case code != want:
					t.Errorf("%s: %s %s: %d, want %d", title, method, c.path, code, want)
				}
			}
		}
	}
}

// TestSwitches: what else can be turned off.
func TestSwitches(t *testing.T) {
	s := newScene(t, nil)
	for path, want := range map[string]string{
		"/logs/": "logs endpoint is disabled.", "/debug/pprof/": "profiling endpoint is disabled.", "/debug/pprof/heap": "profiling endpoint is disabled.",
		"/debug/pprof/trace": "profiling endpoint is disabled.", "/debug/flags/v": "flags endpoint is disabled.",
	} {
		s.want(t, Full, path, http.StatusMethodNotAllowed, want)
	}
}

func TestConfigz(t *testing.T) {
	k := &config.KubeletConfiguration{TypeMeta: metav1.TypeMeta{Kind: "KubeletConfiguration", APIVersion: kubelet.SchemeGroupVersion.String()}, MaxPods: 7}
	k.SyncFrequency.Duration = time.Minute
	s := newScene(t, func(c *Config) { c.Kubelet = k })
	_, header, body := s.ask(Full, http.MethodGet, "/configz")
	var got struct {
		Kubeletconfig map[string]any `json:"kubeletconfig"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v: %s", err, body)
	}
	for name, want := range map[string]any{"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", "maxPods": 7.0, "syncFrequency": "1m0s"} {
		if got.Kubeletconfig[name] != want {
			t.Errorf("%s: %v, want %v", name, got.Kubeletconfig[name], want)
		}
	}
}

func TestStatuszAndFlagz(t *testing.T) {
	s := newScene(t, func(c *Config) {
		everything(c)
		c.Flags = func() map[string]string { return map[string]string{"v": "2", "node-ip": "10.0.0.1"} }
	})
	get := func(path, accept string) (int, string) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		s.faces.Handler(Full).ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, accept := range []string{"", "*/*", "text/plain", "application/yaml, text/plain;q=0.5"} {
		if code, body := get("/statusz", accept); code != 200 || !strings.HasPrefix(body, "\nkubelet statusz\nWarning: ") ||
			!strings.Contains(body, "Started: Wed May  1 11:00:00 UTC 2024\nUp: 1 hr 00 min 00 sec\nGo version: go1.") ||
			!strings.HasSuffix(body, "Binary version: 1.37.1\nEmulation version: 1.37\nPaths: /configz /debug /flagz /healthz /metrics /statusz\n") {
			t.Errorf("Accept %q: %d %q", accept, code, body)
		}
		if code, body := get("/flagz", accept); code != 200 || !strings.HasPrefix(body, "\nkubelet flagz\nWarning: ") || !strings.HasSuffix(body, "\n\nnode-ip=10.0.0.1\nv=2\n") {
			t.Errorf("Accept %q: %d %q", accept, code, body)
		}
	}
	for _, c := range []struct {
		path, accept string
		code         int
		want         string
	}{
		{"/statusz", "application/json;v=v1beta1;g=config.k8s.io;as=Statusz", 200, `{"kind":"Statusz","apiVersion":"config.k8s.io/v1beta1","metadata":{"name":"kubelet"},"startTime":"2024-05-01T11:00:00Z","uptimeSeconds":3600,"goVersion":"go`},
		{"/flagz", "application/json;v=v1alpha1;g=config.k8s.io;as=Flagz", 200, `{"kind":"Flagz","apiVersion":"config.k8s.io/v1alpha1","metadata":{"name":"kubelet"},"flags":{"node-ip":"10.0.0.1","v":"2"}}`},
		{"/flagz", "application/json", 406, "only text/plain"},
		{"/statusz", "application/json;v=v1beta1;g=config.k8s.io;as=Flagz", 406, "only text/plain"},
	} {
		if code, body := get(c.path, c.accept); code != c.code || !strings.HasPrefix(body, c.want) {
			t.Errorf("%s, Accept %s: %d %s", c.path, c.accept, code, body)
		}
	}
}

func TestVerbosity(t *testing.T) {
	got := -1
	s := newScene(t, func(c *Config) { c.SetVerbosity = func(level int) { got = level } })
	put := func(text string) (int, string) {
		w := httptest.NewRecorder()
		s.faces.Handler(Full).ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/debug/flags/v", strings.NewReader(text)))
		return w.Code, w.Body.String()
	}
	if code, body := put("4"); code != 200 || body != "successfully set klog.logging.verbosity to 4" || got != 4 {
		t.Errorf("%d %q, level %d", code, body, got)
	}
	for _, bad := range []string{"", "x", "-1", "11", strings.Repeat("1", 100)} {
		if code, _ := put(bad); code != 400 || got != 4 {
			t.Errorf("%q: %d, level %d", bad, code, got)
		}
	}
}

// logDir is a directory of logs as nodes have it, with links as tenants would like them.
func logDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range map[string]string{"log/messages": "m\n", "log/pods/p/app/0.log": "zero\n", "log/foo.log": "foo\n", "log/bar/bar.log": "bar\n", "secret": "s\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "log/containers"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "log/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"containers/app.log": dir + "/log/pods/p/app/0.log", "containers/beside": "../messages", "containers/through": "../pods",
		"out": dir + "/secret", "up": "../secret", "etc": "/etc", "loop": "loop", "gone": "nothing",
	} {
		if err := os.Symlink(to, filepath.Join(dir, "log", name)); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "log")
}

// TestSystemLogs: files and links below the directory are shown, and nothing else of the node is.
func TestSystemLogs(t *testing.T) {
	dir := logDir(t)
	s := newScene(t, func(c *Config) { c.SystemLogsDir, c.PodLogsDir = dir, dir+"/pods" })
	for path, want := range map[string]string{
		"messages": "200 m\n", "foo.log": "200 foo\n", "containers/app.log": "200 zero\n", "containers/beside": "200 m\n",
		"containers/through/p/app/0.log": "200 zero\n", "pods/p/app/0.log": "200 zero\n",
		"nothing": "404 ", "gone": "404 ", "messages/x": "404 ", "messages%00": "404 ",
		"out": "403 ", "up": "403 ", "etc/passwd": "403 ", "etc/": "403 ", "loop": "403 ", "fifo": "403 ", "%2e%2e/secret": "404 ", "..%2fsecret": "404 ",
	} {
		code, _, body := s.ask(Full, http.MethodGet, "/logs/"+path)
		if wantCode, wantBody, _ := strings.Cut(want, " "); strconv.Itoa(code) != wantCode || code == 200 && body != wantBody {
			t.Errorf("GET /logs/%s: %d %q, want %q", path, code, body, want)
		}
		if strings.HasSuffix(body, "s\n") && code == 200 {
			t.Errorf("GET /logs/%s shows a secret", path)
		}
	}
	_, _, list := s.ask(Full, http.MethodGet, "/logs/")
	for _, name := range []string{`<a href="messages">`, `<a href="pods/">`, `<a href="containers/">`} {
		if !strings.Contains(list, name) {
			t.Errorf("no %s in %s", name, list)
		}
	}
	if code, header, _ := s.ask(Full, http.MethodGet, "/logs"); code/100 != 3 || header.Get("Location") != "/logs/" {
		t.Errorf("/logs: %d %q", code, header)
	}
}
