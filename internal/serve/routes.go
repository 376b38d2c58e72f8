package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
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
	// off is what is answered instead if something else turned the route off.
	off string
	// long tells whether a request is expected to take long; nil: never.
	long  func(*http.Request) bool
	serve http.HandlerFunc
}

func always(*http.Request) bool { return true }

// The parts of paths that name what they are about.
const (
	podPath = "/{namespace}/{pod}"
	uidPath = "/{uid}"
	ctrPath = "/{container}"
)

func (f *Faces) routes() []route {
	return slices.Concat(f.tableRoutes(), f.usageRoutes(), f.actingRoutes(), f.nodeRoutes(), f.debugRoutes())
}

// tableRoutes answer from the published tables.
func (f *Faces) tableRoutes() []route {
	var allocated []route
	if f.cfg.AllocatedPods {
		for _, path := range []string{"/allocatedPods", "/allocatedPods/{$}", "/allocatedPods" + podPath, "/allocatedPods" + podPath + uidPath} {
			allocated = append(allocated, route{methods: "GET", path: path, doors: Admin | Full, serve: f.allocatedPods})
		}
	}
	return append(allocated, []route{
		{methods: "GET", path: "/healthz", doors: everywhere, serve: f.healthz},
		{methods: "GET", path: "/healthz/{check}", doors: everywhere, serve: f.healthzOne},
		{methods: "GET", path: "/metrics", doors: everywhere, serve: f.cfg.Numbers.Handler().ServeHTTP},
		{methods: "GET", path: "/metrics/slis", doors: everywhere, serve: f.cfg.Numbers.SLIHandler().ServeHTTP},
		{methods: "GET", path: "/metrics/probes", doors: everywhere, serve: f.cfg.Numbers.ProbesHandler().ServeHTTP},
		{methods: "GET", path: "/pods", doors: everywhere, serve: f.pods},
		{methods: "GET", path: "/pods/{$}", doors: everywhere, serve: f.pods},
		{methods: "GET", path: "/runningpods", doors: everywhere, debug: true, serve: f.runningPods},
		{methods: "GET", path: "/runningpods/{$}", doors: everywhere, debug: true, serve: f.runningPods},
		{methods: "GET", path: "/containerLogs" + podPath + ctrPath, doors: everywhere, debug: true, long: follows, serve: f.containerLogs},
		{methods: "GET", path: "/containerLogs/", doors: everywhere, debug: true, serve: incomplete},
		{methods: "GET", path: "/debug/pods", doors: everywhere, debug: true, long: watches, serve: f.debugPods},
		{methods: "GET", path: "/debug/pods/{$}", doors: everywhere, debug: true, long: watches, serve: f.debugPods},
		{methods: "GET", path: "/debug/pods" + podPath, doors: everywhere, debug: true, serve: f.debugPod},
		{methods: "GET", path: "/debug/pulls", doors: everywhere, debug: true, serve: f.debugPulls},
		{methods: "GET", path: "/events", doors: everywhere, debug: true, serve: f.events},
	}...)
}

// usageRoutes tell what the node and its pods use.
func (f *Faces) usageRoutes() []route {
	if f.cfg.Usage == nil {
		return nil
	}
	return []route{
		{methods: "GET POST", path: "/stats/summary", doors: everywhere, serve: f.statsSummary},
		{methods: "GET", path: "/metrics/resource", doors: everywhere, serve: f.resourceMetrics},
		{methods: "GET", path: "/metrics/cadvisor", doors: everywhere, serve: f.cadvisorMetrics},
	}
}

// actingRoutes start something in pods.
func (f *Faces) actingRoutes() []route {
	var routes []route
	for _, r := range []route{
		{methods: "GET POST", path: "/exec" + podPath + ctrPath, serve: f.exec},
		{methods: "GET POST", path: "/exec" + podPath + uidPath + ctrPath, serve: f.exec},
		{methods: "GET POST", path: "/attach" + podPath + ctrPath, serve: f.attach},
		{methods: "GET POST", path: "/attach" + podPath + uidPath + ctrPath, serve: f.attach},
		{methods: "GET POST", path: "/portForward" + podPath, serve: f.portForward},
		{methods: "GET POST", path: "/portForward" + podPath + uidPath, serve: f.portForward},
		{methods: "POST", path: "/run" + podPath + ctrPath, serve: f.run},
		{methods: "POST", path: "/run" + podPath + uidPath + ctrPath, serve: f.run},
	} {
		r.doors, r.debug, r.long = Admin|Full, true, always
		if f.cfg.Containers == nil && r.methods == "POST" {
			continue
		}
		routes = append(routes, r)
	}
	if f.cfg.Containers != nil && f.cfg.CheckpointsDir != "" {
		routes = append(routes, route{methods: "POST", path: "/checkpoint" + podPath + ctrPath, doors: Admin | Full, serve: f.checkpoint})
	}
	return routes
}

