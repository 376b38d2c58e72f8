package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// reachRuntime bounds how long the runtime's streaming server may take to agree to a stream.
	reachRuntime = 30 * time.Second
	// linger is how long a stream may go on when the agent ends, and how long a client may take to hang up when its
	// stream has ended.
	linger = time.Second
	// mostRefusal bounds what a streaming server may say when it refuses, in bytes.
	mostRefusal = 64 << 10
)

// line is a connection to the runtime's streaming server that now speaks another protocol.
type line struct {
	net.Conn
	in *bufio.Reader
}

// Read reads what the answer's reader had taken in already, and then on.
func (l *line) Read(p []byte) (int, error) { return l.in.Read(p) }

// refused is what a streaming server answers that does not agree. Its body must be closed.
type refused struct{ *http.Response }

func (r *refused) Error() string { return "the runtime's streaming server answers " + r.Status }

// dial asks the runtime's streaming server for a stream. It returns the header of the answer, too. A refusal is a
// *refused.
func dial(ctx context.Context, at *url.URL, method string, header http.Header) (*line, http.Header, error) {
	ctx, done := context.WithTimeout(ctx, reachRuntime)
	defer done()
	conn, err := connect(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	undo := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends what is read and written below
	request := &http.Request{Method: method, URL: at, Host: at.Host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	in := bufio.NewReader(conn)
	var answer *http.Response
	if err = request.Write(conn); err == nil {
		answer, err = http.ReadResponse(in, request)
	}
	if !undo() {
		err = errors.Join(context.Cause(ctx), err)
	}
	switch {
	case err != nil:
		_ = conn.Close()
		return nil, nil, err
	case answer.StatusCode != http.StatusSwitchingProtocols:
		answer.Body = &closing{io.LimitReader(answer.Body, mostRefusal), conn}
		return nil, nil, &refused{answer}
	case !strings.EqualFold(answer.Header.Get("Upgrade"), header.Get("Upgrade")):
		_ = conn.Close()
		return nil, nil, fmt.Errorf("it speaks %q instead of %q", answer.Header.Get("Upgrade"), header.Get("Upgrade"))
	}
	return &line{conn, in}, answer.Header, nil
}

type closing struct {
	io.Reader
	io.Closer
}

// connect opens a connection to the host of a URL.
func connect(ctx context.Context, at *url.URL) (net.Conn, error) {
	port := at.Port()
	switch {
	case port != "":
	case at.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	host := net.JoinHostPort(at.Hostname(), port)
	if at.Scheme == "https" {
		return new(tls.Dialer).DialContext(ctx, "tcp", host)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", host)
}

// join hands the request to the runtime's streaming server, upgrade and all. It returns when either side hangs up, or
// shortly after the agent was told to end.
func (f *Faces) join(w http.ResponseWriter, r *http.Request, at *url.URL) {
	header := r.Header.Clone()
	header.Del("Authorization") // it is for this agent
	there, answer, err := dial(r.Context(), at, r.Method, header)
	if err != nil {
		f.unreachable(w, r, err)
		return
	}
	defer there.Close()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this connection cannot change its protocol: "+err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = answer.Write(buffered)
	_, _ = buffered.WriteString("\r\n")
	if buffered.Flush() != nil { // an error of one of the writes comes up here
		return
	}
	in := struct{ io.Reader }{buffered.Reader} // without its WriteTo, which copies little at a time
	splice(r.Context(), side{Reader: in, Writer: conn, Closer: conn, finish: func() { closeWrite(conn) }}, there)
}

// unreachable answers for a streaming server that cannot be had, or says no.
func (f *Faces) unreachable(w http.ResponseWriter, r *http.Request, err error) {
	var no *refused
	if errors.As(err, &no) {
		defer no.Body.Close()
		for _, name := range []string{"Content-Type", "X-Accepted-Stream-Protocol-Versions"} {
			for _, value := range no.Header.Values(name) {
				w.Header().Add(name, value)
			}
		}
		w.WriteHeader(no.StatusCode)
		_, _ = io.Copy(w, no.Body) // a client that has left needs no answer
		return
	}
	if r.Context().Err() == nil {
		f.cfg.Log.Warn("the runtime's streaming server cannot be reached", "path", r.URL.Path, "err", withoutURL(err))
	}
	http.Error(w, "the runtime's streaming server cannot be reached: "+withoutURL(err).Error(), http.StatusBadGateway)
}

// withoutURL takes a URL out of an error: that of a stream holds the right to use it.
func withoutURL(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// closeWrite tells the other end that nothing follows.
func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the connection is closed for good soon
	}
}

// side is the client's side of a stream.
type side struct {
	io.Reader
	io.Writer
	io.Closer
	// finish tells the client that nothing follows.
	finish func()
}

// splice copies both ways until either side hangs up or ctx has ended for a moment. Neither protocol that is spoken
// here knows half a connection: who sends nothing more has gone, and so the other side must learn it.
func splice(ctx context.Context, client side, runtime io.ReadWriteCloser) {
	up, down := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(runtime, client.Reader) // a stream that breaks is everyday life
	}()
	go func() {
		defer close(down)
		_, _ = io.Copy(client.Writer, runtime)
	}()
	select {
	case <-up:
	case <-down:
		farewell(client, up)
	case <-ctx.Done():
		if !either(up, down, linger) {
			farewell(client, up)
		}
	}
	_ = runtime.Close()
	_ = client.Close()
	<-up
	<-down
}

// either waits for one of two, and no longer than a while; it tells whether the first was met.
func either(a, b <-chan struct{}, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-a:
		return true
	case <-b:
	case <-timer.C:
	}
	return false
}

// farewell ends the client's side such that it can read all that was sent: closing a connection on which something has
// come in would throw away what is on its way out.
func farewell(client side, gone <-chan struct{}) {
	client.finish()
	either(gone, nil, linger)
}
