package ask

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/health"
)

// patience is how long a question may take whose server does not answer.
const patience = 300 * time.Millisecond

func question(h v1.ProbeHandler) health.Question {
	return health.Question{
		Handler: &h, ContainerID: "id-1", IP: "127.0.0.1", Timeout: 5 * time.Second,
		Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "uid-1"}},
		Container: &v1.Container{Name: "app", Env: []v1.EnvVar{
			{Name: "FILE", Value: "/tmp/ok"}, {Name: "NODE", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
		}},
	}
}

// ask puts a question that can be put, and holds that it does not take longer than it may.
func ask(t *testing.T, q health.Question) health.Answer {
	t.Helper()
	began := time.Now()
	answer, err := New(Config{}).Ask(context.WithoutCancel(t.Context()), q) // what Ask leaves open stays open
	if err != nil {
		t.Fatalf("the question could not be put: %v", err)
	}
	if took := time.Since(began); took > q.Timeout+2*time.Second {
		t.Errorf("took %v, %v allowed", took, q.Timeout)
	}
	return answer
}

func want(t *testing.T, got health.Answer, result health.Result, output string) {
	t.Helper()
	if got.Result != result || !strings.Contains(got.Output, output) {
		t.Errorf("answer %v %q, want %v with %q", got.Result, got.Output, result, output)
	}
}

// listen serves raw connections, and holds that none is left open: serve returns when the other side hangs up.
func listen(t *testing.T, serve func(*net.TCPConn)) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		closed := make(chan struct{})
		go func() {
			open.Wait()
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Error("a connection was left open")
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// closedPort is a port that nobody listens on.
func closedPort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// fullPort is a port whose queue of connections is full: the kernel leaves further attempts without an answer.
func fullPort(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*syscall.SockaddrInet4).Port
	for range 10 {
		c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), 200*time.Millisecond)
		if err != nil {
			return port
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue does not fill")
	return 0
}

func TestNoHandler(t *testing.T) {
	for _, q := range []health.Question{{}, question(v1.ProbeHandler{})} {
		if _, err := New(Config{}).Ask(t.Context(), q); err == nil || !strings.Contains(err.Error(), "none of exec, httpGet") {
			t.Errorf("%v", err)
		}
	}
}

func tcp(port int) health.Question {
	q := question(v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt(port)}})
	q.Timeout = patience
	return q
}

func TestTCP(t *testing.T) { // behaviour 126
	open := listen(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)) })
	want(t, ask(t, tcp(open)), health.Success, "")
	want(t, ask(t, tcp(closedPort(t))), health.Failure, "connect: connection refused")
	want(t, ask(t, tcp(fullPort(t))), health.Failure, "i/o timeout")
	for name, behave := range map[string]func(*net.TCPConn){ // that it could be opened is all that is asked
		"hangs up": func(*net.TCPConn) {},
		"floods": func(c *net.TCPConn) {
			for {
				if _, err := c.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) { want(t, ask(t, tcp(listen(t, behave))), health.Success, "") })
	}

	named := tcp(0)
	named.Handler.TCPSocket.Port = intstr.FromString("admin")
	named.Container.Ports = []v1.ContainerPort{{Name: "web", ContainerPort: 1}, {Name: "admin", ContainerPort: int32(open)}}
	want(t, ask(t, named), health.Success, "")

	elsewhere := tcp(open)
	elsewhere.IP, elsewhere.Handler.TCPSocket.Host = "192.0.2.1", "localhost"
	want(t, ask(t, elsewhere), health.Success, "")
}

func TestTCPCannotBeAsked(t *testing.T) {
	for _, c := range []struct {
		change func(*health.Question)
		want   string
	}{
		{func(q *health.Question) { q.IP = "" }, "no IP address"},
		{func(q *health.Question) { q.Handler.TCPSocket.Port = intstr.FromString("none") }, `no port named "none"`},
		{func(q *health.Question) { q.Handler.TCPSocket.Port = intstr.FromInt(70000) }, "not between"},
	} {
		q := tcp(80)
		c.change(&q)
		if _, err := New(Config{}).Ask(t.Context(), q); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestCancelled holds that a question nobody waits for any more ends at once and blames nobody.
func TestCancelled(t *testing.T) {
	arrived := make(chan struct{}, 10)
	hang := listen(t, func(c *net.TCPConn) {
		arrived <- struct{}{}
		for {
			if _, err := c.Read(make([]byte, 100)); err != nil {
				return
			}
		}
	})
	for name, h := range map[string]v1.ProbeHandler{
		"httpGet": {HTTPGet: &v1.HTTPGetAction{Port: intstr.FromInt(hang)}},
		"grpc":    {GRPC: &v1.GRPCAction{Port: int32(hang)}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-arrived
				cancel()
			}()
			q := question(h)
			q.Timeout = time.Hour
			if answer, err := New(Config{}).Ask(ctx, q); !errors.Is(err, context.Canceled) || answer.Result != health.Unknown {
				t.Errorf("%+v, %v", answer, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	q := tcp(hang)
	if answer, err := New(Config{}).Ask(ctx, q); !errors.Is(err, context.Canceled) || answer.Result != health.Unknown {
		t.Errorf("%+v, %v", answer, err)
	}
}

// shell is a runtime that answers every command alike.
type shell struct {
	output  string
	code    int32
	err     error
	hang    bool
	command []string
	timeout time.Duration
}

func (s *shell) Exec(ctx context.Context, _ string, command []string, timeout time.Duration) ([]byte, int32, error) {
	s.command, s.timeout = command, timeout
	if s.hang {
		<-ctx.Done()
		return nil, 0, errors.New("rpc error: code = Canceled")
	}
	return []byte(s.output), s.code, s.err
}

func (s *shell) Ended(context.Context, string) bool { return false }

func TestExec(t *testing.T) { // behaviour 127
	for _, c := range []struct {
		name  string
		shell shell
		want  health.Answer
		err   string
	}{
		{"succeeds", shell{output: "fine"}, health.Answer{Result: health.Success, Output: "fine"}, ""},
		{"fails", shell{output: "no such file\n", code: 1}, health.Answer{Result: health.Failure, Output: "no such file\n"}, ""},
		{"fails in silence", shell{code: 7}, health.Answer{Result: health.Failure, Output: `command "cat /tmp/ok $(NODE) $(FILE)" exited with code 7`}, ""},
		{"takes too long", shell{err: fault.As(fault.ErrTimeout, errors.New("deadline"))},
			health.Answer{Result: health.Failure, Output: `command timed out: "cat /tmp/ok $(NODE) $(FILE)" timed out after 300ms`}, ""},
		{"is not answered", shell{hang: true},
			health.Answer{Result: health.Failure, Output: `command timed out: "cat /tmp/ok $(NODE) $(FILE)" timed out after 300ms`}, ""},
		{"cannot run", shell{err: fault.As(fault.ErrUnavailable, errors.New("runtime is away"))}, health.Answer{}, "runtime is away"},
		{"says much", shell{output: strings.Repeat("x", 1<<20)}, health.Answer{Result: health.Success, Output: strings.Repeat("x", 10<<10)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := question(v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"cat", "$(FILE)", "$(NODE)", "$$(FILE)"}}})
			q.Timeout = patience
			got, err := New(Config{Runtime: &c.shell}).Ask(t.Context(), q)
			if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
				t.Errorf("got %+v, %v", got, err)
			}
			if c.shell.timeout != patience || strings.Join(c.shell.command, " ") != "cat /tmp/ok $(NODE) $(FILE)" {
				t.Errorf("ran %q for %v", c.shell.command, c.shell.timeout)
			}
		})
	}
}
