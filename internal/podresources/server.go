package podresources

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	pb "k8s.io/kubelet/pkg/apis/podresources/v1"
	"k8s.io/kubelet/pkg/apis/podresources/v1alpha1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/worker"
)

// Socket is where it is, below the state directory.
const Socket = "pod-resources/kubelet.sock"

// How many questions are answered each second, and at once: so many that nobody who means well is refused.
const (
	perSecond = 100
	atOnce    = 10
)

const bufferSize = 4 << 10

// Config is what a Server is built from.
type Config struct {
	// Socket is its path.
	Socket string
	// Pods are the pods as they are now, by namespace and name.
	Pods func() []*worker.Entry
	// Supplies is what device plugins have told.
	Supplies func() allocate.Supplies
	// Allocatable is which processors and which memory containers may have for themselves; nil tells of none.
	Allocatable func() (allocate.CPUs, []allocate.Block)
	// Dynamic is what a container has of the resource claims of its pod; nil tells of none.
	Dynamic func(p *v1.Pod, c *v1.Container) []*pb.DynamicResource
	// Ended tells of pods that have ended, too (feature gate KubeletPodResourcesListUseActivePods off). NoGet refuses questions for one pod
	// (KubeletPodResourcesGet off).
	Ended, NoGet bool
	// Asked counts a question by version of the API and method, Failed one that was not answered; nil counts none.
	Asked, Failed func(version, method string)
}

// Server answers.
type Server struct {
	cfg   Config
	limit *rate.Limiter
}

// New builds a Server.
func New(cfg Config) *Server {
	silent := func(string, string) {}
	if cfg.Asked == nil {
		cfg.Asked = silent
	}
	if cfg.Failed == nil {
		cfg.Failed = silent
	}
	return &Server{cfg: cfg, limit: rate.NewLimiter(perSecond, atOnce)}
}

// Run serves until ctx ends. A socket that an earlier life has left is replaced.
func (s *Server) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(s.cfg.Socket), 0o750); err != nil {
		return fmt.Errorf("make the directory of the pod resources socket: %w", err)
	}
	if err := os.Remove(s.cfg.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the old pod resources socket: %w", err)
	}
	listener, err := net.Listen("unix", s.cfg.Socket)
	if err != nil {
		return fmt.Errorf("listen for questions about pod resources: %w", err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(s.intercept), grpc.ReadBufferSize(bufferSize), grpc.WriteBufferSize(bufferSize))
	pb.RegisterPodResourcesListerServer(server, lister{Server: s})
	v1alpha1.RegisterPodResourcesListerServer(server, oldLister{Server: s})
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(listener); err != nil && ctx.Err() == nil {
		return fmt.Errorf("answer questions about pod resources: %w", err)
	}
	return nil
}

// intercept counts questions, and refuses those that are too many.
func (s *Server) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	parts := strings.Split(info.FullMethod, "/") // /v1.PodResourcesLister/List
	version, method := strings.TrimSuffix(parts[1], ".PodResourcesLister"), parts[2]
	if !s.limit.Allow() {
		return nil, status.Error(codes.ResourceExhausted, "rejected by rate limit")
	}
	s.cfg.Asked(version, method)
	answer, err := handle(ctx, request)
	if err != nil {
		s.cfg.Failed(version, method)
	}
	return answer, err
}

// lister is the service as version v1 has it.
type lister struct {
	pb.UnimplementedPodResourcesListerServer
	*Server
}

// List tells what each pod has.
func (l lister) List(context.Context, *pb.ListPodResourcesRequest) (*pb.ListPodResourcesResponse, error) {
	out := &pb.ListPodResourcesResponse{}
	supplies := l.cfg.Supplies()
	for _, e := range l.active() {
		out.PodResources = append(out.PodResources, l.of(e, supplies))
	}
	return out, nil
}

// Get tells what one pod has.
func (l lister) Get(_ context.Context, r *pb.GetPodResourcesRequest) (*pb.GetPodResourcesResponse, error) {
	if l.cfg.NoGet {
		return nil, status.Error(codes.Unimplemented, "PodResources API Get method disabled")
	}
	for _, e := range l.active() {
		if p := e.Desired.Pod; p.Name == r.GetPodName() && p.Namespace == r.GetPodNamespace() {
			return &pb.GetPodResourcesResponse{PodResources: l.of(e, l.cfg.Supplies())}, nil
		}
	}
	return nil, fmt.Errorf("pod %s in namespace %s not found", r.GetPodName(), r.GetPodNamespace())
}

// GetAllocatableResources tells what there is to be had.
func (l lister) GetAllocatableResources(context.Context, *pb.AllocatableResourcesRequest) (*pb.AllocatableResourcesResponse, error) {
	out := &pb.AllocatableResourcesResponse{Devices: healthy(l.cfg.Supplies())}
	if l.cfg.Allocatable != nil {
		cpus, memory := l.cfg.Allocatable()
		out.CpuIds, out.Memory = numbers(cpus), blocks(memory)
	}
	return out, nil
}

// oldLister is the service as version v1alpha1 has it.
type oldLister struct {
	v1alpha1.UnimplementedPodResourcesListerServer
	*Server
}

// List tells which devices each pod has.
func (l oldLister) List(context.Context, *v1alpha1.ListPodResourcesRequest) (*v1alpha1.ListPodResourcesResponse, error) {
	out := &v1alpha1.ListPodResourcesResponse{}
	supplies := l.cfg.Supplies()
	for _, e := range l.active() {
		all := l.of(e, supplies)
		one := &v1alpha1.PodResources{Name: all.Name, Namespace: all.Namespace}
		for _, c := range all.Containers {
			container := &v1alpha1.ContainerResources{Name: c.Name}
			for _, d := range c.Devices {
				container.Devices = append(container.Devices, &v1alpha1.ContainerDevices{ResourceName: d.ResourceName, DeviceIds: d.DeviceIds})
			}
			one.Containers = append(one.Containers, container)
		}
		out.PodResources = append(out.PodResources, one)
	}
	return out, nil
}
