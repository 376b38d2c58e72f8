package pressure

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/evict"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// Config is what a Loop is built from.
type Config struct {
	Settings evict.Settings
	// Dir is the state directory, Boot names this life of the machine.
	Dir, Boot string
	// NoLimits leaves alone pods that exceed their own limits of the disk (localStorageCapacityIsolation false).
	NoLimits bool
	// Read reads what is left. What could not be read is missing, and the error says why.
	Read func(context.Context) (evict.Readings, error)
	// Measure measures pods.
	Measure func(context.Context, []evict.Candidate, evict.Need) []evict.Candidate
	// Watch, if set, calls tell when the kernel says that memory is short, until the context ends or it knows that the kernel
	// never will. least says how little may be left of the signals for memory.
	Watch func(ctx context.Context, least func() map[evict.Signal]int64, tell func()) error
	// Pods are the pods that were let in and have not ended, and those whose end was ordered here and that have not gone. The
	// channel is closed when there is news.
	Pods func() ([]Pod, <-chan struct{})
	// Containers and Images clear away ended containers, and images that nobody uses; nil if there is nobody who does. lacking
	// is how many bytes are wanted; 0 means as many as can be had. freed is how many bytes the images had that were removed; what
	// that frees may be less.
	Containers func(context.Context) error
	Images     func(ctx context.Context, lacking int64) (freed int64, err error)
	// Evicted, if set, is told of each pod that is made to go: for which signal, and how old what was known then was.
	Evicted func(signal string, age time.Duration)
	Notes   note.Sink
	Log     *slog.Logger
}

// Pod is a pod as the loop has to know it.
type Pod struct {
	Desired *pod.Desired
	// IDs are those of its containers that run, by name.
	IDs map[string]string
	// Gone tells that it uses nothing of the node any more but logs.
	Gone bool
}

// State is what there is of a shortage, for people. It is never changed.
type State struct {
	// Short are the thresholds that are met, the most urgent first.
	Short []evict.Shortage
	// Pressure is what the node says, and Since since when.
	Pressure []v1.NodeConditionType
	Since    time.Time
	// Problem is what could not be read; empty for nothing.
	Problem      string
	ProblemSince time.Time
	// Waiting are pods that were made to go and have not gone.
	Waiting []types.UID
}

// Loop looks and acts.
type Loop struct {
	cfg      Config
	record   record
	pressure latest.Cell[[]v1.NodeConditionType]
	orders   latest.Cell[map[types.UID]*plan.Order]
	state    latest.Cell[State]
	// told holds something when the kernel has told of memory.
	told chan struct{}

	// What follows belongs to the goroutine of Run.
	memory evict.Memory
	limits map[types.UID]time.Time // when a pod with limits is measured again
	// fruitless is when something was last done about a shortage without a pod having to go.
	fruitless map[evict.Signal]time.Time
	// waited are pods that were waited for long enough: others go before they do.
	waited map[types.UID]bool

	mu    sync.Mutex
	least map[evict.Signal]int64
}

// New builds a Loop, and reads what the node was short of when the agent was last there: it goes on saying so until it has had
// enough for a while.
func New(cfg Config) *Loop {
	l := &Loop{
		cfg: cfg, record: record{path: filepath.Join(cfg.Dir, recordName), boot: cfg.Boot}, told: make(chan struct{}, 1),
		limits: map[types.UID]time.Time{}, fruitless: map[evict.Signal]time.Time{}, waited: map[types.UID]bool{},
	}
	was, err := l.record.load()
	if err != nil {
		cfg.Log.Warn("what the node was short of is not known", "err", err)
	}
	now := time.Now()
	l.memory = evict.Pressed(was, now)
	l.pressure.Set(was)
	l.state.Set(State{Pressure: was, Since: now})
	return l
}

// Pressure is what the node is short of: MemoryPressure, DiskPressure, PIDPressure.
func (l *Loop) Pressure() *latest.Cell[[]v1.NodeConditionType] { return &l.pressure }

// Orders are the pods that have to end.
func (l *Loop) Orders() *latest.Cell[map[types.UID]*plan.Order] { return &l.orders }

// State is what there is of a shortage now.
func (l *Loop) State() *latest.Cell[State] { return &l.state }

// Run looks and acts until the context ends.
func (l *Loop) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	if l.cfg.Watch != nil && l.wantsMemory() {
		group.Go(func() { l.watch(ctx) })
	}
	for ctx.Err() == nil {
		at, acted := l.pass(ctx)
		if !acted {
			l.pause(ctx, at)
		}
	}
	return nil
}

