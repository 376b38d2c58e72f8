package access

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	authnv1 "k8s.io/api/authentication/v1"

	"github.com/bosun-project/bosun/internal/fault"
)

func TestNewSaysWhatIsMissing(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, empty, []byte("nothing\n"))
	for _, c := range []struct {
		title string
		cfg   Config
		want  string
	}{
		{"nobody can come in", Config{AlwaysAllow: true}, "authentication: nobody can come in"},
		{"no API server for tokens", Config{Tokens: true, AlwaysAllow: true}, "authentication.webhook.enabled: bearer tokens need an API server"},
		{"no API server for decisions", Config{Anonymous: true}, "authorization.mode: Webhook needs an API server"},
		{"no file", Config{ClientCAFile: empty + "x", AlwaysAllow: true}, "authentication.x509.clientCAFile: stat " + empty + "x: no such file or directory"},
		{"empty file", Config{ClientCAFile: empty, AlwaysAllow: true}, "want at least one certificate in PEM"},
	} {
		t.Run(c.title, func(t *testing.T) {
			if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// TestSubresources holds the table of spec/http.md (behaviour 326).
func TestSubresources(t *testing.T) {
	for paths, want := range map[string]string{
		"/stats /stats/ /stats/summary":                              "stats",
		"/metrics /metrics/slis /metrics/cadvisor /metrics/resource": "metrics",
		"/logs /logs/ /logs/syslog /logs/pods/x":                     "log",
		"/checkpoint /checkpoint/a/b/c":                              "checkpoint",
		"/statusz":                                                   "statusz",
		"/flagz":                                                     "configz",
		"/pods /pods/ /allocatedPods /allocatedPods/a/b /runningpods /runningpods/": "pods proxy",
		"/healthz /healthz/ping /healthz/syncloop":                                  "healthz proxy",
		"/configz": "configz proxy",
		"/exec/a/b/c /attach/a/b/c /run/a/b/c /portForward/a/b /containerLogs/a/b/c /debug/pprof/": "proxy",
		"/ /nothing /podsx /logsx /metricsx /spec/ /events /runningPods /debug/pods":               "proxy",
		"/exec/metrics/b/c //metrics //pods":                                                       "proxy",
	} {
		for path := range strings.FieldsSeq(paths) {
			if got := strings.Join(subresources(path), " "); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
	}
}

// TestQuestions: what the API server is asked, word by word, and the answers.
func TestQuestions(t *testing.T) {
	s := &server{
		tokens: map[string]authnv1.UserInfo{"t": {Username: "ann", UID: "u1", Groups: []string{"dev"}, Extra: map[string]authnv1.ExtraValue{"k": {"v"}}}},
		rules:  map[string]bool{"ann get pods": true, "ann get proxy": true, "ann create proxy": true},
	}
	g := webhook(t, s, nil)
	for _, c := range []struct {
		method, path, asked string
		code                int
		text                string
	}{
		{"GET", "/pods", "get pods", 200, ""},
		{"GET", "/healthz", "get healthz, get proxy", 200, ""},
		{"GET", "/exec/a/b/c", "", 200, ""}, // the trap: GET is get, for a WebSocket, too
		{"POST", "/exec/a/b/c", "create proxy", 200, ""},
		{"POST", "/pods", "create pods", 200, ""},
		{"GET", "/metrics/cadvisor", "get metrics", 403, "Forbidden (user=ann, verb=get, resource=nodes, subresource(s)=[metrics])"},
		{"PUT", "/configz", "update configz, update proxy", 403, "Forbidden (user=ann, verb=update, resource=nodes, subresource(s)=[configz proxy])"},
		{"PATCH", "/logs/", "patch log", 403, "Forbidden (user=ann, verb=patch, resource=nodes, subresource(s)=[log])"},
		{"DELETE", "/stats/", "delete stats", 403, "Forbidden (user=ann, verb=delete, resource=nodes, subresource(s)=[stats])"},
		{"HEAD", "/statusz", " statusz", 403, "Forbidden (user=ann, verb=, resource=nodes, subresource(s)=[statusz])"},
	} {
		s.accesses = nil
		w := httptest.NewRecorder()
		g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, ok := UserOf(r.Context()); !ok || u.Name != "ann" || r.Header.Get("Authorization") != "" {
				t.Errorf("the handler sees %+v %v and %q", u, ok, r.Header)
			}
		})).ServeHTTP(w, withToken(c.method, c.path, "t"))
		if w.Code != c.code || w.Body.String() != c.text {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, w.Code, w.Body, c.code, c.text)
		}
		var asked []string
		for _, q := range s.accesses {
			a := q.ResourceAttributes
			asked = append(asked, a.Verb+" "+a.Subresource)
			if a.Resource != "nodes" || a.Name != "node-1" || a.Version != "v1" || a.Group != "" || a.Namespace != "" || q.NonResourceAttributes != nil {
				t.Errorf("%s %s: asked about %+v", c.method, c.path, a)
			}
			if q.User != "ann" || q.UID != "u1" || !reflect.DeepEqual(q.Groups, []string{"dev", "system:authenticated"}) || q.Extra["k"][0] != "v" {
				t.Errorf("%s %s: asked for %+v", c.method, c.path, q)
			}
		}
		if got := strings.Join(asked, ", "); got != c.asked {
			t.Errorf("%s %s: asked %q, want %q", c.method, c.path, got, c.asked)
		}
	}
}

