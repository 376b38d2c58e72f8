package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/bosun-project/bosun/internal/certs"
	"github.com/bosun-project/bosun/internal/cluster"
	"github.com/bosun-project/bosun/internal/events"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/source"
)

// member is what makes an agent one of a cluster: the way to the API server, and what was heard there last.
type member struct {
	client *cluster.Client
	// numbers count what passes between the node and the API server.
	numbers *metrics.Membership
	// certificate is the node's own, nil until the node has joined.
	certificate atomic.Pointer[certs.Client]
	// joined becomes true when the node has what it takes to speak to the API server as itself.
	joined latest.Cell[bool]
	// joining tells how it gets there, and ownCert how its certificate stands since.
	joining latest.Cell[certs.State]
	// lost is why the newest kubeconfig is not gone by; empty if it is.
	lost latest.Cell[string]

	// away becomes true when the API server has not answered after the start; silent is true while it is known not to answer.
	away, silent latest.Cell[bool]
	// bound holds all pods of this node, mirror pods too, and byUID the same ones by their identity.
	bound latest.Cell[source.Bound]
	byUID latest.Cell[apiPods]
	// addresses are those of the node's status.
	addresses latest.Cell[[]v1.NodeAddress]
	// node is the object of this node.
	node latest.Cell[ownNode]
}

// apiPods are the pods of this node as the API server has them. Synced tells whether it is known which there are.
type apiPods struct {
	pods   map[types.UID]*v1.Pod
	synced bool
}

// ownNode is the object of this node: nil if it is known that there is none.
type ownNode struct {
	object *v1.Node
	known  bool
}

// join makes this agent one of a cluster. Nothing is sent.
func (a *Agent) join(release string) error {
	m := &member{}
	to, err := a.apiServer()
	if err != nil {
		return err
	}
	a.member = m
	m.numbers = a.metrics.Join(a.membershipNumbers())
	m.client, err = cluster.New(a.clientConfig(to, release, func() *tls.Certificate {
		if c := m.certificate.Load(); c != nil {
			return c.Current()
		}
		return nil
	}))
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	return nil
}

// membershipNumbers are the numbers that are asked for when somebody reads the metrics.
func (a *Agent) membershipNumbers() metrics.MembershipConfig {
	m := a.member
	count := func(pick func(events.Counts) uint64) func() uint64 {
		return func() uint64 { return pick(a.events.Counts()) }
	}
	return metrics.MembershipConfig{
		ClientTTL: func() (time.Duration, bool) {
			if c := m.certificate.Load(); c != nil {
				return c.State().Value().TTL(time.Now())
			}
			return 0, false
		},
		ServerTTL: func() (time.Duration, bool) {
			if a.serving == nil {
				return 0, false
			}
			return a.serving.State().Value().TTL(time.Now())
		},
		Mirrors: func() (n int) {
			for _, p := range m.byUID.Value().pods {
				if source.IsMirror(p) {
					n++
				}
			}
			return n
		},
		Events: map[string]func() uint64{
			"sent":     count(func(c events.Counts) uint64 { return c.Sent }),
			"silenced": count(func(c events.Counts) uint64 { return c.Silenced }),
			"dropped":  count(func(c events.Counts) uint64 { return c.Dropped }),
			"rejected": count(func(c events.Counts) uint64 { return c.Rejected }),
		},
	}
}

// apiServer is where the API server is. A node that is yet to join knows it from its bootstrap kubeconfig, whose identity is for
// joining only.
func (a *Agent) apiServer() (*rest.Config, error) {
	to, err := cluster.LoadKubeconfig(a.cfg.Kubeconfig)
	if err == nil || a.cfg.BootstrapKubeconfig == "" {
		return to, err
	}
	if _, missing := os.Stat(a.cfg.Kubeconfig); !errors.Is(missing, fs.ErrNotExist) {
		a.log.Warn("kubeconfig cannot be used", "err", err)
	}
	if to, err = cluster.LoadKubeconfig(a.cfg.BootstrapKubeconfig); err != nil {
		return nil, err
	}
	return rest.AnonymousClientConfig(to), nil
}

