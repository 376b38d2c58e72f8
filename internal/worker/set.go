package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/status"
)

// Wanted is what all sources together want.
type Wanted struct {
	Pods map[types.UID]*pod.Desired
	// Ready is true once every source has spoken.
	Ready bool
	// Spoken holds the kinds of source of which each one has spoken: a pod of such a kind that is not in Pods is not wanted any
	// more, though another kind may be silent. A control plane whose own manifests are edited while it is down depends on that.
	Spoken map[pod.Source]bool
	// Doubt is true while a manifest cannot be read and never could be since the start: pods that nobody names may be
	// its, so they are left alone.
	Doubt bool
}

// Node is what the node as a whole tells its pods.
type Node struct {
	RuntimeUp      bool
	RuntimeMessage string
	NetworkReady   bool
	NetworkMessage string
	// Relisted is when the first complete listing of the runtime that was delivered had begun; zero before.
	Relisted time.Time
	// Staying tells that the machine is known not to be going down, see plan.Facts.
	Staying bool
}

// Judge is admission: it says whether a pod may run beside the pods that do. held is what is not free, because pods have it for
// themselves: those that run, and those of which only the ledger knows yet. It must be pure and quick.
type Judge func(candidate *pod.Desired, running []*pod.Desired, held []*allocate.Assigned) plan.Verdict

// Config is what a Set is built from.
type Config struct {
	Doer   Doer
	Ledger Ledger
	Judge  Judge
	// Room is admission of resizes; nil grants each.
	Room Room
	// LeaveStrays leaves pods alone that only the runtime knows, and that neither the ledger nor the disk says are this
	// agent's: they may be another agent's. Otherwise they are ended (behaviour 25).
	LeaveStrays bool
	// Wanted and Node return the newest values, and a channel that is closed when there are newer ones.
	Wanted func() (Wanted, <-chan struct{})
	Node   func() (Node, <-chan struct{})
	// Health is what the probes say, by pod and container ID; nil if nobody probes.
	Health func() (map[types.UID]map[string]plan.Health, <-chan struct{})
	// Content grows for a pod whenever an object changes that it is made from, see plan.Facts; nil if no pod uses any.
	Content func() (map[types.UID]uint64, <-chan struct{})
	// Claimed is how the devices of ResourceClaims fare that pods have, see plan.Facts; nil if no pod has any.
	Claimed func() (map[types.UID]map[string][]v1.ResourceStatus, <-chan struct{})
	// Devices is what device plugins have to give, and Boot identifies since when the machine runs, see plan.Facts; nil if there are none.
	Devices func() (allocate.Supplies, <-chan struct{})
	Boot    string
	// Logins is the same for a pod's logins to registries.
	Logins func() (map[types.UID]uint64, <-chan struct{})
	// Orders are the pods that have to end for the node's sake, other than to make room for critical ones; nil if none ever has to.
	// An order that is taken back is still carried out where its pod has begun to end.
	Orders func() (map[types.UID]*plan.Order, <-chan struct{})
	// Keep says how many ended instances of each container stay; nil keeps one. Doomed are those, by pod and ID, that have to go
	// though they would stay; nil if none ever has to.
	Keep   *plan.Keep
	Doomed func() (map[types.UID]map[string]bool, <-chan struct{})
	// Remembered holds the ledger's records.
	Remembered map[types.UID]plan.Record
	// Adopted is what an earlier agent gave to pods for themselves: those that still run keep it, where the ledger does not know better.
	// Handed is what device plugins had handed out to these.
	Adopted  map[types.UID]*allocate.Assigned
	Handed   map[types.UID]*allocate.Handed
	CrashCap time.Duration
	Notes    note.Sink
	// NodeStatus is what the status of each pod tells of the node; nil tells nothing.
	NodeStatus func() status.Node
	// Outcome, if set, is told of every effect that ended; metrics count with it.
	Outcome func(*pod.Desired, plan.Outcome)
	// Rejected, if set, is told why admission did not let a pod in, and Restarted of each pod that was dropped and, when
	// it had ended, begun anew because it was wanted again; metrics count with them.
	Rejected func(why string)
	// Judged, if set, is told of each answer of admission that is final.
	Judged    func(*pod.Desired, plan.Verdict)
	Restarted func(*pod.Desired)
	// Preempted, if set, is told of each pod that has to make room for a critical one, and the resource that is short; metrics count with it.
	Preempted func(short string)
	// Resized, if set, is told whenever what is remembered of a pod's resources changes: what was remembered before, and is now,
	// with what admission had said.
	Resized func(d *pod.Desired, before, after plan.Kept, said plan.Resize)
	// Check, if set, sees every plan; tests hold invariants with it.
	Check func(plan.Input, plan.Plan)
	Log   *slog.Logger
}

// Set runs a worker for each pod.
type Set struct {
	cfg   Config
	table *Table

	mu      sync.Mutex
	workers map[types.UID]*running
	// strays holds what the runtime reported of pods that have no worker.
	strays map[types.UID]stray
	// found holds pods of which something was found on disk or in cgroups.
	found map[types.UID]Leftover
	poke  chan struct{}
	// residents is how many pods there were when resizes were judged last, and fewer whether there are fewer now.
	residents int
	fewer     bool
	// listed tells that the runtime has told of all that it has.
	listed bool

	order uint64
}

