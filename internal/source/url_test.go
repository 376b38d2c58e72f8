package source

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/manifest"
)

// site is a web server whose answer a test sets.
type site struct {
	*httptest.Server
	mu     sync.Mutex
	answer http.HandlerFunc
	asked  int
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer := s.answer
		s.asked++
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) set(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *site) body(text string) {
	s.set(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// asker drives a URL by hand.
func asker(t *testing.T, address string, header http.Header) (*URL, *notebook) {
	t.Helper()
	book := &notebook{}
	u, err := NewURL(URLConfig{URL: address, Header: header, NodeName: "n1", Log: book.log(), Notes: book.sink})
	ok(t, err)
	return u, book
}

func askNow(t *testing.T, u *URL) Snapshot {
	t.Helper()
	u.ask(t.Context())
	u.shelf.publish(time.Now())
	return u.Cell().Value()
}

func TestURLAnswers(t *testing.T) {
	web := newSite(t)
	u, book := asker(t, web.URL+"/pods", nil)
	for _, c := range []struct {
		name, body, pods, problem string
	}{
		{"one pod", podText("web", "nginx:1"), "web=nginx:1", ""},
		{"documents", podText("web", "nginx:1") + "---\n" + podText("db", "pg:1"), "db=pg:1 web=nginx:1", ""},
		{"list", `{"kind":"PodList","apiVersion":"v1","items":[{"metadata":{"name":"one"},"spec":{"containers":[{"name":"a","image":"i:1"}]}}]}`, "one=i:1", ""},
		{"a web page", "<html><body>Please log in</body></html>", "one=i:1", "Please log in"},
		{"nonsense", "\x00\x01", "one=i:1", "control characters"},
		{"the wrong kind", "kind: Service\napiVersion: v1\n", "one=i:1", "Service"},
		{"too long", strings.Repeat("#", manifest.MaxBytes+1), "one=i:1", "10 MiB"},
		{"good again", podText("web", "nginx:2"), "web=nginx:2", ""},
		{"empty", "", "", ""},
		{"white space", " \n", "", ""},
	} {
		web.body(c.body)
		s := askNow(t, u)
		if got := images(s); got != c.pods || !s.Ready {
			t.Errorf("%s: pods %q, ready %v; want %q, ready", c.name, got, s.Ready, c.pods)
		}
		if c.problem == "" {
			noProblem(t, s)
			continue
		}
		wantProblem(t, s, web.URL+"/pods", c.problem)
	}
	if n := len(book.all()); n != 4 {
		t.Errorf("%d notes: want one for each bad answer", n)
	}
}

func TestURLFailuresKeepPodsAndGrowQuiet(t *testing.T) {
	web := newSite(t)
	u, book := asker(t, web.URL, nil)
	web.body(podText("web", "nginx:1"))
	pod := one(t, askNow(t, u))
	for i := range 10 {
		web.set(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500+i) })
		s := askNow(t, u)
		want(t, s, "web=nginx:1")
		wantProblem(t, s, "cannot be read", fmt.Sprint(500+i), "want 200")
	}
	if n := book.count("level=WARN"); n != loudFailures {
		t.Errorf("%d warnings: want %d", n, loudFailures)
	}
	web.body(podText("web", "nginx:1"))
	s := askNow(t, u)
	noProblem(t, s)
	if one(t, s) != pod {
		t.Error("the pod is another object: want the same after the failures")
	}
	if n := book.count("answers again"); n != 1 {
		t.Errorf("%d lines that it answers again: want 1", n)
	}
}

