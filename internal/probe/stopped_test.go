package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	osexec "os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/latest"
)

// TestStoppedAgent stops a real process that probes a healthy server, each time while a question is open, for longer
// than its timeout. The answer is there when the process goes on; whether it or the timeout is seen first is chance.
// In neither case may the container be blamed.
func TestStoppedAgent(t *testing.T) {
	if url := os.Getenv("PROBE_TEST_SERVER"); url != "" {
		agent(t, url)
		return
	}
	arrived, release := make(chan struct{}), make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	command := osexec.CommandContext(ctx, os.Args[0], "-test.run=^TestStoppedAgent$")
	command.Env = append(os.Environ(), "PROBE_TEST_SERVER=http://"+listener.Addr().String())
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 2 {
		await(ctx, t, arrived)
		signal(t, command, syscall.SIGSTOP)
		await(ctx, t, time.After(2300*time.Millisecond)) // the time limit is two seconds
		release <- struct{}{}
		signal(t, command, syscall.SIGCONT)
		if !lines.Scan() {
			t.Fatalf("the agent has ended: %v", lines.Err())
		}
		if line := lines.Text(); line != "asked successful" && !strings.HasPrefix(line, "forgiven") {
			t.Errorf("the agent says: %s", line)
		}
	}
	cancel()
	_ = command.Wait() // killed
}

func await[T any](ctx context.Context, t *testing.T, c <-chan T) {
	t.Helper()
	select {
	case <-c:
	case <-ctx.Done():
		t.Fatal("nothing happens")
	}
}

func signal(t *testing.T, c *osexec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := c.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// agent is the process that is stopped. It prints what its meter is told.
func agent(t *testing.T, url string) {
	live := &v1.Probe{PeriodSeconds: 1, TimeoutSeconds: 2, FailureThreshold: 1, ProbeHandler: v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Port: intstr.FromInt(80)}}}
	var targets latest.Cell[[]Target]
	targets.Set([]Target{target("web", "c1", func(a *v1.Container) { a.LivenessProbe = live })})
	loop := New(Config{Targets: targets.Get, Asker: getter(url), Meter: printer{}})
	if err := loop.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// getter asks with a plain HTTP client: this package may not import the real one.
type getter string

func (g getter) Ended(context.Context, string) bool { return false }

func (g getter) Ask(ctx context.Context, q health.Question) (health.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, string(g), nil)
	if err != nil {
		return health.Answer{}, err
	}
	response, err := http.DefaultClient.Do(request)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return health.Answer{Result: health.Failure, Output: err.Error()}, nil
	case err != nil:
		return health.Answer{}, err
	}
	return health.Answer{Result: health.Success}, response.Body.Close()
}

type printer struct{}

func (printer) Asked(_ Which, r health.Result, _ time.Duration) { fmt.Println("asked", r) }
func (printer) Forgiven(_ Which, late time.Duration)            { fmt.Println("forgiven", late) }
func (printer) Forget(Which)                                    {}
