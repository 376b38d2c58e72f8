package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/keep"
	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/objects"
	"github.com/bosun-project/bosun/internal/pod"
)

// buildObjects makes what brings the objects that pods are made from, and what keeps them and the pods for times without an
// API server. It returns the pods that were kept.
func (a *Agent) buildObjects() ([]*v1.Pod, error) {
	kept, err := a.openKept()
	if err != nil {
		return nil, err
	}
	config := objects.Config{
		Wanted: a.wantedPods, Cluster: apiObjects{a.member.client}, ResourceClaims: apiObjects{a.member.client},
		Strategy: string(a.cfg.Kubelet.ConfigMapAndSecretChangeDetectionStrategy), Away: a.member.silent.Get, Log: a.log,
		Node: a.self, Notes: a.note,
	}
	if a.cfg.Gate("PodCertificateRequest") {
		config.Requests = apiObjects{a.member.client}
	}
	var pods []*v1.Pod
	if kept != nil {
		config.Keep = keeper{kept, a.log}
		pods, err = kept.Pods()
		if err != nil {
			a.log.Warn("some pods are not known before the API server tells of them", "err", err)
		}
		loop := keep.LoopConfig{Store: kept, Accepted: a.acceptedPods, Wanted: a.stillBound, Synced: func() bool { return a.member.byUID.Value().synced }, Log: a.log}
		for _, p := range pods {
			loop.Kept = append(loop.Kept, p.UID)
		}
		a.sources = append(a.sources, actor{"kept pods", keep.NewLoop(loop).Run})
	}
	a.objects = objects.New(config)
	a.metrics.Certificates(func() map[metrics.Certificate]int {
		count := map[metrics.Certificate]int{}
		for of, n := range a.objects.Certificates() {
			count[metrics.Certificate(of)] += n
		}
		return count
	})
	a.sources = append(a.sources, a.member.once(actor{"objects of pods", a.objects.Run}))
	return pods, nil
}

// self is this node as the API server has it.
func (a *Agent) self() (string, types.UID, <-chan struct{}) {
	n, newer := a.member.node.Get()
	if n.object == nil {
		return a.host.Name, "", newer
	}
	return a.host.Name, n.object.UID, newer
}

// openKept opens the files of pods for times without an API server; nil if there is no place for them. What is at the other
// place, from before the configuration was changed, goes: Secrets are in it.
func (a *Agent) openKept() (*keep.Store, error) {
	onDisk := filepath.Join(a.cfg.RootDir, "kept")
	inMemory, there := keep.InMemory(a.cfg.RootDir)
	if a.cfg.OfflineRestart {
		if there {
			a.dropKept(inMemory)
		}
		return keep.Open(onDisk, true)
	}
	a.dropKept(onDisk)
	if !there {
		a.log.Warn("neither /run nor /dev/shm is in memory: when the agent is restarted while the API server is away, it does not know its pods until that is back")
		return nil, nil
	}
	return keep.OpenFor(a.cfg.RootDir, inMemory)
}

func (a *Agent) dropKept(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		a.log.Warn("pods that were kept for times without an API server cannot be removed", "directory", dir, "err", err)
	}
}

// wantedPods are the pods that all sources together want.
func (a *Agent) wantedPods() (map[types.UID]*pod.Desired, <-chan struct{}) {
	w, newer := a.wanted.Get()
	return w.Pods, newer
}

// acceptedPods are the pods of the API that this node has taken on.
func (a *Agent) acceptedPods() (map[types.UID]*pod.Desired, <-chan struct{}) {
	entries, newer := a.set.Table().Pods()
	accepted := map[types.UID]*pod.Desired{}
	for _, e := range entries {
		if d := e.Desired; d.Source == pod.FromAPI && d.Wanted && !e.Memory.Kept.Admitted.IsZero() {
			accepted[d.UID()] = d
		}
	}
	return accepted, newer
}

// stillBound tells whether the API server may still name a pod for this node.
func (a *Agent) stillBound(uid types.UID) bool {
	now := a.member.byUID.Value()
	return !now.synced || now.pods[uid] != nil
}

// keeper fits the kept files to what objects asks.
type keeper struct {
	store *keep.Store
	log   *slog.Logger
}

func (k keeper) Load(kind, namespace, name string) (runtime.Object, bool) {
	return k.store.Load(kind, namespace, name)
}

func (k keeper) Store(kind, namespace, name string, object runtime.Object) {
	var err error
	if object == nil {
		err = k.store.Drop(kind, namespace, name)
	} else {
		err = k.store.Keep(kind, namespace, name, object)
	}
	if err != nil {
		k.log.Warn("an object cannot be kept for times without an API server", "kind", kind, "namespace", namespace, "name", name, "err", err)
	}
}

// contentOf are the files of a volume that is made from objects.
func (a *Agent) contentOf(ctx context.Context, p *v1.Pod, v *v1.Volume) (content.Files, error) {
	facts, err := a.objectsOf(p).Gather(ctx, p, v)
	if err != nil {
		return nil, err
	}
	facts.NodeName, facts.Allocatable = a.host.Name, a.settings.allocatable
	return content.Of(p, v, facts)
}

// pullSecrets are a pod's logins to registries, and the names of those that cannot be had.
func pullSecrets(ctx context.Context, l *objects.Loop, p *v1.Pod) (logins []credential.Config, lacking []string) {
	if l == nil || len(p.Spec.ImagePullSecrets) == 0 {
		return nil, nil
	}
	found, lacking := l.PullSecrets(ctx, p)
	for _, s := range found {
		login, err := credential.FromSecret(s)
		if err != nil {
			lacking = append(lacking, s.Name)
			continue
		}
		logins = append(logins, login)
	}
	return logins, lacking
}
