package simworld

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/worker"
)

// Agent is one life of the agent in the world: a worker.Set over simulated parts.
type Agent struct {
	world  *World
	set    *worker.Set
	cancel context.CancelFunc
	ended  sync.WaitGroup
	dead   bool // under world.mu: what a dead agent still does has no effect
	died   chan struct{}
	sink   func(note.Note)

	wanted *latest.Cell[worker.Wanted]
	node   latest.Cell[worker.Node]
}

// Options are what a test may want to know of an agent.
type Options struct {
	// Check sees every plan.
	Check func(plan.Input, plan.Plan)
	Notes note.Sink
	Judge worker.Judge
	Room  worker.Room
	// Adopted is what the agent finds that another one gave to pods.
	Adopted allocate.Owners
	// Rejected and Restarted are the worker's.
	Rejected  func(why string)
	Restarted func(*pod.Desired)
}

// Start begins a life of the agent. wanted is shared by all lives: it is what the sources say.
func (w *World) Start(wanted *latest.Cell[worker.Wanted], o Options) *Agent {
	ctx, cancel := context.WithCancel(context.Background())
	a := &Agent{world: w, cancel: cancel, wanted: wanted, sink: o.Notes, died: make(chan struct{})}
	if a.sink == nil {
		a.sink = func(note.Note) {}
	}
	if o.Judge == nil {
		o.Judge = func(*pod.Desired, []*pod.Desired, []*allocate.Assigned) plan.Verdict {
			return plan.Verdict{Judged: true, Admit: true}
		}
	}
	w.mu.Lock()
	remembered := maps.Clone(w.ledger)
	var disk []worker.Leftover
	for uid := range w.dirs {
		disk = append(disk, worker.Leftover{UID: uid})
	}
	w.agent = a
	boot := w.boot
	w.note("agent starts")
	w.mu.Unlock()
	a.set = worker.New(worker.Config{
		Doer: a, Ledger: a, Judge: o.Judge, Room: o.Room,
		Wanted: a.wanted.Get, Node: a.node.Get, Content: w.content.Get, Devices: w.devices.Get, Boot: boot, Orders: w.orders.Get,
		Remembered: remembered, Adopted: o.Adopted, Notes: a.sink, Log: slog.New(slog.DiscardHandler), Check: o.Check,
		Rejected: o.Rejected, Restarted: o.Restarted,
	})
	a.set.Found(disk)
	a.ended.Go(func() { _ = a.set.Run(ctx) })
	a.ended.Go(func() { a.observe(ctx) })
	return a
}

// Table shows the agent's pods.
func (a *Agent) Table() *worker.Table { return a.set.Table() }

// Owners are the pods that have something of the node for themselves, as the agent has it.
func (a *Agent) Owners() allocate.Owners { return a.set.Owners() }

// Crash ends the agent as kill -9 would: what it had in flight may or may not have happened, and nothing it does
// afterwards reaches the world. It returns when all its goroutines have ended.
func (a *Agent) Crash() {
	a.world.mu.Lock()
	a.die("agent crashes")
	a.world.mu.Unlock()
	a.ended.Wait()
}

// die ends the agent at this instant. The caller holds world.mu.
func (a *Agent) die(why string) {
	if a.dead {
		return
	}
	a.dead = true
	close(a.died)
	a.world.note("%s", why)
	if a.world.agent == a {
		a.world.agent = nil
	}
	a.cancel()
}

// Died is closed when the agent has crashed.
func (a *Agent) Died() <-chan struct{} { return a.died }

// Dead tells whether the agent has crashed.
func (a *Agent) Dead() bool {
	a.world.mu.Lock()
	defer a.world.mu.Unlock()
	return a.dead
}

// observe stands for the observe loop: a full listing each minute, and the runtime's health at once.
func (a *Agent) observe(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last time.Time
	for {
		a.world.mu.Lock()
		down, staying := a.world.faults.RuntimeDown, a.world.staying
		due := !down && (last.IsZero() || time.Since(last) >= time.Minute)
		var reports map[types.UID]pod.Report
		if due {
			reports = a.world.reports()
		}
		a.world.mu.Unlock()
		if due {
			began := time.Now()
			for uid, r := range reports {
				a.deliver(uid, r)
			}
			if last.IsZero() {
				n := a.node.Value()
				n.Relisted = began
				a.node.Set(n)
			}
			last = began
		}
		if n := a.node.Value(); n.RuntimeUp == down || n.Staying != staying {
			came := !down && !n.RuntimeUp
			n.RuntimeUp, n.NetworkReady, n.Staying = !down, !down, staying
			if came {
				last = time.Time{}
			}
			a.node.Set(n)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// reports inspects everything there is, and everything a worker may still believe in.
func (w *World) reports() map[types.UID]pod.Report {
	out := map[types.UID]pod.Report{}
	for _, s := range w.sandboxes {
		out[s.uid] = w.report(s.uid)
	}
	for _, c := range w.containers {
		out[c.uid] = w.report(c.uid)
	}
	for uid := range w.names {
		if _, ok := out[uid]; !ok {
			out[uid] = w.report(uid)
		}
	}
	return out
}

func (a *Agent) deliver(uid types.UID, r pod.Report) {
	if !a.Dead() {
		a.set.Deliver(uid, r)
	}
}

var errLedgerFull = errors.New("no space left on device")

// Save implements worker.Ledger.
func (a *Agent) Save(_ context.Context, uid types.UID, r plan.Record) error {
	w := a.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.dead {
		return errors.New("dead")
	}
	if w.faults.LedgerFull {
		w.refused[uid] = true
		return errLedgerFull
	}
	before := w.ledger[uid].Kept.Stop
	after := r.Kept.Stop
	if before != nil && after == nil {
		w.violate("%s: a stop was taken back", uid)
	}
	if before != nil && after != nil && after.Deadline.After(before.Deadline.Add(time.Millisecond)) {
		w.violate("%s: the deadline was put off", uid)
	}
	if after != nil && (after.Cause == plan.Removed || after.Cause == plan.Orphaned) && !w.mayEnd(a.wanted.Value(), uid) {
		w.violate("%s: stopped before all sources have spoken", uid)
	}
	a.checkGrant(uid, &r)
	a.checkKept(uid, &r)
	w.ledger[uid] = roundTrip(r)
	delete(w.refused, uid)
	return nil
}

// Forget implements worker.Ledger.
func (a *Agent) Forget(_ context.Context, uid types.UID) error {
	w := a.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.dead {
		return errors.New("dead")
	}
	if w.faults.LedgerFull {
		return errLedgerFull
	}
	delete(w.ledger, uid)
	return nil
}

// mayEnd tells whether it is known that nobody wants a pod: all sources have spoken, or all of the kind it came from, or there is a
// newer version of it. The caller holds mu.
func (w *World) mayEnd(wanted worker.Wanted, uid types.UID) bool {
	if wanted.Ready || wanted.Pods[uid] == nil && wanted.Spoken[w.sources[uid]] {
		return true
	}
	for _, d := range wanted.Pods {
		if d.Static() && d.UID() != uid && d.Pod.Name == w.names[uid] {
			return true
		}
	}
	return false
}
