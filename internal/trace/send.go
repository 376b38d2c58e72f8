package trace

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

const (
	exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	// exportLimit is how long one sending may take, and lastLimit the last one, when the agent leaves.
	exportLimit = 10 * time.Second
	lastLimit   = time.Second
	// longestPause is the longest time between attempts while the collector cannot be had.
	longestPause = 2 * time.Minute
)

// Run sends spans until the context ends, and then once more what there is. A collector that cannot be had is said once; spans
// wait for it as long as there is room for them.
func (t *Tracer) Run(ctx context.Context) error {
	conn, err := grpc.NewClient(t.cfg.Endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(plainBytes{})),
	)
	if err != nil {
		return fmt.Errorf("collector of traces at %s: %w", t.cfg.Endpoint, err)
	}
	defer func() { _ = conn.Close() }() // it is of no use any more
	out := &outbox{tracer: t, conn: conn}
	for out.await(ctx) {
		out.send(ctx)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLimit)
	defer cancel()
	out.leaving = true
	out.send(last)
	return nil
}

// outbox is what is known of the sending; it belongs to Run.
type outbox struct {
	tracer *Tracer
	conn   *grpc.ClientConn
	// unsent is what could not be sent yet, and lost how many spans were lost so far that nobody was told of.
	unsent []*Span
	lost   int
	// leaving tells that there will be no other attempt.
	leaving bool
	// down tells that the collector could not be had the last time, and pause how long to wait then.
	down  bool
	pause time.Duration
}

// await blocks until there is something to send and it is time to; it returns false when the agent leaves.
func (o *outbox) await(ctx context.Context) bool {
	wait := o.tracer.cfg.Every
	var many <-chan struct{} = o.tracer.many
	if o.down {
		wait, many = o.pause, nil
	} else {
		select {
		case <-ctx.Done():
			return false
		case <-o.tracer.some:
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-many:
	}
	return true
}

// send sends all there is.
func (o *outbox) send(ctx context.Context) {
	for {
		if len(o.unsent) == 0 {
			spans, lost := o.tracer.take()
			o.unsent, o.lost = spans, o.lost+lost
		}
		if len(o.unsent) == 0 {
			return
		}
		answer, err := o.export(ctx)
		if err != nil && again(err) {
			switch {
			case o.leaving:
				o.tracer.cfg.Log.Warn("the last spans cannot be sent to the collector", "endpoint", o.tracer.cfg.Endpoint, "spans", len(o.unsent), "err", status.Convert(err).Message())
			case !o.down:
				o.tracer.cfg.Log.Warn("spans cannot be sent to the collector; it is tried again", "endpoint", o.tracer.cfg.Endpoint, "err", status.Convert(err).Message())
			}
			o.down, o.pause = true, min(max(2*o.pause, o.tracer.cfg.Every), longestPause)
			return
		}
		if err != nil {
			o.tracer.cfg.Log.Warn("the collector does not take spans", "endpoint", o.tracer.cfg.Endpoint, "spans", len(o.unsent), "err", status.Convert(err).Message())
		} else if n, why := rejected(answer); why != "" {
			o.tracer.cfg.Log.Warn("the collector did not take all spans", "endpoint", o.tracer.cfg.Endpoint, "spans", n, "why", why)
		}
		o.unsent = nil
		o.up()
	}
}

// up notes that the collector answers.
func (o *outbox) up() {
	if o.down || o.lost > 0 {
		o.tracer.cfg.Log.Info("the collector answers", "endpoint", o.tracer.cfg.Endpoint, "spans lost", o.lost)
	}
	o.down, o.pause, o.lost = false, 0, 0
}

// export sends what is unsent. When the agent leaves meanwhile, it may come to its end, if it does soon: what is cut short may have
// arrived.
func (o *outbox) export(ctx context.Context) ([]byte, error) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), exportLimit)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastLimit, cancel) })()
	ctx = limited
	var answer []byte
	err := o.conn.Invoke(ctx, exportMethod, o.tracer.request(o.unsent), &answer)
	return answer, err
}

// again tells whether the same spans may be sent again, as the protocol has it.
func again(err error) bool {
	switch status.Code(err) {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss, codes.ResourceExhausted:
		return true
	}
	return false
}

// plainBytes is the codec for messages that are encoded already.
type plainBytes struct{}

func (plainBytes) Name() string { return "proto" }

func (plainBytes) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("%T is no message of ours", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (plainBytes) Unmarshal(data mem.BufferSlice, v any) error {
	into, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is no message of ours", v)
	}
	*into = data.Materialize()
	return nil
}
