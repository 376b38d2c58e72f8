package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/pod"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestEndpoints(t *testing.T) {
	tests := []struct {
		endpoint string
		ok       bool
	}{
		{"unix:///run/containerd/containerd.sock", true},
		{"/run/containerd/containerd.sock", true},
		{"unix:/run/containerd/containerd.sock", true},
		{"", false},
		{"unix://", false},
		{"run/containerd.sock", false},
		{"tcp://127.0.0.1:3735", false},
		{"npipe:////./pipe/dockershim", false},
	}
	for _, test := range tests {
		c, err := New(Config{Endpoint: test.endpoint})
		if (err == nil) != test.ok {
			t.Errorf("endpoint %q: error %v, want ok %v", test.endpoint, err, test.ok)
		}
		if c != nil {
			_ = c.Close()
		}
	}
	if _, err := New(Config{Endpoint: "/a", ImageEndpoint: "b"}); err == nil || !strings.Contains(err.Error(), `image service endpoint: "b"`) {
		t.Errorf("bad image endpoint: %v", err)
	}
}

func TestImageEndpointIsUsedForImages(t *testing.T) {
	s, images := newServer(t), newServer(t)
	s.version = &cri.VersionResponse{RuntimeName: "fake", RuntimeApiVersion: "v1"}
	c, err := New(Config{Endpoint: s.socket, ImageEndpoint: "unix://" + images.socket})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Version(t.Context()); err != nil {
		t.Error(err)
	}
	if img, err := c.ImageStatus(t.Context(), &cri.ImageSpec{Image: "x"}); err != nil || img != nil {
		t.Errorf("image status: %v, %v; want neither image nor error", img, err)
	}
	if s.count("ImageStatus") != 0 || images.count("ImageStatus") != 1 {
		t.Error("the image service was asked at the wrong socket")
	}
}

func TestVersionMustBeV1(t *testing.T) {
	s := newServer(t)
	c, _ := newClient(t, s, time.Minute)
	for api, ok := range map[string]bool{"v1": true, "v1.1": true, "v1alpha2": false, "v2": false, "": false} {
		s.version = &cri.VersionResponse{RuntimeName: "fake", RuntimeVersion: "7", RuntimeApiVersion: api}
		v, err := c.Version(t.Context())
		if (err == nil) != ok || !ok && !errors.Is(err, fault.ErrUnsupported) {
			t.Errorf("API %q: error %v, want ok %v", api, err, ok)
		}
		if v.Name != "fake" || v.Version != "7" {
			t.Errorf("version is %+v", v)
		}
	}
}

func TestClassesOfErrors(t *testing.T) {
	s := newServer(t)
	c, o := newClient(t, s, time.Minute)
	tests := []struct {
		code codes.Code
		want error
	}{
		{codes.NotFound, fault.ErrNotFound},
		{codes.Unavailable, fault.ErrUnavailable},
		{codes.Canceled, fault.ErrUnavailable}, // the caller did not cancel, so it was the runtime that went away
		{codes.DeadlineExceeded, fault.ErrTimeout},
		{codes.Unimplemented, fault.ErrUnsupported},
		{codes.AlreadyExists, fault.ErrExists},
		{codes.ResourceExhausted, fault.ErrExhausted},
		{codes.PermissionDenied, fault.ErrDenied},
		{codes.InvalidArgument, fault.ErrInvalid},
		{codes.Unknown, nil},
		{codes.Internal, nil},
	}
	classes := []error{fault.ErrNotFound, fault.ErrUnavailable, fault.ErrTimeout, fault.ErrUnsupported, fault.ErrExists,
		fault.ErrExhausted, fault.ErrDenied, fault.ErrInvalid, context.Canceled}
	for _, test := range tests {
		s.start = func(context.Context) error { return status.Error(test.code, "no such thing") }
		err := c.StartContainer(t.Context(), "0123456789abcdef")
		if got, want := fmt.Sprint(err), "start container 0123456789abc: no such thing"; got != want {
			t.Errorf("%v: %q, want %q", test.code, got, want)
		}
		for _, class := range classes {
			if got := errors.Is(err, class); got != (class == test.want) {
				t.Errorf("%v: is %v: %v", test.code, class, got)
			}
		}
		if status.Code(err) != test.code {
			t.Errorf("%v: the code was lost: %v", test.code, status.Code(err))
		}
	}
	if n := len(o.of("start_container")); n != len(tests) {
		t.Errorf("%d calls were counted, want %d", n, len(tests))
	}
	for _, err := range o.of("start_container") {
		if err == nil {
			t.Error("a call that failed was counted as one that did not")
		}
	}
}

