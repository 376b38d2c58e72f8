package heartbeat

import (
	"context"
	"log/slog"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// Cluster is the API server as this package needs it. Calls end by themselves in seconds, however the server behaves.
// Errors are those of k8s.io/apimachinery/pkg/api/errors, wrapped or not. Patches are strategic merge patches.
type Cluster interface {
	GetNode(ctx context.Context, name string) (*v1.Node, error)
	CreateNode(ctx context.Context, node *v1.Node) (*v1.Node, error)
	PatchNode(ctx context.Context, name string, patch []byte) (*v1.Node, error)
	PatchNodeStatus(ctx context.Context, name string, patch []byte) (*v1.Node, error)
	// Leases are those in the namespace kube-node-lease.
	GetLease(ctx context.Context, name string) (*coordinationv1.Lease, error)
	CreateLease(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error)
	UpdateLease(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error)
}

// Config is what a Loop is built from.
type Config struct {
	// Name is the node's.
	Name    string
	Cluster Cluster
	// Node is the node's own object as it is followed, and a channel that is closed when there is a newer one. known is
	// false until the API server has told of it for the first time; a known nil means that there is no such object.
	Node func() (node *v1.Node, known bool, newer <-chan struct{})
	// Facts is what is known of the node, and a channel that is closed when there is more. It is also asked each
	// UpdateEvery, for what changes with time alone. While their Name is empty nothing is done.
	Facts func() (nodestatus.Facts, <-chan struct{})
	// Back gives a channel that is closed when the API server comes back the next time after having been away: then what
	// failed is tried again at once. Nil if nobody knows.
	Back func() <-chan struct{}
	// Register is registerNode: whether the Node object is created and put right. Its status is kept in any case.
	Register bool
	// UpdateEvery is nodeStatusUpdateFrequency, ReportEvery nodeStatusReportFrequency, LeaseDuration
	// nodeLeaseDurationSeconds. Zero means 10 s, 5 min, 40 s.
	UpdateEvery, ReportEvery, LeaseDuration time.Duration
	Notes                                   note.Sink
	Log                                     *slog.Logger
}

// State is how the node's membership fares.
type State struct {
	// Registered tells that the Node object is there and is this node's; UID is its.
	Registered bool
	UID        types.UID
	// LastStatus and LastLease are when the API server last took a status, and a lease. Zero means never.
	LastStatus, LastLease time.Time
	// Node is what is wrong with the Node object or its status, Lease with the lease.
	Node, Lease Trouble
}

// Trouble is what goes wrong. The zero Trouble is none.
type Trouble struct {
	// Err is how it went wrong the last time; Since is when it began to go wrong, Tries how often it did.
	Err   string
	Since time.Time
	Tries int
}

// Loop keeps the node a member of the cluster.
type Loop struct {
	cfg Config
	// object is the UID of the Node object while the node is registered.
	object latest.Cell[types.UID]

	changing sync.Mutex
	state    latest.Cell[State]
}

// New builds a Loop.
func New(cfg Config) *Loop {
	set := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	set(&cfg.UpdateEvery, 10*time.Second)
	set(&cfg.ReportEvery, 5*time.Minute)
	set(&cfg.LeaseDuration, 40*time.Second)
	if cfg.Back == nil {
		cfg.Back = func() <-chan struct{} { return nil }
	}
	return &Loop{cfg: cfg}
}

// State is how it fares.
func (l *Loop) State() *latest.Cell[State] { return &l.state }

// Run registers the node and keeps its status and lease until the context ends. The API server may be away.
func (l *Loop) Run(ctx context.Context) error {
	l.object.Set("")
	l.change(func(s *State) { s.Registered, s.UID = false, "" })
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() { newTenant(l).run(ctx) })
	newMember(l).run(ctx)
	return nil
}

func (l *Loop) change(edit func(*State)) {
	l.changing.Lock()
	defer l.changing.Unlock()
	before := l.state.Value()
	after := before
	edit(&after)
	if after != before { // readers are not woken for nothing
		l.state.Set(after)
	}
}

// note tells something about the node.
func (l *Loop) note(level note.Level, why, message string) {
	l.cfg.Notes(note.Note{At: time.Now(), About: note.About{Kind: "Node", Name: l.cfg.Name}, Level: level, Reason: why, Message: message})
}

const cgroupV1Text = "cgroup v1 detected. cgroup v1 support is deprecated and will be removed in a future release. Please migrate to cgroup v2. " +
	"More information at https://git.k8s.io/enhancements/keps/sig-node/5573-remove-cgroup-v1"

// greeting says what is to be said once: that the agent starts, and on what cgroups (behaviours 294, 301).
type greeting struct{ started, cgroup bool }

func (g *greeting) say(l *Loop, f nodestatus.Facts) {
	if !g.started {
		g.started = true
		l.note(note.Normal, reason.Starting, "Starting kubelet.")
	}
	if !g.cgroup && f.CgroupVersion != 0 {
		g.cgroup = true
		if f.CgroupVersion == 1 {
			l.note(note.Warning, reason.CgroupV1, cgroupV1Text)
		}
	}
}
