package source

import (
	"cmp"
	"context"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/status"
)

// Bound is what the API server binds to this node, or what was given to the node's own API.
type Bound struct {
	// Pods are never changed once published.
	Pods []*v1.Pod
	// Objects are what the node's own API was given beside pods.
	Objects map[ObjectKey]*Object
	// Synced is true once the API server has answered with a full list.
	Synced bool
}

// APIConfig is what an API is built from.
type APIConfig struct {
	// Source is pod.FromAPI if empty, or pod.FromLocal for the node's own API.
	Source pod.Source
	// Bound returns what is bound to the node now, and a channel that is closed when that changed.
	Bound func() (Bound, <-chan struct{})
	// Kept are pods that an earlier life of the agent had taken on. While the API server is away they are wanted until it says
	// otherwise, so that a node goes on while nobody can tell it what to do.
	Kept []*v1.Pod
	// Away tells whether the API server cannot be asked, with a channel that is closed when that may have changed; nil means
	// that Kept counts at once.
	Away func() (bool, <-chan struct{})
}

// API is the source of the pods that the API server binds to this node (behaviour 4), or of those given to its own API. Mirror pods are none of them: they are
// pictures of pods from other sources.
type API struct {
	cfg  APIConfig
	out  latest.Cell[Snapshot]
	last Snapshot
	// judged are the versions of pods that last was made from: each is compared once with what was wanted before.
	judged map[types.UID]*v1.Pod
}

// NewAPI builds it; Run makes it work.
func NewAPI(cfg APIConfig) *API {
	if cfg.Away == nil {
		cfg.Away = func() (bool, <-chan struct{}) { return true, nil }
	}
	cfg.Source = cmp.Or(cfg.Source, pod.FromAPI)
	a := &API{cfg: cfg}
	a.out.Set(Snapshot{Source: cfg.Source})
	return a
}

// Cell holds what the API server wants of this node now.
func (a *API) Cell() *latest.Cell[Snapshot] { return &a.out }

// Run follows the API server until the context ends, and returns its error.
func (a *API) Run(ctx context.Context) error {
	for {
		bound, newer := a.cfg.Bound()
		away, returned := a.cfg.Away()
		if bound.Synced {
			a.cfg.Kept, returned = nil, nil
		}
		if away {
			bound.Pods = slices.Concat(a.cfg.Kept, bound.Pods) // the later one wins
		}
		if next := a.take(bound, time.Now()); !next.same(a.last) {
			a.last = next
			a.out.Set(next)
		}
		select {
		case <-newer:
		case <-returned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *API) take(bound Bound, now time.Time) Snapshot {
	next := Snapshot{Pods: make(map[types.UID]*pod.Desired, len(bound.Pods)), Objects: bound.Objects, Ready: bound.Synced, Source: a.cfg.Source}
	judged := make(map[types.UID]*v1.Pod, len(bound.Pods))
	for _, p := range bound.Pods {
		if IsMirror(p) || p.UID == "" {
			continue
		}
		before := a.last.Pods[p.UID]
		if before == nil || a.judged[p.UID] != p {
			before = a.desired(p, before, now)
		}
		next.Pods[p.UID], judged[p.UID] = before, p
	}
	a.judged = judged
	return next
}

// IsMirror tells whether an object of the API is the picture of a static pod (behaviour 13).
func IsMirror(p *v1.Pod) bool {
	_, mirror := p.Annotations[names.ConfigMirror]
	return mirror
}

// desired is what the API says of one pod; it is the one that was said before if nothing is new in it for the node.
func (a *API) desired(p *v1.Pod, before *pod.Desired, now time.Time) *pod.Desired {
	if before != nil && !news(before.Pod, p) {
		return before
	}
	d := &pod.Desired{
		Pod: p, Source: a.cfg.Source, Seen: now, Wanted: true,
		Over: p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed,
	}
	if before != nil {
		d.Seen = before.Seen
	}
	if p.DeletionTimestamp != nil {
		d.Deletion = &pod.Deletion{At: p.DeletionTimestamp.Time, Grace: d.Grace()}
		if s := p.DeletionGracePeriodSeconds; s != nil {
			d.Deletion.Grace = time.Duration(*s) * time.Second
		}
	}
	return d
}

// news tells whether a version of a pod says anything to the node that another one did not. What the agent itself reports
// of the pod comes back with every change, and is none.
func news(old, p *v1.Pod) bool {
	if old == p { // versions prove nothing: after a rollback of the store they come again
		return false
	}
	return !equality.Semantic.DeepEqual(&old.Spec, &p.Spec) ||
		!equality.Semantic.DeepEqual(old.Labels, p.Labels) || !equality.Semantic.DeepEqual(old.Annotations, p.Annotations) ||
		!old.DeletionTimestamp.Equal(p.DeletionTimestamp) || !equality.Semantic.DeepEqual(old.DeletionGracePeriodSeconds, p.DeletionGracePeriodSeconds) ||
		old.Generation != p.Generation || foreign(&old.Status, &p.Status)
}

// foreign tells whether what others write into a status differs: the phase once it is final, conditions, nominations, claims
// (behaviours 5, 282).
func foreign(old, p *v1.PodStatus) bool {
	ended := func(s *v1.PodStatus) bool { return s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed }
	return ended(old) != ended(p) || old.NominatedNodeName != p.NominatedNodeName ||
		!slices.EqualFunc(theirs(old), theirs(p), sameCondition) ||
		!equality.Semantic.DeepEqual(old.ResourceClaimStatuses, p.ResourceClaimStatuses) ||
		!equality.Semantic.DeepEqual(old.ExtendedResourceClaimStatus, p.ExtendedResourceClaimStatus)
}

// theirs are the conditions that others write.
func theirs(s *v1.PodStatus) []v1.PodCondition {
	return slices.DeleteFunc(slices.Clone(s.Conditions), func(c v1.PodCondition) bool { return status.Owned(c.Type) })
}

func sameCondition(a, b v1.PodCondition) bool { return equality.Semantic.DeepEqual(a, b) }
