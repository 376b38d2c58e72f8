package serve

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Check is one health check. Run returns what is wrong, or nil.
type Check struct {
	Name string
	Run  func() error
}

// Fresh is a check that fails when something that goes on by itself has not done so for longer than most. last returns
// when it last did, or the zero time while it never has, which counts from when the check was made.
func Fresh(name string, last func() time.Time, most time.Duration) Check {
	made := time.Now()
	return Check{Name: name, Run: func() error {
		at := last()
		if at.Before(made) {
			at = made
		}
		if quiet := time.Since(at); quiet > most {
			return fmt.Errorf("nothing was heard of it for %v, more than %v", quiet.Round(time.Second), most)
		}
		return nil
	}}
}

// checks are all of them. An answer is proof that the server pings; the log is written at once and has no flusher that
// could hang.
func (f *Faces) checks() []Check {
	fine := func() error { return nil }
	return append([]Check{{"ping", fine}, {"log", fine}}, f.cfg.Checks...)
}

// healthz answers "ok", or 500 and the list of checks. ?verbose lists them always, ?exclude=NAME leaves one out.
func (f *Faces) healthz(w http.ResponseWriter, r *http.Request) {
	out := r.URL.Query()["exclude"]
	var list strings.Builder
	failed := false
	for _, c := range f.checks() {
		if slices.Contains(out, c.Name) {
			fmt.Fprintf(&list, "[+]%s excluded: ok\n", c.Name)
			continue
		}
		if err := f.check(c); err != nil {
			failed = true
			fmt.Fprintf(&list, "[-]%s failed: %v\n", c.Name, err)
		} else {
			fmt.Fprintf(&list, "[+]%s ok\n", c.Name)
		}
	}
	_, verbose := r.URL.Query()["verbose"]
	switch {
	case failed:
		http.Error(w, list.String()+"healthz check failed", http.StatusInternalServerError)
	case verbose:
		plain(w, list.String()+"healthz check passed\n")
	default:
		plain(w, "ok")
	}
}

// healthzOne answers for a single check.
func (f *Faces) healthzOne(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("check")
	for _, c := range f.checks() {
		if c.Name != name {
			continue
		}
		if err := f.check(c); err != nil {
			http.Error(w, fmt.Sprintf("%s failed: %v", name, err), http.StatusInternalServerError)
			return
		}
		plain(w, "ok")
		return
	}
	http.NotFound(w, r)
}

func (f *Faces) check(c Check) error {
	err := c.Run()
	f.cfg.Numbers.Healthcheck(c.Name, err == nil)
	return err
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(text))
}

// health is all that the health server serves.
func health() http.Handler {
	f := &Faces{cfg: Config{Numbers: noNumbers{}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", f.healthz)
	mux.HandleFunc("GET /healthz/ping", func(w http.ResponseWriter, _ *http.Request) { plain(w, "ok") })
	return mux
}
