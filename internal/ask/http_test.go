package ask

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bosun-project/bosun/internal/health"
)

func get(port int, path string) health.Question {
	return question(v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: path, Port: intstr.FromInt(port)}})
}

func impatient(q health.Question) health.Question {
	q.Timeout = patience
	return q
}

func portOf(s *httptest.Server) int { return s.Listener.Addr().(*net.TCPAddr).Port }

func serve(t *testing.T, h http.HandlerFunc) int {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return portOf(s)
}

func TestHTTPStatuses(t *testing.T) { // behaviour 124
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var code int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &code)
		w.WriteHeader(code)
		if code != 204 && code != 304 {
			_, _ = w.Write([]byte("body"))
		}
	})
	for code, ok := range map[int]bool{200: true, 204: true, 299: true, 304: true, 399: true, 400: false, 404: false, 500: false, 503: false} {
		answer := ask(t, get(port, fmt.Sprintf("/%d", code)))
		if ok != (answer.Result == health.Success) || answer.Warning != (code >= 300 && code < 400) {
			t.Errorf("%d: %+v", code, answer)
		}
		if !ok && answer.Output != fmt.Sprintf("HTTP probe failed with statuscode: %d", code) {
			t.Errorf("%d: %q", code, answer.Output)
		}
	}
}

func TestHTTPHeaders(t *testing.T) {
	var seen *http.Request
	port := serve(t, func(_ http.ResponseWriter, r *http.Request) { seen = r })
	want(t, ask(t, get(port, "/healthz?a=b%20c")), health.Success, "")
	if seen.RequestURI != "/healthz?a=b%20c" || seen.Header.Get("User-Agent") != "kube-probe/1.37" || seen.Header.Get("Accept") != "*/*" ||
		!seen.Close || seen.Header.Get("Accept-Encoding") != "" || seen.Host != fmt.Sprintf("127.0.0.1:%d", port) {
		t.Errorf("%s %s %v", seen.Host, seen.RequestURI, seen.Header)
	}
	q := get(port, "")
	q.Handler.HTTPGet.HTTPHeaders = []v1.HTTPHeader{{Name: "host", Value: "shop.example"}, {Name: "Accept", Value: ""}, {Name: "user-agent", Value: "me"}, {Name: "X-A", Value: "1"}, {Name: "X-A", Value: "2"}}
	want(t, ask(t, q), health.Success, "")
	if seen.Host != "shop.example" || seen.RequestURI != "/" || len(seen.Header["Accept"]) != 0 || seen.Header.Get("User-Agent") != "me" || len(seen.Header["X-A"]) != 2 {
		t.Errorf("%s %s %v", seen.Host, seen.RequestURI, seen.Header)
	}
}

func TestHTTPS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	q := get(portOf(s), "/")
	q.Handler.HTTPGet.Scheme = v1.URISchemeHTTPS
	want(t, ask(t, q), health.Success, "")
	q.Handler.HTTPGet.Scheme = "GOPHER"
	if _, err := New(Config{}).Ask(t.Context(), q); err == nil || !strings.Contains(err.Error(), "neither HTTP nor HTTPS") {
		t.Error(err)
	}
	plain := get(serve(t, func(http.ResponseWriter, *http.Request) {}), "/")
	plain.Handler.HTTPGet.Scheme = v1.URISchemeHTTPS
	want(t, ask(t, plain), health.Failure, "server gave HTTP response to HTTPS client")
	silent := impatient(get(listen(t, func(c *net.TCPConn) {
		for {
			if _, err := c.Read(make([]byte, 1000)); err != nil {
				return
			}
		}
	}), "/"))
	silent.Handler.HTTPGet.Scheme = v1.URISchemeHTTPS
	want(t, ask(t, silent), health.Failure, "Client.Timeout exceeded")
}

func TestHTTPRedirects(t *testing.T) {
	asked := 0
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/broken":
			http.Redirect(w, r, "/gone", http.StatusFound)
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/away":
			w.Header().Set("Location", "http://elsewhere.invalid/")
			w.WriteHeader(http.StatusMovedPermanently)
			_, _ = w.Write([]byte("go away"))
		case "/round":
			http.Redirect(w, r, "/round?"+r.URL.RawQuery+"x", http.StatusFound)
		}
	})
	for _, c := range []struct {
		path    string
		asked   int
		result  health.Result
		warning bool
		output  string
	}{
		{"/here", 2, health.Success, false, ""},
		{"/broken", 2, health.Failure, false, "HTTP probe failed with statuscode: 410"},
		{"/away", 1, health.Success, true, "Probe terminated redirects, Response body: go away"},
		{"/round", 10, health.Failure, false, "stopped after 10 redirects"},
	} {
		asked = 0
		answer := ask(t, get(port, c.path))
		want(t, answer, c.result, c.output)
		if asked != c.asked || answer.Warning != c.warning {
			t.Errorf("%s: asked %d times, %+v", c.path, asked, answer)
		}
	}
}