func TestWhoComesIn(t *testing.T) {
	s := &server{tokens: map[string]authnv1.UserInfo{"good": {Username: "ann"}, "masters": {Username: "root", Groups: []string{"system:masters"}}}}
	hidden := func(list string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Upgrade", "websocket")
			r.Header.Set("Sec-WebSocket-Protocol", list)
		}
	}
	entry := tokenProtocol + base64.RawURLEncoding.EncodeToString([]byte("good"))
	for _, c := range []struct {
		title     string
		anonymous bool
		edit      func(*http.Request)
		want      string // empty: 401
	}{
		{"nobody", false, func(*http.Request) {}, ""},
		{"anonymous", true, func(*http.Request) {}, "system:anonymous [system:unauthenticated]"},
		{"token", false, func(r *http.Request) { r.Header.Set("Authorization", "bearer good") }, "ann [system:authenticated]"},
		{"token and more", false, func(r *http.Request) { r.Header.Set("Authorization", "  Bearer good and more") }, "ann [system:authenticated]"},
		{"groups", false, func(r *http.Request) { r.Header.Set("Authorization", "Bearer masters") }, "root [system:masters system:authenticated]"},
		{"bad token", false, func(r *http.Request) { r.Header.Set("Authorization", "Bearer bad") }, ""},
		{"a bad token is not anonymous", true, func(r *http.Request) { r.Header.Set("Authorization", "Bearer bad") }, ""},
		{"a password is nobody", true, func(r *http.Request) { r.SetBasicAuth("ann", "good") }, "system:anonymous [system:unauthenticated]"},
		{"empty token", true, func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, "system:anonymous [system:unauthenticated]"},
		{"hidden token", false, hidden("v5.channel.k8s.io, " + entry), "ann [system:authenticated]"},
		{"hidden token alone", true, hidden(entry), ""},
		{"two hidden tokens", true, hidden(entry + ", x, " + entry), ""},
		{"hidden token that is none", true, hidden("x, " + tokenProtocol + "%%"), ""},
		{"hidden token without an upgrade", false, func(r *http.Request) { r.Header.Set("Sec-WebSocket-Protocol", "x, "+entry) }, ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			g := webhook(t, s, func(cfg *Config) { cfg.Anonymous, cfg.AlwaysAllow = c.anonymous, true })
			r, got := httptest.NewRequest(http.MethodGet, "/pods", nil), ""
			c.edit(r)
			w := httptest.NewRecorder()
			g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				u, _ := UserOf(r.Context())
				got = u.Name + " [" + strings.Join(u.Groups, " ") + "]"
				if h := r.Header.Get("Sec-WebSocket-Protocol"); strings.Contains(h, tokenProtocol) {
					t.Errorf("the handler sees %q", h)
				}
			})).ServeHTTP(w, r)
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if c.want == "" && (w.Code != http.StatusUnauthorized || w.Body.String() != "Unauthorized") {
				t.Errorf("%d %q", w.Code, w.Body)
			}
		})
	}
	t.Run("tokens are off", func(t *testing.T) {
		g := webhook(t, s, func(cfg *Config) { cfg.Tokens, cfg.Anonymous, cfg.AlwaysAllow = false, true, true })
		if u, denial := g.Check(withToken("GET", "/pods", "good")); denial != nil || u.Name != "system:anonymous" {
			t.Errorf("%+v %v", u, denial)
		}
	})
}

