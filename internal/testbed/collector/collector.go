package collector

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Collector takes spans.
type Collector struct {
	server *grpc.Server

	mu       sync.Mutex
	spans    []Span
	requests int
	refuse   error
	newer    chan struct{}
}

// Span is one that came, with what its sender says of itself.
type Span struct {
	*tracev1.Span
	// Resource are the attributes of the sender.
	Resource map[string]string
}

// Attrs are the attributes of the span as text.
func (s Span) Attrs() map[string]string {
	out := map[string]string{}
	for _, a := range s.GetAttributes() {
		out[a.GetKey()] = valueOf(a.GetValue())
	}
	return out
}

func valueOf(v *commonv1.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *commonv1.AnyValue_StringValue:
		return v.StringValue
	case *commonv1.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *commonv1.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	}
	return fmt.Sprintf("%T", v)
}

// service is TraceService of opentelemetry/proto/collector/trace/v1. Its request has the same fields as TracesData; so the
// package with its Go code is not needed, which would bring a gateway to HTTP along.
var service = grpc.ServiceDesc{
	ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Export",
		Handler: func(c any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := &tracev1.TracesData{}
			if err := decode(request); err != nil {
				return nil, err
			}
			if err := c.(*Collector).take(request); err != nil {
				return nil, err
			}
			return &tracev1.TracesData{}, nil // the empty answer: all was taken
		},
	}},
}

// Start starts a collector on a port of its own at loopback, and ends it with the test.
func Start(tb testing.TB) (*Collector, string) {
	tb.Helper()
	return StartAt(tb, "127.0.0.1:0")
}

// StartAt is Start at an address.
func StartAt(tb testing.TB, address string) (*Collector, string) {
	tb.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	c := &Collector{server: grpc.NewServer(), newer: make(chan struct{})}
	c.server.RegisterService(&service, c)
	served := make(chan error, 1)
	go func() { served <- c.server.Serve(l) }()
	tb.Cleanup(func() {
		c.server.Stop()
		if err := <-served; err != nil {
			tb.Errorf("collector: %v", err)
		}
	})
	return c, l.Addr().String()
}

// Refuse makes the collector answer with an error; nil makes it take spans again.
func (c *Collector) Refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = err
}

func (c *Collector) take(request *tracev1.TracesData) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	close(c.newer)
	c.newer = make(chan struct{})
	if c.refuse != nil {
		return c.refuse
	}
	for _, r := range request.GetResourceSpans() {
		resource := map[string]string{}
		for _, a := range r.GetResource().GetAttributes() {
			resource[a.GetKey()] = a.GetValue().GetStringValue()
		}
		for _, s := range r.GetScopeSpans() {
			for _, span := range s.GetSpans() {
				c.spans = append(c.spans, Span{span, resource})
			}
		}
	}
	return nil
}

// Spans are those that came so far, and a channel that is closed when another request comes.
func (c *Collector) Spans() ([]Span, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans), c.newer
}

// Requests is how many requests came, refused ones included, and a channel that is closed when another one comes.
func (c *Collector) Requests() (int, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests, c.newer
}

// Await waits until the spans that came are enough, and returns them.
func (c *Collector) Await(ctx context.Context, enough func([]Span) bool) ([]Span, error) {
	for {
		spans, newer := c.Spans()
		if enough(spans) {
			return spans, nil
		}
		select {
		case <-ctx.Done():
			return spans, ctx.Err()
		case <-newer:
		}
	}
}

// Children are the spans below one, in the order in which they began.
func Children(spans []Span, of Span) []Span {
	var out []Span
	for _, s := range spans {
		if string(s.GetParentSpanId()) == string(of.GetSpanId()) && string(s.GetTraceId()) == string(of.GetTraceId()) {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b Span) int { return int(int64(a.GetStartTimeUnixNano() - b.GetStartTimeUnixNano())) })
	return out
}
