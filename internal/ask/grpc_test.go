package ask

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	v1 "k8s.io/api/core/v1"

	serving "google.golang.org/grpc/health"

	"github.com/bosun-project/bosun/internal/health"
)

func call(port int, service string) health.Question {
	h := v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: int32(port)}}
	if service != "" {
		h.GRPC.Service = &service
	}
	return question(h)
}

func serveGRPC(t *testing.T, register func(*grpc.Server)) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return l.Addr().(*net.TCPAddr).Port
}

// hanging is a health service that does not answer.
type hanging struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (hanging) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// curious is a health service that remembers who asked.
type curious struct {
	grpc_health_v1.UnimplementedHealthServer
	agent *string
}

func (c curious) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	*c.agent = md.Get("user-agent")[0]
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

// talkative is a health service that puts more into its headers than anybody wants to know.
type talkative struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (talkative) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if err := grpc.SetHeader(ctx, metadata.Pairs("story", strings.Repeat("x", 1<<20))); err != nil {
		return nil, err
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func TestGRPC(t *testing.T) { // behaviour 125
	port := serveGRPC(t, func(s *grpc.Server) {
		h := serving.NewServer()
		h.SetServingStatus("sick", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
		grpc_health_v1.RegisterHealthServer(s, h)
	})
	want(t, ask(t, call(port, "")), health.Success, "")
	want(t, ask(t, call(port, "sick")), health.Failure, `service unhealthy (responded with "NOT_SERVING")`)
	want(t, ask(t, call(port, "unheard-of")), health.Failure, "error: health rpc probe failed: rpc error: code = NotFound")

	agent := ""
	port = serveGRPC(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, curious{agent: &agent}) })
	want(t, ask(t, call(port, "")), health.Success, "")
	if agent[:len("kube-probe/1.37")] != "kube-probe/1.37" {
		t.Errorf("user agent %q", agent)
	}
}

func TestGRPCMisbehaving(t *testing.T) {
	unimplemented := serveGRPC(t, func(*grpc.Server) {})
	want(t, ask(t, call(unimplemented, "")), health.Failure, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ")
	hangs := serveGRPC(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, hanging{}) })
	want(t, ask(t, impatient(call(hangs, ""))), health.Failure, "timeout: health rpc did not complete within 300ms")
	want(t, ask(t, call(closedPort(t), "")), health.Failure, "connection refused")
	want(t, ask(t, impatient(call(fullPort(t), ""))), health.Failure, "timeout: failed to connect service \"127.0.0.1:")
	silent := listen(t, func(c *net.TCPConn) {
		for {
			if _, err := c.Read(make([]byte, 100)); err != nil {
				return
			}
		}
	})
	want(t, ask(t, impatient(call(silent, ""))), health.Failure, "timeout: failed to connect service")
	reset := listen(t, func(c *net.TCPConn) { _ = c.SetLinger(0) })
	want(t, ask(t, call(reset, "")), health.Failure, "error: failed to connect service")
	for name, behave := range map[string]func(*net.TCPConn){
		"settings without end": func(c *net.TCPConn) {
			settings := []byte{0, 0, 0, 4, 0, 0, 0, 0, 0} // an empty frame of HTTP/2's settings
			for {
				if _, err := c.Write(settings); err != nil {
					return
				}
			}
		},
		"noise": func(c *net.TCPConn) {
			for {
				if _, err := c.Write(bytes.Repeat([]byte{0xff}, 1000)); err != nil {
					return
				}
			}
		},
		"half open": func(c *net.TCPConn) {
			_ = c.CloseWrite()
			_, _ = c.Read(make([]byte, 100))
		},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			want(t, ask(t, impatient(call(listen(t, behave), ""))), health.Failure, ": ")
			if took := time.Since(began); took > 10*patience {
				t.Errorf("it took %v", took)
			}
		})
	}
	verbose := serveGRPC(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, talkative{}) })
	want(t, ask(t, call(verbose, "")), health.Failure, "error: ")
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	want(t, ask(t, call(plain, "")), health.Failure, "error: ")
	if _, err := New(Config{}).Ask(t.Context(), func() health.Question { q := call(1, ""); q.IP = ""; return q }()); err == nil {
		t.Error("asked without an address")
	}
}