func TestCertificates(t *testing.T) {
	ca, other := newIssuer(t, "ca", nil), newIssuer(t, "other", nil)
	between := newIssuer(t, "between", ca)
	file := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, file, ca.pem())
	ann := pkix.Name{CommonName: "ann", Organization: []string{"dev", "ops"}}
	withUID := ann
	withUID.ExtraNames = []pkix.AttributeTypeAndValue{{Type: uidAttribute, Value: "u1"}}
	twoUIDs := ann
	twoUIDs.ExtraNames = append(withUID.ExtraNames, withUID.ExtraNames...)
	for _, c := range []struct {
		title string
		chain []*x509.Certificate
		want  string
	}{
		{"good", []*x509.Certificate{ca.client(t, ann, nil)}, "ann [dev ops system:authenticated] "},
		{"with a UID", []*x509.Certificate{ca.client(t, withUID, nil)}, "ann [dev ops system:authenticated] u1"},
		{"with two UIDs", []*x509.Certificate{ca.client(t, twoUIDs, nil)}, ""},
		{"by an authority between", []*x509.Certificate{between.client(t, ann, nil), between.cert}, "ann [dev ops system:authenticated] "},
		{"the one between is missing", []*x509.Certificate{between.client(t, ann, nil)}, ""},
		{"other authority", []*x509.Certificate{other.client(t, ann, nil)}, ""},
		{"authority sent along", []*x509.Certificate{other.client(t, ann, nil), other.cert}, ""},
		{"for servers", []*x509.Certificate{ca.client(t, ann, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}, ""},
		{"over", []*x509.Certificate{ca.client(t, ann, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })}, ""},
		{"not yet", []*x509.Certificate{ca.client(t, ann, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })}, ""},
		{"without a name", []*x509.Certificate{ca.client(t, pkix.Name{Organization: []string{"dev"}}, nil)}, "system:anonymous [system:unauthenticated] "},
		{"none", nil, "system:anonymous [system:unauthenticated] "},
	} {
		t.Run(c.title, func(t *testing.T) {
			g := webhook(t, nil, func(cfg *Config) {
				cfg.ClientCAFile, cfg.Tokens, cfg.Anonymous, cfg.AlwaysAllow = file, false, true, true
			})
			u, denial := g.Check(withCertificate(c.chain...))
			got := ""
			if denial == nil {
				got = u.Name + " [" + strings.Join(u.Groups, " ") + "] " + u.UID
			}
			if got != c.want {
				t.Errorf("%q (%v), want %q", got, errors.Unwrap(denial), c.want)
			}
			if denial == nil && u.Name == "ann" && !strings.HasPrefix(u.Extra[credentialID][0], "X509SHA256=") {
				t.Errorf("extra %v", u.Extra)
			}
		})
	}
	t.Run("a token may follow", func(t *testing.T) {
		s := &server{tokens: map[string]authnv1.UserInfo{"good": {Username: "bob"}}}
		g := webhook(t, s, func(cfg *Config) { cfg.ClientCAFile, cfg.AlwaysAllow = file, true })
		r := withCertificate(other.client(t, ann, nil))
		r.Header.Set("Authorization", "Bearer good")
		if u, denial := g.Check(r); denial != nil || u.Name != "bob" {
			t.Errorf("%+v %v", u, denial)
		}
	})
	t.Run("not looked at", func(t *testing.T) {
		g := webhook(t, nil, func(cfg *Config) { cfg.Tokens, cfg.Anonymous, cfg.AlwaysAllow = false, true, true })
		if u, denial := g.Check(withCertificate(ca.client(t, ann, nil))); denial != nil || u.Name != "system:anonymous" || g.ClientCAs() != nil {
			t.Errorf("%+v %v %v", u, denial, g.ClientCAs())
		}
	})
}

// TestAuthoritiesAreReadAgain: a new file counts at once; one that cannot be used does not, and that is said once.
func TestAuthoritiesAreReadAgain(t *testing.T) {
	var told bytes.Buffer
	old, renewed := newIssuer(t, "old", nil), newIssuer(t, "new", nil)
	file := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, file, old.pem())
	g := webhook(t, nil, func(cfg *Config) {
		cfg.ClientCAFile, cfg.Tokens, cfg.AlwaysAllow, cfg.Log = file, false, true, slog.New(slog.NewTextHandler(&told, nil))
	})
	byOld, byNew := withCertificate(old.client(t, pkix.Name{CommonName: "o"}, nil)), withCertificate(renewed.client(t, pkix.Name{CommonName: "n"}, nil))
	check := func(when string, wantOld, wantNew bool) {
		t.Helper()
		for range 2 {
			_, o := g.Check(byOld)
			_, n := g.Check(byNew)
			if (o == nil) != wantOld || (n == nil) != wantNew {
				t.Errorf("%s: old %v, new %v", when, o, n)
			}
		}
	}
	check("before", true, false)
	writeFile(t, file, append(old.pem(), renewed.pem()...))
	check("both", true, true)
	writeFile(t, file, []byte("half"))
	check("broken", true, true)
	if n := strings.Count(told.String(), "cannot be used"); n != 1 {
		t.Errorf("said %d times:\n%s", n, told.String())
	}
	next := file + ".new"
	writeFile(t, next, renewed.pem())
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	check("replaced", false, true)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	check("gone", false, true)
	if n := strings.Count(told.String(), "cannot be used"); n != 2 {
		t.Errorf("said %d times:\n%s", n, told.String())
	}
	writeFile(t, file, old.pem())
	check("back", true, false)
}