type running struct {
	*worker
	uid  types.UID
	full pod.FullName
	// order is when it was begun, relative to others: of two pods of one full name, the later one waits.
	order uint64
	// again is the pod as it is wanted again while this life of it ends; nil if it is not.
	again *pod.Desired
	// verdict is what admission said, judged once.
	verdict plan.Verdict
	// remains is what a pod that nobody named when it was begun has of the node; nil if that is not known.
	remains *pod.Desired
	// let is the pod as it was when admission let it in.
	let *pod.Desired
	// resize is what was last said of the resources that it asks for; granted is what the worker may take without the Set having
	// heard of it yet, nil if there is nothing.
	resize  plan.Resize
	granted *pod.Desired
	// grantedAs is which telling of the worker carries it.
	grantedAs uint64
	// preempted makes the pod give way to a critical one; nil if it need not.
	preempted *plan.Order
}

type stray struct {
	namespace, name string
	observed        pod.Observed
	// kept tells that an earlier life of the pod has left its records in the runtime, whatever a listing said before.
	kept bool
}

// New builds a Set. Nothing runs before Run.
func New(cfg Config) *Set {
	if cfg.Health == nil {
		cfg.Health = func() (map[types.UID]map[string]plan.Health, <-chan struct{}) { return nil, nil }
	}
	if cfg.Content == nil {
		cfg.Content = func() (map[types.UID]uint64, <-chan struct{}) { return nil, nil }
	}
	if cfg.Claimed == nil {
		cfg.Claimed = func() (map[types.UID]map[string][]v1.ResourceStatus, <-chan struct{}) { return nil, nil }
	}
	if cfg.Devices == nil {
		cfg.Devices = func() (allocate.Supplies, <-chan struct{}) { return allocate.Supplies{}, nil }
	}
	if cfg.Logins == nil {
		cfg.Logins = func() (map[types.UID]uint64, <-chan struct{}) { return nil, nil }
	}
	if cfg.Orders == nil {
		cfg.Orders = func() (map[types.UID]*plan.Order, <-chan struct{}) { return nil, nil }
	}
	if cfg.Doomed == nil {
		cfg.Doomed = func() (map[types.UID]map[string]bool, <-chan struct{}) { return nil, nil }
	}
	if cfg.Room == nil {
		cfg.Room = func(_, _ *pod.Desired, _ []*pod.Desired) plan.Resize { return plan.Resize{Fits: true} }
	}
	if cfg.NodeStatus == nil {
		cfg.NodeStatus = func() status.Node { return status.Node{} }
	}
	return &Set{cfg: cfg, table: NewTable(), workers: map[types.UID]*running{}, strays: map[types.UID]stray{}, found: map[types.UID]Leftover{}, poke: make(chan struct{}, 1)}
}

// Table is where the pods can be read.
func (s *Set) Table() *Table { return s.table }

// Deliver hands on what the runtime has of a pod.
func (s *Set) Deliver(uid types.UID, r pod.Report) {
	s.mu.Lock()
	w := s.workers[uid]
	if w == nil {
		st := s.strays[uid]
		st.observed = st.observed.Merge(r)
		if r.Name != "" {
			st.namespace, st.name = r.Namespace, r.Name
		}
		s.strays[uid] = st
	}
	s.mu.Unlock()
	if w != nil {
		w.inbox.deliver(r)
		return
	}
	s.wake()
}

// Leftover is a pod of which something was found on the node's disk or in its cgroups. Names may be unknown.
type Leftover struct {
	UID             types.UID
	Namespace, Name string
}

// Found hands on what was found on disk. A pod that is wanted, or that has a worker, is none of it; any other is
// cleaned up once every source has spoken.
func (s *Set) Found(leftovers []Leftover) {
	s.mu.Lock()
	for _, l := range leftovers {
		if s.workers[l.UID] == nil {
			s.found[l.UID] = l
		}
	}
	s.mu.Unlock()
	s.wake()
}

func (s *Set) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Run keeps the right workers running until the context ends, and returns when all of them have returned.
func (s *Set) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		wanted, newerWanted := s.cfg.Wanted()
		node, newerNode := s.cfg.Node()
		health, newerHealth := s.cfg.Health()
		content, newerContent := s.cfg.Content()
		devices, newerDevices := s.cfg.Devices()
		claimed, newerClaimed := s.cfg.Claimed()
		logins, newerLogins := s.cfg.Logins()
		orders, newerOrders := s.cfg.Orders()
		doomed, newerDoomed := s.cfg.Doomed()
		for _, w := range s.reconcile(news{wanted, node, health, content, devices, claimed, logins, orders, doomed}) {
			group.Go(func() { s.live(ctx, w) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newerWanted:
		case <-newerNode:
		case <-newerHealth:
		case <-newerContent:
		case <-newerDevices:
		case <-newerClaimed:
		case <-newerLogins:
		case <-newerOrders:
		case <-newerDoomed:
		case <-s.poke:
		}
	}
}

