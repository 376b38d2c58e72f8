package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/bosun-project/bosun/internal/cluster"
	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/source"
)

// kubernetes is the version of Kubernetes that Bosun stands in for, as nodes tell it.
const kubernetes = "v1.37.1"

// member is what an agent of a cluster hears from the API server, as it was heard last.
type member struct {
	client *cluster.Client
	// bound holds all pods of this node, mirror pods too.
	bound latest.Cell[source.Bound]
	// node is the object of this node.
	node latest.Cell[ownNode]
}

// ownNode is the object of this node: nil if it is known that there is none.
type ownNode struct {
	object *v1.Node
	known  bool
}

// newMember builds the client. Nothing is sent.
func newMember(c *config.Config, to *rest.Config, node, release string, certificate func() *tls.Certificate, observe func(cluster.Request), log *slog.Logger) (*member, error) {
	k := &c.Kubelet
	events := cluster.Limit{QPS: float32(*k.EventRecordQPS), Burst: int(k.EventBurst)}
	if events.QPS == 0 { // as the configuration has it: no limit
		events.QPS = -1
	}
	client, err := cluster.New(cluster.Config{
		REST: to, Node: node, UserAgent: cluster.UserAgent(kubernetes, release), ContentType: k.ContentType,
		Requests: cluster.Limit{QPS: float32(*k.KubeAPIQPS), Burst: int(k.KubeAPIBurst)}, Events: events,
		HeartbeatPatience:    min(k.NodeStatusUpdateFrequency.Duration, time.Duration(k.NodeLeaseDurationSeconds)*time.Second),
		GetClientCertificate: certificate, Observe: observe, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	return &member{client: client}, nil
}

// join makes this agent one of a cluster.
func (a *Agent) join(release string) error {
	to, err := cluster.LoadKubeconfig(a.cfg.Kubeconfig)
	if err != nil {
		return err
	}
	a.member, err = newMember(a.cfg, to, a.host.Name, release, nil, nil, a.log)
	return err
}

// ownNode is the object of this node as the API server has it, and a channel that is closed when it has another one.
func (m *member) ownNode() (ownNode, <-chan struct{}) {
	if m == nil {
		return ownNode{}, nil
	}
	return m.node.Get()
}

// actors are what keeps the cells newest.
func (m *member) actors() []actor {
	if m == nil {
		return nil
	}
	return []actor{
		{"pods of the API server", func(ctx context.Context) error {
			m.client.FollowPods(ctx, func(l cluster.Listing[*v1.Pod]) { m.bound.Set(source.Bound{Pods: l.Objects, Synced: l.Synced}) })
			return nil
		}},
		{"node of the API server", func(ctx context.Context) error {
			m.client.FollowNode(ctx, func(l cluster.Listing[*v1.Node]) {
				seen := ownNode{known: l.Synced}
				if len(l.Objects) > 0 {
					seen.object = l.Objects[0]
				}
				m.node.Set(seen)
			})
			return nil
		}},
	}
}

// pods are all pods of this node as the API server has them, by UID.
func (m *member) pods() (map[types.UID]*v1.Pod, bool, <-chan struct{}) {
	b, newer := m.bound.Get()
	out := make(map[types.UID]*v1.Pod, len(b.Pods))
	for _, p := range b.Pods {
		out[p.UID] = p
	}
	return out, b.Synced, newer
}
