package hook

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// serve starts a server on the loopback address and tells its port.
func serve(t *testing.T, secure bool, h http.HandlerFunc) int {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func get(port int, change func(*v1.HTTPGetAction)) Request {
	a := &v1.HTTPGetAction{Path: "/stop", Port: intstr.FromInt32(int32(port))}
	if change != nil {
		change(a)
	}
	return request(&v1.LifecycleHandler{HTTPGet: a})
}

func TestHTTPGetIsSuccessWhateverTheStatus(t *testing.T) { // behaviour 135
	for _, status := range []int{200, 204, 399, 404, 500} {
		port := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if err := New(Config{}).Run(t.Context(), get(port, nil)); err != nil {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestHTTPGetRequest(t *testing.T) {
	type seen struct{ host, uri, agent, accept, extra string }
	var got seen
	port := serve(t, false, func(_ http.ResponseWriter, r *http.Request) {
		got = seen{r.Host, r.RequestURI, strings.Join(r.Header["User-Agent"], "|"), strings.Join(r.Header["Accept"], "|"), strings.Join(r.Header["X-Extra"], "|")}
	})
	address := "127.0.0.1:" + strconv.Itoa(port)
	header := func(pairs ...string) func(*v1.HTTPGetAction) {
		return func(a *v1.HTTPGetAction) {
			for i := 0; i < len(pairs); i += 2 {
				a.HTTPHeaders = append(a.HTTPHeaders, v1.HTTPHeader{Name: pairs[i], Value: pairs[i+1]})
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*v1.HTTPGetAction)
		want   seen
	}{
		{"plain", nil, seen{address, "/stop", "kube-lifecycle/1.37", "*/*", ""}},
		{"headers", header("X-Extra", "1", "x-extra", "2", "host", "shop.example.com", "User-Agent", "me"), seen{"shop.example.com", "/stop", "me", "*/*", "1|2"}},
		{"no accept", header("Accept", ""), seen{address, "/stop", "kube-lifecycle/1.37", "", ""}},
		{"named port", func(a *v1.HTTPGetAction) { a.Port = intstr.FromString("admin") }, seen{address, "/stop", "kube-lifecycle/1.37", "*/*", ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got = seen{}
			q := get(port, c.change)
			q.Container.Ports[0].ContainerPort = int32(port)
			if err := New(Config{Version: "1.37"}).Run(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("server saw %+v\nwant       %+v", got, c.want)
			}
		})
	}
}

func TestHTTPGetThatCannotBeSent(t *testing.T) {
	for _, c := range []struct {
		change func(*Request)
		want   string
	}{
		{func(q *Request) { q.Handler.HTTPGet.Port = intstr.FromString("metrics") }, `container "app" has no port named "metrics"`},
		{func(q *Request) { q.Handler.HTTPGet.Port = intstr.FromInt32(70000) }, "port 70000 is not between 1 and 65535"},
		{func(q *Request) { q.Handler.HTTPGet.Scheme = "GOPHER" }, `scheme "GOPHER" is neither HTTP nor HTTPS`},
		{func(q *Request) { q.PodIP = "" }, "the pod has no IP address and the handler names no host"},
	} {
		q := get(80, nil)
		c.change(&q)
		err := New(Config{}).Run(t.Context(), q)
		if want := `HTTP lifecycle hook (/stop) for Container "app" in Pod "web_shop(uid-1)" failed - error: ` + c.want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestHTTPGetRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	err = New(Config{}).Run(t.Context(), get(port, func(a *v1.HTTPGetAction) { a.Path = "/stop?token=s3cret" }))
	if want := `HTTP lifecycle hook (/stop) for Container "app" in Pod "web_shop(uid-1)" failed - error: Get "http://` + address + `/stop": dial tcp ` + address + `: connect: connection refused`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestHTTPS(t *testing.T) {
	asked := 0
	port := serve(t, true, func(w http.ResponseWriter, r *http.Request) { asked++ })
	r := New(Config{Notes: func(n note.Note) { t.Errorf("note %+v", n) }})
	if err := r.Run(t.Context(), get(port, func(a *v1.HTTPGetAction) { a.Scheme = v1.URISchemeHTTPS })); err != nil || asked != 1 {
		t.Errorf("%v, asked %d times", err, asked)
	}
}

func TestHTTPSFallsBackToHTTP(t *testing.T) { // behaviour 135
	asked := 0
	port := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("X-Extra") != "1" || r.RequestURI != "/stop" {
			t.Errorf("server saw %s, %v", r.RequestURI, r.Header)
		}
	})
	var notes []note.Note
	r := New(Config{Notes: func(n note.Note) { notes = append(notes, n) }})
	err := r.Run(t.Context(), get(port, func(a *v1.HTTPGetAction) {
		a.Scheme = v1.URISchemeHTTPS
		a.HTTPHeaders = []v1.HTTPHeader{{Name: "Authorization", Value: "Basic x"}, {Name: "Cookie", Value: "a=b"}, {Name: "X-Extra", Value: "1"}}
	}))
	if err != nil || asked != 1 || len(notes) != 1 {
		t.Fatalf("%v, asked %d times, notes %+v", err, asked, notes)
	}
	n := notes[0]
	if n.Reason != reason.LifecycleHTTPFallback || n.Level != note.Warning || n.About.Name != "web" || n.About.FieldPath != "spec.containers{app}" {
		t.Errorf("note %+v", n)
	}
}

func TestHTTPGetFollowsRedirectsOnItsHostOnly(t *testing.T) {
	asked := 0
	port := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch r.URL.Path {
		case "/stop":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/away":
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		}
	})
	for _, c := range []struct {
		path  string
		asked int
		want  string
	}{{"/stop", 2, ""}, {"/away", 1, ""}, {"/round", 10, "stopped after 10 redirects"}} {
		asked = 0
		err := New(Config{}).Run(t.Context(), get(port, func(a *v1.HTTPGetAction) { a.Path = c.path }))
		if asked != c.asked || (err == nil) != (c.want == "") || err != nil && !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: asked %d times, %v", c.path, asked, err)
		}
	}
}

func TestHTTPGetDoesNotWaitForAnEndlessAnswer(t *testing.T) {
	port := serve(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := New(Config{}).Run(ctx, get(port, nil)); err != nil {
		t.Error(err)
	}
}

func TestHTTPGetIsCut(t *testing.T) {
	arrived := make(chan bool, 1)
	port := serve(t, false, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	if err := New(Config{}).Run(ctx, get(port, nil)); !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), "failed - error: context canceled") {
		t.Errorf("%v", err)
	}
}