func (l *Loop) wantsMemory() bool {
	return slices.ContainsFunc(l.cfg.Settings.Thresholds, func(t evict.Threshold) bool { return t.Signal.Condition() == v1.NodeMemoryPressure })
}

// watch listens to the kernel. Without it the node is looked at each ten seconds.
func (l *Loop) watch(ctx context.Context) {
	err := l.cfg.Watch(ctx, l.leasts, func() {
		select {
		case l.told <- struct{}{}:
		default:
		}
	})
	if err != nil && ctx.Err() == nil {
		l.cfg.Log.Info("the kernel does not tell of memory that runs short; it is looked at now and then", "every", evict.Every, "why", err)
	}
}

func (l *Loop) leasts() map[evict.Signal]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.least
}

// pause waits until it is time to look again.
func (l *Loop) pause(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-l.told:
	}
}

// pass looks once and does what follows from that. acted tells that a pod was made to go, so that it is time for another look.
func (l *Loop) pass(ctx context.Context) (again time.Time, acted bool) {
	pods, _ := l.cfg.Pods()
	l.forget(pods)
	v := evict.View{LookAt: time.Now().Add(evict.Every)}
	if len(l.cfg.Settings.Thresholds) > 0 {
		v = l.look(ctx)
	}
	if over := l.overfull(ctx, pods); len(over) > 0 {
		l.end(ctx, over, time.Now())
		return v.LookAt, true
	}
	short, urgent := v.Urgent()
	if !urgent || ctx.Err() != nil {
		return v.LookAt, false
	}
	return v.LookAt, l.relieve(ctx, short)
}

// look reads what is left, judges it and publishes what follows.
func (l *Loop) look(ctx context.Context) evict.View {
	r, err := l.cfg.Read(ctx)
	if ctx.Err() != nil {
		return evict.View{LookAt: time.Now()}
	}
	v := evict.Look(l.cfg.Settings, l.memory, r, time.Now())
	l.memory = v.Memory
	l.mu.Lock()
	l.least = evict.Leasts(l.cfg.Settings, r)
	l.mu.Unlock()
	l.publish(v, err)
	return v
}

// publish tells what is news.
func (l *Loop) publish(v evict.View, problem error) {
	before := l.state.Value()
	now := before
	now.Short, now.Problem = v.Short, ""
	if problem != nil {
		if now.Problem = problem.Error(); before.Problem == "" {
			now.ProblemSince = time.Now()
			l.cfg.Log.Info("not everything that the node has left can be read", "err", problem)
		}
	}
	if !slices.Equal(before.Pressure, v.Pressure) {
		now.Pressure, now.Since = v.Pressure, time.Now()
		if err := l.record.save(v.Pressure); err != nil {
			l.cfg.Log.Warn("a restart of the agent will not know what the node is short of", "err", err)
		}
		l.pressure.Set(v.Pressure)
		l.say(before.Pressure, v)
	}
	l.state.Set(now)
}

// say tells the log what has changed. Events come from the node's status.
func (l *Loop) say(before []v1.NodeConditionType, v evict.View) {
	for _, c := range v.Pressure {
		if slices.Contains(before, c) {
			continue
		}
		for _, s := range v.Short {
			if s.Signal.Condition() == c {
				l.cfg.Log.Warn("the node is running short", "condition", c, "short", s.String())
			}
		}
	}
	for _, c := range before {
		if !slices.Contains(v.Pressure, c) {
			l.cfg.Log.Info("the node is no longer short", "condition", c)
		}
	}
}

// forget drops what is known of pods that are not there any more, and takes back their orders.
func (l *Loop) forget(pods []Pod) {
	there := map[types.UID]bool{}
	for _, p := range pods {
		there[p.Desired.UID()] = !p.Gone
	}
	gone := func(uid types.UID) bool { return !there[uid] }
	maps.DeleteFunc(l.waited, func(uid types.UID, _ bool) bool { return gone(uid) })
	maps.DeleteFunc(l.limits, func(uid types.UID, _ time.Time) bool { return gone(uid) })
	orders := maps.Clone(l.orders.Value())
	maps.DeleteFunc(orders, func(uid types.UID, _ *plan.Order) bool { return gone(uid) })
	if len(orders) != len(l.orders.Value()) {
		l.orders.Set(orders)
	}
}
