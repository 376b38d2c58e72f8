package hook

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fake is a runtime that answers every command alike.
type fake struct {
	stdout, stderr string
	code           int32
	err            error
	hang           bool

	id      string
	command []string
}

func (f *fake) Exec(ctx context.Context, id string, command []string) (stdout, stderr []byte, code int32, err error) {
	f.id, f.command = id, command
	if f.hang {
		<-ctx.Done()
		return nil, nil, 0, errors.New("rpc error: code = Canceled")
	}
	return []byte(f.stdout), []byte(f.stderr), f.code, f.err
}

func request(h *v1.LifecycleHandler) Request {
	return Request{
		Kind: PreStop, Handler: h, ContainerID: "id-1",
		Pod:       &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "uid-1"}},
		Container: &v1.Container{Name: "app", Ports: []v1.ContainerPort{{Name: "admin", ContainerPort: 8081}}},
		PodIP:     "127.0.0.1",
	}
}

func TestExec(t *testing.T) { // behaviour 135
	for _, c := range []struct {
		name string
		fake fake
		want string
	}{
		{"succeeds", fake{stdout: "done"}, ""},
		{"fails", fake{stdout: "out\n", stderr: "/bin/sh: no such thing\n", code: 127},
			`Exec lifecycle hook ([sh -c nginx -s quit]) for Container "app" in Pod "web_shop(uid-1)" failed - error: command 'sh -c nginx -s quit' exited with 127: /bin/sh: no such thing` + "\n" + `, message: "out\n/bin/sh: no such thing\n"`},
		{"runtime fails", fake{err: errors.New("container is not running")},
			`Exec lifecycle hook ([sh -c nginx -s quit]) for Container "app" in Pod "web_shop(uid-1)" failed - error: container is not running, message: ""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := New(Config{Runtime: &c.fake}).Run(t.Context(), request(&v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"sh", "-c", "nginx -s quit"}}}))
			if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if c.fake.id != "id-1" || !slices.Equal(c.fake.command, []string{"sh", "-c", "nginx -s quit"}) {
				t.Errorf("ran %q in %q", c.fake.command, c.fake.id)
			}
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Brief() != "PreStopHook failed") {
				t.Errorf("brief text of %#v", err)
			}
		})
	}
}

func TestExecOutputIsBounded(t *testing.T) {
	f := fake{stderr: strings.Repeat("ä", 10000) + " the end", code: 1}
	err := New(Config{Runtime: &f}).Run(t.Context(), request(&v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"x"}}}))
	if err == nil || len(err.Error()) > 3000 || strings.Count(err.Error(), "the end") != 2 {
		t.Errorf("%d bytes: %v", len(err.Error()), err)
	}
}

func TestExecIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		began := time.Now()
		err := New(Config{Runtime: &fake{hang: true}}).Run(ctx, request(&v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"x"}}}))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 30*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestSleep(t *testing.T) { // behaviour 135
	for _, c := range []struct {
		limit, took time.Duration
		want        string
	}{
		{time.Minute, 10 * time.Second, ""},
		{3 * time.Second, 3 * time.Second, `Sleep lifecycle hook (10) for Container "app" in Pod "web_shop(uid-1)" failed - error: container terminated before sleep hook finished: context deadline exceeded`},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), c.limit)
			defer cancel()
			r := New(Config{})
			began := time.Now()
			err := r.Run(ctx, request(&v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 10}}))
			if time.Since(began) != c.took || (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
	}
	if err := New(Config{}).Run(t.Context(), request(&v1.LifecycleHandler{Sleep: &v1.SleepAction{}})); err != nil {
		t.Errorf("a pause of nothing: %v", err)
	}
}

func TestHandlersThatDoNotExist(t *testing.T) {
	for _, c := range []struct {
		handler *v1.LifecycleHandler
		want    string
	}{
		{nil, "it names no handler"},
		{&v1.LifecycleHandler{}, "it has none of exec, httpGet and sleep"},
		{&v1.LifecycleHandler{TCPSocket: &v1.TCPSocketAction{}}, "TCP lifecycle hook for Container \"app\" in Pod \"web_shop(uid-1)\" failed - error: tcpSocket is not supported"},
	} {
		if err := New(Config{}).Run(t.Context(), request(c.handler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
