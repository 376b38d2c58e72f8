package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/bosun-project/bosun/internal/latest"
)

const (
	// listenAgain is the time between attempts to listen.
	listenAgain = 5 * time.Second
	// leave is how long clients get to take the end of their answers when the server ends.
	leave = 5 * time.Second
	// longest bounds reading a request and writing its answer, which may be a log that is followed.
	longest = 4 * time.Hour
)

// Server answers at one address. While the address cannot be had it tries again; that is said once.
type Server struct {
	name    string
	address string
	handler http.Handler
	log     *slog.Logger
	open    func(ctx context.Context, address string) (net.Listener, error)
	// tls is nil for a server without.
	tls *tls.Config
	at  latest.Cell[net.Addr]
}

// NewHealth builds the health server (10248) on host:port.
func NewHealth(address string, log *slog.Logger) *Server {
	return newServer("health server", address, health(), log, openPort)
}

// NewReadOnly builds the read-only server (10255) on host:port.
func NewReadOnly(address string, f *Faces, log *slog.Logger) *Server {
	return newServer("read-only server", address, f.Handler(ReadOnly), log, openPort)
}

// NewAdmin builds the admin server on a Unix socket, which only root and the agent's own user may use. A socket left
// there by an earlier life is replaced.
func NewAdmin(path string, f *Faces, log *slog.Logger) *Server {
	return newServer("admin server", path, f.Handler(Admin), log, openSocket)
}

// NewTLS builds a server with TLS for another face's handler. open gives it its listener; where is what it is called while that
// fails.
func NewTLS(name, where string, h http.Handler, config *tls.Config, open func(context.Context) (net.Listener, error), log *slog.Logger) *Server {
	s := newServer(name, where, h, log, func(ctx context.Context, _ string) (net.Listener, error) { return open(ctx) })
	s.tls = config
	return s
}

func newServer(name, address string, h http.Handler, log *slog.Logger, open func(context.Context, string) (net.Listener, error)) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{name: name, address: address, handler: h, log: log, open: open}
}

// Listening returns where the server listens, nil while it does not, and a channel that is closed when that changes.
func (s *Server) Listening() (net.Addr, <-chan struct{}) { return s.at.Get() }

// Run serves until ctx ends, and returns when all handlers have.
func (s *Server) Run(ctx context.Context) error {
	said := ""
	for {
		l, err := s.open(ctx, s.address)
		if err == nil {
			s.log.Info(s.name+" listens", "address", l.Addr().String())
			said = ""
			s.at.Set(l.Addr())
			err = s.serve(ctx, l)
			s.at.Set(nil)
		}
		if ctx.Err() != nil {
			return nil
		}
		if text := err.Error(); text != said {
			said = text
			s.log.Error(s.name+" cannot listen; it is tried again every 5 s", "address", s.address, "err", err)
		}
		if !pause(ctx, listenAgain) {
			return nil
		}
	}
}

// openPort listens on a TCP port. If somebody else has it, the error names who.
func openPort(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	if holder := portHolder("/proc", address); holder != "" {
		return nil, fmt.Errorf("the port is taken by %s: %w", holder, syscall.EADDRINUSE)
	}
	return nil, fmt.Errorf("the port is taken by another process: %w", syscall.EADDRINUSE)
}

// serve answers on one listener until ctx ends or the listener dies.
func (s *Server) serve(ctx context.Context, l net.Listener) error {
	guests := newGuests()
	fresh := connections{open: map[net.Conn]struct{}{}}
	base, cut := context.WithCancel(ctx)
	defer cut()
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !guests.enter() {
				http.Error(w, "the agent is leaving", http.StatusServiceUnavailable)
				return
			}
			defer guests.leave()
			s.handler.ServeHTTP(w, r)
		}),
		BaseContext: func(net.Listener) context.Context { return base },
		ConnState:   fresh.note,
		ReadTimeout: longest, WriteTimeout: longest, ReadHeaderTimeout: time.Minute, IdleTimeout: 90 * time.Second,
		MaxHeaderBytes: 1 << 20,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() {
		if s.tls != nil {
			server.TLSConfig = s.tls.Clone()
			ended <- server.ServeTLS(l, "", "")
			return
		}
		ended <- server.Serve(l)
	}()
	var err error
	select {
	case err = <-ended:
		ended <- err
	case <-ctx.Done():
	}
	cut() // handlers learn that it is over
	fresh.close()
	patience, done := context.WithTimeout(context.WithoutCancel(ctx), leave)
	defer done()
	if server.Shutdown(patience) != nil {
		_ = server.Close() // who does not take the answer by now does not want it
	}
	<-ended
	guests.wait()
	return err
}

// guests counts the handlers that run, so that the last one can be waited for.
type guests struct {
	mu     sync.Mutex
	inside int
	closed bool
	empty  chan struct{}
}

func newGuests() *guests { return &guests{empty: make(chan struct{})} }

func (g *guests) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside++
	return true
}

func (g *guests) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.closed && g.inside == 0 {
		close(g.empty)
	}
}

// wait lets nobody in any more and returns when everybody has left.
func (g *guests) wait() {
	g.mu.Lock()
	g.closed = true
	if g.inside == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	<-g.empty
}

// connections knows those on which nothing was asked yet: the end of the server need not wait for them.
type connections struct {
	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(c.open, conn)
	case c.closed:
		_ = conn.Close()
	default:
		c.open[conn] = struct{}{}
	}
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		_ = conn.Close()
	}
}
