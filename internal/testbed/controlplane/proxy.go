package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the API server believes of a front proxy whose certificate names this user.
const (
	frontProxyUser = "front-proxy"
	headerUser     = "X-Remote-User"
	headerGroup    = "X-Remote-Group"
)

// A Proxy stands between a client and the API server and does what it is told to: see [Fault], and the methods that
// cut and freeze. Clients prove who they are to the proxy, by certificate or token, as they would to the API server; the
// proxy vouches for certificates as a front proxy does, so that authorization, admission and audit log see the client itself.
// It ends TLS with a certificate of the cluster's authority.
type Proxy struct {
	URL   string
	plane *Plane

	listener  *tap
	server    *http.Server
	vouched   *httputil.ReverseProxy // for clients with a certificate
	unvouched *httputil.ReverseProxy // for all others: their token speaks for them
	idle      []func()

	mu       sync.Mutex
	cert     tls.Certificate
	faults   []*fault
	clock    time.Duration // the API server's, against ours
	changed  chan struct{} // closed when faults change
	watches  map[*watching]struct{}
	requests []Request
}

// A Request is one that came to the proxy, in the order of their ends; a watch ends when it is over.
type Request struct {
	Method string
	URI    string
	User   string // by certificate; empty otherwise
	Watch  bool
	Began  time.Time
	Took   time.Duration
	Status int // 0 if there was no answer
}

// watching is one watch under way.
type watching struct {
	user string
	cut  context.CancelFunc
}

// StartProxy starts a proxy that ends with the test.
func (p *Plane) StartProxy(tb testing.TB) *Proxy {
	tb.Helper()
	x, err := p.OpenProxy()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := x.Close(); err != nil {
			tb.Error(err)
		}
	})
	return x
}

// OpenProxy starts a proxy. It is for the caller to close.
func (p *Plane) OpenProxy() (*Proxy, error) {
	l, err := listen(0)
	if err != nil {
		return nil, err
	}
	x := &Proxy{
		URL: "https://" + l.Addr().String(), plane: p, listener: newTap(l),
		changed: make(chan struct{}), watches: map[*watching]struct{}{},
	}
	if err := x.Serve(Identity{User: "kube-apiserver", Hosts: []string{"127.0.0.1", "localhost"}}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	pair, err := p.frontCA.issue(Identity{User: frontProxyUser})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	front, err := pair.TLS()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if x.vouched, err = x.forward(front); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if x.unvouched, err = x.forward(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	x.server = &http.Server{Handler: http.HandlerFunc(x.handle), ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		ClientAuth: tls.RequestClientCert, // judged later, as the API server does: a bad one is a 401
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			x.mu.Lock()
			defer x.mu.Unlock()
			return &x.cert, nil
		},
	}}
	go func() { _ = x.server.ServeTLS(x.listener, "", "") }() // until Close
	return x, nil
}

// forward makes the part that speaks to the API server, with a certificate or without.
func (x *Proxy) forward(certificate ...tls.Certificate) (*httputil.ReverseProxy, error) {
	target, err := url.Parse(x.plane.URL)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: x.plane.ca.pool(), Certificates: certificate},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 100,
		DisableCompression:  true,
	}
	x.idle = append(x.idle, transport.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // watches
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Accept-Encoding") // answers are read here
			for name := range r.Out.Header {
				if strings.HasPrefix(name, "X-Remote-") {
					r.Out.Header.Del(name) // that is for us alone to say
				}
			}
			if len(certificate) > 0 {
				subject := r.In.TLS.PeerCertificates[0].Subject
				r.Out.Header.Set(headerUser, subject.CommonName)
				r.Out.Header[headerGroup] = slices.Clone(subject.Organization)
			}
		},
		ModifyResponse: x.setTimes,
		// The API server is not there: the client must see what it would see without us, a connection that breaks.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { abort() },
	}, nil
}

// Serve changes the proxy's own certificate, for connections to come: to one that has expired, or is for another host.
func (x *Proxy) Serve(id Identity) error {
	pair, err := x.plane.Issue(id)
	if err != nil {
		return err
	}
	cert, err := pair.TLS()
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cert = cert
	return nil
}

