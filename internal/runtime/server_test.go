package runtime

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/names"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// server is a CRI runtime in this process, behind a real socket. Each verb is a function that a test may set.
type server struct {
	cri.UnimplementedRuntimeServiceServer
	cri.UnimplementedImageServiceServer

	socket string
	grpc   *grpc.Server

	version    *cri.VersionResponse
	status     *cri.StatusResponse
	sandboxes  []*cri.PodSandbox
	containers []*cri.Container
	run        func(context.Context, *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error)
	stop       func(context.Context, *cri.StopContainerRequest) error
	start      func(context.Context) error
	exec       func(context.Context, *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error)
	pull       func(context.Context) (*cri.PullImageResponse, error)
	sandbox    func(id string) (*cri.PodSandboxStatusResponse, error)
	container  func(id string) (*cri.ContainerStatusResponse, error)
	events     func(cri.RuntimeService_GetContainerEventsServer) error
	streaming  bool

	mu    sync.Mutex
	calls map[string]int
}

func newServer(t *testing.T) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "cri") // t.TempDir may be too long for the address of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &server{socket: filepath.Join(dir, "s"), calls: map[string]int{}}
	s.listen(t)
	t.Cleanup(s.close)
	return s
}

// listen starts the server; it may be started again after close.
func (s *server) listen(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	count := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		s.mu.Lock()
		s.calls[filepath.Base(info.FullMethod)]++
		s.mu.Unlock()
		return handle(ctx, req)
	}
	s.grpc = grpc.NewServer(grpc.UnaryInterceptor(count), grpc.MaxSendMsgSize(1<<30))
	cri.RegisterRuntimeServiceServer(s.grpc, s)
	cri.RegisterImageServiceServer(s.grpc, s)
	go func() { _ = s.grpc.Serve(listener) }() // ends when the server is closed
}

func (s *server) close() { s.grpc.Stop() }

func (s *server) count(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[call]
}

func (s *server) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return s.version, nil
}

func (s *server) Status(context.Context, *cri.StatusRequest) (*cri.StatusResponse, error) {
	return s.status, nil
}

func matches(labels, want map[string]string) bool {
	for k, v := range want {
		if labels[k] != v {
			return false
		}
	}
	return true
}

func (s *server) ListPodSandbox(_ context.Context, r *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	out := &cri.ListPodSandboxResponse{}
	for _, each := range s.sandboxes {
		f := r.GetFilter()
		if matches(each.GetLabels(), f.GetLabelSelector()) && (f.GetState() == nil || f.GetState().State == each.State) {
			out.Items = append(out.Items, each)
		}
	}
	return out, nil
}

func (s *server) ListContainers(_ context.Context, r *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	out := &cri.ListContainersResponse{}
	for _, each := range s.containers {
		f := r.GetFilter()
		if matches(each.GetLabels(), f.GetLabelSelector()) && (f.GetPodSandboxId() == "" || f.GetPodSandboxId() == each.PodSandboxId) {
			out.Containers = append(out.Containers, each)
		}
	}
	return out, nil
}

func (s *server) StreamContainers(_ *cri.StreamContainersRequest, out cri.RuntimeService_StreamContainersServer) error {
	if !s.streaming {
		return status.Error(codes.Unimplemented, "unknown method StreamContainers")
	}
	for _, each := range s.containers {
		if err := out.Send(&cri.StreamContainersResponse{Containers: []*cri.Container{each}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) PodSandboxStatus(_ context.Context, r *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	return s.sandbox(r.GetPodSandboxId())
}

func (s *server) ContainerStatus(_ context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	return s.container(r.GetContainerId())
}

func (s *server) RunPodSandbox(ctx context.Context, r *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	return s.run(ctx, r)
}

func (s *server) StartContainer(ctx context.Context, _ *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	return &cri.StartContainerResponse{}, s.start(ctx)
}

func (s *server) StopContainer(ctx context.Context, r *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	return &cri.StopContainerResponse{}, s.stop(ctx, r)
}

func (s *server) ExecSync(ctx context.Context, r *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	return s.exec(ctx, r)
}

func (s *server) PullImage(ctx context.Context, _ *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	return s.pull(ctx)
}

func (s *server) ImageStatus(context.Context, *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	return &cri.ImageStatusResponse{}, nil
}

func (s *server) GetContainerEvents(_ *cri.GetEventsRequest, out cri.RuntimeService_GetContainerEventsServer) error {
	return s.events(out)
}

// observed is what Config.Observe was told.
type observed struct {
	mu  sync.Mutex
	all map[string][]error
}

func (o *observed) note(operation string, took time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if took < 0 {
		panic("a call took less than no time")
	}
	if o.all == nil {
		o.all = map[string][]error{}
	}
	o.all[operation] = append(o.all[operation], err)
}

func (o *observed) of(operation string) []error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all[operation]
}

func newClient(t *testing.T, s *server, timeout time.Duration) (*Client, *observed) {
	t.Helper()
	o := &observed{}
	c, err := New(Config{Endpoint: "unix://" + s.socket, RequestTimeout: timeout, Observe: o.note})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c, o
}

func labelsOf(uid, name string) map[string]string {
	return map[string]string{names.PodUID: uid, names.PodNamespace: "default", names.PodName: name}
}

func boxOf(uid, id string, attempt uint32, state cri.PodSandboxState) *cri.PodSandbox {
	return &cri.PodSandbox{
		Id: id, Labels: labelsOf(uid, "pod-"+uid), State: state, CreatedAt: 1e18 + int64(attempt),
		Metadata: &cri.PodSandboxMetadata{Uid: uid, Name: "pod-" + uid, Namespace: "default", Attempt: attempt},
	}
}

func containerOf(uid, sandboxID, id string, state cri.ContainerState) *cri.Container {
	labels := labelsOf(uid, "pod-"+uid)
	labels[names.ContainerName] = "app"
	return &cri.Container{
		Id: id, PodSandboxId: sandboxID, Labels: labels, State: state, CreatedAt: 1e18,
		Metadata: &cri.ContainerMetadata{Name: "app"},
	}
}
