package runtime

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	defaultRequestTimeout = 2 * time.Minute
	// maxMessage is the largest message that is sent or taken, in bytes.
	maxMessage = 16 << 20
	// The pauses between attempts to connect (behaviour 329).
	firstDialPause = 100 * time.Millisecond
	lastDialPause  = 3 * time.Second
)

// Config says where the runtime is and how long to wait for it.
type Config struct {
	// Endpoint is the runtime's socket: unix:///run/containerd/containerd.sock, or just its absolute path.
	Endpoint string
	// ImageEndpoint is the socket of the image service; empty means Endpoint.
	ImageEndpoint string
	// RequestTimeout limits most calls; 0 means 2 minutes.
	RequestTimeout time.Duration
	// Observe is told of every call when it is over; nil is allowed. operation is as in the operation_type label of
	// kubelet_runtime_operations_total. It must be safe for use by several goroutines.
	Observe func(operation string, took time.Duration, err error)
	// Around is called around each call, on its way; nil is allowed. Traces hear and tell of calls there.
	Around grpc.UnaryClientInterceptor
}

// Client speaks to one runtime. It is safe for use by several goroutines. The connection is made by the first call
// and made again whenever it is lost; while it is lost, calls fail at once with fault.ErrUnavailable.
type Client struct {
	runtime cri.RuntimeServiceClient
	images  cri.ImageServiceClient
	conns   []*grpc.ClientConn
	timeout time.Duration
	observe func(string, time.Duration, error)
}

// New builds a client. It does not connect; it fails only if an endpoint is not the address of a Unix socket.
func New(cfg Config) (*Client, error) {
	if cfg.RequestTimeout <= 0 {
		cfg.RequestTimeout = defaultRequestTimeout
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, time.Duration, error) {}
	}
	conn, err := connection(cfg.Endpoint, cfg.Around)
	if err != nil {
		return nil, fmt.Errorf("container runtime endpoint: %w", err)
	}
	c := &Client{
		runtime: cri.NewRuntimeServiceClient(conn), images: cri.NewImageServiceClient(conn),
		conns: []*grpc.ClientConn{conn}, timeout: cfg.RequestTimeout, observe: cfg.Observe,
	}
	if cfg.ImageEndpoint != "" && cfg.ImageEndpoint != cfg.Endpoint {
		conn, err := connection(cfg.ImageEndpoint, cfg.Around)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("image service endpoint: %w", err), c.Close())
		}
		c.images, c.conns = cri.NewImageServiceClient(conn), append(c.conns, conn)
	}
	return c, nil
}

// Close ends the connections. Calls in flight fail.
func (c *Client) Close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// ImageConn is the connection to the image service, for questions about images that CRI has no words for.
func (c *Client) ImageConn() grpc.ClientConnInterface { return c.conns[len(c.conns)-1] }

func connection(endpoint string, around grpc.UnaryClientInterceptor) (*grpc.ClientConn, error) {
	path := strings.TrimPrefix(strings.TrimPrefix(endpoint, "unix:"), "//")
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("%q is not the address of a Unix socket; want unix:///path/to/socket", endpoint)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: firstDialPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastDialPause,
			},
			MinConnectTimeout: lastDialPause,
		}),
	}
	if around != nil {
		options = append(options, grpc.WithUnaryInterceptor(around))
	}
	return grpc.NewClient("unix://"+path, options...)
}
