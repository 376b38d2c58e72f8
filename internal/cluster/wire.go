package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Request is what Config.Observe is told of a request. Code is the status code of the answer, "<error>" if there was none, as
// rest_client_requests_total has it. Resource is plural, with the subresource if there is one: pods/status.
type Request struct {
	Method, Host, Resource, Code string
	Took                         time.Duration
	// Sent is how many bytes the request's body has; negative if that is not known.
	Sent int64
	// Waited is how long it waited for its turn; negative if nothing limits such requests. Again is what it was answered with when it was
	// sent before, for the same call; empty if it was not.
	Waited time.Duration
	Again  string
}

// wire sends requests. It dials with the newest client certificate, can end all connections, and watches how requests fare.
type wire struct {
	// way is how the API server is reached now, from how it was when the requests' paths were settled.
	way       atomic.Pointer[way]
	from      *url.URL
	userAgent string

	link    link
	observe func(Request)
	// received is told how long the answer to a request was, of other requests than watches; may be nil.
	received func(Request, int64)

	// given returns the newest client certificate, nil for none; nil if the kubeconfig says which it is.
	given func() *tls.Certificate
	mu    sync.Mutex
	// shown is the certificate that the newest connection was opened with.
	shown *tls.Certificate
}

func newWire(c *Config) (*wire, error) {
	w := &wire{observe: c.Observe, received: c.Received, given: c.GetClientCertificate, userAgent: c.UserAgent}
	first, err := w.newWay(c.REST)
	if err != nil {
		return nil, err
	}
	w.from = first.base
	w.way.Store(first)
	return w, nil
}

// certificate is the client certificate to show; false if there is no such thing here.
func (w *wire) certificate() (*tls.Certificate, bool) {
	newest := w.given
	if newest == nil {
		newest = w.way.Load().certificate
	}
	if newest == nil {
		return nil, false
	}
	return newest(), true
}

// show gives the client certificate to a handshake.
func (w *wire) show(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c, _ := w.certificate()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown = c
	if c == nil {
		c = &tls.Certificate{}
	}
	return c, nil
}

func (w *wire) closeConnections() { w.way.Load().dialer.CloseAll() }

// RoundTrip sends a request, and tells the link and the observer how it went.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	way := w.way.Load()
	r = way.direct(r, w.from)
	answer, err := way.send.RoundTrip(r)
	code := "<error>"
	if err == nil {
		code = fmt.Sprint(answer.StatusCode)
		w.link.answered(answer.StatusCode, time.Now())
		if answer.StatusCode == http.StatusUnauthorized {
			w.renew()
		}
	} else if cause := context.Cause(r.Context()); !errors.Is(cause, context.Canceled) { // the caller lost interest
		w.link.failed(err, time.Now())
	}
	if w.observe != nil {
		seen := Request{Method: r.Method, Host: r.URL.Host, Resource: resourceOf(r.URL.Path), Code: code, Took: time.Since(began), Sent: r.ContentLength}
		seen.tell(r.Context())
		w.observe(seen)
		if err == nil && w.received != nil && !r.URL.Query().Has("watch") {
			answer.Body = &measured{ReadCloser: answer.Body, told: func(n int64) { w.received(seen, n) }}
		}
	}
	return answer, err
}

// measured is the body of an answer whose length is told when it is closed.
type measured struct {
	io.ReadCloser
	n    int64
	told func(int64)
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.n += int64(n)
	return n, err
}

func (m *measured) Close() error {
	if m.told != nil {
		m.told(m.n)
		m.told = nil
	}
	return m.ReadCloser.Close()
}

// renew closes the connections if they were opened with another certificate than would be shown now. The API server judges a
// connection by the certificate of its beginning, so a renewed one is of no use to it.
func (w *wire) renew() {
	newest, ok := w.certificate()
	if !ok {
		return
	}
	w.mu.Lock()
	stale := w.shown != newest
	w.shown = newest
	w.mu.Unlock()
	if stale {
		w.closeConnections()
	}
}

// explain adds to an error what the API server cannot know: that the client certificate has expired.
func (w *wire) explain(err error) error {
	if err == nil || !apierrors.IsUnauthorized(err) {
		return err
	}
	c, ok := w.certificate()
	if !ok {
		return err
	}
	if c == nil {
		return fmt.Errorf("%w (there is no client certificate)", err)
	}
	leaf := c.Leaf
	if leaf == nil && len(c.Certificate) > 0 {
		leaf, _ = x509.ParseCertificate(c.Certificate[0]) // it is only for the message
	}
	if leaf != nil && time.Now().After(leaf.NotAfter) {
		return fmt.Errorf("%w (the client certificate of %s expired at %s)", err, leaf.Subject.CommonName, leaf.NotAfter.Format(time.RFC3339))
	}
	return err
}

// resourceOf returns the resource that a path of the Kubernetes API is about, with its subresource.
func resourceOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return ""
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	if len(parts) > 2 {
		return parts[0] + "/" + strings.Join(parts[2:], "/")
	}
	return parts[0]
}
