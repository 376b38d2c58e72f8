package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/certs"
	"github.com/bosun-project/bosun/internal/cleanup"
	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/containerlog"
	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/csinode"
	"github.com/bosun-project/bosun/internal/dra"
	"github.com/bosun-project/bosun/internal/events"
	"github.com/bosun-project/bosun/internal/given"
	"github.com/bosun-project/bosun/internal/heartbeat"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/image"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/ledger"
	"github.com/bosun-project/bosun/internal/limits"
	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/mirror"
	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/objects"
	"github.com/bosun-project/bosun/internal/observe"
	"github.com/bosun-project/bosun/internal/pin"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/plugin"
	"github.com/bosun-project/bosun/internal/pressure"
	"github.com/bosun-project/bosun/internal/probe"
	"github.com/bosun-project/bosun/internal/report"
	"github.com/bosun-project/bosun/internal/runtime"
	"github.com/bosun-project/bosun/internal/serve"
	"github.com/bosun-project/bosun/internal/shutdown"
	"github.com/bosun-project/bosun/internal/source"
	"github.com/bosun-project/bosun/internal/stats"
	"github.com/bosun-project/bosun/internal/stock"
	"github.com/bosun-project/bosun/internal/timeline"
	"github.com/bosun-project/bosun/internal/trace"
	"github.com/bosun-project/bosun/internal/userns"
	"github.com/bosun-project/bosun/internal/volume"
	"github.com/bosun-project/bosun/internal/worker"
)

// Options is what an agent is built from.
type Options struct {
	Config *config.Config
	// Manifests are files, directories and URLs beside those of the configuration (`bosun up PATH|URL…`).
	Manifests []string
	// Release is the version of this program.
	Release string
	// LeaveStrays leaves alone what is in the runtime and not this agent's.
	LeaveStrays bool
	Log         *slog.Logger
	// Level is how much Log takes; nil if that cannot be changed.
	Level *slog.LevelVar
}

// Agent is one node's agent.
type Agent struct {
	began time.Time
	log   *slog.Logger
	cfg   *config.Config
	host  host.Facts
	room  nodestatus.Room
	// ips are the node's addresses; they may come and change while the agent runs (behaviour 352).
	ips latest.Cell[[]string]

	// member, and what serves it alone, is nil on a node without an API server.
	member  *member
	objects *objects.Loop
	// local has the objects of pods of this node's own sources; nil if they may use none.
	local *objects.Loop
	// given is what was given to the node's own API; nil if it has none.
	given *given.Store
	// contents and logins are the revisions of pods where there are objects of both kinds.
	contents, logins latest.Cell[map[types.UID]uint64]
	reporter         *report.Reporter
	heartbeat        *heartbeat.Loop
	mirrors          *mirror.Loop
	events           *events.Loop
	// static is what there is of static pods, nodeFacts what the node's object says, pulled counts the pulls of images.
	static    latest.Cell[mirror.Static]
	nodeFacts latest.Cell[nodestatus.Facts]
	pulled    latest.Cell[int]
	// drivers are the CSI drivers of the node, csiNode what the cluster is told of them.
	drivers *csi.Registry
	csiNode *csinode.Loop
	plugins *plugin.Loop
	// allocators are the drivers of dynamic resource allocation, claims what they have prepared, claimed how the devices fare.
	allocators *dra.Registry
	claims     *dra.Claims
	claimed    latest.Cell[claimedDevices]
	// stock follows the device plugins.
	stock *stock.Loop
	// assigned are the devices that an upstream kubelet had given to pods, handed what plugins had handed out for them.
	assigned map[types.UID]*allocate.Assigned
	handed   map[types.UID]*allocate.Handed

	notes    *note.List
	ledger   *ledger.Ledger
	client   *runtime.Client
	observer *observe.Observer
	set      *worker.Set
	merge    *source.Merge
	settings *settings
	volumes  *volume.Volumes
	puller   *image.Puller
	records  *image.Records
	holds    *image.Holds
	// leaveImages tells that no images are removed: they may be somebody else's.
	leaveImages bool
	garbage     *cleanup.Images
	dead        *cleanup.Containers
	cleaner     *cleanup.Cleaner
	ids         *userns.Ranges
	metrics     *metrics.Metrics
	// tracer and lives are nil when the configuration wants no traces.
	tracer  *trace.Tracer
	lives   *timeline.Pods
	rotator *containerlog.Rotator
	stats   *stats.Reader
	prober  *probe.Loop
	cgroups *cgroups
	// rules say what pods get for themselves; nil where that is nothing. pins keeps containers on their processors; nil where none can have
	// any of its own.
	rules  *allocate.Rules
	pins   *pin.Loop
	limits *limits.Loop
	// shutdown is nil when pods get no time to end when the machine goes down.
	shutdown *shutdown.Loop
	pressure *pressure.Loop
	// ordered are the pods that have to end for the node's sake.
	ordered latest.Cell[map[types.UID]*plan.Order]
	answers *serve.Faces
	hearing serve.Check
	// serving is the certificate of the secure server, nil if there is none.
	serving *certs.Serving
	sources []actor
	faces   []actor
	// homes see to it that processes are in the cgroups that the configuration names for them.
	homes []func() error

	// facts are what the node as a whole tells its pods.
	facts latest.Cell[worker.Node]
	// emptied, once set, makes the sources want nothing: the way to end all pods.
	emptied latest.Cell[bool]
	wanted  latest.Cell[worker.Wanted]
}

