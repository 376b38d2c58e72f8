package objects

import (
	"context"
	"slices"
	"sync"
	"time"

	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	node "k8s.io/api/node/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// kind is a sort of thing that is followed.
type kind uint8

const (
	configMaps     kind = iota + 1 // one ConfigMap
	secrets                        // one Secret
	services                       // all services
	runtimeClasses                 // all runtime classes
	trustBundles                   // all ClusterTrustBundles
	claims                         // one PersistentVolumeClaim
	volumes                        // one PersistentVolume
	drivers                        // all CSIDrivers
	resourceClaims                 // one ResourceClaim
)

// key is one thing that is followed. Lists of all have neither namespace nor name.
type key struct {
	kind            kind
	namespace, name string
}

// String names the object for people.
func (k key) String() string {
	switch k.kind {
	case configMaps:
		return "configmap " + k.namespace + "/" + k.name
	case secrets:
		return "secret " + k.namespace + "/" + k.name
	case services:
		return "services"
	case runtimeClasses:
		return "runtime classes"
	case trustBundles:
		return "cluster trust bundles"
	case claims:
		return "claim " + k.namespace + "/" + k.name
	case volumes:
		return "persistent volume " + k.name
	case drivers:
		return "CSI drivers"
	case resourceClaims:
		return "resource claim " + k.namespace + "/" + k.name
	}
	return "nothing"
}

// entry is what is known of one thing.
//
//	asked ──► known ──► known otherwise …        frozen: an immutable object that was seen and is not followed any more
type entry struct {
	key   key
	users map[types.UID]bool
	// idle is since when there are no users. left tells that there were some.
	idle time.Time
	left bool
	// stop ends the following; nil before it has begun.
	stop   context.CancelFunc
	frozen bool

	// known tells that the API server has answered, or Config.Keep in its place. value is then what there is: *v1.ConfigMap,
	// *v1.Secret, *v1.PersistentVolumeClaim, *v1.PersistentVolume, *resource.ResourceClaim, []*v1.Service, []*node.RuntimeClass,
	// []*certificates.ClusterTrustBundle or []*storage.CSIDriver; nil for an object that does not exist.
	known bool
	value any
	// err is why nothing is known yet.
	err   error
	asked time.Time
	// news is closed when any of this changes.
	news chan struct{}
	// refused tells that the API server's last answer was that this node may not have it.
	refused bool
	// gaveUp tells that somebody was told that nothing is known.
	gaveUp bool
	// first and last are when it changed without pods having been told; zero if there is nothing to tell.
	first, last time.Time
}

// entry finds or makes one.
func (l *Loop) entry(k key, now time.Time) *entry {
	e := l.entries[k]
	if e == nil {
		e = &entry{key: k, users: map[types.UID]bool{}, idle: now, asked: now, news: make(chan struct{})}
		l.entries[k] = e
	}
	return e
}

func (e *entry) tellReaders() {
	close(e.news)
	e.news = make(chan struct{})
}

// startEntries begins to follow what is not followed yet.
func (l *Loop) startEntries(ctx context.Context, work *sync.WaitGroup) {
	for _, e := range l.entries {
		if e.stop != nil {
			continue
		}
		var following context.Context
		following, e.stop = context.WithCancel(ctx)
		work.Go(func() { l.follow(following, e) })
	}
}

// dropEntries forgets what nobody has needed for a while; at once what the API server refuses, as it does when the pods are gone
// that needed it.
func (l *Loop) dropEntries(now time.Time, wake *alarm) {
	for k, e := range l.entries {
		if len(e.users) > 0 {
			continue
		}
		if until := e.idle.Add(l.cfg.Grace); now.Before(until) && !(e.refused && e.left) {
			wake.by(until)
			continue
		}
		if e.stop != nil {
			e.stop()
		}
		delete(l.entries, k)
		e.tellReaders()
		l.forget(k.kindName(), k.namespace, k.name)
	}
}

// follow follows one thing until ctx ends.
func (l *Loop) follow(ctx context.Context, e *entry) {
	l.ask(ctx, e.key, func(value any, err error) { l.heard(ctx, e, value, err) })
}

// ask hands over what the API server says of one thing, cut down to what is used of it.
func (l *Loop) ask(ctx context.Context, k key, tell func(any, error)) {
	switch k.kind {
	case configMaps:
		l.cfg.Cluster.FollowConfigMap(ctx, k.namespace, k.name, func(m *v1.ConfigMap, err error) { tell(trimConfigMap(m), err) })
	case secrets:
		l.cfg.Cluster.FollowSecret(ctx, k.namespace, k.name, func(s *v1.Secret, err error) { tell(trimSecret(s), err) })
	case services:
		l.cfg.Cluster.FollowServices(ctx, func(all []*v1.Service, err error) { tell(all, err) })
	case runtimeClasses:
		l.cfg.Cluster.FollowRuntimeClasses(ctx, func(all []*node.RuntimeClass, err error) { tell(all, err) })
	case trustBundles:
		l.cfg.Cluster.FollowTrustBundles(ctx, func(all []*certificates.ClusterTrustBundle, err error) { tell(all, err) })
	case claims:
		l.cfg.Cluster.FollowClaim(ctx, k.namespace, k.name, func(p *v1.PersistentVolumeClaim, err error) { tell(trimClaim(p), err) })
	case volumes:
		l.cfg.Cluster.FollowVolume(ctx, k.name, func(p *v1.PersistentVolume, err error) { tell(trimVolume(p), err) })
	case resourceClaims:
		l.followResourceClaim(ctx, k, tell)
	case drivers:
		l.cfg.Cluster.FollowCSIDrivers(ctx, func(all []*storage.CSIDriver, err error) { tell(all, err) })
	}
}

// heard takes in what the API server said.
func (l *Loop) heard(ctx context.Context, e *entry, value any, err error) {
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		l.heardError(e, err)
		return
	}
	changed := false
	func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if e.frozen {
			return
		}
		e.refused = false
		changed = l.learn(e, value, time.Now())
		if immutable(value) {
			e.frozen = true
			e.stop()
		}
		l.nudgeLeases(time.Now())
		l.nudgeCertificates(time.Now())
	}()
	l.wake()
	if changed {
		l.store(e.key, value)
	}
}

