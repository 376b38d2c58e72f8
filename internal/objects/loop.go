package objects

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
)

// The ways to notice that an object has changed, as the configuration spells them.
const (
	Watch = "Watch"
	Cache = "Cache"
	Get   = "Get"
)

// Config is what a Loop is built from.
type Config struct {
	// Wanted tells which pods are wanted, with a channel that is closed when that may have changed.
	Wanted  func() (map[types.UID]*pod.Desired, <-chan struct{})
	Cluster Cluster
	// ResourceClaims is nil where there are none.
	ResourceClaims ResourceClaims
	// Strategy is Watch (default), Cache or Get.
	Strategy string
	// Patience is how long a reader waits for a first answer. Default 10 s.
	Patience time.Duration
	// Away tells whether the API server is known not to answer, with a channel that is closed when that may have changed. While it does
	// not, a reader waits for AwayPatience only, 1 s by default, before it takes what was kept. Nil: that is never known.
	Away         func() (bool, <-chan struct{})
	AwayPatience time.Duration
	// Grace is how long an object is still followed that no pod needs: a rollout soon needs it again. Default 30 s.
	Grace time.Duration
	// Again is how often pods look at their objects anew under the strategy Get. Default 1 minute.
	Again time.Duration
	// Keep keeps objects over restarts; nil if nothing is to be kept.
	Keep Keeper
	// Requests are those for certificates of pods; nil if none are made. Node is this node as the API server has it, with a channel that is
	// closed when that may have changed; uid is empty while it does not.
	Requests Requests
	Node     func() (name string, uid types.UID, newer <-chan struct{})
	// Notes hears of certificates of pods that are overdue or expired; nil for nobody.
	Notes note.Sink
	// Own makes the loop one for the pods of the node's own sources, which use nothing but ConfigMaps and Secrets; the others are
	// left to another loop. Without it, pods of files and URLs use neither (behaviour 11).
	Own bool
	// Where is what is said of where to put an object that is missing; empty in a cluster.
	Where string
	// Log hears of tokens and certificates that cannot be renewed; nil for nobody.
	Log *slog.Logger
}

// Loop keeps the objects. Its methods may be used by several goroutines.
type Loop struct {
	cfg       Config
	revisions latest.Cell[map[types.UID]uint64]
	logins    latest.Cell[map[types.UID]uint64]
	// kick wakes Run; it holds one.
	kick chan struct{}

	mu sync.Mutex
	// pods are those that need something.
	pods    map[types.UID]*user
	entries map[key]*entry
	leases  map[leaseKey]*lease
	// certificates are those of pods.
	certificates map[certificateKey]*certificate
	// accounts are the service accounts that were read.
	accounts map[accountKey]*v1.ServiceAccount
	// told is what was published; count the highest of it ever.
	told  map[types.UID]uint64
	count uint64
	// dirty are the pods whose revision is to grow; gone tells that told has shrunk.
	dirty map[types.UID]bool
	gone  bool
	// entered and logging are told and dirty of logins to registries.
	entered map[types.UID]uint64
	logging map[types.UID]bool
	// again is when pods look anew under the strategy Get.
	again time.Time
	// kept is what others are to be told once the lock is free.
	kept []func()
}

// user is a pod that needs objects.
type user struct {
	pod   *v1.Pod
	needs content.Needs
	keys  map[key]bool
}

// New builds a Loop. Nothing is asked before Run.
func New(cfg Config) *Loop {
	cfg.Strategy = cmp.Or(cfg.Strategy, Watch)
	cfg.Patience = cmp.Or(cfg.Patience, 10*time.Second)
	cfg.AwayPatience = cmp.Or(cfg.AwayPatience, time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, 30*time.Second)
	cfg.Again = cmp.Or(cfg.Again, time.Minute)
	if cfg.Away == nil {
		cfg.Away = func() (bool, <-chan struct{}) { return false, nil }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Loop{
		cfg: cfg, kick: make(chan struct{}, 1), pods: map[types.UID]*user{}, entries: map[key]*entry{},
		leases: map[leaseKey]*lease{}, certificates: map[certificateKey]*certificate{}, told: map[types.UID]uint64{}, dirty: map[types.UID]bool{},
		accounts: map[accountKey]*v1.ServiceAccount{}, entered: map[types.UID]uint64{}, logging: map[types.UID]bool{},
	}
}

// Revisions are numbers by pod that grow whenever something has changed that the pod uses: an object has appeared, has other
// data or is gone, or a token was renewed. A pod that is not in the map has the number 0.
func (l *Loop) Revisions() *latest.Cell[map[types.UID]uint64] { return &l.revisions }

// Logins is Revisions for a pod's logins to registries alone: an image that could not be had may be had now.
func (l *Loop) Logins() *latest.Cell[map[types.UID]uint64] { return &l.logins }

// Run keeps the objects until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wanted, newer := l.cfg.Wanted()
		var alarm <-chan time.Time
		wake, kept := l.turn(ctx, &work, wanted, time.Now())
		for _, keep := range kept {
			keep()
		}
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		case <-l.kick:
		case <-alarm:
		}
	}
}