func TestHangingCallEndsAtItsLimit(t *testing.T) {
	s := newServer(t)
	c, _ := newClient(t, s, 50*time.Millisecond)
	began := make(chan struct{}, 1)
	s.start = func(ctx context.Context) error { began <- struct{}{}; <-ctx.Done(); return ctx.Err() }
	if err := c.StartContainer(t.Context(), "x"); !errors.Is(err, fault.ErrTimeout) {
		t.Errorf("hanging call: %v, want a timeout", err)
	}
	<-began
	c, _ = newClient(t, s, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if err := c.StartContainer(ctx, "x"); !errors.Is(err, context.Canceled) || errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("call that its caller cancelled: %v", err)
	}
}

func TestLimitsOfCalls(t *testing.T) {
	const request = time.Minute
	s := newServer(t)
	c, _ := newClient(t, s, request)
	var left time.Duration
	var limited bool
	measure := func(ctx context.Context) {
		var at time.Time
		at, limited = ctx.Deadline()
		left = time.Until(at)
	}
	s.run = func(ctx context.Context, _ *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
		measure(ctx)
		return &cri.RunPodSandboxResponse{PodSandboxId: "s"}, nil
	}
	s.start = func(ctx context.Context) error { measure(ctx); return nil }
	s.stop = func(ctx context.Context, r *cri.StopContainerRequest) error {
		measure(ctx)
		if r.Timeout < 0 {
			t.Errorf("stop with timeout %d", r.Timeout)
		}
		return nil
	}
	s.exec = func(ctx context.Context, r *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
		measure(ctx)
		return &cri.ExecSyncResponse{ExitCode: int32(r.Timeout), Stdout: []byte("out"), Stderr: []byte("err")}, nil
	}
	s.pull = func(ctx context.Context) (*cri.PullImageResponse, error) {
		measure(ctx)
		return &cri.PullImageResponse{ImageRef: "sha256:1"}, nil
	}
	exec := func(timeout time.Duration, wholeSeconds int32) func() error {
		return func() error {
			r, err := c.ExecSync(t.Context(), "x", []string{"true"}, timeout)
			if err == nil && (r.ExitCode != wholeSeconds || string(r.Stdout) != "out" || string(r.Stderr) != "err") {
				err = fmt.Errorf("timeout %v became %d s, result %+v", timeout, r.ExitCode, r)
			}
			return err
		}
	}
	tests := []struct {
		name string
		call func() error
		want time.Duration // 0: no limit
	}{
		{"start", func() error { return c.StartContainer(t.Context(), "x") }, request},
		{"run", func() error { _, err := c.RunPodSandbox(t.Context(), &cri.PodSandboxConfig{}, ""); return err }, 2 * request},
		{"stop", func() error { return c.StopContainer(t.Context(), "x", 30) }, 30*time.Second + request},
		{"stop at once", func() error { return c.StopContainer(t.Context(), "x", -5) }, request},
		{"stop never", func() error { return c.StopContainer(t.Context(), "x", 1<<62) }, 100*365*24*time.Hour + request},
		{"exec", exec(1500*time.Millisecond, 2), 2*time.Second + execSlack},
		{"exec without limit", exec(0, 0), 0},
		{"pull", func() error { _, err := c.PullImage(t.Context(), &cri.ImageSpec{Image: "x"}, nil, nil); return err }, 0},
	}
	for _, test := range tests {
		if err := test.call(); err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if limited != (test.want != 0) || limited && (left > test.want || left < test.want-10*time.Second) {
			t.Errorf("%s: limited %v to %v, want %v", test.name, limited, left, test.want)
		}
	}
}

func TestAnswersWithoutContentAreErrors(t *testing.T) {
	s := newServer(t)
	c, _ := newClient(t, s, time.Minute)
	s.run = func(context.Context, *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
		return &cri.RunPodSandboxResponse{}, nil
	}
	s.pull = func(context.Context) (*cri.PullImageResponse, error) { return &cri.PullImageResponse{}, nil }
	if _, err := c.RunPodSandbox(t.Context(), nil, ""); err == nil {
		t.Error("a sandbox without an ID is no error")
	}
	if _, err := c.PullImage(t.Context(), nil, nil, nil); err == nil {
		t.Error("a pulled image without a reference is no error")
	}
}

