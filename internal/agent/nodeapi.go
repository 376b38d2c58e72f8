package agent

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/given"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/nodeapi"
	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/serve"
	"github.com/bosun-project/bosun/internal/source"
)

// KubectlConfig is the name of the kubeconfig of the node's own API below the state directory.
const KubectlConfig = "bosun.kubeconfig"

// buildGiven opens what was given to the node's own API, and makes it a source of pods.
func (a *Agent) buildGiven() (*latest.Cell[source.Snapshot], error) {
	store, bad, err := given.Open(filepath.Join(a.cfg.RootDir, "given"))
	if err != nil {
		return nil, err
	}
	if bad != nil {
		a.nodeNote(note.Warning, "GivenObjectDamaged", "some of what was given with kubectl cannot be read, and is left out: "+bad.Error())
	}
	a.given = store
	api := source.NewAPI(source.APIConfig{Source: pod.FromLocal, Bound: func() (source.Bound, <-chan struct{}) {
		held, newer := store.Content()
		return nodeapi.Bound(held), newer
	}})
	a.sources = append(a.sources, actor{"pods given with kubectl", api.Run})
	return api.Cell(), nil
}

// buildNodeAPI makes the Kubernetes API of a lone node.
func (a *Agent) buildNodeAPI() error {
	if a.given == nil {
		return nil
	}
	id, err := nodeapi.OpenIdentity(filepath.Join(a.cfg.RootDir, "node-api"), time.Now())
	if err != nil {
		return err
	}
	tls, err := id.TLS()
	if err != nil {
		return err
	}
	node := &loneNode{agent: a, made: id.Made}
	api := nodeapi.New(nodeapi.Config{
		NodeName: a.host.Name, Version: Kubernetes, Pods: a.set.Table().Pods, Wanted: a.merge.Cell().Get, Node: node.object, Notes: a.notes.Follow,
		Store: a.given, Streams: a.answers.Handler(serve.Admin), Log: a.log,
	})
	port := int(a.cfg.NodeAPIPort)
	kubeconfig := filepath.Join(a.cfg.RootDir, KubectlConfig)
	server := serve.NewTLS("API of the node", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), api.Handler(), tls, func(ctx context.Context) (net.Listener, error) {
		l, err := id.Listen(ctx, port, kubeconfig, a.host.Name)
		if err != nil {
			return nil, fmt.Errorf("serve the API of the node: %w", err)
		}
		a.log.Info("kubectl may be used", "KUBECONFIG", kubeconfig)
		return l, nil
	}, a.log)
	a.faces = append(a.faces, actor{"API of the node", server.Run}, actor{"pods deleted with kubectl", api.Run})
	return nil
}

// loneNode is the node as an API server would have it, made when somebody asks.
type loneNode struct {
	agent *Agent
	made  time.Time

	mu     sync.Mutex
	status v1.NodeStatus
	images []nodestatus.Image
	listed time.Time
}

// imagesKept is how long a list of the images on the node is good enough, listWait how long the runtime may take for one.
const (
	imagesKept = 10 * time.Second
	listWait   = 3 * time.Second
)

func (n *loneNode) object(ctx context.Context) (*v1.Node, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, now := n.agent, time.Now()
	facts := a.fixedFacts()
	health, newer := a.observer.Health().Get()
	a.tellHealth(&facts, health)
	facts.Addresses, facts.CgroupVersion = a.ips.Value(), a.cgroups.version()
	press(&facts, a.pressure.Pressure().Value())
	facts.CgroupsError = a.cgroups.trouble.Value()
	down, _ := a.goingDown()
	facts.ShuttingDown = down.Down()
	facts.StaleListing = staleListing(a.observer.Listing().Value().Began, stale(a.cfg.Kubelet.SyncFrequency.Duration), now)
	if health.Up && now.Sub(n.listed) > imagesKept {
		ctx, done := context.WithTimeout(ctx, listWait)
		if images, err := a.client.ListImages(ctx); err == nil {
			n.images, n.listed = nil, now
			for _, i := range images {
				n.images = append(n.images, nodestatus.Image{Names: slices.Concat(i.RepoDigests, i.RepoTags), Size: int64(i.Size)})
			}
		}
		done()
	}
	facts.Images = n.images
	object := nodestatus.Object(facts, now)
	object.Status = nodestatus.Status(n.status, facts, now)
	n.status = object.Status
	for i := range object.Status.Conditions { // a lone node sends no heartbeats: what it says, it says now
		object.Status.Conditions[i].LastHeartbeatTime = object.Status.Conditions[i].LastTransitionTime
	}
	object.APIVersion, object.Kind = "v1", "Node"
	object.UID, object.CreationTimestamp = types.UID("node-"+a.host.Name), metav1.NewTime(n.made) // its events have the name for that
	return object, newer
}