// turn does what is due, and tells when there will be more, and what is to be kept or need not be kept any more.
func (l *Loop) turn(ctx context.Context, work *sync.WaitGroup, wanted map[types.UID]*pod.Desired, now time.Time) (time.Time, []func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var wake alarm
	l.kept = nil
	l.need(wanted, now)
	l.startEntries(ctx, work)
	l.dropEntries(now, &wake)
	l.dropLeases(now, &wake)
	l.dropAccounts()
	l.startLeases(ctx, work, now, &wake)
	l.dropCertificates(now, &wake)
	l.startCertificates(ctx, work, now, &wake)
	l.lookAgain(now, &wake)
	l.publish(now, &wake)
	return time.Time(wake), l.kept
}

// alarm is the earliest of several times; zero if there is none.
type alarm time.Time

func (a *alarm) by(t time.Time) {
	if was := time.Time(*a); was.IsZero() || t.Before(was) {
		*a = alarm(t)
	}
}

// wake makes Run take a turn.
func (l *Loop) wake() {
	select {
	case l.kick <- struct{}{}:
	default: // a turn that has not begun yet sees this too
	}
}

// need notes what the wanted pods need.
func (l *Loop) need(wanted map[types.UID]*pod.Desired, now time.Time) {
	for uid, d := range wanted {
		if u := l.pods[uid]; d.Over || u != nil && u.pod == d.Pod || l.cfg.Own && !d.Own() {
			continue
		}
		u := &user{pod: d.Pod, needs: content.NeedsOf(d.Pod)}
		switch {
		case l.cfg.Own:
			u.needs = content.Needs{ConfigMaps: u.needs.ConfigMaps, Secrets: u.needs.Secrets, PullSecrets: u.needs.PullSecrets}
		case d.Static(): // it may not use what only the API server has for it (behaviour 11)
			u.needs = content.Needs{Services: u.needs.Services, RuntimeClass: u.needs.RuntimeClass}
		}
		u.keys = l.keysOf(d.Pod.Namespace, u.needs)
		l.release(uid, u.keys, now)
		if l.pods[uid] == nil {
			l.keepServices()
		}
		l.pods[uid] = u
		for k := range u.keys {
			l.entry(k, now).users[uid] = true
		}
		l.hold(uid, u)
		if l.cfg.Requests != nil {
			l.holdCertificates(uid, u)
		}
	}
	for uid := range l.pods {
		if d := wanted[uid]; d != nil && !d.Over {
			continue
		}
		l.release(uid, nil, now)
		delete(l.pods, uid)
		delete(l.dirty, uid)
		delete(l.logging, uid)
		delete(l.entered, uid)
		if _, was := l.told[uid]; was {
			delete(l.told, uid)
			l.gone = true
		}
	}
}

// keysOf are the objects that are followed for a pod's needs.
func (l *Loop) keysOf(namespace string, n content.Needs) map[key]bool {
	keys := map[key]bool{}
	if l.cfg.Strategy != Get {
		for _, name := range n.ConfigMaps {
			keys[key{configMaps, namespace, name}] = true
		}
		for _, names := range [][]string{n.Secrets, n.PullSecrets} {
			for _, name := range names {
				keys[key{secrets, namespace, name}] = true
			}
		}
	}
	if n.Services {
		keys[key{kind: services}] = true
	}
	if n.RuntimeClass != "" {
		keys[key{kind: runtimeClasses}] = true
	}
	if n.TrustBundles {
		keys[key{kind: trustBundles}] = true
	}
	if n.Drivers {
		keys[key{kind: drivers}] = true
	}
	for _, name := range n.ResourceClaims {
		keys[key{resourceClaims, namespace, name}] = true
	}
	for _, name := range n.Claims {
		k := key{claims, namespace, name}
		keys[k] = true
		if e := l.entries[k]; e != nil && volumeOf(e.value) != "" {
			keys[key{volumes, "", volumeOf(e.value)}] = true
		}
	}
	return keys
}

// release takes a pod from the users of what it needed, except what it still needs.
func (l *Loop) release(uid types.UID, still map[key]bool, now time.Time) {
	if u := l.pods[uid]; u != nil {
		for k := range u.keys {
			if e := l.entries[k]; e != nil && !still[k] {
				delete(e.users, uid)
				e.idle, e.left = now, true
			}
		}
	}
}