func (a *Agent) clientConfig(to *rest.Config, release string, certificate func() *tls.Certificate) cluster.Config {
	k := &a.cfg.Kubelet
	events := cluster.Limit{QPS: float32(*k.EventRecordQPS), Burst: int(k.EventBurst)}
	if events.QPS == 0 { // as the configuration has it: no limit
		events.QPS = -1
	}
	return cluster.Config{
		REST: to, Node: a.host.Name, UserAgent: cluster.UserAgent(Kubernetes, release), ContentType: k.ContentType,
		Requests: cluster.Limit{QPS: float32(*k.KubeAPIQPS), Burst: int(k.KubeAPIBurst)}, Events: events,
		HeartbeatPatience:    min(k.NodeStatusUpdateFrequency.Duration, time.Duration(k.NodeLeaseDurationSeconds)*time.Second),
		GetClientCertificate: certificate, Log: a.log,
		Observe:  func(r cluster.Request) { a.member.numbers.Request(metrics.Request(r)) },
		Received: func(r cluster.Request, n int64) { a.member.numbers.Received(metrics.Request(r), n) },
	}
}

// enter gets what the node needs to be itself to the API server, and keeps it valid.
func (a *Agent) enter(ctx context.Context) error {
	m := a.member
	connect := func(kubeconfig string) (certs.Requests, func(), error) {
		to, err := cluster.LoadKubeconfig(kubeconfig)
		if err != nil {
			return nil, nil, err
		}
		c, err := cluster.New(a.clientConfig(to, "", nil))
		if err != nil {
			return nil, nil, err
		}
		return requests{c}, c.CloseConnections, nil
	}
	err := certs.Bootstrap(ctx, certs.BootstrapConfig{
		Kubeconfig: a.cfg.Kubeconfig, BootstrapKubeconfig: a.cfg.BootstrapKubeconfig, CertDir: a.cfg.CertDir, NodeName: a.host.Name,
		Rotate: a.cfg.Kubelet.RotateCertificates, Connect: connect, State: &m.joining, Log: a.log,
	})
	if err != nil {
		return err
	}
	client, err := certs.NewClient(certs.ClientConfig{
		Kubeconfig: a.cfg.Kubeconfig, CertDir: a.cfg.CertDir, NodeName: a.host.Name, Rotate: a.cfg.Kubelet.RotateCertificates,
		BootstrapKubeconfig: a.cfg.BootstrapKubeconfig, Connect: connect, RenewFailed: m.numbers.RenewFailed, Notes: a.note, Log: a.log,
	})
	if err != nil {
		return err
	}
	m.certificate.Store(client)
	changes, moves := client.Changed().Value(), client.Moved().Value()
	a.move() // the kubeconfig may be newer than this agent, or than its bootstrap
	m.joined.Set(true)
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	following.Go(func() { a.followKubeconfig(ctx, client, changes, moves) })
	return client.Run(ctx, requests{m.client})
}

// followKubeconfig makes connections anew when the node has another certificate, or the kubeconfig leads elsewhere, than it had after so
// many changes and moves.
func (a *Agent) followKubeconfig(ctx context.Context, client *certs.Client, changes, moves uint64) {
	for {
		n, changed := client.Changed().Get()
		to, moved := client.Moved().Get()
		switch {
		case to != moves:
			if a.move() {
				a.log.Info("the kubeconfig leads another way to the API server, which is taken from now on", "kubeconfig", a.cfg.Kubeconfig)
			}
		case n != changes:
			a.member.client.CloseConnections()
		}
		changes, moves = n, to
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-moved:
		}
	}
}

