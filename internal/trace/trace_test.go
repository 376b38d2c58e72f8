package trace_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/bosun-project/bosun/internal/testbed/collector"
	"github.com/bosun-project/bosun/internal/trace"
)

const patience = time.Minute

// a log that tests read.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// sending starts a tracer that sends to a collector; what it returns stops it.
func sending(t *testing.T, cfg trace.Config) (*trace.Tracer, func()) {
	t.Helper()
	tracer := trace.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tracer.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return tracer, stop
}

func all(address string) trace.Config {
	return trace.Config{Endpoint: address, PerMillion: 1000000, Service: "kubelet", Host: "node", Every: time.Millisecond}
}

func names(spans []collector.Span) []string {
	var out []string
	for _, s := range spans {
		out = append(out, s.GetName())
	}
	return out
}

func await(t *testing.T, c *collector.Collector, n int) []collector.Span {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	spans, err := c.Await(ctx, func(s []collector.Span) bool { return len(s) >= n })
	if err != nil {
		t.Fatalf("%v: only %q came", err, names(spans))
	}
	return spans
}

// TestSpan sends every kind of thing that a span can say to a collector that reads it with OTLP's own code.
func TestSpan(t *testing.T) {
	c, address := collector.Start(t)
	tracer, _ := sending(t, all(address))
	at := time.Unix(1000, 7)
	outer := tracer.Begin(t.Context(), trace.Inside, "outer", at, slog.String("text", "x"), slog.String("empty", ""))
	inner := tracer.Begin(outer.Under(t.Context()), trace.Client, "?", at, slog.Bool("yes", true), slog.Bool("no", false), slog.Int("less", -3), slog.Uint64("more", 7), slog.Duration("took", 5))
	inner.Rename("inner")
	inner.Add(slog.Any("else", 1.5))
	inner.Fail("broken")
	inner.End(at.Add(time.Second))
	outer.End(at.Add(2 * time.Second))
	spans := await(t, c, 2)
	in, out := spans[0], spans[1]
	if in.GetName() != "inner" || out.GetName() != "outer" {
		t.Fatalf("came: %q", names(spans))
	}
	if want := map[string]string{"service.name": "kubelet", "host.name": "node"}; fmt.Sprint(in.Resource) != fmt.Sprint(want) {
		t.Errorf("resource %v, want %v", in.Resource, want)
	}
	if got, want := in.Attrs(), map[string]string{"yes": "true", "no": "false", "less": "-3", "more": "7", "took": "5", "else": "1.5"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("attributes %v, want %v", got, want)
	}
	if got, want := out.Attrs(), map[string]string{"text": "x", "empty": ""}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("attributes %v, want %v", got, want)
	}
	if !bytes.Equal(in.GetTraceId(), out.GetTraceId()) || len(in.GetTraceId()) != 16 || len(in.GetSpanId()) != 8 ||
		!bytes.Equal(in.GetParentSpanId(), out.GetSpanId()) || len(out.GetParentSpanId()) != 0 {
		t.Errorf("ids: %v below %v", in, out)
	}
	if in.GetStatus().GetCode() != tracev1.Status_STATUS_CODE_ERROR || in.GetStatus().GetMessage() != "broken" || out.GetStatus() != nil {
		t.Errorf("status %v and %v", in.GetStatus(), out.GetStatus())
	}
	if in.GetKind() != tracev1.Span_SPAN_KIND_CLIENT || out.GetKind() != tracev1.Span_SPAN_KIND_INTERNAL {
		t.Errorf("kinds %v and %v", in.GetKind(), out.GetKind())
	}
	if in.GetStartTimeUnixNano() != 1000000000007 || in.GetEndTimeUnixNano() != 1001000000007 {
		t.Errorf("from %d to %d", in.GetStartTimeUnixNano(), in.GetEndTimeUnixNano())
	}
	if len(in.ProtoReflect().GetUnknown()) != 0 {
		t.Errorf("fields that OTLP does not know: %x", in.ProtoReflect().GetUnknown())
	}
}

