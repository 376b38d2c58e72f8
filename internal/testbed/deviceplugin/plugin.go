package deviceplugin

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	pb "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Options say what a plugin is like.
type Options struct {
	// Resource is what it serves: example.com/thing.
	Resource string
	// Devices are the IDs of its devices; all are healthy at first.
	Devices []string
	// Dir is the directory device-plugins, where it has its socket. Plugins is the directory plugins_registry if it is to be found there
	// and does not register by itself.
	Dir, Plugins string
	// PreStart and Prefers are what it wants to be asked.
	PreStart, Prefers bool
	// Variable is the name of the variable with the IDs that a container has; default DEVICES.
	Variable string
}

// Plugin is a plugin that runs.
type Plugin struct {
	pb.UnimplementedDevicePluginServer
	registration.UnimplementedRegistrationServer

	// Socket is where it listens; Shared is a directory that containers with its devices see at /shared.
	Socket, Shared string
	options        Options

	mu      sync.Mutex
	server  *grpc.Server
	devices []*pb.Device
	faults  map[string]func(context.Context) error
	answers map[string]proto.Message
	calls   []Call
	news    chan struct{}
}

// Call is one call that was made.
type Call struct {
	// Method is such as Allocate.
	Method  string
	Request proto.Message
	Failed  error
}

// Start runs a plugin until the test ends. It does not register by itself: see Register.
func Start(t testing.TB, o Options) *Plugin {
	t.Helper()
	shared, err := os.MkdirTemp("", "device")
	if err != nil {
		t.Fatal(err)
	}
	if o.Variable == "" {
		o.Variable = "DEVICES"
	}
	p := &Plugin{
		Socket: filepath.Join(o.Dir, strings.ReplaceAll(o.Resource, "/", "-")+".sock"), Shared: shared, options: o,
		faults: map[string]func(context.Context) error{}, answers: map[string]proto.Message{}, news: make(chan struct{}),
	}
	for _, id := range o.Devices {
		p.devices = append(p.devices, &pb.Device{ID: id, Health: pb.Healthy})
	}
	t.Cleanup(func() {
		p.Stop()
		if err := os.RemoveAll(shared); err != nil {
			t.Error(err)
		}
	})
	p.Start(t)
	return p
}

// Start starts the plugin again after Stop.
func (p *Plugin) Start(t testing.TB) {
	t.Helper()
	sockets := []string{p.Socket}
	if p.options.Plugins != "" {
		sockets = append(sockets, filepath.Join(p.options.Plugins, filepath.Base(p.Socket)))
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(p.intercept))
	pb.RegisterDevicePluginServer(server, p)
	registration.RegisterRegistrationServer(server, p)
	for _, path := range sockets {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = server.Serve(l) }() // ends with Stop
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
}

// Stop ends the plugin; its sockets go.
func (p *Plugin) Stop() {
	p.mu.Lock()
	server := p.server
	p.server = nil
	p.mu.Unlock()
	if server != nil {
		server.Stop()
	}
}

// Register registers the plugin at the agent's socket, as soon as that answers.
func (p *Plugin) Register(ctx context.Context) error {
	conn, err := grpc.NewClient("unix://"+filepath.Join(p.options.Dir, "kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = pb.NewRegistrationClient(conn).Register(ctx, &pb.RegisterRequest{
		Version: pb.Version, Endpoint: filepath.Base(p.Socket), ResourceName: p.options.Resource,
		Options: &pb.DevicePluginOptions{PreStartRequired: p.options.PreStart, GetPreferredAllocationAvailable: p.options.Prefers},
	}, grpc.WaitForReady(true))
	return err
}

// Tell makes the plugin tell of these devices from now on.
func (p *Plugin) Tell(devices ...*pb.Device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.devices = devices
	p.changed()
}

// Device is one for Tell. Nodes are its NUMA nodes.
func Device(id string, healthy bool, nodes ...int64) *pb.Device {
	d := &pb.Device{ID: id, Health: pb.Unhealthy}
	if healthy {
		d.Health = pb.Healthy
	}
	if len(nodes) > 0 {
		d.Topology = &pb.TopologyInfo{}
		for _, n := range nodes {
			d.Topology.Nodes = append(d.Topology.Nodes, &pb.NUMANode{ID: n})
		}
	}
	return d
}

// Fail has a method answer with an error until err is nil.
func (p *Plugin) Fail(method string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[method] = func(context.Context) error { return err }
}