func TestRuntimeAwayAndBack(t *testing.T) {
	s := newServer(t)
	c, _ := newClient(t, s, time.Minute)
	s.start = func(context.Context) error { return nil }
	if err := c.StartContainer(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	conn := c.conns[0]
	s.close()
	for conn.GetState() == connectivity.Ready {
		conn.WaitForStateChange(t.Context(), connectivity.Ready)
	}
	err := c.StartContainer(t.Context(), "x")
	want := fmt.Sprintf("start container x: dial unix %s: connect: no such file or directory", s.socket)
	if fmt.Sprint(err) != want || !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("runtime is away: %v, want %s", err, want)
	}
	s.listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		conn.Connect()
		if !conn.WaitForStateChange(ctx, state) {
			t.Fatal("the client did not connect again")
		}
	}
	if err := c.StartContainer(t.Context(), "x"); err != nil {
		t.Errorf("runtime is back: %v", err)
	}
}

// TestVerbs calls what the server does not implement: every verb must name its object and be counted.
func TestVerbs(t *testing.T) {
	s := newServer(t)
	c, o := newClient(t, s, time.Minute)
	ctx := t.Context()
	one := func(_ any, err error) error { return err }
	tests := []struct{ operation, text string }{
		{"stop_podsandbox", "stop sandbox x"}, {"remove_podsandbox", "remove sandbox x"},
		{"update_podsandbox_resources", "update resources of sandbox x"}, {"port_forward", "forward ports of sandbox x"},
		{"create_container", "create container app in sandbox x"}, {"remove_container", "remove container x"},
		{"exec", "exec in container x"}, {"attach", "attach to container x"}, {"reopen_container_log", "reopen log of container x"},
		{"update_container", "update resources of container x"}, {"checkpoint_container", "checkpoint container x"},
		{"runtime_config", "ask the container runtime for its configuration"},
		{"update_runtime_config", "tell the container runtime the pod CIDR 10.0.0.0/24"},
		{"list_images", "list images"}, {"remove_image", "remove image i"}, {"image_fs_info", "ask for the image filesystem"},
		{"list_podsandbox_stats", "list stats of sandboxes"}, {"list_container_stats", "list stats of containers"},
		{"container_stats", "read stats of container x"},
	}
	errs := []error{
		c.StopPodSandbox(ctx, "x"), c.RemovePodSandbox(ctx, "x"),
		c.UpdatePodSandboxResources(ctx, "x", nil, nil), one(c.PortForward(ctx, "x", []int32{80})),
		one(c.CreateContainer(ctx, "x", &cri.ContainerConfig{Metadata: &cri.ContainerMetadata{Name: "app"}}, nil)), c.RemoveContainer(ctx, "x"),
		one(c.Exec(ctx, &cri.ExecRequest{ContainerId: "x"})), one(c.Attach(ctx, &cri.AttachRequest{ContainerId: "x"})), c.ReopenContainerLog(ctx, "x"),
		c.UpdateContainerResources(ctx, "x", nil), c.CheckpointContainer(ctx, "x", "/tmp/x.tar", 3),
		one(c.RuntimeConfig(ctx)),
		c.UpdateRuntimeConfig(ctx, "10.0.0.0/24"),
		one(c.ListImages(ctx)), c.RemoveImage(ctx, &cri.ImageSpec{Image: "i"}), one(c.ImageFsInfo(ctx)),
		one(c.ListPodSandboxStats(ctx)), one(c.ListContainerStats(ctx)),
		one(c.ContainerStats(ctx, "x")),
	}
	for i, test := range tests {
		if !errors.Is(errs[i], fault.ErrUnsupported) || !strings.HasPrefix(fmt.Sprint(errs[i]), test.text+": ") {
			t.Errorf("%s: %v, want %q and unsupported", test.operation, errs[i], test.text)
		}
		if n := len(o.of(test.operation)); n != 1 {
			t.Errorf("%s was counted %d times", test.operation, n)
		}
	}
}

func TestCallInFlightWhenRuntimeDies(t *testing.T) {
	s := newServer(t)
	c, _ := newClient(t, s, time.Minute)
	s.start = func(ctx context.Context) error { go s.close(); <-ctx.Done(); return ctx.Err() }
	if err := c.StartContainer(t.Context(), "x"); !errors.Is(err, fault.ErrUnavailable) || errors.Is(err, context.Canceled) {
		t.Errorf("call in flight: %v, want the runtime to be unavailable", err)
	}
}