// TestSampling: new traces are kept as often as is configured, those of others as they say.
func TestSampling(t *testing.T) {
	const n = 20000
	for _, rate := range []int32{0, 250000, 1000000} {
		tracer := trace.New(trace.Config{PerMillion: rate})
		kept := 0
		for range n {
			if trace.Of(tracer.Begin(t.Context(), trace.Inside, "x", time.Now()).Under(t.Context())).Kept {
				kept++
			}
		}
		if share := float64(kept) / n * 1000000; share < 0.9*float64(rate) || share > 1.1*float64(rate) {
			t.Errorf("%d in a million are kept, want %d", int(share), rate)
		}
		for _, flags := range []string{"00", "01"} {
			p := trace.Parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"+flags, "")
			if below := trace.Of(tracer.Begin(trace.At(t.Context(), p), trace.Inside, "x", time.Now()).Under(t.Context())); below.Kept != p.Kept || below.Trace != p.Trace || below.Span == p.Span {
				t.Errorf("rate %d: below %v is %v", rate, p, below)
			}
		}
	}
}

// TestCollectorAway: spans wait while the collector refuses them, and as many come as there is room for.
func TestCollectorAway(t *testing.T) {
	c, address := collector.Start(t)
	c.Refuse(status.Error(codes.Unavailable, "not now"))
	log := &lines{}
	cfg := all(address)
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	tracer, stop := sending(t, cfg)
	tracer.Begin(t.Context(), trace.Inside, "first", time.Now()).End(time.Now())
	for {
		n, newer := c.Requests()
		if n > 1 {
			break
		}
		<-newer
	}
	for range 3000 {
		tracer.Begin(t.Context(), trace.Inside, "more", time.Now()).End(time.Now())
	}
	c.Refuse(nil)
	await(t, c, 2049)
	stop()
	spans, _ := c.Spans()
	if spans[0].GetName() != "first" || len(spans) > 2600 {
		t.Errorf("%d spans came, the first is %q", len(spans), spans[0].GetName())
	}
	for _, want := range []string{"spans cannot be sent", "not now", "the collector answers", "spans lost"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
	if n := strings.Count(log.String(), "spans cannot be sent"); n != 1 {
		t.Errorf("that the collector is away was said %d times", n)
	}
}

// TestRefusedForGood: what the collector does not take is not sent again.
func TestRefusedForGood(t *testing.T) {
	c, address := collector.Start(t)
	c.Refuse(status.Error(codes.InvalidArgument, "bad span"))
	log := &lines{}
	cfg := all(address)
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	tracer, stop := sending(t, cfg)
	tracer.Begin(t.Context(), trace.Inside, "bad", time.Now()).End(time.Now())
	for n, newer := c.Requests(); n < 1; n, newer = c.Requests() {
		<-newer
	}
	c.Refuse(nil)
	tracer.Begin(t.Context(), trace.Inside, "good", time.Now()).End(time.Now())
	await(t, c, 1)
	stop()
	if spans, _ := c.Spans(); !slices.Equal(names(spans), []string{"good"}) {
		t.Errorf("came: %q", names(spans))
	}
	if !strings.Contains(log.String(), "bad span") {
		t.Errorf("nobody was told:\n%s", log)
	}
}

// TestLastSpans: what has ended when the agent leaves is sent, and a collector that is not there does not hold it up.
func TestLastSpans(t *testing.T) {
	c, address := collector.Start(t)
	cfg := all(address)
	cfg.Every = time.Hour
	tracer, stop := sending(t, cfg)
	tracer.Begin(t.Context(), trace.Inside, "last", time.Now()).End(time.Now())
	stop()
	if spans, _ := c.Spans(); !slices.Equal(names(spans), []string{"last"}) {
		t.Errorf("came: %q", names(spans))
	}
	cfg.Endpoint = "127.0.0.1:1"
	tracer, stop = sending(t, cfg)
	tracer.Begin(t.Context(), trace.Inside, "lost", time.Now()).End(time.Now())
	stop()
}

// TestManyAtOnce: a full batch does not wait.
func TestManyAtOnce(t *testing.T) {
	c, address := collector.Start(t)
	cfg := all(address)
	cfg.Every = time.Hour
	tracer, _ := sending(t, cfg)
	for range 600 {
		tracer.Begin(t.Context(), trace.Inside, "one", time.Now()).End(time.Now())
	}
	await(t, c, 512)
}

// TestCalls: a call of a client is a span, and the called one learns its place.
func TestCalls(t *testing.T) {
	c, address := collector.Start(t)
	tracer, _ := sending(t, all(address))
	above := tracer.Begin(trace.At(t.Context(), trace.Parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")), trace.Inside, "above", time.Now())
	var sent metadata.MD
	answer := error(nil)
	call := func() error {
		return tracer.Calls()(above.Under(t.Context()), "/runtime.v1.RuntimeService/RunPodSandbox", nil, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			sent, _ = metadata.FromOutgoingContext(ctx)
			return answer
		})
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	told := trace.Parse(sent.Get("traceparent")[0], sent.Get("tracestate")[0])
	answer = status.Error(codes.NotFound, "no such image")
	if err := call(); !errors.Is(err, answer) {
		t.Fatal(err)
	}
	spans := await(t, c, 2)
	good, bad := spans[0], spans[1]
	if good.GetName() != "runtime.v1.RuntimeService/RunPodSandbox" || good.GetKind() != tracev1.Span_SPAN_KIND_CLIENT ||
		hex.EncodeToString(good.GetTraceId()) != "0af7651916cd43dd8448eb211c80319c" || good.GetTraceState() != "vendor=1" {
		t.Errorf("span %v", good)
	}
	if !bytes.Equal(told.Span[:], good.GetSpanId()) || told.State != "vendor=1" {
		t.Errorf("told %v, the span is %x", told, good.GetSpanId())
	}
	want := map[string]string{"rpc.system": "grpc", "rpc.service": "runtime.v1.RuntimeService", "rpc.method": "RunPodSandbox", "rpc.grpc.status_code": "0"}
	if fmt.Sprint(good.Attrs()) != fmt.Sprint(want) {
		t.Errorf("attributes %v, want %v", good.Attrs(), want)
	}
	if bad.GetStatus().GetMessage() != "no such image" || bad.Attrs()["rpc.grpc.status_code"] != "5" {
		t.Errorf("span of a call that failed: %v", bad)
	}
}

// TestRequests: a request is a span below the place that it names, by the name of its route.
func TestRequests(t *testing.T) {
	c, address := collector.Start(t)
	cfg := all(address)
	cfg.PerMillion = 0
	tracer, _ := sending(t, cfg)
	mux := http.NewServeMux()
	inside := make(chan trace.Place, 10)
	mux.HandleFunc("GET /logs/{path}", func(w http.ResponseWriter, r *http.Request) {
		inside <- trace.Of(r.Context())
		_, _ = io.WriteString(w, "yes")
	})
	mux.HandleFunc("POST /broken", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) })
	mux.HandleFunc("POST /exec", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_ = conn.Close()
	})
	server := httptest.NewServer(tracer.Requests(mux))
	defer server.Close()
	ask := func(method, path, parent string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if parent != "" {
			r.Header.Set("Traceparent", parent)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	const kept = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ask("GET", "/logs/secret", "")
	ask("GET", "/logs/secret", "nonsense")
	ask("GET", "/logs/secret", kept)
	ask("POST", "/broken", kept)
	ask("MAKEUP", "/nowhere", kept)
	ask("POST", "/exec", kept)
	spans := await(t, c, 4)
	if got, want := names(spans), []string{"GET /logs/{path}", "POST /broken", "HTTP", "POST /exec"}; !slices.Equal(got, want) {
		t.Fatalf("spans %q, want %q", got, want)
	}
	if first := spans[0]; hex.EncodeToString(first.GetParentSpanId()) != "b7ad6b7169203331" || first.GetKind() != tracev1.Span_SPAN_KIND_SERVER {
		t.Errorf("span %v", first)
	}
	for i, want := range []map[string]string{
		{"url.scheme": "http", "http.request.method": "GET", "http.route": "/logs/{path}", "http.response.status_code": "200"},
		{"url.scheme": "http", "http.request.method": "POST", "http.route": "/broken", "http.response.status_code": "500"},
		{"url.scheme": "http", "http.response.status_code": "404"},
		{"url.scheme": "http", "http.request.method": "POST", "http.route": "/exec", "http.response.status_code": "101"},
	} {
		if got := spans[i].Attrs(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: attributes %v, want %v", spans[i].GetName(), got, want)
		}
	}
	if a, b, third := <-inside, <-inside, <-inside; a.Kept || b.Kept || !third.Kept || !a.Known() || !bytes.Equal(third.Span[:], spans[0].GetSpanId()) {
		t.Errorf("inside the handlers: %v, %v, %v", a, b, third)
	}
}