// TestHTTPMisbehaving asks servers that do what they can to keep, fill or confuse the agent.
func TestHTTPMisbehaving(t *testing.T) {
	request := func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 4096)) }
	drip := func(c *net.TCPConn, text string) { // one byte each 20 ms, until the other side has enough
		for {
			if _, err := c.Write([]byte(text)); err != nil {
				return
			}
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, _ = c.Read(make([]byte, 1)) // nothing comes
		}
	}
	for _, c := range []struct {
		name   string
		serve  func(*net.TCPConn)
		result health.Result
		output string
	}{
		{"never answers", func(c *net.TCPConn) { request(c); request(c) }, health.Failure, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"},
		{"slow headers", func(c *net.TCPConn) {
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nX-A: "))
			drip(c, "a")
		}, health.Failure, "Client.Timeout exceeded while awaiting headers"},
		{"slow body", func(c *net.TCPConn) {
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
			drip(c, "a")
		}, health.Failure, "Client.Timeout"},
		{"endless header", func(c *net.TCPConn) {
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n"))
			for filler := []byte("X-A: " + strings.Repeat("a", 4000) + "\r\n"); ; {
				if _, err := c.Write(filler); err != nil {
					return
				}
			}
		}, health.Failure, "exceeded 1048576 bytes"},
		{"endless interim answers", func(c *net.TCPConn) {
			request(c)
			for {
				if _, err := c.Write([]byte("HTTP/1.1 103 Early Hints\r\n\r\n")); err != nil {
					return
				}
			}
		}, health.Failure, "exceeded"},
		{"reset", func(c *net.TCPConn) {
			request(c)
			_ = c.SetLinger(0)
		}, health.Failure, "connection reset by peer"},
		{"hangs up", request, health.Failure, "EOF"},
		{"half open: it listens on and says no more", func(c *net.TCPConn) {
			request(c)
			_ = c.CloseWrite()
			request(c)
		}, health.Failure, "EOF"},
		{"half open within the answer", func(c *net.TCPConn) {
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nX-A: "))
			_ = c.CloseWrite()
			request(c)
		}, health.Failure, "EOF"},
		{"reset within the answer", func(c *net.TCPConn) {
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfew"))
			_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // so that the answer is read first
			request(c)
			_ = c.SetLinger(0)
		}, health.Failure, "connection reset by peer"},
		{"chunks of no length", func(c *net.TCPConn) {
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n"))
		}, health.Failure, "invalid byte in chunk length"},
		{"huge headers, within bounds", func(c *net.TCPConn) {
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 4000)+"\r\n", 200) + "\r\nok"))
		}, health.Success, "ok"},
		{"a redirect to nowhere", func(c *net.TCPConn) {
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n"))
		}, health.Failure, "failed to parse Location header"},
		{"slow to redirect", func(c *net.TCPConn) { // round and round, but never for longer than the whole may take
			request(c)
			_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"))
		}, health.Failure, "Client.Timeout"},
		{"body cut short", func(c *net.TCPConn) {
			request(c)
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfew"))
		}, health.Failure, "unexpected EOF"},
		{"no HTTP", func(c *net.TCPConn) {
			request(c)
			_, _ = c.Write([]byte("220 mail.example ESMTP\r\n"))
		}, health.Failure, "malformed HTTP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want(t, ask(t, impatient(get(listen(t, c.serve), "/"))), c.result, c.output)
		})
	}
	endless := get(listen(t, func(c *net.TCPConn) {
		request(c)
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
		for filler := make([]byte, 1<<16); ; {
			if _, err := c.Write(filler); err != nil {
				return
			}
		}
	}), "/")
	endless.Timeout = time.Hour // an answer that is long enough does not take it
	want(t, ask(t, endless), health.Success, "")
	want(t, ask(t, impatient(get(fullPort(t), "/"))), health.Failure, "Client.Timeout exceeded")
	port := closedPort(t)
	want(t, ask(t, get(port, "/x?token=s3cret")), health.Failure, fmt.Sprintf(`Get "http://127.0.0.1:%d/x": dial tcp 127.0.0.1:%d: connect: connection refused`, port, port))
}
