package serve

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/config"
)

// protocolsOfStreams are the ways in which the API server may ask for a stream.
var protocolsOfStreams = []string{"SPDY", "v5.channel.k8s.io", "v4.channel.k8s.io"}

// restConfig is a configuration for the libraries that the API server uses.
func restConfig(t *testing.T, p *pki, at string) *rest.Config {
	t.Helper()
	key, err := x509.MarshalECPrivateKey(p.client.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{Host: "https://" + at, TLSClientConfig: rest.TLSClientConfig{
		CAFile: p.file, CertData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.client.Certificate[0]}),
		KeyData: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}),
	}}
}

// executor makes a client that streams like the API server does.
func executor(t *testing.T, p *pki, at, path, protocol string) (e remotecommand.Executor) {
	t.Helper()
	c := restConfig(t, p, at)
	where, err := url.Parse("https://" + at + path)
	if err != nil {
		t.Fatal(err)
	}
	if protocol == "SPDY" {
		e, err = remotecommand.NewSPDYExecutor(c, http.MethodPost, where)
	} else {
		e, err = remotecommand.NewWebSocketExecutorForProtocols(c, http.MethodGet, where.String(), protocol)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestStreams: what is typed arrives, what is written comes back, and so does the exit code, over every protocol.
func TestStreams(t *testing.T) {
	b, p := newBox(t), newPKI(t)
	s := newScene(t, func(c *Config) { c.Streams = asked{b} })
	at, _ := secure(t, s, p, &config.KubeletConfiguration{})
	const here = "/exec/default/web-node/app?"
	big := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	for _, protocol := range protocolsOfStreams {
		do := func(t *testing.T, path string, o remotecommand.StreamOptions) (string, string, error) {
			t.Helper()
			var out, errs bytes.Buffer
			if strings.Contains(path, "output=1") {
				o.Stdout = &out
			}
			if strings.Contains(path, "error=1") {
				o.Stderr = &errs
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := executor(t, p, at, path, protocol).StreamWithContext(ctx, o)
			return out.String(), errs.String(), err
		}
		t.Run(protocol+" output", func(t *testing.T) {
			out, errs, err := do(t, here+"command=echo&command=a+b&output=1&error=1", remotecommand.StreamOptions{})
			if err != nil || out != "app1 [\"echo\" \"a b\"] tty=false\n" || errs != "to stderr\n" {
				t.Errorf("%q %q %v", out, errs, err)
			}
		})
		t.Run(protocol+" exit code", func(t *testing.T) {
			_, errs, err := do(t, here+"command=fail&output=1&error=1", remotecommand.StreamOptions{})
			var code exec.CodeExitError
			if !errors.As(err, &code) || code.Code != 3 || errs != "failing" {
				t.Errorf("%q %v", errs, err)
			}
		})
		t.Run(protocol+" much output", func(t *testing.T) {
			out, _, err := do(t, here+"command=much&output=1", remotecommand.StreamOptions{})
			if err != nil || len(out) != 4<<20 || strings.Trim(out, "m") != "" {
				t.Errorf("%d bytes, %v", len(out), err)
			}
		})
		if protocol == "v4.channel.k8s.io" { // cannot tell that input has ended: that is why there is v5
			continue
		}
		t.Run(protocol+" input", func(t *testing.T) {
			out, _, err := do(t, here+"command=cat&input=1&output=1", remotecommand.StreamOptions{Stdin: strings.NewReader(big)})
			if err != nil || out != big {
				t.Errorf("%d bytes, %v", len(out), err)
			}
		})
		t.Run(protocol+" attach", func(t *testing.T) {
			out, errs, err := do(t, "/attach/default/web-node/uid-web/app?input=1&output=1&error=1", remotecommand.StreamOptions{Stdin: strings.NewReader("typed")})
			if err != nil || out != "app1 [\"attached\"] tty=false\ntyped" || errs != "to stderr\n" {
				t.Errorf("%q %q %v", out, errs, err)
			}
		})
		t.Run(protocol+" terminal", func(t *testing.T) {
			sizes := queue{{Width: 80, Height: 25}, {Width: 100, Height: 30}, {}}
			out, _, err := do(t, here+"command=sizes&input=1&output=1&tty=1", remotecommand.StreamOptions{Stdin: strings.NewReader(""), Tty: true, TerminalSizeQueue: &sizes})
			if err != nil || out != "80x25\n100x30\n0x0\n" {
				t.Errorf("%q %v", out, err)
			}
		})
		t.Run(protocol+" gone", func(t *testing.T) {
			_, _, err := do(t, "/exec/default/web-node/log?command=id&output=1", remotecommand.StreamOptions{})
			if err == nil || !strings.Contains(err.Error(), `container not found ("log")`) {
				t.Errorf("%v", err)
			}
		})
	}
}

// queue is a series of sizes of a terminal.
type queue []remotecommand.TerminalSize

func (q *queue) Next() *remotecommand.TerminalSize {
	if len(*q) == 0 {
		return nil
	}
	first := (*q)[0]
	*q = (*q)[1:]
	return &first
}

// typing starts a command that echoes, and returns when it runs.
func typing(t *testing.T, e remotecommand.Executor) (typed *io.PipeWriter, shown *io.PipeReader, ended chan error) {
	t.Helper()
	in, typed := io.Pipe()
	shown, out := io.Pipe()
	ended = make(chan error, 1)
	go func() {
		ended <- e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: in, Stdout: out})
		out.Close()
		in.Close()
	}()
	t.Cleanup(func() { typed.Close(); shown.Close() })
	back := make([]byte, 4)
	if _, err := typed.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(shown, back); err != nil || string(back) != "ping" {
		t.Fatalf("%q %v", back, err)
	}
	return typed, shown, ended
}

// TestVanishedClient: a client whose connection is gone ends its session in the runtime.
func TestVanishedClient(t *testing.T) {
	b, p := newBox(t), newPKI(t)
	s := newScene(t, func(c *Config) { c.Streams = asked{b} })
	at, stop := secure(t, s, p, &config.KubeletConfiguration{})
	for _, protocol := range protocolsOfStreams {
		t.Run(protocol, func(t *testing.T) {
			between := newWire(t, at)
			_, _, ended := typing(t, executor(t, p, between.at, "/exec/default/web-node/app?command=cat&input=1&output=1", protocol))
			between.cut()
			b.hasEnded(t, "cat")
			<-ended
		})
		t.Run(protocol+", reading nothing", func(t *testing.T) {
			between := newWire(t, at)
			shown, out := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				ended <- executor(t, p, between.at, "/exec/default/web-node/app?command=endless&output=1", protocol).StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: out})
			}()
			if _, err := shown.Read(make([]byte, 1)); err != nil { // it runs; nothing more is read
				t.Fatal(err)
			}
			between.cut()
			b.hasEnded(t, "endless")
			shown.Close()
			<-ended
		})
	}
	stop() // returns when all handlers have, so nothing hangs in them
}

