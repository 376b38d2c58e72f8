package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestHealthServer(t *testing.T) {
	at, _ := run(t, NewHealth("127.0.0.1:0", nil))
	for path, want := range map[string]int{"/healthz": 200, "/healthz/ping": 200, "/healthz/syncloop": 404, "/pods": 404} {
		code, body := get(t, "http://"+at+path)
		if code != want || code == 200 && body != "ok" {
			t.Errorf("GET %s: %d %q, want %d", path, code, body, want)
		}
	}
	r, err := http.Post("http://"+at+"/healthz", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d, want 405", r.StatusCode)
	}
}

// pipe is a listener whose connections a test makes, for use in bubbles.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipe() *pipe { return &pipe{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipe) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// TestListenerIsTriedAgain: every 5 s, said once, also when it dies later.
func TestListenerIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told strings.Builder
		s := NewHealth("x", slog.New(slog.NewTextHandler(&told, nil)))
		began := time.Now()
		var tries []time.Duration
		listener := newPipe()
		s.open = func(context.Context, string) (net.Listener, error) {
			tries = append(tries, time.Since(began))
			if len(tries) <= 3 {
				return nil, errors.New("taken")
			}
			if len(tries) == 5 {
				listener = newPipe()
			}
			return listener, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if at, _ := s.Listening(); at == nil {
			t.Error("it does not listen")
		}
		listener.Close() // it dies
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		want := []time.Duration{0, 5 * time.Second, 10 * time.Second, 15 * time.Second, 65 * time.Second}
		if fmt.Sprint(tries) != fmt.Sprint(want) {
			t.Errorf("tried at %v, want %v", tries, want)
		}
		if n := strings.Count(told.String(), "err=taken"); n != 1 {
			t.Errorf("said %d times, want once:\n%s", n, told.String())
		}
		if at, _ := s.Listening(); at != nil {
			t.Errorf("listens at %v after its end", at)
		}
	})
}

// TestPortTaken: the error names who has the port.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = openPort(t.Context(), l.Addr().String())
	comm, readErr := os.ReadFile("/proc/self/comm")
	if readErr != nil {
		t.Fatal(readErr)
	}
	want := fmt.Sprintf("the port is taken by %s (process %d): address already in use", strings.TrimSpace(string(comm)), os.Getpid())
	if err == nil || err.Error() != want || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestListener(t *testing.T) {
	for _, c := range []struct {
		line, inode string
		ok          bool
	}{
		{"   0: 0100007F:2808 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0", "4711", true},
		{"   0: 00000000000000000000000000000000:2808 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0", "4711", true},
		{"   0: 0100007F:2808 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4711 1", "", false},
		{"   0: 0100007F:2809 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1", "", false},
		{"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", "", false},
		{"", "", false},
	} {
		inode, ok := listener(c.line, 10248)
		if ok != c.ok || ok && inode != c.inode {
			t.Errorf("%q: %q %v, want %q %v", c.line, inode, ok, c.inode, c.ok)
		}
	}
	for _, address := range []string{"", "x", "127.0.0.1:http", "127.0.0.1:99999"} {
		if got := portHolder(t.TempDir(), address); got != "" {
			t.Errorf("holder of %q: %q", address, got)
		}
	}
}

// TestEndWaitsForHandlers: Run returns after the last handler, and idle or fresh connections do not hold it up.
func TestEndWaitsForHandlers(t *testing.T) {
	s := NewHealth("127.0.0.1:0", nil)
	inside, mayLeave, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(inside)
		<-r.Context().Done()
		<-mayLeave
		plain(w, "goodbye")
		close(left)
	})
	at, stop := run(t, s)
	idle, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	answered := make(chan string, 1)
	go func() {
		r, err := http.Get("http://" + at)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer r.Body.Close()
		body := make([]byte, 7)
		n, _ := r.Body.Read(body)
		answered <- string(body[:n])
	}()
	<-inside
	began := time.Now()
	go close(mayLeave)
	stop()
	select {
	case <-left:
	default:
		t.Error("Run returned before the handler")
	}
	if got := <-answered; got != "goodbye" {
		t.Errorf("the client got %q: its answer was cut", got)
	}
	if took := time.Since(began); took > leave/2 {
		t.Errorf("the end took %v", took)
	}
}

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "bosun")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "bosun.sock")
}

// overSocket is a client of an admin server.
func overSocket(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}

func TestAdminSocket(t *testing.T) {
	s, path := newScene(t, nil), socketPath(t)
	if err := os.WriteFile(path, nil, 0o644); err != nil { // something of an earlier life
		t.Fatal(err)
	}
	_, stop := run(t, NewAdmin(path, s.faces, nil))
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Fatalf("%v (%v), want a socket with mode 0600", info.Mode(), err)
	}
	r, err := overSocket(path).Get("http://bosun/debug/pods/default/web-node")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
	stop()
	for _, name := range []string{path, path + ".new"} {
		if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind (%v)", name, err)
		}
	}
}

// TestAdminSocketOfAnotherAgentStays: who leaves late does not take the socket of who came after.
func TestAdminSocketOfAnotherAgentStays(t *testing.T) {
	s, path := newScene(t, nil), socketPath(t)
	_, stopFirst := run(t, NewAdmin(path, s.faces, nil))
	run(t, NewAdmin(path, s.faces, nil))
	stopFirst()
	r, err := overSocket(path).Get("http://bosun/healthz")
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
}

func TestAdminSocketWithALongPath(t *testing.T) {
	_, err := openSocket(t.Context(), "/tmp/"+strings.Repeat("x", 120)+"/bosun.sock")
	if err == nil || !regexp.MustCompile(`the path of the socket has 136 bytes; Linux allows 103`).MatchString(err.Error()) {
		t.Errorf("error %v", err)
	}
}