func TestMessageLimits(t *testing.T) {
	s := newServer(t)
	c, _ := newClient(t, s, time.Minute)
	for size, want := range map[int]error{15 << 20: nil, 17 << 20: fault.ErrExhausted} {
		s.exec = func(context.Context, *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
			return &cri.ExecSyncResponse{Stdout: bytes.Repeat([]byte("x"), size)}, nil
		}
		r, err := c.ExecSync(t.Context(), "x", nil, 0)
		if !errors.Is(err, want) || want == nil && len(r.Stdout) != size {
			t.Errorf("answer of %d bytes: %v, want %v", size, err, want)
		}
	}
}

func TestListThatOutgrowsAMessage(t *testing.T) {
	for _, streaming := range []bool{true, false} {
		t.Run(fmt.Sprintf("streaming %v", streaming), func(t *testing.T) {
			s := newServer(t)
			s.streaming = streaming
			c, _ := newClient(t, s, time.Minute)
			fat := strings.Repeat("x", 1<<20)
			for i := range 20 {
				uid := fmt.Sprint("u", i)
				s.sandboxes = append(s.sandboxes, boxOf(uid, "s"+uid, 0, cri.PodSandboxState_SANDBOX_READY))
				one := containerOf(uid, "s"+uid, "c"+uid, cri.ContainerState_CONTAINER_EXITED)
				one.Annotations = map[string]string{"fat": fat}
				s.containers = append(s.containers, one)
			}
			all, err := c.List(t.Context())
			if err != nil || len(all) != 20 {
				t.Fatalf("%d pods, %v", len(all), err)
			}
			for uid, b := range all {
				if alone := briefs(s.sandboxes, nil)[uid]; b == alone {
					t.Errorf("the container of %s is missing", uid)
				}
			}
		})
	}
}

