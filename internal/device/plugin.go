package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	pb "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/fault"
)

// How long a plugin may take. Starting to serve is part of the first question.
const (
	askWait      = 10 * time.Second
	allocateWait = 2 * time.Minute
	preStartWait = pb.KubeletPreStartContainerRPCTimeoutInSecs * time.Second
)

// mostBytes bounds what a plugin may say at once: some offer tens of thousands of devices.
const mostBytes = 16 << 20

// bufferSize is small: plugins are spoken to seldom.
const bufferSize = 4 << 10

// Plugin is the connection to one device plugin. Its methods may be used by several goroutines.
type Plugin struct {
	conn   *grpc.ClientConn
	client pb.DevicePluginClient
}

// Connect makes a Plugin of a socket. Nothing is sent yet.
func Connect(socket string) (*Plugin, error) {
	if !filepath.IsAbs(socket) {
		return nil, fmt.Errorf("the socket %q of a device plugin must be an absolute path", socket)
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(),
		grpc.WithReadBufferSize(bufferSize), grpc.WithWriteBufferSize(bufferSize), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, err
	}
	return &Plugin{conn: conn, client: pb.NewDevicePluginClient(conn)}, nil
}

// Close ends the connection; what is under way fails.
func (p *Plugin) Close() error { return p.conn.Close() }

// Options asks whether the plugin wants to be told before each start of a container, and whether it says which devices go well
// together. It waits until the plugin serves, for a while.
func (p *Plugin) Options(ctx context.Context) (preStart, prefers bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	answer, err := p.client.GetDevicePluginOptions(ctx, &pb.Empty{}, grpc.WaitForReady(true))
	switch {
	case status.Code(err) == codes.Unimplemented:
		return false, false, nil
	case err != nil:
		return false, false, explain("GetDevicePluginOptions", err)
	}
	return answer.GetPreStartRequired(), answer.GetGetPreferredAllocationAvailable(), nil
}

// Follow tells of the plugin's devices, by ID, each time it tells of them, with what was wrong with that, until the plugin ends
// that or ctx does.
func (p *Plugin) Follow(ctx context.Context, tell func(devices map[string]allocate.Device, problem string)) error {
	stream, err := p.client.ListAndWatch(ctx, &pb.Empty{}, grpc.WaitForReady(true))
	if err != nil {
		return explain("ListAndWatch", err)
	}
	for {
		list, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("ListAndWatch: the plugin has ended it")
		case err != nil:
			return explain("ListAndWatch", err)
		}
		tell(devicesOf(list.GetDevices()))
	}
}

// devicesOf reads a list. A device that is named twice is healthy if it is so both times.
func devicesOf(list []*pb.Device) (map[string]allocate.Device, string) {
	all := make(map[string]allocate.Device, len(list))
	problem := ""
	for _, d := range list {
		if d.GetID() == "" {
			problem = "it tells of a device without an ID, which is left out"
			continue
		}
		now := allocate.Device{Healthy: d.GetHealth() == pb.Healthy}
		for _, n := range d.GetTopology().GetNodes() {
			now.Nodes |= allocate.NodesOf(int(n.GetID()))
		}
		if before, twice := all[d.GetID()]; twice {
			problem = fmt.Sprintf("it tells of device %q more than once; it counts once, and as healthy only if it always is", d.GetID())
			now = allocate.Device{Healthy: now.Healthy && before.Healthy, Nodes: now.Nodes | before.Nodes}
		}
		all[d.GetID()] = now
	}
	return all, problem
}

// Prefer asks which of the available devices the plugin would give together.
func (p *Plugin) Prefer(ctx context.Context, q allocate.Question) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	answer, err := p.client.GetPreferredAllocation(ctx, &pb.PreferredAllocationRequest{ContainerRequests: []*pb.ContainerPreferredAllocationRequest{{
		AvailableDeviceIDs: q.Available, MustIncludeDeviceIDs: q.Must, AllocationSize: int32(q.Size),
	}}})
	if err != nil {
		return nil, explain("GetPreferredAllocation", err)
	}
	all := answer.GetContainerResponses()
	if len(all) != 1 {
		return nil, fmt.Errorf("GetPreferredAllocation: the plugin has answered for %d containers, not for one", len(all))
	}
	return all[0].GetDeviceIDs(), nil
}

// Allocate has the plugin hand out what belongs to some devices of one container.
func (p *Plugin) Allocate(ctx context.Context, ids []string) (allocate.Artifacts, error) {
	ctx, cancel := context.WithTimeout(ctx, allocateWait)
	defer cancel()
	answer, err := p.client.Allocate(ctx, &pb.AllocateRequest{ContainerRequests: []*pb.ContainerAllocateRequest{{DevicesIds: ids}}})
	if err != nil {
		return allocate.Artifacts{}, explain("", err)
	}
	all := answer.GetContainerResponses()
	if len(all) != 1 {
		return allocate.Artifacts{}, fmt.Errorf("the plugin has answered for %d containers, not for one", len(all))
	}
	return artifactsOf(all[0])
}

// artifactsOf reads what a plugin hands out.
func artifactsOf(r *pb.ContainerAllocateResponse) (allocate.Artifacts, error) {
	a := allocate.Artifacts{Env: r.GetEnvs(), Annotations: r.GetAnnotations()}
	for _, m := range r.GetMounts() {
		if !filepath.IsAbs(m.GetHostPath()) || !filepath.IsAbs(m.GetContainerPath()) {
			return a, fmt.Errorf("the plugin wants %q mounted at %q: both must be absolute paths", m.GetHostPath(), m.GetContainerPath())
		}
		a.Mounts = append(a.Mounts, allocate.DeviceMount{Host: m.GetHostPath(), Container: m.GetContainerPath(), ReadOnly: m.GetReadOnly()})
	}
	for _, d := range r.GetDevices() {
		if !filepath.IsAbs(d.GetHostPath()) || !filepath.IsAbs(d.GetContainerPath()) {
			return a, fmt.Errorf("the plugin wants the device node %q to be at %q: both must be absolute paths", d.GetHostPath(), d.GetContainerPath())
		}
		a.Files = append(a.Files, allocate.DeviceFile{Host: d.GetHostPath(), Container: d.GetContainerPath(), Permissions: d.GetPermissions()})
	}
	for _, c := range r.GetCdiDevices() {
		if name := c.GetName(); name != "" && !slices.Contains(a.CDI, name) {
			a.CDI = append(a.CDI, name)
		}
	}
	for name := range a.Env {
		if name == "" {
			return a, errors.New("the plugin wants a variable without a name")
		}
	}
	return a, nil
}

// PreStart tells the plugin that a container with some devices is about to be started.
func (p *Plugin) PreStart(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, preStartWait)
	defer cancel()
	if _, err := p.client.PreStartContainer(ctx, &pb.PreStartContainerRequest{DevicesIds: ids}); err != nil {
		return explain("device plugin PreStartContainer rpc failed with err", err)
	}
	return nil
}

// explain gives an error of a call a class and says which call it was, if that is not said elsewhere.
func explain(call string, err error) error {
	out := err
	if call != "" {
		out = fmt.Errorf("%s: %w", call, err)
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled: // the latter when the connection was closed, because another plugin has come
		return fault.As(fault.ErrUnavailable, out)
	case codes.DeadlineExceeded:
		return fault.As(fault.ErrTimeout, out)
	}
	return out
}