// NodeKubeconfig is the plane's, but leads to the proxy.
func (x *Proxy) NodeKubeconfig(node string) (string, error) {
	return x.plane.kubeconfigFor(NodeIdentity(node), x.URL)
}

// Kubeconfig is the plane's, but leads to the proxy.
func (x *Proxy) Kubeconfig(id Identity) (string, error) { return x.plane.kubeconfigFor(id, x.URL) }

// BootstrapKubeconfig is the plane's, but leads to the proxy.
func (x *Proxy) BootstrapKubeconfig() (string, error) { return x.plane.bootstrapKubeconfig(x.URL) }

// Close ends the proxy and everything that hangs in it.
func (x *Proxy) Close() error {
	x.Heal()
	x.Thaw()
	err := x.server.Close()
	x.CutConnections()
	for _, idle := range x.idle {
		idle()
	}
	return err
}

// Requests are those that have ended so far.
func (x *Proxy) Requests() []Request {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.requests)
}

// CutWatches ends all watches of a user, of all users if it is empty, as an API server does when their time is up. It
// returns how many.
func (x *Proxy) CutWatches(user string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for w := range x.watches {
		if user == "" || w.user == user {
			w.cut()
			n++
		}
	}
	return n
}

// CutConnections breaks all connections of clients without a goodbye.
func (x *Proxy) CutConnections() { x.listener.cut() }

// Freeze is a black hole: nothing that clients send is read, nothing is sent to them, and new connections hang. Thaw ends
// it; what was sent meanwhile then arrives.
func (x *Proxy) Freeze() { x.listener.freeze() }

// Thaw ends Freeze.
func (x *Proxy) Thaw() { x.listener.thaw() }

// user finds out who asks. Like the API server, it knows nobody by a certificate that is expired or another's.
func (x *Proxy) user(r *http.Request) (name string, ok bool) {
	if len(r.TLS.PeerCertificates) == 0 {
		return "", true
	}
	cert := r.TLS.PeerCertificates[0]
	_, err := cert.Verify(x509.VerifyOptions{Roots: x.plane.ca.pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return "", r.Header.Get("Authorization") != "" // a token may still do
	}
	return cert.Subject.CommonName, true
}

func (x *Proxy) handle(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	seen := &statusWriter{ResponseWriter: w}
	user, known := x.user(r)
	watch := isWatch(r)
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.requests = append(x.requests, Request{
			Method: r.Method, URI: r.URL.RequestURI(), User: user, Watch: watch, Began: began, Took: time.Since(began), Status: seen.status,
		})
	}()
	if !known {
		writeStatus(seen, http.StatusUnauthorized, "Unauthorized", "Unauthorized", 0)
		return
	}
	if watch {
		ctx, cut := context.WithCancel(r.Context())
		defer cut()
		entry := &watching{user: user, cut: cut}
		x.mu.Lock()
		x.watches[entry] = struct{}{}
		x.mu.Unlock()
		defer func() {
			x.mu.Lock()
			defer x.mu.Unlock()
			delete(x.watches, entry)
		}()
		r = r.WithContext(ctx)
	}
	x.meddle(seen, r, user)
}

// pass lets a request through to the API server. A watch that is cut ends as one whose time is up.
func (x *Proxy) pass(w http.ResponseWriter, r *http.Request, user string) {
	forward := x.unvouched
	if user != "" {
		forward = x.vouched
	}
	if x.sendBack(r) != nil {
		abort() // the client has gone in the middle of what it sent
	}
	if !isWatch(r) {
		forward.ServeHTTP(w, r)
		return
	}
	defer func() {
		// It aborts when it cannot copy on: because of us, or because the API server broke off.
		if recover() != nil && r.Context().Err() == nil {
			abort()
		}
	}()
	forward.ServeHTTP(w, r)
}

// abort ends the handler of a request so that the client sees a broken answer: net/http resets the stream, or closes the
// connection, when a handler's goroutine ends before the handler returns.
func abort() { runtime.Goexit() }

func isWatch(r *http.Request) bool {
	q := r.URL.Query().Get("watch")
	return r.Method == http.MethodGet && (q == "true" || q == "1")
}

// statusWriter remembers the status that was sent.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController flush and hijack.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