// New builds an agent. It opens the ledger and reads it; nothing runs yet.
func New(ctx context.Context, o Options) (*Agent, error) {
	a := &Agent{began: time.Now(), log: o.Log, cfg: o.Config, notes: note.NewList()}
	var err error
	if a.host, err = host.Read(o.Config.HostnameOverride); err != nil {
		return nil, err
	}
	ips, err := host.Addresses(ctx, o.Config.NodeIPs, a.host.Name)
	if err != nil {
		return nil, err
	}
	a.ips.Set(ips)
	if err := os.MkdirAll(o.Config.RootDir, 0o750); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	a.room = roomOf(a.cfg, a.host)
	a.buildMetrics(o.Release)
	remembered, err := a.openLedger()
	if err != nil {
		return nil, err
	}
	if !a.cfg.Standalone() {
		err = a.join(o.Release)
	}
	if err == nil {
		err = a.build(ctx, o, remembered)
	}
	if err != nil {
		return nil, errors.Join(err, a.ledger.Close())
	}
	return a, nil
}

// openLedger reads what the last life of the agent left. A record that cannot be read sets one pod aside, a damaged
// ledger all of them; neither stops the node.
func (a *Agent) openLedger() (map[types.UID]plan.Record, error) {
	var err error
	if a.ledger, err = ledger.Open(a.cfg.Ledger, ledger.Options{}); err != nil {
		return nil, err
	}
	if err := a.ledger.SetAside(); err != nil {
		a.nodeNote(note.Warning, "LedgerDamaged", err.Error())
	}
	remembered, bad, err := a.ledger.Load()
	if err != nil {
		return nil, errors.Join(err, a.ledger.Close())
	}
	for _, b := range bad {
		a.nodeNote(note.Warning, "LedgerRecordDamaged", fmt.Sprintf("pod %s is treated as new: its record cannot be read: %v", b.UID, b.Err))
	}
	return remembered, nil
}

func (a *Agent) build(ctx context.Context, o Options, remembered map[types.UID]plan.Record) error {
	k := &a.cfg.Kubelet
	a.leaveImages = leavesImages(a.cfg, o.LeaveStrays)
	a.buildTracer()
	var err error
	a.client, err = runtime.New(runtime.Config{
		Endpoint: k.ContainerRuntimeEndpoint, ImageEndpoint: k.ImageServiceEndpoint, RequestTimeout: k.RuntimeRequestTimeout.Duration,
		Observe: a.metrics.Operation, Around: a.callsTraced(),
	})
	if err != nil {
		return err
	}
	a.settings = &settings{
		cfg: a.cfg, host: a.host, ips: a.ips.Value, allocatable: a.room.Allocatable, log: a.log,
		cgroupVersion: func() int { return a.cgroups.version() }, limitHugePages: func() bool { return a.cgroups.limitHugePages() },
		health: func() observe.Health { return a.observer.Health().Value() },
	}
	if err := a.buildSources(o.Manifests, remembered); err != nil {
		return err
	}
	if err := a.buildDevices(); err != nil {
		return err
	}
	if err := a.buildWorkers(ctx, o, remembered); err != nil {
		return err
	}
	a.buildObserver()
	a.checkSwap(mount.KeptOutOfSwap)
	if err := a.buildHomes(); err != nil {
		return err
	}
	a.buildRotator()
	a.buildProber()
	a.buildLimits()
	a.buildShutdown()
	a.buildPressure()
	if err := a.buildStats(); err != nil {
		return err
	}
	if a.member != nil {
		a.buildReporter()
		a.buildMirrors()
		a.buildHeartbeat()
		a.buildEvents()
	}
	return a.buildFaces(o.Level)
}

// Run runs the agent until the context ends. Containers go on. The ledger ends last.
func (a *Agent) Run(ctx context.Context) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	var ledgers sync.WaitGroup
	ledgers.Go(func() { runAll(base, a.log, append(a.tracing(), actor{"ledger", a.ledger.Run})) })
	runAll(ctx, a.log, slices.Concat(a.membership(), a.ending(), a.machine(), []actor{
		{"observer", a.observer.Run}, {"node facts", a.tellNode}, {"workers", a.set.Run}, {"merge", a.merge.Run}, {"wanted", a.follow}, {"cleaner", a.cleaner.Run},
		{"image garbage", a.garbage.Run}, {"container garbage", a.dead.Run},
		{"log rotation", a.rotator.Run}, {"prober", a.prober.Run}, {"addresses", a.addresses}, {"range of pod addresses", a.tellRange}, {"limits", a.limits.Run},
		{"shortages", a.pressure.Run}, {"orders of the node", a.followOrders}, {"measuring of volumes", a.stats.Run},
	}, a.followed(), a.sources, a.faces))
	stop()
	ledgers.Wait()
	errs := []error{a.client.Close(), a.ids.Close(), a.ledger.Close()}
	if a.drivers != nil {
		errs = append(errs, a.drivers.Close(), a.allocators.Close())
	}
	return errors.Join(errs...)
}

// Name is the node's name.
func (a *Agent) Name() string { return a.host.Name }

// Healthy says why the agent is not well, nil if it is: it does not hear of the runtime any more.
func (a *Agent) Healthy() error { return a.hearing.Run() }

// Faces answers questions about the pods.
func (a *Agent) Faces() *serve.Faces { return a.answers }

// Table shows the pods.
func (a *Agent) Table() *worker.Table { return a.set.Table() }

// Empty makes the agent end all pods gracefully and returns when all are gone, or the context ends.
func (a *Agent) Empty(ctx context.Context) error {
	a.emptied.Set(true)
	for {
		pods, newer := a.set.Table().Pods()
		if len(pods) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-newer:
		}
	}
}

func crashCap(c *config.Config) time.Duration {
	if d := c.Kubelet.CrashLoopBackOff.MaxContainerRestartPeriod; d != nil {
		return d.Duration
	}
	return 0
}
