package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	server "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/serve"
	"github.com/bosun-project/bosun/internal/worker"
)

// box is a container runtime whose one command is to say what was asked, echo its input, and end with code 3 if it is
// called "fail".
type box struct{ server streaming.Server }

func (b *box) Exec(_ context.Context, id string, cmd []string, in io.Reader, out, errs io.WriteCloser, tty bool, _ <-chan server.TerminalSize) error {
	fmt.Fprintf(out, "%s %q tty=%v\n", id, cmd, tty)
	if in != nil {
		_, _ = io.Copy(out, in)
	}
	if cmd[0] == "fail" {
		fmt.Fprintln(errs, "failing")
		return utilexec.CodeExitError{Err: errors.New("exit 3"), Code: 3}
	}
	return nil
}

func (b *box) Attach(context.Context, string, io.Reader, io.WriteCloser, io.WriteCloser, bool, <-chan server.TerminalSize) error {
	return errors.New("not here")
}

func (b *box) PortForward(context.Context, string, int32, io.ReadWriteCloser) error {
	return errors.New("not here")
}

type asked struct{ *box }

func (a asked) Exec(_ context.Context, r *cri.ExecRequest) (string, error) {
	answer, err := a.server.GetExec(r)
	return answer.GetUrl(), err
}

func (a asked) Attach(context.Context, *cri.AttachRequest) (string, error) {
	return "", errors.New("not here")
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{}
	var handler http.Handler
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(web.Close)
	base, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	config := streaming.DefaultConfig
	config.BaseURL = base
	if b.server, err = streaming.NewServer(config, b); err != nil {
		t.Fatal(err)
	}
	handler = b.server
	return b
}

// one is a table with one pod that runs.
type one struct{}

func (one) Pods() ([]*worker.Entry, <-chan struct{}) {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-node", Namespace: "default", UID: "u"}, Spec: v1.PodSpec{NodeName: "node", Containers: []v1.Container{{Name: "app"}, {Name: "log"}}}}
	return []*worker.Entry{{
		Desired:  &pod.Desired{Pod: p, Source: pod.FromFile, Wanted: true},
		Observed: pod.Observed{Containers: []pod.Container{{ID: "app0", Name: "app", State: pod.Running}}},
	}}, nil
}

// admin runs an admin server in front of the box.
func admin(t *testing.T) *node {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "bosun")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, SocketName)
	s := serve.NewAdmin(socket, serve.New(serve.Config{Pods: one{}, Status: func(*worker.Entry) v1.PodStatus { return v1.PodStatus{} }, Streams: asked{newBox(t)}}), nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.After(10 * time.Second); ; {
		at, newer := s.Listening()
		if at != nil {
			return &node{socket: socket}
		}
		select {
		case <-newer:
		case <-deadline:
			t.Fatal("the server does not listen")
		}
	}
}

// TestExec runs commands through the whole way: admin socket, agent, the runtime's streaming server.
func TestExec(t *testing.T) {
	n := admin(t)
	out, errs, err := n.command(t, "exec", "web", "-c", "app", "--", "ls", "-la", "a b")
	if err != nil || out != "app0 [\"ls\" \"-la\" \"a b\"] tty=false\n" || errs != "" {
		t.Errorf("%q %q %v", out, errs, err)
	}
	out, errs, err = n.command(t, "exec", "web", "--", "fail")
	if ExitCode(err) != 3 || out != "app0 [\"fail\"] tty=false\n" || errs != "this is container app; for log use -c\nfailing\n" {
		t.Errorf("%q %q %v", out, errs, err)
	}
	_, _, err = n.command(t, "exec", "web", "-c", "log", "--", "ls")
	if err == nil || !strings.Contains(err.Error(), `container not found ("log")`) || ExitCode(err) != 1 {
		t.Errorf("not running: %v", err)
	}
	if _, _, err = n.command(t, "exec", "web"); err == nil {
		t.Error("no command, and no error")
	}
}

func TestExecWithInput(t *testing.T) {
	n := admin(t)
	var out, errs bytes.Buffer
	x := executing{asking: n.asking(), container: "app", stdin: true, tty: true, in: strings.NewReader("typed"), out: &out, errs: &errs}
	if err := x.run(t.Context(), "web", []string{"cat"}); err != nil {
		t.Fatal(err)
	}
	if out.String() != "app0 [\"cat\"] tty=false\ntyped" || errs.String() != "no terminal for the command: -t needs -i and a terminal as input\n" {
		t.Errorf("%q %q", &out, &errs)
	}
}
