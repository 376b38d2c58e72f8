package runtime

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/bosun-project/bosun/internal/fault"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// noLimit is the time limit of calls that only their context ends.
const noLimit time.Duration = 0

// call makes one call. what says, for the error, what is done to which object.
func call[Request, Response any](
	ctx context.Context, c *Client, operation, what string, limit time.Duration,
	verb func(context.Context, Request, ...grpc.CallOption) (Response, error), request Request,
) (Response, error) {
	began := time.Now()
	limited, cancel := ctx, context.CancelFunc(func() {})
	if limit != noLimit {
		limited, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	response, err := verb(limited, request)
	err = explain(ctx, what, err)
	c.observe(operation, time.Since(began), err)
	return response, err
}

// explain turns an answer of gRPC into an error for people, marked with a class of package fault.
// ctx is the caller's own context, without the limit of the call.
func explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	told, _ := status.FromError(err)
	return fault.As(class(ctx, told.Code()), &callError{what: what, cause: err, message: plain(told.Message())})
}

// callError keeps gRPC's wrapping ("rpc error: code = …") out of what people read.
type callError struct {
	what, message string
	cause         error
}

func (e *callError) Error() string { return e.what + ": " + e.message }

func (e *callError) Unwrap() error { return e.cause }

func class(ctx context.Context, code codes.Code) error {
	switch code {
	case codes.Canceled:
		if ctx.Err() != nil {
			return context.Canceled
		}
		return fault.ErrUnavailable // the runtime gave up the call, as it does when it is told to end
	case codes.Unavailable, codes.Aborted:
		return fault.ErrUnavailable
	case codes.DeadlineExceeded:
		return fault.ErrTimeout
	case codes.NotFound:
		return fault.ErrNotFound
	case codes.AlreadyExists:
		return fault.ErrExists
	case codes.Unimplemented:
		return fault.ErrUnsupported
	case codes.ResourceExhausted:
		return fault.ErrExhausted
	case codes.PermissionDenied, codes.Unauthenticated:
		return fault.ErrDenied
	case codes.InvalidArgument, codes.OutOfRange:
		return fault.ErrInvalid
	case codes.OK, codes.Unknown, codes.FailedPrecondition, codes.Internal, codes.DataLoss:
	}
	return nil
}

// plain takes gRPC's own words around a failed connection away.
func plain(message string) string {
	const dialing = `connection error: desc = "transport: Error while dialing: `
	if i := strings.Index(message, dialing); i >= 0 {
		return strings.TrimSuffix(message[i+len(dialing):], `"`)
	}
	if message == "" {
		return "the runtime gave no reason"
	}
	return message
}

// short is an ID as people and crictl write it.
func short(id string) string {
	const enough = 13
	if len(id) > enough {
		return id[:enough]
	}
	if id == "" {
		return "without an ID"
	}
	return id
}

func seconds(n int64) time.Duration {
	const century = 100 * 365 * 24 * 3600
	return time.Duration(min(max(n, 0), century)) * time.Second
}

func missing(what, field string) error {
	return fmt.Errorf("%s: the runtime answered without %s", what, field)
}
