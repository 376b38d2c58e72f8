package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/remotecommand"
	transport "k8s.io/client-go/transport/spdy"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	server "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/spdy"
	utilexec "k8s.io/utils/exec"

	"github.com/bosun-project/bosun/internal/fault"
)

// box is a container runtime with a streaming server: its commands tell what they were asked and echo their input, but
// for a few words that mean something else.
type box struct {
	server streaming.Server
	at     string // host:port of the server
	err    error
	// ended gets the words of commands that have ended, and the ports that are closed.
	ended chan string
}

func (b *box) Exec(ctx context.Context, id string, cmd []string, in io.Reader, out, errs io.WriteCloser, tty bool, sizes <-chan server.TerminalSize) error {
	defer func() { b.ended <- strings.Join(cmd, " ") }()
	switch cmd[0] {
	case "cat":
		_, err := io.Copy(out, in)
		return err
	case "fail":
		fmt.Fprint(errs, "failing")
		return utilexec.CodeExitError{Err: errors.New("command terminated with exit code 3"), Code: 3}
	case "sizes":
		for size := range sizes {
			fmt.Fprintf(out, "%dx%d\n", size.Width, size.Height)
			if size.Width == 0 {
				return nil
			}
		}
		return nil
	case "endless":
		for {
			if _, err := out.Write(bytes.Repeat([]byte("m"), 4<<10)); err != nil {
				return err
			}
		}
	case "much":
		for range 1 << 10 {
			if _, err := out.Write(bytes.Repeat([]byte("m"), 4<<10)); err != nil {
				return err
			}
		}
		return nil
	}
	fmt.Fprintf(out, "%s %q tty=%v\n", id, cmd, tty)
	if errs != nil {
		fmt.Fprintln(errs, "to stderr")
	}
	if in != nil {
		_, _ = io.Copy(out, in)
	}
	return nil
}

func (b *box) Attach(ctx context.Context, id string, in io.Reader, out, errs io.WriteCloser, tty bool, _ <-chan server.TerminalSize) error {
	return b.Exec(ctx, id, []string{"attached"}, in, out, errs, tty, nil)
}

// PortForward echoes what comes to a port, which says first where it is; nobody listens at port 1.
func (b *box) PortForward(_ context.Context, sandbox string, port int32, stream io.ReadWriteCloser) error {
	defer func() { b.ended <- fmt.Sprint("port ", port) }()
	if port == 1 {
		return errors.New("connection refused")
	}
	fmt.Fprintf(stream, "%s:%d ", sandbox, port)
	_, err := io.Copy(stream, stream)
	return err
}

// hasEnded waits until something has ended.
func (b *box) hasEnded(t *testing.T, what string) {
	t.Helper()
	select {
	case got := <-b.ended:
		if got != what {
			t.Errorf("%q has ended, want %q", got, what)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("%q has not ended", what)
	}
}

// asked is what the faces ask of the box.
type asked struct{ *box }

func (a asked) Exec(_ context.Context, r *cri.ExecRequest) (string, error) {
	if a.err != nil {
		return "", a.err
	}
	answer, err := a.server.GetExec(r)
	return answer.GetUrl(), err
}

func (a asked) Attach(_ context.Context, r *cri.AttachRequest) (string, error) {
	answer, err := a.server.GetAttach(r)
	return answer.GetUrl(), err
}

func (a asked) PortForward(_ context.Context, sandbox string, ports []int32) (string, error) {
	if a.err != nil {
		return "", a.err
	}
	answer, err := a.server.GetPortForward(&cri.PortForwardRequest{PodSandboxId: sandbox, Port: ports})
	return answer.GetUrl(), err
}

// newBox runs a streaming server.
func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{ended: make(chan string, 1000)}
	var handler http.Handler
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(web.Close)
	base, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	b.at = base.Host
	config := streaming.DefaultConfig
	config.BaseURL = base
	if b.server, err = streaming.NewServer(config, b); err != nil {
		t.Fatal(err)
	}
	handler = b.server
	return b
}