func (l *Loop) heardError(e *entry, err error) {
	l.mu.Lock()
	e.refused = apierrors.IsForbidden(err)
	asleep, useless := e.known, e.refused && len(e.users) == 0
	if !asleep {
		e.err = err
		e.tellReaders()
	}
	l.mu.Unlock()
	if useless {
		l.wake()
	}
	if !asleep && away(err) {
		l.recall(e)
	}
}

// learn notes what there is now, and whether that is anything new.
func (l *Loop) learn(e *entry, value any, now time.Time) (changed bool) {
	old, wasKnown := e.value, e.known
	if wasKnown && same(old, value) {
		return false
	}
	e.known, e.value, e.err = true, value, nil
	e.tellReaders()
	l.bind(e, now)
	switch {
	case !wasKnown && !e.gaveUp, e.key.kind == services && wasKnown:
		// Nobody has made anything from what was before; and variables of running containers never change.
	case !wasKnown, grown(old, value):
		l.tellUsers(e)
	default:
		if e.first.IsZero() {
			e.first = now
		}
		e.last = now
	}
	return true
}

// tellUsers has the revision of all users grow at once.
func (l *Loop) tellUsers(e *entry) {
	e.first, e.last = time.Time{}, time.Time{}
	for uid := range e.users {
		l.dirty[uid] = true
		if u := l.pods[uid]; e.key.kind == secrets && u != nil && slices.Contains(u.needs.PullSecrets, e.key.name) {
			l.logging[uid] = true
		}
	}
}