func TestInspect(t *testing.T) {
	s := newServer(t)
	c, o := newClient(t, s, time.Minute)
	s.sandboxes = []*cri.PodSandbox{
		boxOf("a", "s0", 0, cri.PodSandboxState_SANDBOX_NOTREADY),
		boxOf("a", "s1", 1, cri.PodSandboxState_SANDBOX_NOTREADY),
		boxOf("a", "s2", 2, cri.PodSandboxState_SANDBOX_READY),
		boxOf("a", "s3", 3, cri.PodSandboxState_SANDBOX_NOTREADY),
		boxOf("b", "other", 0, cri.PodSandboxState_SANDBOX_READY),
	}
	s.containers = []*cri.Container{
		containerOf("a", "s1", "c0", cri.ContainerState_CONTAINER_EXITED),
		containerOf("a", "s2", "c1", cri.ContainerState_CONTAINER_RUNNING),
		containerOf("a", "s2", "vanished", cri.ContainerState_CONTAINER_RUNNING),
		containerOf("a", "s2", "odd", cri.ContainerState_CONTAINER_RUNNING),
	}
	s.sandbox = func(id string) (*cri.PodSandboxStatusResponse, error) {
		if id == "s3" {
			return nil, status.Error(codes.NotFound, "gone")
		}
		return &cri.PodSandboxStatusResponse{Status: &cri.PodSandboxStatus{
			Id: id, Metadata: &cri.PodSandboxMetadata{Attempt: 2}, Network: &cri.PodSandboxNetworkStatus{Ip: "10.0.0.2"},
		}}, nil
	}
	s.container = func(id string) (*cri.ContainerStatusResponse, error) {
		switch id {
		case "vanished":
			return nil, status.Error(codes.NotFound, "gone")
		case "odd":
			return &cri.ContainerStatusResponse{}, nil
		case "c0":
			return &cri.ContainerStatusResponse{Status: &cri.ContainerStatus{Id: id, State: cri.ContainerState_CONTAINER_EXITED, ExitCode: 3}}, nil
		}
		// It ended after it was listed: the status is newer.
		return &cri.ContainerStatusResponse{Status: &cri.ContainerStatus{Id: id, State: cri.ContainerState_CONTAINER_EXITED, ExitCode: 4}}, nil
	}
	before := time.Now()
	r, err := c.Inspect(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete || r.Own || r.Began.Before(before) || r.Namespace != "default" || r.Name != "pod-a" {
		t.Errorf("report is %+v", r)
	}
	var got []string
	for _, s := range r.Sandboxes {
		got = append(got, fmt.Sprintf("%s %v %v", s.ID, s.Ready, s.IPs))
	}
	for _, c := range r.Containers {
		got = append(got, fmt.Sprintf("%s in %s %v %d", c.ID, c.SandboxID, c.State, c.ExitCode))
		if !c.Seen.Equal(r.Began) {
			t.Errorf("%s was seen %v, want when the inspection began", c.ID, c.Seen)
		}
	}
	want := "s0 false [], s1 false [], s2 true [10.0.0.2], c0 in s1 exited 3, c1 in s2 exited 4, odd in s2 running 0"
	if have := strings.Join(got, ", "); have != want {
		t.Errorf("report holds\n%s, want\n%s", have, want)
	}
	if len(o.of("podsandbox_status")) != 2 || len(o.of("container_status")) != 4 || len(o.of("list_containers")) != 1 {
		t.Errorf("calls were %v", o.all)
	}

	if r, err := c.Inspect(t.Context(), "nobody"); err != nil || !r.Complete || len(r.Sandboxes)+len(r.Containers) != 0 {
		t.Errorf("inspecting a pod that is not there: %+v, %v", r, err)
	}
	if _, err := c.Inspect(t.Context(), ""); !errors.Is(err, fault.ErrInvalid) {
		t.Errorf("inspecting no pod at all: %v", err)
	}
	s.container = func(string) (*cri.ContainerStatusResponse, error) {
		return nil, status.Error(codes.Unknown, "disk on fire")
	}
	if _, err := c.Inspect(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "inspect pod default/pod-a: ask for status of container") {
		t.Errorf("failing status: %v", err)
	}
}

func TestEvents(t *testing.T) {
	s := newServer(t)
	c, o := newClient(t, s, time.Minute)
	event := &cri.ContainerEventResponse{
		ContainerId: "c1", ContainerEventType: cri.ContainerEventType_CONTAINER_STARTED_EVENT, CreatedAt: time.Now().UnixNano(),
		PodSandboxStatus:   &cri.PodSandboxStatus{Id: "s1", Labels: labelsOf("a", "pod-a")},
		ContainersStatuses: []*cri.ContainerStatus{{Id: "c1", Labels: containerOf("a", "", "", 0).Labels, State: cri.ContainerState_CONTAINER_RUNNING}},
	}
	foreign := &cri.ContainerEventResponse{ContainerId: "x", PodSandboxStatus: &cri.PodSandboxStatus{Id: "x"}}
	tests := []struct {
		name   string
		events func(cri.RuntimeService_GetContainerEventsServer) error
		class  error
	}{
		{"stream ends", func(out cri.RuntimeService_GetContainerEventsServer) error {
			return errors.Join(out.Send(foreign), out.Send(event))
		}, fault.ErrUnavailable},
		{"stream breaks", func(out cri.RuntimeService_GetContainerEventsServer) error {
			return errors.Join(out.Send(event), status.Error(codes.Unavailable, "broken"))
		}, fault.ErrUnavailable},
		{"not supported", func(cri.RuntimeService_GetContainerEventsServer) error {
			return status.Error(codes.Unimplemented, "no events here")
		}, fault.ErrUnsupported},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s.events = func(out cri.RuntimeService_GetContainerEventsServer) error {
				if err := test.events(out); err != nil && test.class == fault.ErrUnavailable {
					return status.Error(codes.Unavailable, err.Error())
				} else {
					return err
				}
			}
			var got []engine.Event
			err := c.Events(t.Context(), func(e engine.Event) { got = append(got, e) })
			if !errors.Is(err, test.class) {
				t.Errorf("ended with %v, want %v", err, test.class)
			}
			if test.class == fault.ErrUnsupported {
				return
			}
			if len(got) != 1 || got[0].UID != "a" || got[0].Kind != engine.Started || !got[0].Whole || got[0].Report.Containers[0].State != pod.Running {
				t.Errorf("events are %+v", got)
			}
		})
	}
	if n := len(o.of("get_container_events")); n != len(tests) {
		t.Errorf("%d streams were counted, want %d", n, len(tests))
	}
}

func TestEventsEndWithTheirContextAndWithTheRuntime(t *testing.T) {
	s := newServer(t)
	c, _ := newClient(t, s, time.Minute)
	began := make(chan struct{}, 1)
	s.events = func(out cri.RuntimeService_GetContainerEventsServer) error {
		began <- struct{}{}
		<-out.Context().Done()
		return out.Context().Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if err := c.Events(ctx, func(engine.Event) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("context ended: %v", err)
	}
	go func() { <-began; s.close() }()
	if err := c.Events(t.Context(), func(engine.Event) {}); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("runtime died: %v", err)
	}
}
