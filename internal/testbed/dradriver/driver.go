package dradriver

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "k8s.io/kubelet/pkg/apis/dra-health/v1"
	"k8s.io/kubelet/pkg/apis/dra-health/v1alpha1"
	pb "k8s.io/kubelet/pkg/apis/dra/v1"
	"k8s.io/kubelet/pkg/apis/dra/v1beta1"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// Options say what a driver is like.
type Options struct {
	Name string
	// Plugins is the directory of the registration sockets, which may come to be later. Empty keeps the driver to itself.
	Plugins string
	// Versions are what it says at registration; v1.DRAPlugin by default. It serves all of them.
	Versions []string
	// CDI is the directory of CDI specifications; empty writes none.
	CDI string
	// Allocated tells which devices of the driver a claim has; one called dev0 of the pool "pool" by default, for all requests. The CDI
	// names are added to them.
	Allocated func(*pb.Claim) []*pb.Device
}

// Driver is a driver that runs. What it has prepared outlives Stop and Start.
type Driver struct {
	pb.UnimplementedDRAPluginServer
	healthpb.UnimplementedDRAResourceHealthServer
	registration.UnimplementedRegistrationServer

	// Socket is where it listens.
	Socket  string
	options Options

	mu        sync.Mutex
	server    *grpc.Server
	listeners []*net.UnixListener
	calls     []Call
	faults    map[string]func(context.Context) error
	lie       func(*pb.NodePrepareResourcesResponse)
	prepared  map[string]bool
	fares     []*healthpb.DeviceHealth
	news      chan struct{}
}

// Call is one call that was made, about claims by name.
type Call struct {
	// Method is such as NodePrepareResources.
	Method string
	Claims []string
	Failed error
}