// nodeRoutes tell of the node and of this program.
func (f *Faces) nodeRoutes() []route {
	logs := route{methods: "GET", path: "/logs/", doors: Admin | Full, debug: true, serve: f.systemLogs}
	if f.cfg.SystemLogsDir == "" {
		logs.off = "logs endpoint is disabled."
	}
	routes := []route{logs}
	if f.cfg.Machine != nil {
		routes = append(routes,
			route{methods: "GET", path: "/spec", doors: everywhere, serve: f.spec},
			route{methods: "GET", path: "/spec/{$}", doors: everywhere, serve: f.spec})
	}
	if f.cfg.Kubelet != nil {
		routes = append(routes, route{methods: "GET", path: "/configz", doors: Admin | Full, serve: f.configz})
	}
	if f.cfg.Flags != nil {
		routes = append(routes, route{methods: "GET", path: "/flagz", doors: Admin | Full, serve: f.flagz})
	}
	if f.cfg.About != nil {
		routes = append(routes, route{methods: "GET", path: "/statusz", doors: Admin | Full, serve: f.statusz})
	}
	return routes
}

// debugRoutes look into this program.
func (f *Faces) debugRoutes() []route {
	off := ""
	if !f.cfg.Profiling {
		off = "profiling endpoint is disabled."
	}
	routes := []route{{methods: "GET", path: "/debug/pprof/", off: off, serve: pprof.Index}}
	for name, serve := range map[string]http.HandlerFunc{"cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace} {
		routes = append(routes, route{methods: "GET", path: "/debug/pprof/" + name, off: off, serve: serve})
	}
	flags := route{methods: "PUT", path: "/debug/flags/v", serve: f.verbosity}
	if f.cfg.SetVerbosity == nil {
		flags.off = "flags endpoint is disabled."
	}
	routes = append(routes, flags)
	for i := range routes {
		routes[i].doors, routes[i].debug = Admin|Full, true
		if strings.Contains(routes[i].path, "pprof") {
			routes[i].long = always
		}
	}
	return routes
}

// Handler serves what stands behind a door. Unknown paths are answered with 404, other methods with 405 and Allow.
func (f *Faces) Handler(door Door) http.Handler {
	return f.handler(door, func(h http.Handler) http.Handler { return h })
}

// handler is Handler with somebody at the door who says who may come in. Those who may not are counted, too.
func (f *Faces) handler(door Door, guard func(http.Handler) http.Handler) http.Handler {
	mux := http.NewServeMux()
	long := map[string]func(*http.Request) bool{}
	for _, r := range f.routes() {
		switch {
		case r.doors&door == 0 && r.debug:
			mux.HandleFunc(r.path, disabled("Debug endpoints are disabled."))
		case r.doors&door == 0:
		case r.debug && !f.cfg.Debugging && door != Admin: // root at the node needs no permission
			mux.HandleFunc(r.path, disabled("Debug endpoints are disabled."))
		case r.off != "":
			mux.HandleFunc(r.path, disabled(r.off))
		default:
			for _, method := range strings.Fields(r.methods) {
				pattern := method + " " + r.path
				mux.HandleFunc(pattern, r.serve)
				long[pattern] = r.long
			}
		}
	}
	var served http.Handler = mux
	if door == Full && f.cfg.Trace != nil {
		served = f.cfg.Trace(mux)
	}
	inside := guard(served)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, pattern := mux.Handler(r)
		slow := long[pattern]
		defer f.cfg.Numbers.Request(method(r.Method), segment(pattern), door.String(), slow != nil && slow(r))()
		inside.ServeHTTP(w, r)
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

func disabled(why string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", "")
		http.Error(w, why, http.StatusMethodNotAllowed)
	}
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