// stream runs one stream over the admin socket.
func stream(t *testing.T, socket, path string, o remotecommand.StreamOptions) error {
	t.Helper()
	dial := overSocket(socket).Transport
	tripper, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{UpgradeTransport: dial})
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse("http://bosun" + path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := remotecommand.NewSPDYExecutorForTransports(tripper, transport.NewUpgraderForStreaming(tripper), http.MethodPost, at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return client.StreamWithContext(ctx, o)
}

func TestExecAndAttachOverTheAdminSocket(t *testing.T) {
	b := newBox(t)
	s, socket := newScene(t, func(c *Config) { c.Streams = asked{b} }), socketPath(t)
	_, stop := run(t, NewAdmin(socket, s.faces, nil))
	var out, errs bytes.Buffer
	err := stream(t, socket, "/exec/default/web-node/app?command=echo&command=a+b&input=1&output=1&error=1",
		remotecommand.StreamOptions{Stdin: strings.NewReader("typed"), Stdout: &out, Stderr: &errs})
	if err != nil || out.String() != "app1 [\"echo\" \"a b\"] tty=false\ntyped" || errs.String() != "to stderr\n" {
		t.Errorf("exec: %q %q %v", out.String(), errs.String(), err)
	}
	out.Reset()
	err = stream(t, socket, "/exec/default/web-node/uid-web/app?command=sh&input=1&output=1&error=1&tty=1",
		remotecommand.StreamOptions{Stdin: strings.NewReader("typed"), Stdout: &out, Tty: true})
	if err != nil || out.String() != "app1 [\"sh\"] tty=true\ntyped" {
		t.Errorf("exec with a terminal: %q %v", out.String(), err)
	}
	out.Reset()
	// Whether an attached process has a terminal is up to the specification, not to the request.
	err = stream(t, socket, "/attach/default/web-node/app?output=1&error=1", remotecommand.StreamOptions{Stdout: &out, Stderr: &errs})
	if err != nil || out.String() != "app1 [\"attached\"] tty=false\n" {
		t.Errorf("attach: %q %v", out.String(), err)
	}
	stop()
}

// TestServerEndCutsStreams: a stream that goes on does not hold up the end of the agent.
func TestServerEndCutsStreams(t *testing.T) {
	b := newBox(t)
	s, socket := newScene(t, func(c *Config) { c.Streams = asked{b} }), socketPath(t)
	_, stop := run(t, NewAdmin(socket, s.faces, nil))
	in, typing := io.Pipe()
	defer typing.Close()
	out, shown := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- stream(t, socket, "/exec/default/web-node/app?command=sh&input=1&output=1", remotecommand.StreamOptions{Stdin: in, Stdout: shown})
		shown.Close()
	}()
	if _, err := out.Read(make([]byte, 100)); err != nil { // it runs
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	stop()
	<-ended // SPDY does not tell a cut stream from one that ended, so neither does its error
}

// TestStreamErrors holds what of behaviour 367 is about the answer.
func TestStreamErrors(t *testing.T) {
	b := newBox(t)
	s := newScene(t, func(c *Config) { c.Streams = asked{b} })
	upgrade := func(path string) (int, string) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "SPDY/3.1")
		s.faces.Handler(Admin).ServeHTTP(w, r)
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	for _, c := range []struct {
		title, path string
		runtime     error
		code        int
		want        string
	}{
		{"no such pod", "/exec/default/nothing/app?command=id&output=1", nil, 404, "pod does not exist"},
		{"not running", "/exec/default/web-node/log?command=id&output=1", nil, 500, `container not found ("log")`},
		{"other UID", "/exec/default/web-node/other/app?command=id&output=1", nil, 500, `container not found ("app")`},
		{"no stream", "/exec/default/web-node/app?command=id", nil, 400, "you must specify at least 1 of stdin, stdout, stderr"},
		{"only stderr of a terminal", "/exec/default/web-node/app?command=id&error=1&tty=1", nil, 400, "you must specify at least 1 of stdin, stdout, stderr"},
		{"no command", "/exec/default/web-node/app?output=1", nil, 400, "exec needs at least one word of a command, as ?command="},
		{"gone in the runtime", "/exec/default/web-node/app?command=id&output=1", fault.As(fault.ErrNotFound, errors.New("no container app1")), 404, "no container app1"},
		{"too many", "/exec/default/web-node/app?command=id&output=1", fault.As(fault.ErrExhausted, errors.New("too many")), 429, "too many"},
		{"other", "/exec/default/web-node/app?command=id&output=1", errors.New("no"), 500, "no"},
	} {
		t.Run(c.title, func(t *testing.T) {
			b.err = c.runtime
			if code, text := upgrade(c.path); code != c.code || text != c.want {
				t.Errorf("%d %q, want %d %q", code, text, c.code, c.want)
			}
		})
	}
	code, _, text := s.ask(Admin, http.MethodPost, "/exec/default/web-node/app?command=id&output=1")
	if code != 400 || text != "Upgrade request required\n" {
		t.Errorf("without an upgrade: %d %q", code, text)
	}
}

// TestTokensStayHidden: the URL of a stream lets anybody in who knows it; errors must not tell it.
func TestTokensStayHidden(t *testing.T) {
	s := newScene(t, func(c *Config) { c.Streams = somewhere("http://127.0.0.1:1/exec/token") })
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/exec/default/web-node/app?command=id&output=1", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "SPDY/3.1")
	s.faces.Handler(Admin).ServeHTTP(w, r)
	if w.Code != http.StatusBadGateway || strings.Contains(w.Body.String(), "token") {
		t.Errorf("%d %q", w.Code, w.Body.String())
	}
}

// somewhere is a streaming server at a URL.
type somewhere string

func (s somewhere) Exec(context.Context, *cri.ExecRequest) (string, error)     { return string(s), nil }
func (s somewhere) Attach(context.Context, *cri.AttachRequest) (string, error) { return string(s), nil }
func (s somewhere) PortForward(context.Context, string, []int32) (string, error) {
	return string(s), nil
}
