package serve

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/bosun-project/bosun/internal/worker"
)

// tunnelPrefix and tunnelSuffix are around the name of a protocol whose SPDY frames are sent in WebSocket messages.
const (
	tunnelPrefix = "SPDY/3.1+"
	tunnelSuffix = ".k8s.io"
)

// portForward joins a client with ports of a pod. Over SPDY the client names the ports as it goes; over the old
// WebSocket protocol the query does.
func (f *Faces) portForward(w http.ResponseWriter, r *http.Request) {
	tunnel := tunnelOf(r)
	at, err := f.openForward(r, tunnel != "")
	if err != nil {
		f.sayNo(w, r, err)
		return
	}
	f.tell(r, "port-forward")
	if tunnel != "" {
		f.tunnel(w, r, at, tunnel)
		return
	}
	f.join(w, r, at)
}

func (f *Faces) openForward(r *http.Request, tunnel bool) (*url.URL, error) {
	if f.cfg.Forward == nil {
		return nil, refuse(http.StatusNotImplemented, "this agent does not forward ports")
	}
	if !isUpgrade(r) {
		return nil, refuse(http.StatusBadRequest, "Upgrade request required")
	}
	var ports []int32
	if websocket.IsWebSocketUpgrade(r) && !tunnel {
		var err error
		if ports, err = parsePorts(r.URL.Query()["port"]); err != nil {
			return nil, err
		}
	}
	e, known := f.named(r)
	switch {
	case !known:
		return nil, refuse(http.StatusNotFound, "pod does not exist")
	case e == nil:
		return nil, refuse(http.StatusNotFound, "pod not found")
	}
	box := readySandbox(e)
	if box == "" {
		return nil, refuse(http.StatusInternalServerError, "pod %q has no network: its sandbox does not run", r.PathValue("pod"))
	}
	text, err := f.cfg.Forward.PortForward(r.Context(), box, ports)
	if err != nil {
		return nil, err
	}
	return streamURL(text)
}

// readySandbox is the sandbox in whose network a pod's containers are; empty if there is none.
func readySandbox(e *worker.Entry) string {
	for i := range e.Observed.Sandboxes {
		if b := &e.Observed.Sandboxes[i]; b.Ready {
			return b.ID
		}
	}
	return ""
}

// parsePorts reads the ports of a query: each value may be a list with commas.
func parsePorts(values []string) ([]int32, error) {
	var ports []int32
	for _, value := range values {
		for text := range strings.SplitSeq(value, ",") {
			n, err := strconv.ParseUint(text, 10, 16)
			if err != nil || n == 0 {
				return nil, refuse(http.StatusBadRequest, "port: %q is not a number from 1 to 65535", text)
			}
			ports = append(ports, int32(n))
		}
	}
	if len(ports) == 0 {
		return nil, refuse(http.StatusBadRequest, `query parameter "port" is required`)
	}
	return ports, nil
}

// tunnelOf is the tunnel protocol that a client would speak, empty if none.
func tunnelOf(r *http.Request) string {
	if !websocket.IsWebSocketUpgrade(r) {
		return ""
	}
	for _, p := range websocket.Subprotocols(r) {
		if strings.HasPrefix(p, tunnelPrefix) && strings.HasSuffix(p, tunnelSuffix) {
			return p
		}
	}
	return ""
}

// tunnel takes a SPDY connection out of a WebSocket. Nothing in it is looked at.
func (f *Faces) tunnel(w http.ResponseWriter, r *http.Request, at *url.URL, protocol string) {
	there, _, err := dial(r.Context(), at, http.MethodPost, http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}, httpstream.HeaderProtocolVersion: {strings.TrimPrefix(protocol, tunnelPrefix)},
	})
	if err != nil {
		f.unreachable(w, r, err)
		return
	}
	defer there.Close()
	ws, err := upgrade(w, r, protocol)
	if err != nil {
		return // answered
	}
	m := &messages{ws: ws}
	splice(r.Context(), side{Reader: m, Writer: m, Closer: ws, finish: m.finish}, there)
}

// messages reads and writes bytes as binary messages, wherever one ends.
type messages struct {
	ws  *websocket.Conn
	now io.Reader
}

func (m *messages) Read(p []byte) (int, error) {
	for {
		if m.now == nil {
			kind, next, err := m.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errors.New("not a binary message")
			}
			m.now = next
		}
		n, err := m.now.Read(p)
		if err == io.EOF { // of this message
			m.now, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (m *messages) Write(p []byte) (int, error) {
	if err := m.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (m *messages) finish() {
	_ = m.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(linger))
}