func TestURLIsNotReadyBeforeAGoodAnswer(t *testing.T) {
	web := newSite(t)
	u, _ := asker(t, web.URL, nil)
	web.body("nonsense")
	if s := askNow(t, u); s.Ready || len(s.Problems) != 1 || !s.Problems[0].Unknown {
		t.Errorf("after nonsense: %+v; want not ready, one problem, unknown", s)
	}
	web.set(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if s := askNow(t, u); s.Ready {
		t.Error("ready after a broken connection")
	}
	web.body("")
	if s := askNow(t, u); !s.Ready || len(s.Problems) != 0 {
		t.Errorf("after an empty answer: %+v; want ready", s)
	}
}

func TestURLSendsHeadersButNotToStrangers(t *testing.T) {
	stranger, web := newSite(t), newSite(t)
	var seen http.Header
	stranger.set(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		fmt.Fprint(w, podText("web", "nginx:1"))
	})
	var tokens []string
	web.set(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, strings.Join(r.Header.Values("X-Token"), ","))
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/here", http.StatusFound)
			return
		}
		http.Redirect(w, r, stranger.URL, http.StatusFound)
	})
	u, _ := asker(t, web.URL, http.Header{"x-token": {"a", "b"}})
	want(t, askNow(t, u), "web=nginx:1")
	if len(tokens) != 2 || tokens[0] != "a,b" || tokens[1] != "a,b" {
		t.Errorf("tokens %q: want a,b twice", tokens)
	}
	if got := seen.Get("X-Token"); got != "" {
		t.Errorf("the other host got %q: want nothing", got)
	}
}

func TestURLRedirectsEnd(t *testing.T) {
	web := newSite(t)
	u, _ := asker(t, web.URL, nil)
	web.set(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) })
	wantProblem(t, askNow(t, u), "more than 5 redirects")
	if n := web.count(); n != 1+maxRedirects {
		t.Errorf("%d requests: want %d", n, 1+maxRedirects)
	}
}

func TestURLUsesETags(t *testing.T) {
	web := newSite(t)
	u, _ := asker(t, web.URL, nil)
	full := 0
	web.set(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		full++
		w.Header().Set("ETag", `"1"`)
		fmt.Fprint(w, podText("web", "nginx:1"))
	})
	before := one(t, askNow(t, u))
	for range 3 {
		if one(t, askNow(t, u)) != before {
			t.Error("the pod is another object")
		}
	}
	if full != 1 {
		t.Errorf("%d full answers: want 1", full)
	}
}

func TestURLHangs(t *testing.T) {
	web := newSite(t)
	u, _ := asker(t, web.URL, nil)
	if u.client.Timeout != 10*time.Second {
		t.Errorf("timeout %s: want 10 s", u.client.Timeout)
	}
	u.client.Timeout = 50 * time.Millisecond
	web.set(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "apiVersion: v1\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	wantProblem(t, askNow(t, u), "broke off", "deadline")
}

func TestURLHidesSecrets(t *testing.T) {
	web := newSite(t)
	web.set(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hush" || r.URL.Query().Get("token") != "hush" {
			t.Errorf("asked as %s, %s", user, r.URL)
		}
		w.WriteHeader(http.StatusTeapot)
	})
	address := strings.Replace(web.URL, "http://", "http://me:hush@", 1) + "/pods?token=hush"
	u, book := asker(t, address, nil)
	s := askNow(t, u)
	wantProblem(t, s, "/pods", "418")
	web.Close()
	s = askNow(t, u)
	wantProblem(t, s, "refused")
	if text := fmt.Sprint(s.Problems, book.lines, book.notes); strings.Contains(text, "hush") {
		t.Errorf("a secret in %s", text)
	}
}

func TestURLNeedsAnAddress(t *testing.T) {
	for _, address := range []string{"", "pods.yaml", "ftp://x/y", "http://", "http://a b", "http://x:hush@%zz"} {
		if _, err := NewURL(URLConfig{URL: address, Log: (&notebook{}).log()}); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: error %v; want one, without the address", address, err)
		}
	}
}

func TestRunAsksAgain(t *testing.T) {
	web := newSite(t)
	web.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	book := &notebook{}
	u, err := NewURL(URLConfig{URL: web.URL, NodeName: "n1", Every: time.Millisecond, Log: book.log(), Notes: book.sink})
	ok(t, err)
	running(t, u.Run)
	until(t, u.Cell(), "a problem", func(s Snapshot) bool { return len(s.Problems) == 1 })
	web.body(podText("web", "nginx:1") + "---\n" + podText("web", "nginx:2"))
	until(t, u.Cell(), "one pod and a clash", func(s Snapshot) bool { return len(s.Pods) == 1 && s.Ready && len(s.Problems) == 1 })
	web.body("")
	until(t, u.Cell(), "no pods", func(s Snapshot) bool { return len(s.Pods) == 0 && s.Ready })
}