// TestServerEndIsOrderly: when the agent ends, clients are told, and the runtime is not left with the session.
func TestServerEndIsOrderly(t *testing.T) {
	for _, protocol := range protocolsOfStreams {
		t.Run(protocol, func(t *testing.T) {
			b, p := newBox(t), newPKI(t)
			s := newScene(t, func(c *Config) { c.Streams = asked{b} })
			at, stop := secure(t, s, p, &config.KubeletConfiguration{})
			typed, shown, ended := typing(t, executor(t, p, at, "/exec/default/web-node/app?command=cat&input=1&output=1", protocol))
			began, stopped := time.Now(), make(chan struct{})
			go func() {
				defer close(stopped)
				stop()
			}()
			for range 3 { // a stream goes on for a moment
				back := make([]byte, 4)
				if _, err := typed.Write([]byte("more")); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(shown, back); err != nil || string(back) != "more" {
					t.Fatalf("%q %v", back, err)
				}
			}
			<-stopped
			if took := time.Since(began); took > leave {
				t.Errorf("the end took %v", took)
			}
			b.hasEnded(t, "cat")
			<-ended
		})
	}
}

// TestChannels: what only the newest WebSocket protocol has, message by message.
func TestChannels(t *testing.T) {
	b, p := newBox(t), newPKI(t)
	s := newScene(t, func(c *Config) { c.Streams = asked{b} })
	at, _ := secure(t, s, p, &config.KubeletConfiguration{})
	open := func(t *testing.T, path string) *websocket.Conn {
		t.Helper()
		d := websocket.Dialer{TLSClientConfig: p.trusting(true), Subprotocols: []string{"v5.channel.k8s.io", "v4.channel.k8s.io"}}
		ws, _, err := d.Dial("wss://"+at+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ws.Close() })
		if ws.Subprotocol() != "v5.channel.k8s.io" {
			t.Errorf("speaks %q", ws.Subprotocol())
		}
		_ = ws.SetReadDeadline(time.Now().Add(20 * time.Second))
		return ws
	}
	send := func(t *testing.T, ws *websocket.Conn, messages ...string) {
		t.Helper()
		for _, m := range messages {
			if err := ws.WriteMessage(websocket.BinaryMessage, []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
	}
	rest := func(ws *websocket.Conn) (byChannel map[byte]string, err error) {
		byChannel = map[byte]string{}
		for {
			_, m, err := ws.ReadMessage()
			if err != nil {
				return byChannel, err
			}
			byChannel[m[0]] += string(m[1:])
		}
	}
	t.Run("end of input", func(t *testing.T) {
		ws := open(t, "/exec/default/web-node/app?command=cat&input=1&output=1")
		if _, m, err := ws.ReadMessage(); err != nil || string(m) != "\x01" {
			t.Errorf("the first message is %q %v", m, err)
		}
		send(t, ws, "", "\x00a", "\x07nobody", "\x02nothing", "\x04not a terminal", "\x00b", "\x00", "\xff\x01", "\xff\x00", "\x00late")
		got, err := rest(ws)
		if !websocket.IsCloseError(err, websocket.CloseNormalClosure) || got[1] != "ab" || !strings.Contains(got[3], `"status":"Success"`) {
			t.Errorf("%q %v", got, err)
		}
	})
	t.Run("pings are answered", func(t *testing.T) {
		ws := open(t, "/exec/default/web-node/app?command=cat&input=1&error=1")
		ponged := make(chan string, 1)
		ws.SetPongHandler(func(text string) error { ponged <- text; return nil })
		if err := ws.WriteControl(websocket.PingMessage, []byte("there?"), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = rest(ws) }()
		select {
		case got := <-ponged:
			if got != "there?" {
				t.Errorf("%q", got)
			}
		case <-time.After(20 * time.Second):
			t.Error("no pong")
		}
	})
	t.Run("a text message is none", func(t *testing.T) {
		ws := open(t, "/exec/default/web-node/app?command=cat&input=1&output=1")
		if err := ws.WriteMessage(websocket.TextMessage, []byte("0a")); err != nil {
			t.Fatal(err)
		}
		if _, err := rest(ws); err == nil {
			t.Error("the stream goes on")
		}
	})
	t.Run("a runtime that says no", func(t *testing.T) {
		teapot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }))
		defer teapot.Close()
		s := newScene(t, func(c *Config) { c.Streams = somewhere(teapot.URL) })
		at, _ := secure(t, s, p, &config.KubeletConfiguration{})
		d := websocket.Dialer{TLSClientConfig: p.trusting(true), Subprotocols: []string{"v5.channel.k8s.io"}}
		if _, answer, err := d.Dial("wss://"+at+"/exec/default/web-node/app?command=id&output=1", nil); err == nil || answer.StatusCode != http.StatusTeapot {
			t.Errorf("%v", err)
		}
	})
}

