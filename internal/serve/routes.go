package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// A Door is one way in. Routes say behind which doors they stand.
type Door uint8

// The doors. Full is for the authenticated server of a cluster.
const (
	ReadOnly Door = 1 << iota
	Admin
	Full
)

// String is the server_type label of metrics.
func (d Door) String() string {
	switch d {
	case ReadOnly:
		return "readonly"
	case Admin:
		return "admin"
	case Full:
	}
	return "readwrite"
}

const everywhere = ReadOnly | Admin | Full

// route is one path and what answers it.
type route struct {
	methods string // "GET", or "GET POST"
	path    string
	doors   Door
	// debug routes are turned off by enableDebuggingHandlers.
	debug bool
	// long tells whether a request is expected to take long; nil: never.
	long  func(*http.Request) bool
	serve http.HandlerFunc
}

func always(*http.Request) bool { return true }

func (f *Faces) routes() []route {
	const pod, uid, ctr = "/{namespace}/{pod}", "/{uid}", "/{container}"
	routes := []route{
		{methods: "GET", path: "/healthz", doors: everywhere, serve: f.healthz},
		{methods: "GET", path: "/healthz/{check}", doors: everywhere, serve: f.healthzOne},
		{methods: "GET", path: "/metrics", doors: everywhere, serve: f.cfg.Numbers.Handler().ServeHTTP},
		{methods: "GET", path: "/metrics/slis", doors: everywhere, serve: f.cfg.Numbers.SLIHandler().ServeHTTP},
		{methods: "GET", path: "/metrics/probes", doors: everywhere, serve: f.cfg.Numbers.ProbesHandler().ServeHTTP},
		{methods: "GET", path: "/pods", doors: everywhere, serve: f.pods},
		{methods: "GET", path: "/pods/{$}", doors: everywhere, serve: f.pods},
		{methods: "GET", path: "/runningpods", doors: everywhere, debug: true, serve: f.runningPods},
		{methods: "GET", path: "/runningpods/{$}", doors: everywhere, debug: true, serve: f.runningPods},
		{methods: "GET", path: "/containerLogs" + pod + ctr, doors: everywhere, debug: true, long: follows, serve: f.containerLogs},
		{methods: "GET", path: "/containerLogs/", doors: everywhere, debug: true, serve: incomplete},
		{methods: "GET", path: "/debug/pods", doors: everywhere, debug: true, long: watches, serve: f.debugPods},
		{methods: "GET", path: "/debug/pods/{$}", doors: everywhere, debug: true, long: watches, serve: f.debugPods},
		{methods: "GET", path: "/debug/pods" + pod, doors: everywhere, debug: true, serve: f.debugPod},
		{methods: "GET", path: "/debug/pulls", doors: everywhere, debug: true, serve: f.debugPulls},
		{methods: "GET", path: "/events", doors: everywhere, debug: true, serve: f.events},
	}
	for _, stream := range []struct {
		name  string
		serve http.HandlerFunc
	}{{"/exec", f.exec}, {"/attach", f.attach}} {
		for _, path := range []string{stream.name + pod + ctr, stream.name + pod + uid + ctr} {
			routes = append(routes, route{methods: "GET POST", path: path, doors: Admin | Full, debug: true, long: always, serve: stream.serve})
		}
	}
	if f.cfg.Machine != nil {
		routes = append(routes,
			route{methods: "GET", path: "/spec", doors: everywhere, serve: f.spec},
			route{methods: "GET", path: "/spec/{$}", doors: everywhere, serve: f.spec})
	}
	return routes
}

// Handler serves what stands behind a door. Unknown paths are answered with 404, other methods with 405 and Allow.
func (f *Faces) Handler(door Door) http.Handler {
	mux := http.NewServeMux()
	long := map[string]func(*http.Request) bool{}
	for _, r := range f.routes() {
		switch {
		case r.doors&door == 0 && r.debug:
			mux.HandleFunc(r.path, disabled)
		case r.doors&door == 0:
		case r.debug && !f.cfg.Debugging && door != Admin: // root at the node needs no permission
			mux.HandleFunc(r.path, disabled)
		default:
			for _, method := range strings.Fields(r.methods) {
				pattern := method + " " + r.path
				mux.HandleFunc(pattern, r.serve)
				long[pattern] = r.long
			}
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := mux.Handler(r)
		slow := long[pattern]
		defer f.cfg.Numbers.Request(method(r.Method), segment(pattern), door.String(), slow != nil && slow(r))()
		mux.ServeHTTP(w, r)
	})
}

// method is the label of that name: what a client makes up must not become one.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// segment is the first part of a pattern's path, for the label of metrics.
func segment(pattern string) string {
	_, path, ok := strings.Cut(pattern, "/")
	if !ok {
		return "other"
	}
	first, _, _ := strings.Cut(path, "/")
	return first
}

func disabled(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Allow", "")
	http.Error(w, "Debug endpoints are disabled.", http.StatusMethodNotAllowed)
}

func incomplete(w http.ResponseWriter, r *http.Request) {
	http.Error(w, fmt.Sprintf("%s: the path needs namespace, pod and container: /containerLogs/NAMESPACE/POD/CONTAINER", r.URL.Path), http.StatusBadRequest)
}

// answer sends a value as JSON.
func (f *Faces) answer(w http.ResponseWriter, r *http.Request, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		f.cfg.Log.Error("an answer cannot be written as JSON", "path", r.URL.Path, "err", err)
		http.Error(w, "the answer cannot be written as JSON: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // a client that has left needs no answer
}

func (f *Faces) spec(w http.ResponseWriter, r *http.Request) {
	m, err := f.cfg.Machine()
	if err != nil {
		f.cfg.Log.Warn("this machine cannot be described", "err", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	f.answer(w, r, m)
}
