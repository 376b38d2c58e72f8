package csidriver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Options say what a driver is like.
type Options struct {
	Name string
	// Plugins is the directory of the registration sockets, which may come to be later. Empty keeps the driver to itself.
	Plugins string
	// NoStage is for a driver that only publishes.
	NoStage bool
	// Expand, Stats, MountGroup and SingleNodeMultiWriter are more that it can.
	Expand, Stats, MountGroup, SingleNodeMultiWriter bool
	Topology                                         map[string]string
	MostVolumes                                      int64
}

// Driver is a driver that runs. Its data outlives Stop and Start.
type Driver struct {
	pb.UnimplementedIdentityServer
	pb.UnimplementedNodeServer
	registration.UnimplementedRegistrationServer

	// NodeID is what it calls the node.
	NodeID string
	// Socket is where it listens.
	Socket  string
	options Options
	data    string

	mu     sync.Mutex
	server *grpc.Server
	calls  []Call
	faults map[string]func(context.Context) error
	told   []*registration.RegistrationStatus
	news   chan struct{}
}

// Call is one call that was made.
type Call struct {
	// Method is such as NodeStageVolume.
	Method  string
	Request proto.Message
	// Failed is how it was answered.
	Failed error
}

// Start runs a driver until the test ends.
func Start(t testing.TB, o Options) *Driver {
	t.Helper()
	dir, err := os.MkdirTemp("", "csi") // sockets have short names only
	if err != nil {
		t.Fatal(err)
	}
	d := &Driver{
		NodeID: "node-of-" + o.Name, Socket: filepath.Join(dir, "s"), options: o, data: filepath.Join(dir, "data"),
		faults: map[string]func(context.Context) error{}, news: make(chan struct{}),
	}
	t.Cleanup(func() {
		d.Stop(t)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	d.Start(t)
	return d
}

// Start starts the driver again after Stop.
func (d *Driver) Start(t testing.TB) {
	t.Helper()
	sockets := []string{d.Socket}
	if d.options.Plugins != "" {
		if err := os.MkdirAll(d.options.Plugins, 0o755); err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, d.registrationSocket())
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(d.intercept))
	pb.RegisterIdentityServer(server, d)
	pb.RegisterNodeServer(server, d)
	registration.RegisterRegistrationServer(server, d)
	for _, path := range sockets {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = server.Serve(l) }() // ends with Stop
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.server = server
}

func (d *Driver) registrationSocket() string {
	return filepath.Join(d.options.Plugins, d.options.Name+"-reg.sock")
}

// Stop ends the driver; its sockets go.
func (d *Driver) Stop(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	server := d.server
	d.server = nil
	d.mu.Unlock()
	if server != nil {
		server.Stop()
	}
}

// Fail has a method answer with an error until err is nil.
func (d *Driver) Fail(method string, err error) {
	if err == nil {
		d.set(method, nil)
		return
	}
	d.set(method, func(context.Context) error { return err })
}

// Hang has a method wait until the caller gives up, or release is called.
func (d *Driver) Hang(method string) (release func()) {
	free := make(chan struct{})
	d.set(method, func(ctx context.Context) error {
		select {
		case <-free:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return sync.OnceFunc(func() {
		d.set(method, nil)
		close(free)
	})
}

func (d *Driver) set(method string, fault func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults[method] = fault
}

func (d *Driver) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	d.mu.Lock()
	fault := d.faults[method]
	d.mu.Unlock()
	var answer any
	var err error
	if fault != nil {
		err = fault(ctx)
	}
	if err == nil {
		answer, err = handle(ctx, request)
	}
	message, _ := request.(proto.Message)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, Call{method, message, err})
	close(d.news)
	d.news = make(chan struct{})
	return answer, err
}

// Calls are the calls of a method that have ended, oldest first; of all methods if it is empty.
func (d *Driver) Calls(method string) []Call {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.of(method)
}

func (d *Driver) of(method string) []Call {
	return slices.DeleteFunc(slices.Clone(d.calls), func(c Call) bool { return method != "" && c.Method != method })
}

// Succeeded are the methods whose calls succeeded, in order, without those that only ask.
func (d *Driver) Succeeded() []string {
	var out []string
	for _, c := range d.Calls("") {
		if c.Failed == nil && strings.HasSuffix(c.Method, "Volume") {
			out = append(out, c.Method)
		}
	}
	return out
}

// Await waits until a method was called so many times, and returns these calls.
func (d *Driver) Await(t testing.TB, method string, times int) []Call {
	t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		d.mu.Lock()
		calls, news := d.of(method), d.news
		d.mu.Unlock()
		if len(calls) >= times {
			return calls
		}
		select {
		case <-news:
		case <-late.C:
			t.Fatalf("%s of driver %s was called %d times, not %d; all calls: %v", method, d.options.Name, len(calls), times, d.Succeeded())
		}
	}
}

// Data is the directory that a volume shows.
func (d *Driver) Data(handle string) string { return filepath.Join(d.data, filepath.Base(handle)) }

// GetInfo answers whoever found the registration socket.
func (d *Driver) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: d.options.Name, Endpoint: d.Socket, SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus hears how registering went.
func (d *Driver) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told = append(d.told, s)
	return &registration.RegistrationStatusResponse{}, nil
}

// Limit changes how many volumes the driver says it may have.
func (d *Driver) Limit(most int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.options.MostVolumes = most
}

// Told is what it has heard of its registrations.
func (d *Driver) Told() []*registration.RegistrationStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.told)
}

// GetPluginInfo implements the identity service.
func (d *Driver) GetPluginInfo(context.Context, *pb.GetPluginInfoRequest) (*pb.GetPluginInfoResponse, error) {
	return &pb.GetPluginInfoResponse{Name: d.options.Name, VendorVersion: "test"}, nil
}

// NodeGetInfo implements the node service.
func (d *Driver) NodeGetInfo(context.Context, *pb.NodeGetInfoRequest) (*pb.NodeGetInfoResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &pb.NodeGetInfoResponse{NodeId: d.NodeID, MaxVolumesPerNode: d.options.MostVolumes}
	if d.options.Topology != nil {
		r.AccessibleTopology = &pb.Topology{Segments: d.options.Topology}
	}
	return r, nil
}

// NodeGetCapabilities implements the node service.
func (d *Driver) NodeGetCapabilities(context.Context, *pb.NodeGetCapabilitiesRequest) (*pb.NodeGetCapabilitiesResponse, error) {
	r := &pb.NodeGetCapabilitiesResponse{}
	for kind, can := range map[pb.NodeServiceCapability_RPC_Type]bool{
		pb.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME:     !d.options.NoStage,
		pb.NodeServiceCapability_RPC_EXPAND_VOLUME:            d.options.Expand,
		pb.NodeServiceCapability_RPC_GET_VOLUME_STATS:         d.options.Stats,
		pb.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP:       d.options.MountGroup,
		pb.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER: d.options.SingleNodeMultiWriter,
	} {
		if can {
			rpc := &pb.NodeServiceCapability_Rpc{Rpc: &pb.NodeServiceCapability_RPC{Type: kind}}
			r.Capabilities = append(r.Capabilities, &pb.NodeServiceCapability{Type: rpc})
		}
	}
	return r, nil
}

// mustBe says what is wrong with a directory that the caller should have made.
func mustBe(dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return errors.Join(fmt.Errorf("%s must be a directory", dir), err)
	}
	return nil
}
