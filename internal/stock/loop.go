package stock

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/backoff"
	"github.com/bosun-project/bosun/internal/latest"
)

// Plugin is one device plugin. Errors are fault.ErrUnavailable if it is away.
type Plugin interface {
	// Options tells what the plugin wants, as soon as it serves.
	Options(ctx context.Context) (preStart, prefers bool, err error)
	// Follow tells of the plugin's devices, and what was wrong with what it told, until that ends.
	Follow(ctx context.Context, tell func(devices map[string]allocate.Device, problem string)) error
	Prefer(ctx context.Context, q allocate.Question) ([]string, error)
	Allocate(ctx context.Context, ids []string) (allocate.Artifacts, error)
	PreStart(ctx context.Context, ids []string) error
	Close() error
}

// Config is what a Loop is built from.
type Config struct {
	// Connect makes the connection to the plugin at a socket, without speaking to it.
	Connect func(socket string) (Plugin, error)
	// Valid tells why a plugin for a resource that speaks some versions cannot be used.
	Valid func(resource string, versions ...string) error
	// Known are the resources that were ever served here, and Remember keeps one more.
	Known    []string
	Remember func(ctx context.Context, resource string) error
	// Patience is how long a resource is waited for that nobody serves. Default 5 minutes.
	Patience time.Duration
	// Alone tells that nobody but plugins can offer extended resources: there is no cluster.
	Alone bool
	// Boot identifies since when the machine runs.
	Boot string
	// Registered counts registrations of a resource, Took how long its plugin took to hand out devices; nil is fine.
	Registered func(resource string)
	Took       func(resource string, d time.Duration)
	Log        *slog.Logger
}

// Loop follows the plugins. Its methods may be used by several goroutines.
type Loop struct {
	cfg      Config
	supplies latest.Cell[allocate.Supplies]
	poke     chan struct{}
	// patient is until when plugins are waited for that have not registered.
	patient time.Time

	mu        sync.Mutex
	resources map[string]*resource
	arrivals  []*server
	questions []allocate.Question
	asked     map[string]bool
	answers   []answer
}

// resource is what is known of one.
type resource struct {
	// server serves it, nil if nobody does; coming is the newest one that has registered and not told of its devices yet.
	server, coming *server
	devices        map[string]allocate.Device
	serial         uint64
	ever, gone     bool
	why            string
	until          time.Time
}

// server is one plugin.
type server struct {
	resource, socket  string
	plugin            Plugin
	preStart, prefers bool
	// knows tells that its options were asked for already.
	knows bool
	stop  context.CancelFunc
}

// pauses are those between attempts to speak to a plugin that has registered.
var pauses = backoff.Series{Initial: 500 * time.Millisecond, Max: 10 * time.Second}

// New builds a Loop. Nothing is done before Run.
func New(cfg Config) *Loop {
	if cfg.Patience <= 0 {
		cfg.Patience = 5 * time.Minute
	}
	l := &Loop{cfg: cfg, poke: make(chan struct{}, 1), resources: map[string]*resource{}, asked: map[string]bool{}}
	l.patient = time.Now().Add(cfg.Patience)
	for _, name := range cfg.Known {
		l.resources[name] = &resource{why: "it has not registered since the agent started", until: l.patient}
	}
	l.publish()
	return l
}

// Supplies is what the plugins have to give.
func (l *Loop) Supplies() *latest.Cell[allocate.Supplies] { return &l.supplies }

// publish tells of the resources. The lock is held, or nobody else has the Loop yet.
func (l *Loop) publish() {
	s := allocate.Supplies{Known: make(map[string]allocate.Supply, len(l.resources))}
	for name, r := range l.resources {
		s.Known[name] = allocate.Supply{
			Devices: r.devices, Serving: r.server != nil, Prefers: r.server != nil && r.server.prefers,
			Serial: r.serial, Ever: r.ever, Gone: r.gone, Why: r.why, Until: r.until,
		}
	}
	if l.cfg.Alone {
		s.Unknown = &allocate.Supply{Why: "none has registered since the agent started", Until: l.patient}
	}
	l.supplies.Set(s)
}

// Enter takes in a plugin that serves a resource at a socket, soon.
func (l *Loop) Enter(resource, socket string) { l.enter(&server{resource: resource, socket: socket}) }

func (l *Loop) enter(s *server) {
	if l.cfg.Registered != nil {
		l.cfg.Registered(s.resource)
	}
	l.mu.Lock()
	l.arrivals = append(l.arrivals, s)
	l.mu.Unlock()
	l.wake()
}

// Validate, Register and Deregister take in plugins that were found by their registration sockets.
func (l *Loop) Validate(name string, versions []string) error { return l.cfg.Valid(name, versions...) }

// Register takes in a plugin whose socket was found. It returns when the plugin has told what it wants.
func (l *Loop) Register(ctx context.Context, name, socket string, _ []string) error {
	s := &server{resource: name, socket: socket, knows: true}
	var err error
	if s.plugin, err = l.cfg.Connect(socket); err != nil {
		return fmt.Errorf("register the device plugin of %s: %w", name, err)
	}
	if s.preStart, s.prefers, err = s.plugin.Options(ctx); err != nil {
		l.close(s)
		return fmt.Errorf("register the device plugin of %s: %w", name, err)
	}
	l.enter(s)
	return nil
}

// Deregister lets a plugin go, if it is the one at that socket.
func (l *Loop) Deregister(name, socket string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.resources[name]; r != nil {
		for _, s := range []*server{r.server, r.coming} {
			if s != nil && s.socket == socket {
				s.stop()
			}
		}
	}
	l.arrivals = slices.DeleteFunc(l.arrivals, func(s *server) bool {
		if s.resource != name || s.socket != socket {
			return false
		}
		l.close(s)
		return true
	})
	return nil
}

func (l *Loop) wake() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// Run follows plugins until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.arrive(ctx, &group)
		for _, q := range l.open() {
			group.Go(func() { l.ask(ctx, q) })
		}
		var alarm <-chan time.Time
		if at := l.expire(time.Now()); !at.IsZero() {
			timer.Reset(time.Until(at))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.poke:
		case <-alarm:
		}
	}
}

// arrive begins to follow the plugins that have registered.
func (l *Loop) arrive(ctx context.Context, group *sync.WaitGroup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.arrivals {
		r := l.resources[s.resource]
		if r == nil {
			r = &resource{}
			l.resources[s.resource] = r
		}
		if r.coming != nil {
			r.coming.stop()
		}
		living, stop := context.WithCancel(ctx)
		s.stop = stop
		if r.server == nil {
			r.why = "it has registered, and has not told of its devices yet"
		}
		if r.gone || r.until.IsZero() {
			r.until = time.Now().Add(l.cfg.Patience)
		}
		r.coming, r.ever, r.gone = s, true, false
		group.Go(func() { l.follow(ctx, living, s) })
	}
	if len(l.arrivals) > 0 {
		l.publish()
	}
	l.arrivals = nil
}

// expire gives up resources that nobody has served for long; it returns when the next one is due.
func (l *Loop) expire(now time.Time) (next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	changed := false
	for _, name := range slices.Sorted(maps.Keys(l.resources)) {
		r := l.resources[name]
		switch {
		case r.server != nil || r.gone:
		case now.Before(r.until):
			if next.IsZero() || r.until.Before(next) {
				next = r.until
			}
		default:
			r.gone, r.devices, changed = true, nil, true
			l.cfg.Log.Warn("a resource is given up that no device plugin has served for long", "resource", name, "after", l.cfg.Patience)
		}
	}
	if changed {
		l.publish()
	}
	return next
}
