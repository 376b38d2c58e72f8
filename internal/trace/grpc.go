package trace

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Calls makes a span of each call of a gRPC client, and tells the called one its place.
func (t *Tracer) Calls() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, request, response any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		full := strings.TrimPrefix(method, "/")
		service, verb, _ := strings.Cut(full, "/")
		s := t.Begin(ctx, Client, full, time.Now(), slog.String("rpc.system", "grpc"), slog.String("rpc.service", service), slog.String("rpc.method", verb))
		ctx = metadata.AppendToOutgoingContext(s.Under(ctx), parentHeader, s.place.String())
		if s.place.State != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, stateHeader, s.place.State)
		}
		err := invoke(ctx, method, request, response, conn, options...)
		told := status.Convert(err)
		s.Add(slog.Int("rpc.grpc.status_code", int(told.Code())))
		if err != nil {
			s.Fail(told.Message())
		}
		s.End(time.Now())
		return err
	}
}