// TestRuntimeThatBreaks: a command of whose end nothing is said has not ended well.
func TestRuntimeThatBreaks(t *testing.T) {
	b, p := newBox(t), newPKI(t)
	between := newWire(t, b.at)
	s := newScene(t, func(c *Config) { c.Streams = through{asked{b}, between} })
	at, _ := secure(t, s, p, &config.KubeletConfiguration{})
	_, _, ended := typing(t, executor(t, p, at, "/exec/default/web-node/app?command=cat&input=1&output=1", "v5.channel.k8s.io"))
	between.cut()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "without telling how the command ended") {
		t.Errorf("%v", err)
	}
}

// wire is a connection between two that can be cut.
type wire struct {
	at    string
	mu    sync.Mutex
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{at: l.Addr().String()}
	t.Cleanup(func() { l.Close(); w.cut() })
	go func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.conns = append(w.conns, here, there)
			w.mu.Unlock()
			go func() { _, _ = io.Copy(here, there) }()
			go func() { _, _ = io.Copy(there, here) }()
		}
	}()
	return w
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		conn.Close()
	}
}

// through asks a box for streams that go through a wire.
type through struct {
	asked
	wire *wire
}

func (w through) Exec(ctx context.Context, r *cri.ExecRequest) (string, error) {
	at, err := w.asked.Exec(ctx, r)
	return strings.Replace(at, w.box.at, w.wire.at, 1), err
}

// With the gate ExtendWebSocketsToKubelet off, the runtime chooses the protocol, and it does not know the newest one.
func TestOldWebSockets(t *testing.T) {
	b, p := newBox(t), newPKI(t)
	s := newScene(t, func(c *Config) { c.Streams, c.OldWebSockets = asked{b}, true })
	at, _ := secure(t, s, p, &config.KubeletConfiguration{})
	d := websocket.Dialer{TLSClientConfig: p.trusting(true), Subprotocols: []string{"v5.channel.k8s.io", "v4.channel.k8s.io"}}
	ws, _, err := d.Dial("wss://"+at+"/exec/default/web-node/app?command=cat&input=1&output=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if got := ws.Subprotocol(); got != "v4.channel.k8s.io" {
		t.Errorf("speaks %q", got)
	}
}