// With the gate ReloadKubeletClientCAFile off, the file counts as it was at the start.
func TestAuthoritiesAreReadOnce(t *testing.T) {
	old, renewed := newIssuer(t, "old", nil), newIssuer(t, "new", nil)
	file := filepath.Join(t.TempDir(), "ca.crt")
	writeFile(t, file, old.pem())
	g := webhook(t, nil, func(cfg *Config) { cfg.ClientCAFile, cfg.Fixed, cfg.Tokens, cfg.AlwaysAllow = file, true, false, true })
	next := file + ".new"
	writeFile(t, next, renewed.pem())
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
	if _, denial := g.Check(withCertificate(old.client(t, pkix.Name{CommonName: "o"}, nil))); denial != nil {
		t.Errorf("the old authority: %v", denial)
	}
	if _, denial := g.Check(withCertificate(renewed.client(t, pkix.Name{CommonName: "n"}, nil))); denial == nil {
		t.Error("the new authority counts")
	}
}

// TestAnswersAreRemembered holds behaviour 325: how long, and what is not.
func TestAnswersAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{tokens: map[string]authnv1.UserInfo{"good": {Username: "ann"}}, rules: map[string]bool{"ann get pods": true}}
		g := webhook(t, s, nil)
		began := time.Now()
		var reviews, allowed, denied []time.Duration
		for time.Since(began) < 6*time.Minute {
			r0, a0 := s.asked()
			_, _ = g.Check(withToken("GET", "/pods", "good"))
			r1, a1 := s.asked()
			_, _ = g.Check(withToken("GET", "/stats/", "good"))
			_, a2 := s.asked()
			for list, n := range map[*[]time.Duration]int{&reviews: r1 - r0, &allowed: a1 - a0, &denied: a2 - a1} {
				if n > 0 {
					*list = append(*list, time.Since(began))
				}
			}
			time.Sleep(time.Second)
		}
		if want := []time.Duration{0, 2 * time.Minute, 4 * time.Minute}; !reflect.DeepEqual(reviews, want) {
			t.Errorf("tokens were asked about at %v, want %v", reviews, want)
		}
		if want := []time.Duration{0, 5 * time.Minute}; !reflect.DeepEqual(allowed, want) {
			t.Errorf("what is allowed was asked at %v, want %v", allowed, want)
		}
		if len(denied) != 12 || denied[1] != 30*time.Second {
			t.Errorf("what is denied was asked at %v", denied)
		}
		before, _ := s.asked()
		bad := func() { _, _ = g.Check(withToken("GET", "/pods", "bad")) }
		for _, c := range []struct {
			after time.Duration
			asked int
		}{{0, 1}, {9 * time.Second, 1}, {time.Second, 2}} {
			time.Sleep(c.after)
			bad()
			if now, _ := s.asked(); now-before != c.asked {
				t.Errorf("a bad token was asked about %d times, want %d", now-before, c.asked)
			}
		}
	})
}

// TestGuessesDoNotPushOutTheGood: what is remembered is bounded.
func TestGuessesDoNotPushOutTheGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{tokens: map[string]authnv1.UserInfo{"good": {Username: "ann"}}}
		g := webhook(t, s, func(cfg *Config) { cfg.AlwaysAllow = true })
		_, _ = g.Check(withToken("GET", "/pods", "good"))
		for i := range 3 * mostTokens {
			_, _ = g.Check(withToken("GET", "/pods", "bad"+strings.Repeat("x", i)))
		}
		n, _ := s.asked()
		_, _ = g.Check(withToken("GET", "/pods", "good"))
		if now, _ := s.asked(); now != n {
			t.Error("the good token was forgotten")
		}
		if len(g.tokens.bad.byKey) != mostTokens || g.tokens.bad.order.Len() != mostTokens {
			t.Errorf("%d bad tokens are remembered, want %d", len(g.tokens.bad.byKey), mostTokens)
		}
		_, _ = g.Check(withToken("GET", "/pods", "bad"+strings.Repeat("x", 3*mostTokens-1)))
		if now, _ := s.asked(); now != n {
			t.Error("the newest bad token was forgotten")
		}
		_, _ = g.Check(withToken("GET", "/pods", "bad"))
		if now, _ := s.asked(); now != n+1 {
			t.Error("the oldest bad token is still known")
		}
	})
}

