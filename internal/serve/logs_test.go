package serve

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/worker"
)

// TestContainerLogs holds behaviours 264 and 366 as far as they are about requests.
func TestContainerLogs(t *testing.T) {
	s := newScene(t, nil)
	s.write(t, "app", 0, "old one", "old two")
	s.write(t, "app", 1, "one", "two", "three")
	const app = "/containerLogs/default/web-node/app"
	for _, c := range []struct {
		title, path string
		code        int
		want        string
	}{
		{"all", app, 200, "one\ntwo\nthree"},
		{"tail", app + "?tailLines=1", 200, "three"},
		{"tail as of old", app + "?tail=2", 200, "two\nthree"},
		{"tail of everything", app + "?tail=all", 200, "one\ntwo\nthree"},
		{"limit", app + "?limitBytes=5", 200, "one\nt"},
		{"timestamps", app + "?timestamps=true&tailLines=1", 200, "2024-05-01T11:00:00.000000000Z three"},
		{"previous", app + "?previous=true", 200, "old one\nold two"},
		{"since seconds", app + "?sinceSeconds=60", 200, ""},
		{"since time", app + "?sinceTime=2024-05-01T11:00:00Z", 200, "one\ntwo\nthree"},
		{"switches need no value", app + "?previous&timestamps=0", 200, "old one\nold two"},
		{"no such pod", "/containerLogs/default/nothing/app", 404, `pod "nothing" does not exist`},
		{"no such namespace", "/containerLogs/other/web-node/app", 404, `pod "web-node" does not exist`},
		{"no such container", "/containerLogs/default/web-node/nothing", 404, `container "nothing" not found in pod "web-node"`},
		{"not started", "/containerLogs/default/web-node/log", 400, `container "log" in pod "web-node" is waiting to start: ContainerCreating`},
		{"not started, followed", "/containerLogs/default/web-node/log?follow", 400, `container "log" in pod "web-node" is waiting to start: ContainerCreating`},
		{"no previous", "/containerLogs/default/web-node/log?previous=true", 400, `previous terminated container "log" in pod "web-node" not found`},
		{"part missing", "/containerLogs/default/web-node", 400, "/containerLogs/default/web-node: the path needs namespace, pod and container: /containerLogs/NAMESPACE/POD/CONTAINER"},
		{"no number", app + "?tailLines=few", 400, `tailLines: "few" is not a whole number`},
		{"negative", app + "?tailLines=-1", 422, "tailLines: -1 is less than 0"},
		{"no bytes", app + "?limitBytes=0", 422, "limitBytes: 0 is less than 1"},
		{"no seconds", app + "?sinceSeconds=0", 422, "sinceSeconds: 0 is less than 1"},
		{"no time", app + "?sinceTime=yesterday", 400, `sinceTime: "yesterday" is not a time such as 2024-05-01T10:00:00Z`},
		{"both", app + "?sinceTime=2024-05-01T11:00:00Z&sinceSeconds=5", 422, "at most one of `sinceTime` or `sinceSeconds` may be specified"},
		{"path that climbs", "/containerLogs/default/web-node/..%2f..%2fsecret", 404, `container "../../secret" not found in pod "web-node"`},
	} {
		t.Run(c.title, func(t *testing.T) { s.want(t, ReadOnly, c.path, c.code, c.want) })
	}
}

// TestLogsOfOtherStates: which instance is meant, by what the status says.
func TestLogsOfOtherStates(t *testing.T) {
	ended := func(id string) *v1.ContainerStateTerminated {
		return &v1.ContainerStateTerminated{ContainerID: id, ExitCode: 1}
	}
	for _, c := range []struct {
		title, query string
		state, last  v1.ContainerState
		code         int
		want         string
	}{
		{"crash loop: the last instance", "", v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}, v1.ContainerState{Terminated: ended("containerd://app0")}, 200, "zero"},
		{"crash loop: so is the previous one", "?previous", v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}, v1.ContainerState{Terminated: ended("containerd://app0")}, 200, "zero"},
		{"ended for good", "", v1.ContainerState{Terminated: ended("containerd://app0")}, v1.ContainerState{}, 200, "zero"},
		{"image", "", v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ErrImagePull"}}, v1.ContainerState{}, 400, `container "app" in pod "web-node" is waiting to start: image can't be pulled`},
		{"image again", "", v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}, v1.ContainerState{}, 400, `container "app" in pod "web-node" is waiting to start: trying and failing to pull image`},
		{"removed", "", v1.ContainerState{Terminated: ended("containerd://gone")}, v1.ContainerState{}, 404, "unable to retrieve container logs for gone: the container is gone"},
		{"without a state", "", v1.ContainerState{}, v1.ContainerState{}, 400, `container "app" in pod "web-node" is waiting to start: not started yet`},
	} {
		t.Run(c.title, func(t *testing.T) {
			s := newScene(t, nil)
			s.write(t, "app", 0, "zero")
			e, status := web()
			status.ContainerStatuses = []v1.ContainerStatus{{Name: "app", State: c.state, LastTerminationState: c.last}}
			s.put(e, status)
			s.want(t, ReadOnly, "/containerLogs/default/web-node/app"+c.query, c.code, c.want)
		})
	}
	t.Run("no status yet", func(t *testing.T) {
		s := newScene(t, nil)
		e, _ := web()
		s.put(e, v1.PodStatus{})
		s.want(t, ReadOnly, "/containerLogs/default/web-node/app", 400, `container "app" in pod "web-node" is not available`)
	})
	t.Run("file is gone", func(t *testing.T) {
		s := newScene(t, nil)
		s.write(t, "app", 0, "zero")
		s.want(t, ReadOnly, "/containerLogs/default/web-node/app", 404, `container "app" in pod "web-node" has no log file any more`)
	})
	t.Run("stray", func(t *testing.T) {
		s := newScene(t, nil)
		s.write(t, "app", 0, "zero")
		s.write(t, "app", 1, "one")
		e, _ := web()
		s.put(edited(e, func(e *worker.Entry) { e.Desired.Source, e.Desired.Pod.Spec = pod.FromRuntime, v1.PodSpec{} }), v1.PodStatus{})
		s.want(t, ReadOnly, "/containerLogs/default/web-node/app", 200, "one")
		s.want(t, ReadOnly, "/containerLogs/default/web-node/app?previous", 200, "zero")
		s.want(t, ReadOnly, "/containerLogs/default/web-node/log", 400, `container "log" in pod "web-node" is waiting to start: not started yet`)
	})
}

