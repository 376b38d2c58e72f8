package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/worker"
)

// forwarding opens a connection for ports, as the API server does: SPDY, bare or in WebSocket messages.
func forwarding(t *testing.T, p *pki, at, path string, tunnel bool) (httpstream.Connection, error) {
	t.Helper()
	where, err := url.Parse("https://" + at + path)
	if err != nil {
		t.Fatal(err)
	}
	if tunnel {
		dialer, err := portforward.NewSPDYOverWebsocketDialerForStreaming(where, restConfig(t, p, at))
		if err != nil {
			t.Fatal(err)
		}
		conn, protocol, err := dialer.Dial("portforward.k8s.io")
		if err == nil && protocol != "portforward.k8s.io" {
			t.Errorf("speaks %q", protocol)
		}
		return conn, err
	}
	tripper, err := spdy.NewRoundTripper(p.trusting(true))
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, where.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(httpstream.HeaderProtocolVersion, "portforward.k8s.io")
	answer, err := tripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	return tripper.NewConnection(answer)
}

// pairOf opens the pair of streams of one forwarded connection.
func pairOf(conn httpstream.Connection, id, port int) (data, errs httpstream.Stream, err error) {
	header := http.Header{}
	header.Set(v1.PortHeader, fmt.Sprint(port))
	header.Set(v1.PortForwardRequestIDHeader, fmt.Sprint(id))
	header.Set(v1.StreamType, v1.StreamTypeError)
	if errs, err = conn.CreateStream(header); err != nil {
		return nil, nil, err
	}
	header.Set(v1.StreamType, v1.StreamTypeData)
	data, err = conn.CreateStream(header)
	return data, errs, err
}

// exchange sends something to a port and returns what came back, and what went wrong.
func exchange(conn httpstream.Connection, id, port int, text string) (string, string, error) {
	data, errs, err := pairOf(conn, id, port)
	if err != nil {
		return "", "", err
	}
	_ = errs.Close()
	go func() {
		_, _ = io.WriteString(data, text)
		_ = data.Close()
	}()
	back, err := io.ReadAll(data)
	wrong, errsErr := io.ReadAll(errs)
	return string(back), string(wrong), errors.Join(err, errsErr)
}

