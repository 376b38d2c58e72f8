package ask

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/bosun-project/bosun/internal/handler"
	"github.com/bosun-project/bosun/internal/health"
)

const maxMessage = 64 << 10

// grpc calls the health service: SERVING is success (behaviour 125).
func (a *Asker) grpc(ctx context.Context, q health.Question) (health.Answer, error) {
	to, err := handler.Host("", q.IP)
	if err != nil {
		return health.Answer{}, err
	}
	address := net.JoinHostPort(to, strconv.Itoa(int(q.Handler.GRPC.Port)))
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent(a.agent),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return newDialer().DialContext(ctx, "tcp", to) }),
		grpc.WithNoProxy(), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithDisableHealthCheck(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)), grpc.WithMaxHeaderListSize(maxMessage))
	if err != nil {
		return health.Answer{}, fmt.Errorf("prepare a gRPC connection to %s: %w", address, err)
	}
	defer conn.Close()
	limited, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	service := ""
	if q.Handler.GRPC.Service != nil {
		service = *q.Handler.GRPC.Service
	}
	response, err := grpc_health_v1.NewHealthClient(conn).Check(limited, &grpc_health_v1.HealthCheckRequest{Service: service})
	switch {
	case ctx.Err() != nil:
		return health.Answer{}, context.Cause(ctx)
	case err != nil:
		return failed(why(err, address, q, conn.GetState() == connectivity.Ready)), nil
	case response.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return failed(fmt.Sprintf("service unhealthy (responded with %q)", response.GetStatus())), nil
	}
	return health.Answer{Result: health.Success}, nil
}

// why says what a failed call means.
func why(err error, address string, q health.Question, connected bool) string {
	s := status.Convert(err)
	switch {
	case s.Code() == codes.Unimplemented:
		return "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " + s.Message()
	case s.Code() == codes.DeadlineExceeded && !connected:
		return fmt.Sprintf("timeout: failed to connect service %q within %v: %s", address, q.Timeout, s.Message())
	case s.Code() == codes.DeadlineExceeded:
		return fmt.Sprintf("timeout: health rpc did not complete within %v", q.Timeout)
	case s.Code() == codes.Unavailable && !connected:
		return fmt.Sprintf("error: failed to connect service %q: %s", address, s.Message())
	}
	return "error: health rpc probe failed: " + err.Error()
}