// Start runs a driver until the test ends.
func Start(t testing.TB, o Options) *Driver {
	t.Helper()
	dir, err := os.MkdirTemp("", "dra") // sockets have short names only
	if err != nil {
		t.Fatal(err)
	}
	if o.Versions == nil {
		o.Versions = []string{"v1.DRAPlugin"}
	}
	if o.Allocated == nil {
		o.Allocated = func(*pb.Claim) []*pb.Device { return []*pb.Device{{PoolName: "pool", DeviceName: "dev0"}} }
	}
	d := &Driver{
		Socket: filepath.Join(dir, "s"), options: o, faults: map[string]func(context.Context) error{}, prepared: map[string]bool{}, news: make(chan struct{}),
	}
	t.Cleanup(func() {
		d.Stop(t)
		for uid := range d.prepared {
			if o.CDI != "" {
				_ = os.Remove(d.spec(uid))
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	d.Start(t)
	return d
}

// Start starts the driver again after Stop or Vanish.
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
	pb.RegisterDRAPluginServer(server, d)
	v1beta1.RegisterDRAPluginServer(server, v1beta1.V1ServerWrapper{DRAPluginServer: d})
	healthpb.RegisterDRAResourceHealthServer(server, d)
	v1alpha1.RegisterDRAResourceHealthServer(server, healthpb.V1ServerWrapper{Server: d})
	registration.RegisterRegistrationServer(server, d)
	var listeners []*net.UnixListener
	for _, path := range sockets {
		_ = os.Remove(path) // after Vanish
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, l)
		go func() { _ = server.Serve(l) }() // ends with Stop
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.server, d.listeners = server, listeners
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

// Vanish ends the driver as kill -9 does: its sockets stay, and nobody listens.
func (d *Driver) Vanish(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	for _, l := range d.listeners {
		l.SetUnlinkOnClose(false)
	}
	d.mu.Unlock()
	d.Stop(t)
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

// Lie changes what the driver answers to NodePrepareResources; nil makes it honest.
func (d *Driver) Lie(change func(*pb.NodePrepareResourcesResponse)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lie = change
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
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, Call{method, claimsOf(request), err})
	d.tell()
	return answer, err
}

// tell wakes those who wait for news. The lock is held.
func (d *Driver) tell() {
	close(d.news)
	d.news = make(chan struct{})
}

func claimsOf(request any) []string {
	var names []string
	switch r := request.(type) {
	case *pb.NodePrepareResourcesRequest:
		for _, c := range r.Claims {
			names = append(names, c.Name)
		}
	case *pb.NodeUnprepareResourcesRequest:
		for _, c := range r.Claims {
			names = append(names, c.Name)
		}
	case *v1beta1.NodePrepareResourcesRequest:
		for _, c := range r.Claims {
			names = append(names, c.Name)
		}
	case *v1beta1.NodeUnprepareResourcesRequest:
		for _, c := range r.Claims {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
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
			t.Fatalf("%s of driver %s was called %d times, not %d; all calls: %v", method, d.options.Name, len(calls), times, d.Calls(""))
		}
	}
}

// Prepared are the UIDs of the claims that are prepared.
func (d *Driver) Prepared() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for uid, is := range d.prepared {
		if is {
			out = append(out, uid)
		}
	}
	slices.Sort(out)
	return out
}

// Variable is the environment variable that containers get by which a device of a claim is known; its value is the claim's UID.
func (d *Driver) Variable(device string) string {
	return "DRA_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(d.options.Name+"_"+device))
}

// GetInfo answers whoever found the registration socket.
func (d *Driver) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.DRAPlugin, Name: d.options.Name, Endpoint: d.Socket, SupportedVersions: d.options.Versions}, nil
}

// NotifyRegistrationStatus hears how registering went.
func (d *Driver) NotifyRegistrationStatus(context.Context, *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	return &registration.RegistrationStatusResponse{}, nil
}

// NodePrepareResources implements the service.
func (d *Driver) NodePrepareResources(_ context.Context, r *pb.NodePrepareResourcesRequest) (*pb.NodePrepareResourcesResponse, error) {
	out := &pb.NodePrepareResourcesResponse{Claims: map[string]*pb.NodePrepareResourceResponse{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range r.Claims {
		devices := d.options.Allocated(c)
		for _, device := range devices {
			device.CdiDeviceIds = []string{d.options.Name + "/dev=" + c.Uid + "-" + device.DeviceName}
		}
		answer := &pb.NodePrepareResourceResponse{Devices: devices}
		if err := d.describe(c, devices); err != nil {
			answer = &pb.NodePrepareResourceResponse{Error: err.Error()}
		}
		d.prepared[c.Uid] = true
		out.Claims[c.Uid] = answer
	}
	if d.lie != nil {
		d.lie(out)
	}
	return out, nil
}

// NodeUnprepareResources implements the service.
func (d *Driver) NodeUnprepareResources(_ context.Context, r *pb.NodeUnprepareResourcesRequest) (*pb.NodeUnprepareResourcesResponse, error) {
	out := &pb.NodeUnprepareResourcesResponse{Claims: map[string]*pb.NodeUnprepareResourceResponse{}}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range r.Claims {
		delete(d.prepared, c.Uid)
		if d.options.CDI != "" {
			_ = os.Remove(d.spec(c.Uid)) // it may be gone
		}
		out.Claims[c.Uid] = &pb.NodeUnprepareResourceResponse{}
	}
	return out, nil
}

func (d *Driver) spec(uid string) string {
	return filepath.Join(d.options.CDI, "bosun-test-"+d.options.Name+"-"+uid+".json")
}

// describe writes the CDI specification of a claim.
func (d *Driver) describe(c *pb.Claim, devices []*pb.Device) error {
	if d.options.CDI == "" {
		return nil
	}
	type edits struct {
		Env []string `json:"env"`
	}
	type entry struct {
		Name  string `json:"name"`
		Edits edits  `json:"containerEdits"`
	}
	var all []entry
	for _, device := range devices {
		all = append(all, entry{c.Uid + "-" + device.DeviceName, edits{[]string{d.Variable(device.DeviceName) + "=" + c.Uid}}})
	}
	text, err := json.Marshal(map[string]any{"cdiVersion": "0.6.0", "kind": d.options.Name + "/dev", "devices": all})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.options.CDI, 0o755); err != nil {
		return err
	}
	draft := d.spec(c.Uid) + ".tmp"
	if err := os.WriteFile(draft, text, 0o644); err != nil {
		return err
	}
	return os.Rename(draft, d.spec(c.Uid))
}

// Fares says from now on how its devices fare.
func (d *Driver) Fares(all ...*healthpb.DeviceHealth) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fares = all
	d.tell()
}

// NodeWatchResources implements the service that tells how devices fare.
func (d *Driver) NodeWatchResources(_ *healthpb.NodeWatchResourcesRequest, stream grpc.ServerStreamingServer[healthpb.NodeWatchResourcesResponse]) error {
	for {
		d.mu.Lock()
		fares, news := d.fares, d.news
		d.mu.Unlock()
		if err := stream.Send(&healthpb.NodeWatchResourcesResponse{Devices: fares}); err != nil {
			return err
		}
		select {
		case <-news:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// Name is what it is called.
func (d *Driver) Name() string { return d.options.Name }