func TestPortForward(t *testing.T) {
	b, p := newBox(t), newPKI(t)
	s := newScene(t, func(c *Config) { c.Forward = asked{b} })
	at, _ := secure(t, s, p, &config.KubeletConfiguration{})
	for _, tunnel := range []bool{false, true} {
		title := map[bool]string{false: "SPDY ", true: "tunnel "}[tunnel]
		t.Run(title+"one", func(t *testing.T) {
			conn, err := forwarding(t, p, at, "/portForward/default/web-node", tunnel)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if back, wrong, err := exchange(conn, 0, 80, "hello"); err != nil || back != "box:80 hello" || wrong != "" {
				t.Errorf("%q %q %v", back, wrong, err)
			}
			b.hasEnded(t, "port 80")
			if _, wrong, err := exchange(conn, 1, 1, ""); err != nil || !strings.Contains(wrong, "connection refused") {
				t.Errorf("%q %v", wrong, err)
			}
			b.hasEnded(t, "port 1")
		})
		t.Run(title+"100 at once, 64 KiB each", func(t *testing.T) {
			conn, err := forwarding(t, p, at, "/portForward/default/web-node/uid-web", tunnel)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			failed := make(chan error, 100)
			for i := range cap(failed) {
				go func() {
					port, text := 1000+i, strings.Repeat(fmt.Sprintf("%04d", i), 16<<10)
					back, wrong, err := exchange(conn, i, port, text)
					if err == nil && (back != fmt.Sprintf("box:%d %s", port, text) || wrong != "") {
						err = fmt.Errorf("port %d: %d bytes, %q", port, len(back), wrong)
					}
					failed <- err
				}()
			}
			for range cap(failed) {
				select {
				case err := <-failed:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("a stream hangs")
				}
			}
			for range cap(failed) {
				<-b.ended
			}
		})
		t.Run(title+"client vanishes", func(t *testing.T) {
			between := newWire(t, at)
			conn, err := forwarding(t, p, between.at, "/portForward/default/web-node", tunnel)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			data, _, err := pairOf(conn, 0, 80)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(data, make([]byte, len("box:80 "))); err != nil {
				t.Fatal(err)
			}
			between.cut()
			b.hasEnded(t, "port 80")
		})
		t.Run(title+"no such pod", func(t *testing.T) {
			if _, err := forwarding(t, p, at, "/portForward/default/nothing", tunnel); err == nil || !strings.Contains(err.Error(), "pod does not exist") {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("old WebSocket", func(t *testing.T) {
		d := websocket.Dialer{TLSClientConfig: p.trusting(true), Subprotocols: []string{"v4.channel.k8s.io"}}
		ws, _, err := d.Dial("wss://"+at+"/portForward/default/web-node?port=80,81", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		if err := ws.WriteMessage(websocket.BinaryMessage, []byte("\x02hello")); err != nil {
			t.Fatal(err)
		}
		_ = ws.SetReadDeadline(time.Now().Add(20 * time.Second))
		got := map[byte]string{}
		for !strings.Contains(got[2], "hello") {
			_, m, err := ws.ReadMessage()
			if err != nil {
				t.Fatalf("%q %v", got, err)
			}
			got[m[0]] += string(m[1:])
		}
		for channel, port := range map[byte]uint16{0: 80, 1: 80, 2: 81, 3: 81} {
			if text := got[channel]; len(text) < 2 || binary.LittleEndian.Uint16([]byte(text)) != port {
				t.Errorf("channel %d begins with %q, want port %d", channel, text, port)
			}
		}
		if got[2][2:] != "box:81 hello" {
			t.Errorf("%q", got[2])
		}
	})
}

// TestPortForwardErrors: which answers the API server gets.
func TestPortForwardErrors(t *testing.T) {
	b := newBox(t)
	s := newScene(t, func(c *Config) { c.Forward = asked{b} })
	e, status := web()
	s.put(edited(e, func(e *worker.Entry) {
		e.Desired.Pod.Name, e.Desired.Pod.UID = "bare", "uid-bare"
		e.Observed.Sandboxes = slices.Clone(e.Observed.Sandboxes)
		e.Observed.Sandboxes[0].Ready = false
	}), status)
	const ws = "websocket"
	for _, c := range []struct {
		title, path, protocol string
		runtime               error
		code                  int
		want                  string
	}{
		{"no such pod", "/portForward/default/nothing", "SPDY/3.1", nil, 404, "pod does not exist"},
		{"other UID", "/portForward/default/web-node/other", "SPDY/3.1", nil, 404, "pod not found"},
		{"no sandbox", "/portForward/default/bare", "SPDY/3.1", nil, 500, `pod "bare" has no network: its sandbox does not run`},
		{"gone in the runtime", "/portForward/default/web-node", "SPDY/3.1", fault.As(fault.ErrNotFound, errors.New("no sandbox box")), 404, "no sandbox box"},
		{"no upgrade", "/portForward/default/web-node", "", nil, 400, "Upgrade request required"},
		{"no port", "/portForward/default/web-node", ws, nil, 400, `query parameter "port" is required`},
		{"port 0", "/portForward/default/web-node?port=0", ws, nil, 400, `port: "0" is not a number from 1 to 65535`},
		{"no number", "/portForward/default/web-node?port=80&port=http", ws, nil, 400, `port: "http" is not a number from 1 to 65535`},
		{"too great", "/portForward/default/web-node?port=65536", ws, nil, 400, `port: "65536" is not a number from 1 to 65535`},
		{"empty", "/portForward/default/web-node?port=", ws, nil, 400, `port: "" is not a number from 1 to 65535`},
	} {
		t.Run(c.title, func(t *testing.T) {
			b.err = c.runtime
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, c.path, nil)
			if c.protocol != "" {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", c.protocol)
			}
			s.faces.Handler(Full).ServeHTTP(w, r)
			if got := strings.TrimSpace(w.Body.String()); w.Code != c.code || got != c.want {
				t.Errorf("%d %q, want %d %q", w.Code, got, c.code, c.want)
			}
		})
	}
}

// TestMirrorPods holds what of behaviour 367 is about static pods: the API server knows them by their mirror's UID.
func TestMirrorPods(t *testing.T) {
	s := newScene(t, func(c *Config) {
		c.MirrorUID = func(static types.UID) types.UID {
			return map[types.UID]types.UID{"uid-web": "uid-mirror"}[static]
		}
	})
	for uid, want := range map[string]bool{"": true, "uid-web": true, "uid-mirror": true, "other": false} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetPathValue("namespace", "default")
		r.SetPathValue("pod", "web-node")
		r.SetPathValue("uid", uid)
		if e, known := s.faces.named(r); !known || (e != nil) != want {
			t.Errorf("UID %q: %v %v, want %v", uid, e, known, want)
		}
	}
	e, status := web()
	s.put(edited(e, func(e *worker.Entry) { e.Desired.Pod.UID, e.Desired.Wanted = "uid-old", false }), status)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetPathValue("namespace", "default")
	r.SetPathValue("pod", "web-node")
	r.SetPathValue("uid", "uid-old")
	if e, _ := s.faces.named(r); e == nil || e.Desired.Pod.UID != "uid-old" {
		t.Errorf("an ending pod is not found by its UID: %v", e)
	}
}
