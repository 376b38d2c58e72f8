package dra

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	pb "k8s.io/kubelet/pkg/apis/dra/v1"
)

// driver is one instance of a driver: while it is replaced by a newer version there may be two of one name. It may be used by several
// goroutines.
type driver struct {
	name, socket string
	// service is the full name of the service by which claims are prepared, health that of the one that tells how devices fare; empty
	// if the driver has none.
	service, health string
	timeout         time.Duration
	conn            *grpc.ClientConn
	observe         func(Call)
}

// Call is one call to a driver that has ended.
type Call struct {
	Driver string
	// Method is such as NodePrepareResources.
	Method string
	Code   codes.Code
	Took   time.Duration
}

// The services by what drivers say of them at registration, best first. The messages of both versions are the same on the wire, but
// for one that the older leaves out.
var services = []struct{ says, name string }{
	{"v1.DRAPlugin", "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/"},
	{"v1beta1.DRAPlugin", "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/"},
}

// healthServices are the same for how devices fare.
var healthServices = []struct{ says, name string }{
	{"v1.DRAResourceHealth", "/v1.DRAResourceHealth/"},
	{"v1alpha1.DRAResourceHealth", "/v1alpha1.DRAResourceHealth/"},
}

// Message size, buffers, and pauses between attempts to connect.
const (
	maxMessage     = 4 << 20
	bufferSize     = 4 << 10 // messages are few and small, and each driver has two
	firstDialPause = 100 * time.Millisecond
	lastDialPause  = 5 * time.Second
)

// dial connects to a driver's socket, when it is first called.
func dial(socket string) (*grpc.ClientConn, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(socket, "unix:"), "//")
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is not the address of a Unix socket", socket)
	}
	return grpc.NewClient("unix://"+path,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(),
		grpc.WithIdleTimeout(0), // whether it can be reached is watched
		grpc.WithReadBufferSize(bufferSize), grpc.WithWriteBufferSize(bufferSize),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstDialPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastDialPause},
			MinConnectTimeout: lastDialPause,
		}),
	)
}

// prepare asks for the devices of claims (NodePrepareResources). The answers are by UID.
func (d *driver) prepare(ctx context.Context, claims []*pb.Claim) (map[string]*pb.NodePrepareResourceResponse, error) {
	out := &pb.NodePrepareResourcesResponse{}
	err := d.call(ctx, "NodePrepareResources", &pb.NodePrepareResourcesRequest{Claims: claims}, out)
	return out.GetClaims(), err
}

// unprepare gives the devices of claims back (NodeUnprepareResources). The answers are by UID.
func (d *driver) unprepare(ctx context.Context, claims []*pb.Claim) (map[string]*pb.NodeUnprepareResourceResponse, error) {
	out := &pb.NodeUnprepareResourcesResponse{}
	err := d.call(ctx, "NodeUnprepareResources", &pb.NodeUnprepareResourcesRequest{Claims: claims}, out)
	return out.GetClaims(), err
}

func (d *driver) call(ctx context.Context, method string, in, out any) error {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	err := d.conn.Invoke(limited, d.service+method, in, out)
	d.observe(Call{Driver: d.name, Method: method, Code: status.Code(err), Took: time.Since(began)})
	if status.Code(err) == codes.DeadlineExceeded && ctx.Err() == nil {
		return fmt.Errorf("no answer within %s: %w", d.timeout, err)
	}
	return err
}
