package simworld

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// World is everything outside the agent. It outlives agents: a crash ends an Agent, not the World.
type World struct {
	mu   sync.Mutex
	rand *rand.Rand

	sandboxes  map[string]*sandbox
	containers map[string]*container
	// volumes holds which state of the pod's objects each volume was made from.
	volumes map[types.UID]map[string]uint64
	objects map[types.UID]object
	// claims are the ResourceClaims of which something is prepared, by name.
	claims map[string]*claim
	// devices are what device plugins have, boot says since when the machine runs.
	devices latest.Cell[allocate.Supplies]
	boot    string
	content latest.Cell[map[types.UID]uint64]
	// orders and staying are what the node asks of its pods when the machine goes down.
	orders  latest.Cell[map[types.UID]*plan.Order]
	staying bool
	cgroups map[types.UID]bool
	// memory is the limit of each pod's cgroup in bytes; a pod without one is not limited.
	memory map[types.UID]int64
	// capacity is how many thousandths of a CPU the node has for its pods; zero is as many as anybody asks for.
	capacity int64
	dirs     map[types.UID]bool
	ledger   map[types.UID]plan.Record
	// refused are the pods of which the ledger has not got what was to be saved last.
	refused map[types.UID]bool
	names   map[types.UID]string // full names, for the check that no two versions of a pod run
	sources map[types.UID]pod.Source
	nextID  int
	agent   *Agent
	scripts map[string]Script

	// Faults, changed by tests while the world runs; under mu through Change.
	faults Faults

	violations []string
	journal    []string
	preStops   map[string]int
	deadlines  map[string]time.Time
	effects    int
	crashAt    int
	// crashBefore is the effect at whose beginning the agent crashes; zero for none.
	crashBefore int
	// postStarts counts the postStart hooks that came to their end, by container.
	postStarts map[string]int
}

// Faults say how badly the world behaves.
type Faults struct {
	// FailBefore and FailAfter are the chances that a call fails without, or in spite of, having done its work.
	FailBefore, FailAfter float64
	// LoseEvents is the chance that an event is lost, Replay that an old one is sent again.
	LoseEvents, Replay float64
	// InUse is the chance that a container uses memory that is to be taken from it.
	InUse float64
	// SlowMost is the longest a call takes.
	SlowMost time.Duration
	// LandLate lets calls to the runtime take effect that a crashed agent had begun, after it is gone.
	LandLate bool
	// RuntimeDown makes every call to the runtime fail; LedgerFull makes the ledger refuse.
	RuntimeDown, LedgerFull bool
}

// object stands for all objects that a pod's volumes are made from.
type object struct {
	revision uint64
	missing  bool
}

// SetObjects changes the objects that a pod's volumes are made from, or takes one away.
func (w *World) SetObjects(uid types.UID, missing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.objects[uid] = object{w.objects[uid].revision + 1, missing}
	revisions := map[types.UID]uint64{}
	for uid, o := range w.objects {
		revisions[uid] = o.revision
	}
	w.content.Set(revisions)
}

// Script is how the processes of a container image behave.
type Script struct {
	// ExitAfter is when the process ends by itself, with Code; zero means never.
	ExitAfter time.Duration
	Code      int32
	// OnTerm is how long the process takes to end after TERM; negative means that it ignores it.
	OnTerm time.Duration
	// NoImage makes the image impossible to pull.
	NoImage bool
}

type sandbox struct {
	id      string
	uid     types.UID
	attempt uint32
	ready   bool
	created time.Time
	host    bool
}

type container struct {
	id, sandbox, name string
	uid               types.UID
	attempt           uint32
	state             pod.ContainerState
	hash, image       string
	given             plan.Given
	annotations       map[string]string
	created           time.Time
	started, ended    time.Time
	code              int32
	reason            string
	stopped           chan struct{} // closed when it ended
	termed            bool
}

// New makes an empty world whose chances come from seed.
func New(seed uint64) *World {
	return &World{
		rand:      rand.New(rand.NewPCG(seed, 0xb05)),
		sandboxes: map[string]*sandbox{}, containers: map[string]*container{}, volumes: map[types.UID]map[string]uint64{}, objects: map[types.UID]object{}, claims: map[string]*claim{},
		cgroups: map[types.UID]bool{}, memory: map[types.UID]int64{}, dirs: map[types.UID]bool{}, ledger: map[types.UID]plan.Record{}, refused: map[types.UID]bool{},
		names: map[types.UID]string{}, sources: map[types.UID]pod.Source{}, scripts: map[string]Script{}, preStops: map[string]int{}, deadlines: map[string]time.Time{}, postStarts: map[string]int{},
		boot: "first", faults: Faults{SlowMost: 20 * time.Millisecond},
	}
}

// Script tells how containers of an image behave. Images without a script run until they get TERM.
func (w *World) Script(image string, s Script) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scripts[image] = s
}

// Change alters the faults.
func (w *World) Change(change func(*Faults)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.faults)
}

// CrashAfter makes the agent crash when the n-th effect from now has done its work, before its outcome is known.
func (w *World) CrashAfter(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crashAt = w.effects + n
}