// TestEqualQuestionsAreAskedOnce: by one for all; when that one leaves, another asks.
func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{tokens: map[string]authnv1.UserInfo{"good": {Username: "ann"}}, hold: make(chan struct{})}
		g := webhook(t, s, func(cfg *Config) { cfg.AlwaysAllow = true })
		first, leave := context.WithCancel(t.Context())
		refused := make(chan *Denial, 1)
		go func() {
			_, denial := g.Check(withToken("GET", "/pods", "good").WithContext(first))
			refused <- denial
		}()
		synctest.Wait()
		in := make(chan *Denial, 10)
		for range 10 {
			go func() {
				_, denial := g.Check(withToken("GET", "/pods", "good"))
				in <- denial
			}()
		}
		impatient, give := context.WithTimeout(t.Context(), time.Second)
		defer give()
		if _, denial := g.Check(withToken("GET", "/pods", "good").WithContext(impatient)); denial == nil {
			t.Error("who does not wait is let in")
		}
		if n, _ := s.asked(); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
		leave()
		if denial := <-refused; denial == nil {
			t.Error("who left is let in")
		}
		synctest.Wait()
		close(s.hold)
		for range 10 {
			if denial := <-in; denial != nil {
				t.Errorf("refused: %v", errors.Unwrap(denial))
			}
		}
		if n, _ := s.asked(); n != 2 {
			t.Errorf("asked %d times, want twice", n)
		}
	})
}

// TestTroubleWithTheAPIServer: what may pass is tried again, the rest is not; errors are not remembered.
func TestTroubleWithTheAPIServer(t *testing.T) {
	away := fault.As(fault.ErrUnavailable, errors.New("connection refused"))
	synctest.Test(t, func(t *testing.T) {
		s := &server{rules: map[string]bool{"system:anonymous get stats": true}}
		g := webhook(t, s, func(cfg *Config) { cfg.Tokens, cfg.Anonymous = false, true })
		ask := func(errs ...error) (*Denial, int, time.Duration) {
			s.errs, s.accesses = errs, nil
			began := time.Now()
			_, denial := g.Check(withToken("GET", "/stats/", ""))
			return denial, len(s.accesses), time.Since(began)
		}
		denial, n, took := ask(away, away, away, away, away)
		if denial == nil || denial.Code != 500 || denial.Text != "Authorization error (user=system:anonymous, verb=get, resource=nodes, subresource=stats)" || !errors.Is(denial, fault.ErrUnavailable) {
			t.Errorf("away: %+v", denial)
		}
		if least := time.Duration(8125) * time.Millisecond / 2; n != 5 || took < least || took > least*12/10 {
			t.Errorf("asked %d times in %v, want 5 times in 4 to 5 s", n, took)
		}
		if denial, n, took = ask(errors.New("not you")); denial == nil || n != 1 || took != 0 {
			t.Errorf("refused: %v, asked %d times in %v", denial, n, took)
		}
		if denial, n, _ = ask(away); denial != nil || n != 2 {
			t.Errorf("away for a moment: %v, asked %d times", denial, n)
		}
		s.hold = make(chan struct{})
		g.decisions = newMemo[bool](1)
		if denial, n, took = ask(); denial == nil || took != 30*time.Second || n < 2 {
			t.Errorf("hangs: %v, asked %d times in %v, want 30 s", denial, n, took)
		}
	})
	s := &server{errs: []error{errors.New("no")}}
	g := webhook(t, s, nil)
	if _, denial := g.Check(withToken("GET", "/pods", "good")); denial == nil || denial.Code != 401 || denial.Text != "Unauthorized" {
		t.Errorf("a token nobody can vouch for: %+v", denial)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add("Bearer x", "websocket", "a, "+tokenProtocol+"eA")
	f.Add("", "", ",,")
	f.Fuzz(func(t *testing.T, authorization, upgrade, list string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = http.Header{"Authorization": {authorization}, "Upgrade": {upgrade}, "Sec-Websocket-Protocol": {list}}
		token, err := tokenOf(r)
		if err != nil && token != "" {
			t.Errorf("token %q and %v", token, err)
		}
		hideToken(r)
		if again, err := tokenOf(r); err != nil || again != "" {
			t.Errorf("still there: %q %v", again, err)
		}
	})
}
