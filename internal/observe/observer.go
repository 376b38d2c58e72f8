package observe

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
)

// Runtime is what the observer asks of the container runtime. The verbs are called by several goroutines and end
// when their context does.
type Runtime interface {
	Version(ctx context.Context) (engine.Version, error)
	Status(ctx context.Context) (engine.Status, error)
	// List returns a brief of every pod the runtime has something of.
	List(ctx context.Context) (map[types.UID]engine.Brief, error)
	// Inspect returns everything of one pod; a complete report without content if there is nothing.
	Inspect(ctx context.Context, uid types.UID) (pod.Report, error)
	// Events hands on events, one at a time, until the stream ends, and says why it ended.
	Events(ctx context.Context, tell func(engine.Event)) error
}

// Receiver takes what was learned of a pod. It is called by several goroutines and must not block; reports of one
// pod may come out of order, which pod.Observed.Merge sorts out. A pod may be one that nobody has heard of.
type Receiver interface {
	Deliver(uid types.UID, r pod.Report)
}

// Metrics are the observer's numbers; nil functions are skipped. The comments name the metrics they feed.
type Metrics struct {
	// Relisted: a listing took so long. kubelet_pleg_relist_duration_seconds.
	Relisted func(took time.Duration)
	// RelistInterval: so long after the one before it began a listing. kubelet_pleg_relist_interval_seconds.
	RelistInterval func(between time.Duration)
	// LastSeen: a listing that began then has come back. kubelet_pleg_last_seen_seconds.
	LastSeen func(at time.Time)
	// Inspected: the inspection of one pod took so long. kubelet_pleg_pod_relist_duration_seconds.
	Inspected func(took time.Duration)
	// StreamUp: the event stream stands. kubelet_evented_pleg_connection_success_count.
	StreamUp func()
	// StreamFailed: the event stream ended. kubelet_evented_pleg_connection_error_count.
	StreamFailed func()
	// EventDelay: an event came so long after the runtime made it. kubelet_evented_pleg_connection_latency_seconds.
	EventDelay func(late time.Duration)
}

// Config is what an observer needs.
type Config struct {
	Runtime  Runtime
	Receiver Receiver
	Log      *slog.Logger
	Notes    note.Sink
	Metrics  Metrics
	// RelistEvery is the time between listings while the event stream stands; 0 means 1 minute.
	RelistEvery time.Duration
	// RelistWithoutEvents is the time between listings while it does not; 0 means 1 second.
	RelistWithoutEvents time.Duration
	// StatusEvery is the time between questions for the runtime's status while all is well; 0 means 5 seconds.
	StatusEvery time.Duration
}

// Observer watches the container runtime.
type Observer struct {
	cfg       Config
	health    latest.Cell[Health]
	listing   latest.Cell[Listing]
	changing  sync.Mutex // held from reading to setting health
	roster    roster
	inbox     inbox
	relistNow chan struct{}
	statusNow chan struct{}
}

// New builds an observer. Log and Notes may be nil.
func New(cfg Config) *Observer {
	orElse := func(d *time.Duration, standard time.Duration) {
		if *d <= 0 {
			*d = standard
		}
	}
	orElse(&cfg.RelistEvery, time.Minute)
	orElse(&cfg.RelistWithoutEvents, time.Second)
	orElse(&cfg.StatusEvery, 5*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Notes == nil {
		cfg.Notes = func(note.Note) {}
	}
	o := &Observer{
		cfg: cfg, roster: newRoster(), inbox: newInbox(),
		relistNow: make(chan struct{}, 1), statusNow: make(chan struct{}, 1),
	}
	o.health.Set(Health{Message: notAskedYet, NetworkMessage: notAskedYet})
	return o
}

// Health is how the runtime fares. The observer is its only writer.
func (o *Observer) Health() *latest.Cell[Health] { return &o.health }

// Listing is the newest listing. It is apart from Health, which changes only when something is otherwise.
func (o *Observer) Listing() *latest.Cell[Listing] { return &o.listing }

// Run watches the runtime until ctx ends.
func (o *Observer) Run(ctx context.Context) error {
	loops, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context){o.watchStatus, o.followEvents, o.relist, o.inspect} {
		loops.Go(func() error {
			loop(ctx)
			return ctx.Err()
		})
	}
	return loops.Wait()
}

// nudge wakes a loop; several nudges before it wakes are one.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// rest waits, and tells whether ctx still goes on.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// longer is the pause after a pause that was not enough.
func longer(pause, most time.Duration) time.Duration { return min(2*pause, most) }
