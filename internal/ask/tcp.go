package ask

import (
	"context"
	"net"
	"strconv"

	"github.com/bosun-project/bosun/internal/handler"
	"github.com/bosun-project/bosun/internal/health"
)

// connect opens a connection: that it can be opened is success (behaviour 126).
func connect(ctx context.Context, q health.Question) (health.Answer, error) {
	to, err := handler.Host(q.Handler.TCPSocket.Host, q.IP)
	if err != nil {
		return health.Answer{}, err
	}
	port, err := handler.Port(q.Handler.TCPSocket.Port, q.Container)
	if err != nil {
		return health.Answer{}, err
	}
	dialer := newDialer()
	dialer.Timeout = q.Timeout
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(to, strconv.Itoa(port)))
	if ctx.Err() != nil {
		err = context.Cause(ctx)
		if conn != nil {
			_ = conn.Close()
		}
		return health.Answer{}, err
	}
	if err != nil {
		return failed(err.Error()), nil
	}
	_ = conn.Close() // it has served its purpose, however it ends
	return health.Answer{Result: health.Success}, nil
}