// Hang has a method wait until the caller gives up, or release is called.
func (p *Plugin) Hang(method string) (release func()) {
	free := make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[method] = func(ctx context.Context) error {
		select {
		case <-free:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return sync.OnceFunc(func() { close(free) })
}

// Answer has a method answer with this.
func (p *Plugin) Answer(method string, with proto.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[method] = with
}

// Await waits until a method was called so many times, and returns these calls.
func (p *Plugin) Await(t testing.TB, method string, times int) []Call {
	t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		p.mu.Lock()
		calls, news := p.of(method), p.news
		p.mu.Unlock()
		if len(calls) >= times {
			return calls
		}
		select {
		case <-news:
		case <-late.C:
			t.Fatalf("%s of the device plugin was called %d times, not %d", method, len(calls), times)
		}
	}
}

// Calls are the calls of a method that have ended, oldest first.
func (p *Plugin) Calls(method string) []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of(method)
}

func (p *Plugin) of(method string) []Call {
	return slices.DeleteFunc(slices.Clone(p.calls), func(c Call) bool { return c.Method != method })
}

// changed wakes whoever waits. The lock is held.
func (p *Plugin) changed() {
	close(p.news)
	p.news = make(chan struct{})
}

func (p *Plugin) fault(ctx context.Context, method string) error {
	p.mu.Lock()
	fault := p.faults[method]
	p.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(ctx)
}

func (p *Plugin) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	err := p.fault(ctx, method)
	p.mu.Lock()
	answer, told := p.answers[method]
	p.mu.Unlock()
	var out any = answer
	if err == nil && !told {
		out, err = handle(ctx, request)
	}
	message, _ := request.(proto.Message)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, Call{method, message, err})
	p.changed()
	return out, err
}

// GetDevicePluginOptions implements the plugin service, as do the methods below.
func (p *Plugin) GetDevicePluginOptions(context.Context, *pb.Empty) (*pb.DevicePluginOptions, error) {
	return &pb.DevicePluginOptions{PreStartRequired: p.options.PreStart, GetPreferredAllocationAvailable: p.options.Prefers}, nil
}

// ListAndWatch tells of the devices, and again whenever they change.
func (p *Plugin) ListAndWatch(_ *pb.Empty, stream grpc.ServerStreamingServer[pb.ListAndWatchResponse]) error {
	for first := true; ; first = false {
		if err := p.fault(stream.Context(), "ListAndWatch"); err != nil {
			return err
		}
		p.mu.Lock()
		devices, news := p.devices, p.news
		if first {
			p.calls = append(p.calls, Call{Method: "ListAndWatch"})
			p.changed()
			news = p.news
		}
		p.mu.Unlock()
		if err := stream.Send(&pb.ListAndWatchResponse{Devices: devices}); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-news:
		}
	}
}

// GetPreferredAllocation likes the last ones best.
func (p *Plugin) GetPreferredAllocation(_ context.Context, r *pb.PreferredAllocationRequest) (*pb.PreferredAllocationResponse, error) {
	out := &pb.PreferredAllocationResponse{}
	for _, c := range r.ContainerRequests {
		ids := slices.Clone(c.MustIncludeDeviceIDs)
		for _, id := range slices.Backward(slices.Sorted(slices.Values(c.AvailableDeviceIDs))) {
			if len(ids) < int(c.AllocationSize) && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		out.ContainerResponses = append(out.ContainerResponses, &pb.ContainerPreferredAllocationResponse{DeviceIDs: ids})
	}
	return out, nil
}

// Allocate gives a variable, a directory, and a device node of each device.
func (p *Plugin) Allocate(_ context.Context, r *pb.AllocateRequest) (*pb.AllocateResponse, error) {
	out := &pb.AllocateResponse{}
	for _, c := range r.ContainerRequests {
		got := &pb.ContainerAllocateResponse{
			Envs:        map[string]string{p.options.Variable: strings.Join(c.DevicesIds, ",")},
			Mounts:      []*pb.Mount{{HostPath: p.Shared, ContainerPath: "/shared", ReadOnly: true}},
			Annotations: map[string]string{"example.com/devices": strings.Join(c.DevicesIds, ",")},
		}
		for _, id := range c.DevicesIds {
			got.Devices = append(got.Devices, &pb.DeviceSpec{HostPath: "/dev/null", ContainerPath: "/dev/thing-" + id, Permissions: "rw"})
		}
		out.ContainerResponses = append(out.ContainerResponses, got)
	}
	return out, nil
}

// PreStartContainer does nothing: that it was called counts.
func (p *Plugin) PreStartContainer(context.Context, *pb.PreStartContainerRequest) (*pb.PreStartContainerResponse, error) {
	return &pb.PreStartContainerResponse{}, nil
}

// GetInfo answers whoever found the registration socket.
func (p *Plugin) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.DevicePlugin, Name: p.options.Resource, Endpoint: p.Socket, SupportedVersions: []string{pb.Version},
	}, nil
}

// NotifyRegistrationStatus hears how registering went.
func (p *Plugin) NotifyRegistrationStatus(context.Context, *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	return &registration.RegistrationStatusResponse{}, nil
}