// live runs one worker to its end and forgets the pod when it is done.
func (s *Set) live(ctx context.Context, w *running) {
	if !w.run(ctx) {
		return
	}
	if !s.forget(ctx, w) {
		return
	}
	s.mu.Lock()
	delete(s.workers, w.uid)
	delete(s.cfg.Remembered, w.uid)
	again := w.again
	if !w.memory.Session.Forgotten { // it begins anew on what is left of this life
		d := w.inbox.read().desired.Pod
		s.strays[w.uid] = stray{namespace: d.Namespace, name: d.Name, kept: true}
	}
	s.mu.Unlock()
	if again != nil && s.cfg.Restarted != nil {
		s.cfg.Restarted(again)
	}
	s.table.drop(w.uid)
	s.wake()
}

// forget removes the ledger's record of an ended pod; while the ledger cannot be written it tries again each second.
func (s *Set) forget(ctx context.Context, w *running) bool {
	for said := false; ; said = true {
		err := s.cfg.Ledger.Forget(ctx, w.uid)
		if err == nil {
			return true
		}
		if !said && ctx.Err() == nil {
			w.log.Error("the ended pod cannot be forgotten in the ledger", "err", err)
		}
		retry := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			retry.Stop()
			return false
		case <-retry.C:
		}
	}
}

// news is the newest of what the Set hears from others.
type news struct {
	wanted  Wanted
	node    Node
	health  map[types.UID]map[string]plan.Health
	content map[types.UID]uint64
	devices allocate.Supplies
	claimed map[types.UID]map[string][]v1.ResourceStatus
	logins  map[types.UID]uint64
	orders  map[types.UID]*plan.Order
	doomed  map[types.UID]map[string]bool
}

// reconcile tells all workers what is new and returns those that have to be started.
func (s *Set) reconcile(n news) []*running {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := s.begin(n.wanted, n.node)
	s.judge(!n.node.Relisted.IsZero(), n.wanted.Ready)
	for _, w := range s.workers {
		s.inform(w, n)
	}
	return fresh
}

// inform hands a worker what its source and the node say; it wakes only when that is new.
func (s *Set) inform(w *running, n news) {
	in := w.inbox.read()
	d := in.desired
	w.again = nil
	switch now, ok := n.wanted.Pods[w.uid]; {
	case ok && d.Wanted:
		d = now
	case ok && in.stopping: // wanted again while it ends: a new life begins when this one is over
		w.again = now
	case ok:
		d = now
	case d.Wanted && n.wanted.knows(d):
		gone := *d
		gone.Wanted = false
		d = &gone
	}
	w.inbox.tell(d, plan.Facts{
		SourcesReady: n.wanted.knows(d) || n.wanted.supersedes(d),
		RuntimeUp:    n.node.RuntimeUp, RuntimeMessage: n.node.RuntimeMessage,
		NetworkReady: n.node.NetworkReady, NetworkMessage: n.node.NetworkMessage,
		Boot: s.cfg.Boot, Bond: allocate.BondOf(in.assigned, n.devices), Claimed: n.claimed[w.uid],
		Rival: s.rival(w), Verdict: w.verdict, Resize: w.resize, Order: stricter(w.preempted, n.orders[w.uid]), Staying: n.node.Staying,
		Health: n.health[w.uid], Probing: n.health != nil, Content: n.content[w.uid], Logins: n.logins[w.uid], Keep: s.cfg.Keep, Doomed: n.doomed[w.uid], CrashCap: s.cfg.CrashCap,
	})
}

// stricter is the order that leaves less time; either may be nil.
func stricter(a, b *plan.Order) *plan.Order {
	if a == nil || b != nil && b.Grace < a.Grace {
		return b
	}
	return a
}

// knows tells whether everybody has spoken who could want a pod.
func (w Wanted) knows(d *pod.Desired) bool { return w.Ready || d.Own() && w.Spoken[d.Source] }

// supersedes tells whether a static pod is wanted that has the name of a pod that nobody names. That is proof enough that the
// latter is an older version of it, whatever silent sources may still say (behaviours 8, 16).
func (w Wanted) supersedes(d *pod.Desired) bool {
	return d.Source == pod.FromRuntime && !d.Wanted && w.staticOf(pod.FullNameOf(d.Pod))
}

func (w Wanted) staticOf(full pod.FullName) bool {
	for _, d := range w.Pods {
		if d.Static() && pod.FullNameOf(d.Pod) == full {
			return true
		}
	}
	return false
}

// rival is another pod of the same full name that has to end first: an older one, or one that nobody names.
func (s *Set) rival(w *running) types.UID {
	if w.full == "" {
		return ""
	}
	wanted := w.inbox.read().desired.Wanted
	for _, other := range s.workers {
		if other == w || other.full != w.full {
			continue
		}
		if other.order < w.order || wanted && !other.inbox.read().desired.Wanted {
			return other.uid
		}
	}
	return ""
}