// move goes where the kubeconfig leads now. One that cannot be used changes nothing.
func (a *Agent) move() bool {
	to, err := cluster.LoadKubeconfig(a.cfg.Kubeconfig)
	if err == nil {
		err = a.member.client.Move(to)
	}
	text := ""
	if err != nil {
		text = err.Error()
		a.log.Warn("the kubeconfig has changed and cannot be used; the API server is spoken to as before", "err", err)
	}
	a.member.lost.Set(text)
	return err == nil
}

// membership is what makes the node a member and keeps it one.
func (a *Agent) membership() []actor {
	m := a.member
	if m == nil {
		return nil
	}
	return []actor{
		{"membership", a.enter}, m.once(actor{"pods of the API server", m.followPods}), m.once(actor{"node of the API server", m.followNode}),
		m.once(actor{"status of pods", a.reporter.Run}), m.once(actor{"mirror pods", a.mirrors.Run}), {"static pods", a.followStatic}, {"absence of the API server", m.noticeAbsence},
		{"facts of the node", a.gatherFacts}, {"heartbeat followed", a.followHeartbeat}, {"start of the node", a.followStartup}, m.once(actor{"heartbeat", a.heartbeat.Run}), m.once(actor{"events", a.events.Run}),
	}
}

// once makes an actor wait until the node has joined the cluster.
func (m *member) once(a actor) actor {
	run := a.run
	a.run = func(ctx context.Context) error {
		for {
			joined, newer := m.joined.Get()
			if joined {
				return run(ctx)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-newer:
			}
		}
	}
	return a
}

// ownNode is the object of this node as the API server has it, and a channel that is closed when it has another one.
func (m *member) ownNode() (ownNode, <-chan struct{}) {
	if m == nil {
		return ownNode{}, nil
	}
	return m.node.Get()
}

// followHeartbeat makes connections anew when the lease cannot be renewed: one may be dead without a sign.
func (a *Agent) followHeartbeat(ctx context.Context) error {
	tries := 0
	for {
		s, newer := a.heartbeat.State().Get()
		if s.Lease.Tries > tries && !a.member.client.Link().Value().Up {
			a.member.client.CloseConnections()
		}
		tries = s.Lease.Tries
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		}
	}
}

// answerWait is how long after the start the API server may take to answer before the node goes on without it.
const answerWait = 5 * time.Second

// noticeAbsence finds out whether the API server is away: at first, after which pods that were kept are gone by, and at any time.
func (m *member) noticeAbsence(ctx context.Context) error {
	late := time.NewTimer(answerWait)
	defer late.Stop()
	waited := false
	for {
		link, newer := m.client.Link().Get()
		if (link.Err != nil || waited) && !m.away.Value() {
			m.away.Set(true)
		}
		if silent := !link.Up && (link.Err != nil || waited); silent != m.silent.Value() {
			m.silent.Set(silent)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		case <-late.C:
			waited = true
		}
	}
}

// followPods and followNode keep the cells newest.
func (m *member) followPods(ctx context.Context) error {
	m.client.FollowPods(ctx, func(l cluster.Listing[*v1.Pod]) {
		all := make(map[types.UID]*v1.Pod, len(l.Objects))
		for _, p := range l.Objects {
			all[p.UID] = p
		}
		m.byUID.Set(apiPods{all, l.Synced})
		m.bound.Set(source.Bound{Pods: l.Objects, Synced: l.Synced})
	})
	return nil
}

func (m *member) followNode(ctx context.Context) error {
	m.client.FollowNode(ctx, func(l cluster.Listing[*v1.Node]) {
		seen := ownNode{known: l.Synced}
		if len(l.Objects) > 0 {
			seen.object = l.Objects[0]
			if at := seen.object.Status.Addresses; !slices.Equal(at, m.addresses.Value()) {
				m.addresses.Set(at)
			}
		}
		m.node.Set(seen)
	})
	return nil
}

// pods are all pods of this node as the API server has them.
func (m *member) pods() (map[types.UID]*v1.Pod, bool, <-chan struct{}) {
	p, newer := m.byUID.Get()
	return p.pods, p.synced, newer
}
