package trace

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Config is what a Tracer is built from.
type Config struct {
	// Endpoint is host:port of the collector; empty means localhost:4317.
	Endpoint string
	// PerMillion says of how many new traces in a million the spans are kept. Traces that others have begun are kept if they say so.
	PerMillion int32
	// Service and Host are what all spans say of where they come from.
	Service, Host string
	// Every is the longest that a span which has ended waits to be sent; zero means 5 seconds.
	Every time.Duration
	Log   *slog.Logger
}

// Tracer makes spans and sends them. It is safe for use by several goroutines.
type Tracer struct {
	cfg   Config
	below uint64
	// some is sent to when the first span waits, many when there are enough to be sent at once.
	some, many chan struct{}

	mu      sync.Mutex
	waiting []*Span
	lost    int
}

const (
	// batch is how many spans are sent at once, and most how many wait at most; more are lost, which is told.
	batch = 512
	most  = 2048
)

// New builds a Tracer. It sends nothing before Run.
func New(cfg Config) *Tracer {
	if cfg.Endpoint == "" {
		cfg.Endpoint = "localhost:4317"
	}
	if cfg.Every <= 0 {
		cfg.Every = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	const million = 1000000
	return &Tracer{
		cfg: cfg, below: uint64(min(max(cfg.PerMillion, 0), million)) * (1 << 63 / million),
		some: make(chan struct{}, 1), many: make(chan struct{}, 1),
	}
}

// Kind is a span's place between callers and called.
type Kind uint8

// The kinds, with the numbers of OTLP.
const (
	Inside Kind = 1 + iota // a step of our own
	Server                 // somebody called us
	Client                 // we call somebody
)

// Span is something that took time. One of a trace that is not kept does nothing.
type Span struct {
	tracer *Tracer
	place  Place
	parent [8]byte
	name   string
	kind   Kind
	began  time.Time
	ended  time.Time
	attrs  []slog.Attr
	// fault is what went wrong, if failed.
	fault  string
	failed bool
}

// Begin begins a span below the place of ctx; where there is none, a trace begins.
func (t *Tracer) Begin(ctx context.Context, kind Kind, name string, at time.Time, attrs ...slog.Attr) *Span {
	above := Of(ctx)
	s := &Span{tracer: t, place: above}
	if above.Known() {
		s.parent = above.Span
	} else {
		binary.BigEndian.PutUint64(s.place.Trace[:8], rand.Uint64())
		binary.BigEndian.PutUint64(s.place.Trace[8:], rand.Uint64()|1)
		s.place.Kept = binary.BigEndian.Uint64(s.place.Trace[8:])>>1 < t.below
	}
	binary.BigEndian.PutUint64(s.place.Span[:], rand.Uint64()|1)
	if s.place.Kept {
		s.name, s.kind, s.began, s.attrs = name, kind, at, attrs
	}
	return s
}

// Under returns ctx below the span.
func (s *Span) Under(ctx context.Context) context.Context { return At(ctx, s.place) }

// Add says more of the span. It may be called until the span ends, by one goroutine at a time.
func (s *Span) Add(attrs ...slog.Attr) {
	if s.place.Kept {
		s.attrs = append(s.attrs, attrs...)
	}
}

// Rename gives the span another name, where the right one is known late.
func (s *Span) Rename(name string) {
	if s.place.Kept {
		s.name = name
	}
}

// Fail says that what the span is about went wrong, and how.
func (s *Span) Fail(fault string) { s.failed, s.fault = true, fault }

// End ends the span; it is sent soon. It must be called once.
func (s *Span) End(at time.Time) {
	if !s.place.Kept {
		return
	}
	s.ended = at
	s.tracer.queue(s)
}

func (t *Tracer) queue(s *Span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) >= most {
		t.lost++
		return
	}
	t.waiting = append(t.waiting, s)
	switch len(t.waiting) {
	case 1:
		signal(t.some)
	case batch:
		signal(t.many)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take takes what is to be sent next, and how many spans were lost before.
func (t *Tracer) take() (spans []*Span, lost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(batch, len(t.waiting))
	spans, t.waiting = t.waiting[:n:n], t.waiting[n:]
	if len(t.waiting) == 0 {
		t.waiting = nil
	}
	lost, t.lost = t.lost, 0
	return spans, lost
}
