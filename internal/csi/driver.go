package csi

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/bosun-project/bosun/internal/fault"
)

// Driver is a driver that has registered. Its fields do not change. Its methods may be used by several goroutines; their errors
// are fault.ErrUnavailable when the driver does not answer, and fault.ErrTimeout when it took too long: whether the call did
// its work is not known then. All calls may be repeated.
type Driver struct {
	Name string
	// NodeID is what the driver calls this node, Topology where the node is to it.
	NodeID   string
	Topology map[string]string
	// MostVolumes is how many volumes of the driver may be attached to the node; 0 if it does not say.
	MostVolumes int64
	Can         Capabilities

	socket  string
	timeout time.Duration
	conn    *grpc.ClientConn
	node    pb.NodeClient
}

// Capabilities are what a driver can do beyond publishing.
type Capabilities struct {
	// Stage tells that a volume is staged once on the node before it is published to pods.
	Stage bool
	// Expand and Stats tell that it can grow volumes, and count what is in them.
	Expand, Stats bool
	// MountGroup tells that it gives volumes to a group itself.
	MountGroup bool
	// SingleNodeMultiWriter tells that it knows volumes of a single pod from those of a single node.
	SingleNodeMultiWriter bool
}

// Message size and pauses between attempts to connect.
const (
	maxMessage     = 4 << 20
	firstDialPause = 100 * time.Millisecond
	lastDialPause  = time.Second
	bufferSize     = 4 << 10 // messages are few and small, and each driver has two
)

// Dial connects to a plugin's socket, when it is first called.
func Dial(socket string) (*grpc.ClientConn, error) { return dial(socket) }

func dial(socket string, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(socket, "unix:"), "//")
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is not the address of a Unix socket", socket)
	}
	return grpc.NewClient("unix://"+path, append(more,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(),
		grpc.WithReadBufferSize(bufferSize), grpc.WithWriteBufferSize(bufferSize),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstDialPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastDialPause},
			MinConnectTimeout: lastDialPause,
		}),
	)...)
}

func connect(name, socket string, timeout time.Duration, observe func(driver, method, code string, took time.Duration)) (*Driver, error) {
	var more []grpc.DialOption
	if observe != nil {
		more = append(more, grpc.WithUnaryInterceptor(
			func(ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
				began := time.Now()
				err := invoke(ctx, method, request, answer, conn, options...)
				observe(name, method, status.Code(err).String(), time.Since(began))
				return err
			}))
	}
	conn, err := dial(socket, more...)
	if err != nil {
		return nil, err
	}
	return &Driver{Name: name, socket: socket, timeout: timeout, conn: conn, node: pb.NewNodeClient(conn)}, nil
}

// Stage makes a volume ready on the node, at a directory that exists (NodeStageVolume).
func (d *Driver) Stage(ctx context.Context, v Volume, at string) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	_, err := d.node.NodeStageVolume(ctx, &pb.NodeStageVolumeRequest{
		VolumeId: v.Handle, StagingTargetPath: at, PublishContext: v.PublishContext, VolumeContext: v.Context,
		Secrets: v.Secrets, VolumeCapability: v.Capability.of(d),
	})
	return d.explain("NodeStageVolume", err, v.Secrets)
}

// Publish shows a volume at a path that the driver makes (NodePublishVolume). staged is where it was staged; empty if it was not.
func (d *Driver) Publish(ctx context.Context, v Volume, staged, at string, readOnly bool) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	_, err := d.node.NodePublishVolume(ctx, &pb.NodePublishVolumeRequest{
		VolumeId: v.Handle, StagingTargetPath: staged, TargetPath: at, Readonly: readOnly,
		PublishContext: v.PublishContext, VolumeContext: v.Context, Secrets: v.Secrets, VolumeCapability: v.Capability.of(d),
	})
	return d.explain("NodePublishVolume", err, v.Secrets)
}

// Unpublish takes back what Publish made (NodeUnpublishVolume). The driver removes the path.
func (d *Driver) Unpublish(ctx context.Context, handle, at string) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	_, err := d.node.NodeUnpublishVolume(ctx, &pb.NodeUnpublishVolumeRequest{VolumeId: handle, TargetPath: at})
	return d.explain("NodeUnpublishVolume", unlessGone(err), nil)
}

// Unstage takes back what Stage made (NodeUnstageVolume).
func (d *Driver) Unstage(ctx context.Context, handle, at string) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	_, err := d.node.NodeUnstageVolume(ctx, &pb.NodeUnstageVolumeRequest{VolumeId: handle, StagingTargetPath: at})
	return d.explain("NodeUnstageVolume", unlessGone(err), nil)
}

// unlessGone takes it as a success that there is nothing to take back.
func unlessGone(err error) error {
	if status.Code(err) == codes.NotFound {
		return nil
	}
	return err
}

// Expand makes the node see the new size of a volume, in bytes, and returns the size it has then, 0 if the driver does not say
// (NodeExpandVolume).
func (d *Driver) Expand(ctx context.Context, v Volume, staged, at string, size int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	answer, err := d.node.NodeExpandVolume(ctx, &pb.NodeExpandVolumeRequest{
		VolumeId: v.Handle, VolumePath: at, StagingTargetPath: staged, CapacityRange: &pb.CapacityRange{RequiredBytes: size},
		Secrets: v.Secrets, VolumeCapability: v.Capability.of(d),
	})
	return answer.GetCapacityBytes(), d.explain("NodeExpandVolume", err, v.Secrets)
}

// Usage is what a driver tells of a published volume, in bytes and inodes. What it does not tell is nil.
type Usage struct {
	Bytes, Inodes *Count
}

// Count is how much there is of something.
type Count struct{ Total, Used, Available int64 }

// Stats asks what is in a volume (NodeGetVolumeStats).
func (d *Driver) Stats(ctx context.Context, handle, staged, at string) (Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	answer, err := d.node.NodeGetVolumeStats(ctx, &pb.NodeGetVolumeStatsRequest{VolumeId: handle, VolumePath: at, StagingTargetPath: staged})
	if err != nil {
		return Usage{}, d.explain("NodeGetVolumeStats", err, nil)
	}
	var u Usage
	for _, x := range answer.GetUsage() {
		c := &Count{Total: x.GetTotal(), Used: x.GetUsed(), Available: x.GetAvailable()}
		switch x.GetUnit() {
		case pb.VolumeUsage_BYTES:
			u.Bytes = c
		case pb.VolumeUsage_INODES:
			u.Inodes = c
		case pb.VolumeUsage_UNKNOWN:
		}
	}
	return u, nil
}

// shortest is how long a secret must be to be taken out of texts: a shorter one would mangle them and hide little.
const shortest = 4

// explain gives an error of a call its class. The words are those of upstream's events, "rpc error: code = … desc = …".
func (d *Driver) explain(call string, err error, secrets map[string]string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, secret := range secrets {
		if len(secret) >= shortest {
			text = strings.ReplaceAll(text, secret, "***stripped***")
		}
	}
	var class error
	switch status.Code(err) {
	case codes.Unavailable:
		class = fault.ErrUnavailable
	case codes.DeadlineExceeded:
		class = fault.ErrTimeout
		text = fmt.Sprintf("%s of CSI driver %s did not come to an end within %s: %s", call, d.Name, d.timeout, text)
	case codes.NotFound:
		class = fault.ErrNotFound
	case codes.Unimplemented:
		class = fault.ErrUnsupported
	case codes.ResourceExhausted:
		class = fault.ErrExhausted
	case codes.InvalidArgument:
		class = fault.ErrInvalid
	}
	return fault.As(class, errors.New(text))
}
