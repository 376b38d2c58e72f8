package integration

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/bosun-project/bosun/internal/testbed"
)

// A between stands between an agent and its containerd and hands on every call as it is, unless a test says
// otherwise.
type between struct {
	socket string

	mu sync.Mutex
	// rule is asked about each call before it is handed on: it may wait, or refuse. message is the first request, raw.
	rule func(ctx context.Context, method string, message []byte) error
	// streams end the event streams that are open.
	streams map[int]context.CancelFunc
	next    int
}

// raw hands on messages without a look.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Name() string                  { return "raw" }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}

func stand(t *testing.T, bed *testbed.Bed) *between {
	t.Helper()
	p := &between{socket: filepath.Join(bed.Dir, "between.sock"), streams: map[int]context.CancelFunc{}}
	conn, err := grpc.NewClient("unix://"+bed.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.MaxRecvMsgSize(16<<20),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error { return p.handle(conn, stream) }))
	served := make(chan struct{})
	go func() {
		_ = server.Serve(listener) // until Stop
		close(served)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
		conn.Close()
	})
	return p
}

// obey sets the rule; nil lets everything through.
func (p *between) obey(rule func(ctx context.Context, method string, message []byte) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// endStreams ends the streams of events that are open, as a runtime does that reloads.
func (p *between) endStreams() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cancel := range p.streams {
		cancel()
	}
	return len(p.streams)
}

const eventsMethod = "/runtime.v1.RuntimeService/GetContainerEvents"

func (p *between) handle(conn *grpc.ClientConn, in grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(in)
	ctx, cancel := context.WithCancel(in.Context())
	defer cancel()
	var request []byte
	if err := in.RecvMsg(&request); err != nil {
		return err
	}
	p.mu.Lock()
	rule := p.rule
	if method == eventsMethod {
		id := p.next
		p.next++
		p.streams[id] = cancel
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			delete(p.streams, id)
		}()
	}
	p.mu.Unlock()
	if rule != nil {
		if err := rule(ctx, method, request); err != nil {
			return err
		}
	}
	out, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		return err
	}
	if err := errors.Join(out.SendMsg(&request), out.CloseSend()); err != nil {
		return err
	}
	for {
		var answer []byte
		switch err := out.RecvMsg(&answer); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && in.Context().Err() == nil && ctx.Err() != nil:
			return status.Error(codes.Unavailable, "the stream was ended")
		case err != nil:
			return err
		}
		if err := in.SendMsg(&answer); err != nil {
			return err
		}
	}
}