// CrashBefore makes the agent crash when the n-th effect from now begins: it was remembered, and never done.
func (w *World) CrashBefore(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crashBefore = w.effects + n
}

func (w *World) hooked(e plan.Effect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Kind == plan.PostStart {
		w.postStarts[e.ID]++
	}
}

// PostStarts is how often the postStart hook of a container came to its end.
func (w *World) PostStarts(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.postStarts[id]
}

// Effects is how many effects have begun so far.
func (w *World) Effects() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.effects
}

// Violations is what happened that must never happen.
func (w *World) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.violations...)
}

// Journal is what happened, for the reader of a failed history.
func (w *World) Journal() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.journal...)
}

func (w *World) note(format string, args ...any) {
	w.journal = append(w.journal, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (w *World) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.violations = append(w.violations, text)
	w.note("VIOLATION %s", text)
}

func (w *World) id(kind string) string {
	w.nextID++
	return fmt.Sprintf("%s%d", kind, w.nextID)
}

func (w *World) chance(p float64) bool { return p > 0 && w.rand.Float64() < p }

func (w *World) delay() time.Duration {
	return time.Duration(w.rand.Int64N(int64(w.faults.SlowMost)+1)) + time.Microsecond
}

// report is what an inspection of a pod would say now.
func (w *World) report(uid types.UID) pod.Report {
	r := pod.Report{Complete: true, Began: time.Now()}
	for _, s := range w.sandboxes {
		if s.uid == uid {
			r.Sandboxes = append(r.Sandboxes, s.view())
		}
	}
	for _, c := range w.containers {
		if c.uid == uid {
			r.Containers = append(r.Containers, c.view())
		}
	}
	r.Namespace, r.Name = "default", w.names[uid]
	return r
}

func (s *sandbox) view() pod.Sandbox {
	v := pod.Sandbox{ID: s.id, Attempt: s.attempt, Ready: s.ready, Seen: time.Now(), CreatedAt: s.created, HostNetwork: s.host}
	if s.ready && !s.host {
		v.IPs = []string{"10.0.0.1"}
	}
	return v
}

func (c *container) view() pod.Container {
	return pod.Container{
		ID: c.id, SandboxID: c.sandbox, Name: c.name, Attempt: c.attempt, State: c.state, Seen: time.Now(), Hash: c.hash, Image: c.image,
		Annotations: c.annotations, CreatedAt: c.created, StartedAt: c.started, FinishedAt: c.ended, ExitCode: c.code, Reason: c.reason,
	}
}

// Pod is what the world has of one pod, for checks at the end of a history.
type Pod struct {
	ReadySandboxes, Sandboxes int
	// Running and Exited hold container names; Attempts the highest attempt by name.
	Running, Exited map[string]int
	Attempts        map[string]uint32
	Volumes         int
	// Claims is how many ResourceClaims are prepared for it, or may be.
	Claims int
	// Oldest is the oldest state of the pod's objects that one of its volumes shows, zero if none is made of any; Newest
	// is the state they have.
	Oldest, Newest uint64
	Cgroup, Dir    bool
	Remembered     *plan.Kept
	// Given is what running containers were told they may use, and Memory the limit of the pod's cgroup, zero for none.
	Given  map[string]plan.Given
	Memory int64
}

// Pod tells what there is of a pod.
func (w *World) Pod(uid types.UID) Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := Pod{Running: map[string]int{}, Exited: map[string]int{}, Attempts: map[string]uint32{}, Given: map[string]plan.Given{}, Memory: w.memory[uid]}
	for _, s := range w.sandboxes {
		if s.uid == uid {
			p.Sandboxes++
			if s.ready {
				p.ReadySandboxes++
			}
		}
	}
	for _, c := range w.containers {
		if c.uid != uid {
			continue
		}
		p.Attempts[c.name] = max(p.Attempts[c.name], c.attempt)
		switch c.state {
		case pod.Running:
			p.Running[c.name]++
			p.Given[c.name] = c.given
		case pod.Exited:
			p.Exited[c.name]++
		}
	}
	p.Newest = w.objects[uid].revision
	p.Oldest = p.Newest
	for _, from := range w.volumes[uid] {
		p.Oldest = min(p.Oldest, from)
	}
	p.Claims = w.claimsOf(uid)
	p.Volumes, p.Cgroup, p.Dir = len(w.volumes[uid]), w.cgroups[uid], w.dirs[uid]
	if r, ok := w.ledger[uid]; ok {
		p.Remembered = &r.Kept
	}
	return p
}

// Order makes the node end pods, as it does when the machine goes down.
func (w *World) Order(o *plan.Order, pods ...types.UID) {
	w.mu.Lock()
	w.staying = false
	w.mu.Unlock()
	orders := map[types.UID]*plan.Order{}
	for _, uid := range pods {
		orders[uid] = o
	}
	w.orders.Set(orders)
}

// Stay takes all orders back: the machine does not go down, or has come up again.
func (w *World) Stay() {
	w.orders.Set(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.staying = true
}

// LoseLedger makes the node forget what its agent remembered, as another agent before it would have left it. No agent must be alive.
func (w *World) LoseLedger() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("the ledger is lost")
	clear(w.ledger)
}
