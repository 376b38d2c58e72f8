package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// maxMessage is containerd's own limit, in bytes.
const maxMessage = 16 << 20

// A call is one CRI call that went through a recorder.
type call struct {
	method       string // without the service
	request      []byte // as it was on the wire
	began, ended time.Time
	err          error
}

// A recorder stands between an agent and the runtime, passes everything on as it is, and remembers the calls.
type recorder struct {
	server *grpc.Server
	conn   *grpc.ClientConn

	mu    sync.Mutex
	calls []*call
}

// wire is a codec for messages nobody looks into.
type wire struct{}

func (wire) Name() string { return "proto" }

func (wire) Marshal(v any) ([]byte, error) {
	if b, ok := v.(*[]byte); ok {
		return *b, nil
	}
	return nil, fmt.Errorf("marshal %T: want bytes", v)
}

func (wire) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("unmarshal into %T: want bytes", v)
	}
	*b = append([]byte(nil), data...)
	return nil
}

// newRecorder listens on socket for an agent and speaks to the runtime at target. serve must run.
func newRecorder(target string) (*recorder, error) {
	conn, err := grpc.NewClient("unix://"+target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(wire{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)))
	if err != nil {
		return nil, err
	}
	r := &recorder{conn: conn}
	r.server = grpc.NewServer(grpc.ForceServerCodec(wire{}), grpc.MaxRecvMsgSize(maxMessage), grpc.UnknownServiceHandler(r.pass))
	return r, nil
}

// serve takes calls on socket until close.
func (r *recorder) serve(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return r.server.Serve(listener)
}

func (r *recorder) close() error {
	r.server.Stop()
	return r.conn.Close()
}

// pass hands on one call: CRI has one request a call, and one reply or a stream of them.
func (r *recorder) pass(_ any, from grpc.ServerStream) error {
	full, _ := grpc.MethodFromServerStream(from)
	var request []byte
	if err := from.RecvMsg(&request); err != nil {
		return err
	}
	c := &call{method: full[strings.LastIndexByte(full, '/')+1:], request: request, began: time.Now()}
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.mu.Unlock()
	err := r.forward(from, full, request)
	r.mu.Lock()
	c.ended, c.err = time.Now(), err
	r.mu.Unlock()
	return err
}

func (r *recorder) forward(from grpc.ServerStream, full string, request []byte) error {
	ctx, cancel := context.WithCancel(from.Context())
	defer cancel()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	to, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, full)
	if err != nil {
		return err
	}
	if err := errors.Join(to.SendMsg(&request), to.CloseSend()); err != nil {
		return err
	}
	for {
		var reply []byte
		if err := to.RecvMsg(&reply); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := from.SendMsg(&reply); err != nil {
			return err
		}
	}
}

// since returns the calls that began after a moment, as far as they are.
func (r *recorder) since(t time.Time) []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []call
	for _, c := range r.calls {
		if c.began.After(t) {
			found = append(found, *c)
		}
	}
	return found
}
