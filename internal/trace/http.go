package trace

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Requests makes a span of each request to a handler, below the place that the request names. The span is named by the pattern of
// the http.ServeMux that answers: what a client makes up does not become a name.
func (t *Tracer) Requests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if p := Parse(r.Header.Get(parentHeader), strings.Join(r.Header.Values(stateHeader), ",")); p.Known() {
			ctx = At(ctx, p)
		}
		s := t.Begin(ctx, Server, "HTTP", time.Now(), slog.String("url.scheme", scheme(r)))
		r = r.WithContext(s.Under(ctx))
		if !s.place.Kept {
			next.ServeHTTP(w, r)
			return
		}
		heard := &statusWriter{ResponseWriter: w, code: http.StatusOK}
		defer func() {
			if method, route, ok := strings.Cut(r.Pattern, " "); ok {
				s.Rename(r.Pattern)
				s.Add(slog.String("http.request.method", method), slog.String("http.route", route))
			}
			s.Add(slog.Int("http.response.status_code", heard.code))
			if heard.code >= http.StatusInternalServerError {
				s.Fail(http.StatusText(heard.code))
			}
			s.End(time.Now())
		}()
		next.ServeHTTP(heard, r)
	})
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

// statusWriter hears the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	code int
	told bool
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(code int) {
	if !w.told && code >= http.StatusOK {
		w.code, w.told = code, true
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(p []byte) (int, error) {
	w.told = true
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (w *statusWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() } // who cannot need not

// Hijack implements http.Hijacker: the connection becomes a stream of its own.
func (w *statusWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.told {
		w.code, w.told = http.StatusSwitchingProtocols, true
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
