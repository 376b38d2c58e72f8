package agent

import (
	"context"
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/objects"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/source"
)

// buildLocal makes what brings ConfigMaps and Secrets of the node's own sources to their pods.
func (a *Agent) buildLocal() {
	a.local = objects.New(objects.Config{
		Wanted: a.wantedPods, Own: true, Log: a.log,
		Where: "put it in a manifest beside the pod's, or give it to the node with kubectl apply",
		Cluster: objects.Local{
			ConfigMap: func(namespace, name string) (*v1.ConfigMap, bool, <-chan struct{}) {
				o, known, newer := a.localObject(source.ObjectKey{Kind: "ConfigMap", Namespace: namespace, Name: name})
				return o.ConfigMap, known, newer
			},
			Secret: func(namespace, name string) (*v1.Secret, bool, <-chan struct{}) {
				o, known, newer := a.localObject(source.ObjectKey{Kind: "Secret", Namespace: namespace, Name: name})
				return o.Secret, known, newer
			},
		},
	})
	a.sources = append(a.sources, actor{"objects of manifests", a.local.Run})
	if a.objects != nil {
		a.sources = append(a.sources, actor{"revisions of objects", a.joinRevisions})
	}
}

// localObject is an object of the sources; an empty one if there is none.
func (a *Agent) localObject(k source.ObjectKey) (o source.Object, known bool, newer <-chan struct{}) {
	s, newer := a.merge.Cell().Get()
	if there := s.Objects[k]; there != nil {
		o = *there
	}
	known = s.Ready
	if a.member != nil { // its API server says nothing of these
		c := &a.cfg.Kubelet
		known = (c.StaticPodPath == "" || s.Spoken[pod.FromFile]) && (c.StaticPodURL == "" || s.Spoken[pod.FromURL])
	}
	return o, known, newer
}

// objectsOf is what has the objects of a pod; nil if nothing has.
func (a *Agent) objectsOf(p *v1.Pod) *objects.Loop {
	if a.local == nil || a.member == nil {
		if a.local != nil {
			return a.local
		}
		return a.objects
	}
	d := a.wanted.Value().Pods[p.UID]
	if e := a.set.Table().Pod(p.UID); d == nil && e != nil {
		d = e.Desired
	}
	if d != nil && d.Own() {
		return a.local
	}
	return a.objects
}

// podObjects fits the objects of pods to what perform asks.
type podObjects struct{ *Agent }

// Fill adds what the variables of a container are made from.
func (o podObjects) Fill(ctx context.Context, d *pod.Desired, c *v1.Container, f *environ.Facts) error {
	if o.local == nil || !d.Own() {
		return o.objects.Fill(ctx, d, c, f)
	}
	if err := o.local.Fill(ctx, d, c, f); err != nil || o.objects == nil {
		return err
	}
	own, master, err := o.objects.Services(ctx, d.Pod.Namespace, false)
	f.Services, f.MasterServices = own, master
	return err
}

// RuntimeHandler is what a runtime class stands for. Without an API server there are none, and the name is the handler's.
func (o podObjects) RuntimeHandler(ctx context.Context, name string) (string, error) {
	if o.objects == nil {
		return name, nil
	}
	class, err := o.objects.RuntimeClass(ctx, name)
	if err != nil {
		return "", err
	}
	return class.Handler, nil
}

// loginRevisions is how often the logins of pods to registries have changed.
func (a *Agent) loginRevisions() (map[types.UID]uint64, <-chan struct{}) {
	return a.revisions((*objects.Loop).Logins, &a.logins)
}

// contentRevisions is how often what pods are made from has changed.
func (a *Agent) contentRevisions() (map[types.UID]uint64, <-chan struct{}) {
	return a.revisions((*objects.Loop).Revisions, &a.contents)
}

func (a *Agent) revisions(of func(*objects.Loop) *latest.Cell[map[types.UID]uint64], joined *latest.Cell[map[types.UID]uint64]) (map[types.UID]uint64, <-chan struct{}) {
	switch {
	case a.objects != nil && a.local != nil:
		return joined.Get()
	case a.objects != nil:
		return of(a.objects).Get()
	case a.local != nil:
		return of(a.local).Get()
	}
	return nil, nil
}

// joinRevisions keeps the revisions of pods of both kinds together. Each pod is of one.
func (a *Agent) joinRevisions(ctx context.Context) error {
	join := func(x, y map[types.UID]uint64) map[types.UID]uint64 {
		all := maps.Clone(x)
		if all == nil {
			all = map[types.UID]uint64{}
		}
		for uid, n := range y {
			all[uid] += n // a static pod's revisions with the cluster grow too, when a service comes; sums grow as well
		}
		return all
	}
	for {
		theirs, newer1 := a.objects.Revisions().Get()
		ours, newer2 := a.local.Revisions().Get()
		theirLogins, newer3 := a.objects.Logins().Get()
		ourLogins, newer4 := a.local.Logins().Get()
		a.contents.Set(join(theirs, ours))
		a.logins.Set(join(theirLogins, ourLogins))
		select {
		case <-ctx.Done():
			return nil
		case <-newer1:
		case <-newer2:
		case <-newer3:
		case <-newer4:
		}
	}
}
