package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/transport"
	"k8s.io/client-go/util/connrotation"
)

// Request is what Config.Observe is told of a request. Code is the status code of the answer, "<error>" if there was none, as
// rest_client_requests_total has it. Resource is plural, with the subresource if there is one: pods/status.
type Request struct {
	Method, Host, Resource, Code string
	Took                         time.Duration
	// Sent is how many bytes the request's body has; negative if that is not known.
	Sent int64
}

// wire sends requests. It dials with the newest client certificate, can end all connections, and watches how requests fare.
type wire struct {
	send    http.RoundTripper
	dialer  *connrotation.Dialer
	link    link
	observe func(Request)
	// received is told how long the answer to a request was, of other requests than watches; may be nil.
	received func(Request, int64)

	// certificate returns the newest client certificate, nil for none.
	certificate func() *tls.Certificate
	mu          sync.Mutex
	// shown is the certificate that the newest connection was opened with.
	shown *tls.Certificate
}

func newWire(c *Config) (*wire, error) {
	w := &wire{observe: c.Observe, received: c.Received, certificate: c.GetClientCertificate}
	config := *c.REST
	config.UserAgent = c.UserAgent
	if w.certificate == nil {
		var err error
		if w.certificate, err = certificateOf(&config); err != nil {
			return nil, err
		}
	}
	if w.certificate != nil { // it comes with the handshake
		config.CertFile, config.KeyFile, config.CertData, config.KeyData = "", "", nil, nil
	}
	t, err := config.TransportConfig()
	if err != nil {
		return nil, err
	}
	secure, err := transport.TLSConfigFor(t)
	if err != nil {
		return nil, err
	}
	if secure == nil {
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if w.certificate != nil {
		secure.GetClientCertificate = w.show
	}
	dial := (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	if t.DialHolder != nil { // of a credential program, which closes connections when it has new credentials
		dial = t.DialHolder.Dial
	}
	w.dialer = connrotation.NewDialer(dial)
	proxy := config.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	base := utilnet.SetTransportDefaults(&http.Transport{ // among these: pings on silent HTTP/2 connections, after 30 s
		Proxy: proxy, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: secure, MaxIdleConnsPerHost: 25,
		DialContext: w.dialer.DialContext, DisableCompression: config.DisableCompression,
	})
	if w.send, err = transport.HTTPWrappersForConfig(t, base); err != nil {
		return nil, err
	}
	return w, nil
}

// show gives the client certificate to a handshake.
func (w *wire) show(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c := w.certificate()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shown = c
	if c == nil {
		c = &tls.Certificate{}
	}
	return c, nil
}

func (w *wire) closeConnections() { w.dialer.CloseAll() }

// RoundTrip sends a request, and tells the link and the observer how it went.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	answer, err := w.send.RoundTrip(r)
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
	if w.certificate == nil {
		return
	}
	newest := w.certificate()
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
	if err == nil || w.certificate == nil || !apierrors.IsUnauthorized(err) {
		return err
	}
	c := w.certificate()
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