// TestLogStreams: with the gate on, one of the two streams can be asked for.
func TestLogStreams(t *testing.T) {
	const app = "/containerLogs/default/web-node/app"
	for _, c := range []struct {
		gate  bool
		query string
		code  int
		want  string
	}{
		{true, "", 200, "out\nerr"},
		{true, "?stream=All&tailLines=1", 200, "err"},
		{true, "?stream=Stdout", 200, "out"},
		{true, "?stream=Stderr", 200, "err"},
		{true, "?stream=Stderr&tailLines=1", 422, "`tailLines` and specific `stream` are mutually exclusive for now"},
		{true, "?stream=stdout", 422, `stream: "stdout" is not one of All, Stdout, Stderr`},
		{false, "?stream=Stderr", 200, "out\nerr"},
		{false, "?stream=none&tailLines=1", 200, "err"},
	} {
		s := newScene(t, func(cfg *Config) { cfg.SplitLogStreams = c.gate })
		s.write(t, "app", 1, "out")
		path := filepath.Join(names.PodLogDir(s.logs, "default", "web-node", "uid-web"), names.ContainerLog("app", 1))
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(text, "2024-05-01T11:00:00Z stderr F err\n"...), 0o640); err != nil {
			t.Fatal(err)
		}
		s.want(t, Full, app+c.query, c.code, c.want)
	}
}

// TestLogPathOfTheRuntime: the runtime's path is used as far as it lies beneath the pod's log directory.
func TestLogPathOfTheRuntime(t *testing.T) {
	s := newScene(t, nil)
	e, _ := web()
	dir := s.faces.log(e, &pod.Container{Name: "app"}).Dir
	for path, want := range map[string]string{dir + "/app/7.log": "app/7.log", "/etc/shadow": "app/1.log", dir + "/../x": "app/1.log", dir: "app/1.log", "": "app/1.log"} {
		if got := s.faces.log(e, &pod.Container{Name: "app", Attempt: 1, LogPath: path}).Name; got != want {
			t.Errorf("runtime says %q: %q, want %q", path, got, want)
		}
	}
}

// TestFollow: lines come as they are written, the stream ends with the container, and with the server.
func TestFollow(t *testing.T) {
	for _, end := range []string{"container", "pod", "server"} {
		t.Run(end, func(t *testing.T) {
			s := newScene(t, nil)
			s.write(t, "app", 1, "one")
			at, stop := run(t, NewReadOnly("127.0.0.1:0", s.faces, nil))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/containerLogs/default/web-node/app?follow=true", nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			lines := bufio.NewScanner(answer.Body)
			next := func(want string) {
				t.Helper()
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("got %q (%v), want %q", lines.Text(), lines.Err(), want)
				}
			}
			next("one")
			s.write(t, "app", 1, "two")
			next("two")
			switch end {
			case "server":
				stop()
			case "pod": // it is deleted, files and all, while somebody follows
				s.write(t, "app", 1, "last")
				next("last")
				if err := os.RemoveAll(names.PodLogDir(s.logs, "default", "web-node", "uid-web")); err != nil {
					t.Fatal(err)
				}
				s.remove("uid-web")
			default:
				s.write(t, "app", 1, "last")
				e, status := web()
				status.ContainerStatuses[0].State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ContainerID: "containerd://app1", FinishedAt: metav1.NewTime(noon)}}
				s.put(edited(e, func(e *worker.Entry) { e.Observed.Containers[0].State = pod.Exited }), status)
				next("last")
			}
			if lines.Scan() || lines.Err() != nil {
				t.Errorf("another line: %q (%v)", lines.Text(), lines.Err())
			}
		})
	}
}
