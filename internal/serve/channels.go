package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// channelsV5 is the WebSocket protocol of exec and attach that can tell that input has ended. Runtimes do not speak it,
// so it is turned into SPDY, which they do; what is older they speak themselves.
const (
	channelsV5 = "v5.channel.k8s.io"
	spdyV4     = "v4.channel.k8s.io"
)

// The channels: the first byte of each message.
const (
	channelStdin  = 0
	channelStdout = 1
	channelStderr = 2
	channelStatus = 3
	channelResize = 4
	// channelClose says that no more input follows on the channel in the next byte.
	channelClose = 255
)

// mostStatus bounds what a runtime may say of a command's end, in bytes; chunk is how much is copied at once.
const (
	mostStatus = 64 << 10
	chunk      = 32 << 10
)

// offers tells whether a client would speak a WebSocket protocol.
func offers(r *http.Request, protocol string) bool {
	return slices.Contains(websocket.Subprotocols(r), protocol)
}

// upgrade makes a WebSocket of a request.
func upgrade(w http.ResponseWriter, r *http.Request, protocol string) (*websocket.Conn, error) {
	up := websocket.Upgrader{
		Subprotocols: []string{protocol},
		CheckOrigin:  func(*http.Request) bool { return true }, // who may come in was decided by who they are
	}
	return up.Upgrade(w, r, nil)
}

// channels serves exec and attach over WebSocket, speaking SPDY to the runtime.
func (f *Faces) channels(w http.ResponseWriter, r *http.Request, at *url.URL, q streamQuery) {
	there, _, err := dial(r.Context(), at, http.MethodPost, http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}, httpstream.HeaderProtocolVersion: {spdyV4},
	})
	if err != nil {
		f.unreachable(w, r, err)
		return
	}
	s := &session{line: there}
	defer s.end()
	if err := s.open(q); err != nil {
		f.unreachable(w, r, err)
		return
	}
	if s.ws, err = upgrade(w, r, channelsV5); err != nil {
		return // answered
	}
	defer s.ws.Close()
	s.run(r.Context(), q)
}

// session is one command whose client speaks WebSocket while the runtime speaks SPDY.
type session struct {
	line net.Conn
	spdy httpstream.Connection
	// The streams to the runtime; those that were not asked for are nil.
	status, stdin, stdout, stderr, resize httpstream.Stream

	ws *websocket.Conn
	// writing is held while a message is written.
	writing sync.Mutex
}

// open opens the streams that the runtime waits for. It sends nothing else: what a streaming server has not read when it
// hangs up makes the kernel throw away what it wrote and was not fetched yet.
func (s *session) open(q streamQuery) (err error) {
	if s.spdy, err = spdy.NewClientConnection(s.line); err != nil {
		return err
	}
	for _, one := range []struct {
		kind   string
		wanted bool
		stream *httpstream.Stream
	}{
		{v1.StreamTypeError, true, &s.status}, {v1.StreamTypeStdin, q.stdin, &s.stdin}, {v1.StreamTypeStdout, q.stdout, &s.stdout},
		{v1.StreamTypeStderr, q.stderr, &s.stderr}, {v1.StreamTypeResize, q.tty, &s.resize},
	} {
		if !one.wanted {
			continue
		}
		header := http.Header{}
		header.Set(v1.StreamType, one.kind)
		if *one.stream, err = s.spdy.CreateStream(header); err != nil {
			return err
		}
	}
	return nil
}

// run copies until the command has ended, the client has gone, or ctx has ended for a moment. When it returns nothing
// it started goes on.
func (s *session) run(ctx context.Context, q streamQuery) {
	first := channelStatus // a message without content tells the client that all is set up
	switch {
	case q.stdout:
		first = channelStdout
	case q.stderr:
		first = channelStderr
	}
	_ = s.send([]byte{byte(first)}) // if it fails, reading does, too
	gone, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		s.receive()
	}()
	go func() {
		defer close(over)
		s.outputs()
	}()
	code := websocket.CloseNormalClosure
	select {
	case <-gone:
	case <-over:
	case <-ctx.Done():
		if !either(over, gone, linger) {
			code = websocket.CloseGoingAway
		}
	}
	_ = s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(linger))
	either(gone, nil, linger) // a client answers by hanging up
	_ = s.ws.Close()
	s.end()
	<-gone
	<-over
}

// end closes the connection to the runtime. It may be called more than once.
func (s *session) end() {
	_ = s.line.Close()
	for _, stream := range []httpstream.Stream{s.status, s.stdin, s.stdout, s.stderr, s.resize} {
		if stream != nil {
			_ = stream.Reset() // what is read from it ends, and what its connection holds for it is dropped
		}
	}
}

// outputs sends what the command writes, and then how it ended.
func (s *session) outputs() {
	var both sync.WaitGroup
	for id, stream := range map[byte]httpstream.Stream{channelStdout: s.stdout, channelStderr: s.stderr} {
		if stream != nil {
			both.Go(func() { s.output(id, stream) })
		}
	}
	status, _ := io.ReadAll(io.LimitReader(s.status, mostStatus)) // it ends with the stream, however that ends
	both.Wait()
	if len(status) == 0 { // no word is not a good word, but that is what a client would take it for
		status = brokenStream()
	}
	_ = s.send(append([]byte{channelStatus}, status...))
}

func (s *session) output(id byte, stream io.Reader) {
	buf := make([]byte, chunk)
	buf[0] = id
	for {
		n, err := stream.Read(buf[1:])
		if n > 0 && s.send(buf[:n+1]) != nil {
			_ = s.ws.Close() // the client has gone; reading from it ends, and with it all else
			_, _ = io.Copy(io.Discard, stream)
			return
		}
		if err != nil {
			return
		}
	}
}

func (s *session) send(message []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.ws.WriteMessage(websocket.BinaryMessage, message)
}

// receive takes in what the client sends, until it hangs up.
func (s *session) receive() {
	buf := make([]byte, chunk)
	for {
		kind, message, err := s.ws.NextReader()
		if err != nil || kind != websocket.BinaryMessage {
			return
		}
		if _, err := io.ReadFull(message, buf[:1]); err != nil {
			if errors.Is(err, io.EOF) { // an empty message keeps a connection warm
				continue
			}
			return
		}
		switch buf[0] {
		case channelStdin:
			pass(s.stdin, message, buf)
		case channelResize:
			pass(s.resize, message, buf)
		case channelClose:
			if _, err := io.ReadFull(message, buf[:1]); err != nil {
				return
			}
			if buf[0] == channelStdin && s.stdin != nil {
				_ = s.stdin.Close()
			}
		}
	}
}

// pass copies a message to a stream, if there is such a stream and it still takes something: a command may end before
// its input does.
func pass(to io.Writer, message io.Reader, buf []byte) {
	if to == nil {
		return
	}
	for {
		n, err := message.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// brokenStream is the status of a command of whose end the runtime said nothing.
func brokenStream() []byte {
	text, err := json.Marshal(metav1.Status{
		Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError, Code: http.StatusInternalServerError,
		Message: "the container runtime ended the stream without telling how the command ended",
	})
	if err != nil {
		return []byte("{}")
	}
	return text
}
