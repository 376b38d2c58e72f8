package report

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/names"
)

// Pod is what the node says of one pod.
type Pod struct {
	// UID is the pod's; of a static pod it is the hash that its mirror carries.
	UID             types.UID
	Namespace, Name string
	// Static pods have their status told of their mirror pod (behaviour 281).
	Static bool
	// Status is never changed: the same pointer stands for the same status. Nil while there is nothing to say.
	Status *v1.PodStatus
	// Rested tells that the pod has ended and that nothing of it is left on the node, so its object may be deleted.
	Rested bool
}

// Cluster is what the reporter does in the API. Errors are those of apimachinery's package errors.
type Cluster interface {
	// PatchPodStatus sends a strategic merge patch to the status of a pod and returns the pod as it then is.
	PatchPodStatus(ctx context.Context, namespace, name string, uid types.UID, patch []byte) (*v1.Pod, error)
	// DeletePod deletes a pod if it has that UID.
	DeletePod(ctx context.Context, namespace, name string, uid types.UID, grace time.Duration) error
}

// Config is what a Reporter is built from.
type Config struct {
	// Pods are all pods of the node, and a channel that is closed when there is news. Order does not matter.
	Pods func() ([]Pod, <-chan struct{})
	// API are all pods bound to this node as the API server has them, mirror pods too, whether that is known at all, and a
	// channel that is closed when there is news. What it returns is never changed; a pod that is the same is the same pointer.
	API func() (pods map[types.UID]*v1.Pod, synced bool, newer <-chan struct{})
	// Absent tells of a pod of the API server that is not among Pods whether the node is certain to have nothing of it and
	// not to begin it. Nil: never certain.
	Absent  func(types.UID) bool
	Cluster Cluster
	// Node is the node's name: nodes that lost the API server together do not come back at the same moment.
	Node string
	// Parallel is how many calls may be under way, 8 if 0. Timeout bounds each, 20 s if 0.
	Parallel int
	Timeout  time.Duration
	Log      *slog.Logger
	// Told is called after each call that succeeded, one at a time, by Run, which it must not hold up. May be nil.
	Told func(Told)
}

// Told is a call that succeeded.
type Told struct {
	UID types.UID
	// Pod is the pod as the API server answered; nil if it was deleted.
	Pod *v1.Pod
	// Waited is the time from when there was something to tell until it was told; Took is the call's part of it.
	Waited, Took time.Duration
}

// Reporter tells the API server about pods.
type Reporter struct {
	cfg     Config
	answers chan answer

	mu    sync.Mutex // held while the fields below change; only Run changes them
	lines map[types.UID]*line
	pace  pace

	flying int
	// mirrors are the mirror pods of the API server by what they mirror, as of the list that news belongs to.
	mirrors map[target]*v1.Pod
	news    <-chan struct{}
}

// answer is what became of a call.
type answer struct {
	// key is the pod's as the node has it, uid the object's; they differ for static pods.
	key, uid types.UID
	verb     verb
	// base is what the call was worked out from.
	base   *v1.Pod
	began  time.Time
	since  time.Time
	pod    *v1.Pod
	result result
	err    error
}

// New builds a Reporter. Nothing is told before Run.
func New(cfg Config) *Reporter {
	if cfg.Parallel <= 0 {
		cfg.Parallel = 8
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 20 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Reporter{cfg: cfg, answers: make(chan answer, cfg.Parallel), lines: map[types.UID]*line{}}
	r.pace = r.fresh()
	return r
}

// Run tells the API server what there is to tell until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	calls, cancel := context.WithCancel(ctx)
	defer r.drain()
	defer cancel()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		began := time.Now()
		pods, api := r.look(began)
		// Looking takes a tenth of the time at most: with many pods in motion several changes cost one look.
		rest := began.Add(10 * time.Since(began))
		for fresh := false; !fresh || time.Now().Before(rest); {
			wake := r.send(calls, time.Now())
			if fresh && (wake.IsZero() || wake.After(rest)) {
				wake = rest
			}
			var alarm <-chan time.Time
			if !wake.IsZero() {
				timer.Reset(time.Until(wake))
				alarm = timer.C
			}
			select {
			case <-ctx.Done():
				return nil
			case <-pods:
				pods, fresh = nil, true
			case <-api:
				api, fresh = nil, true
			case a := <-r.answers:
				r.learn(ctx, a, time.Now())
			case <-alarm:
			}
		}
	}
}

// drain waits for the calls under way, which have been cancelled, and forgets everything.
func (r *Reporter) drain() {
	for range r.flying {
		<-r.answers
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flying, r.news, r.mirrors, r.lines, r.pace = 0, nil, nil, map[types.UID]*line{}, r.fresh()
}

func (r *Reporter) fresh() pace {
	return pace{most: r.cfg.Parallel, width: r.cfg.Parallel, seed: r.cfg.Node}
}

// look reads what the node says and what the API server has, and judges what has changed.
func (r *Reporter) look(now time.Time) (newerPods, newerAPI <-chan struct{}) {
	pods, newerPods := r.cfg.Pods()
	api, synced, newerAPI := r.cfg.API()
	r.mu.Lock()
	defer r.mu.Unlock()
	if newerAPI != r.news {
		if r.news != nil {
			r.pace.stirred(now)
		}
		r.news, r.mirrors = newerAPI, mirrorsOf(api)
	}
	if !synced {
		return newerPods, newerAPI
	}
	for _, l := range r.lines {
		l.present = false
	}
	for i := range pods {
		r.take(pods[i], r.targetOf(&pods[i], api), now)
	}
	for uid, p := range api {
		if l := r.lines[uid]; p.DeletionTimestamp == nil || isMirror(p) || l != nil && l.present {
			continue
		}
		if r.cfg.Absent != nil && r.cfg.Absent(uid) {
			r.take(Pod{UID: uid, Namespace: p.Namespace, Name: p.Name, Rested: true}, p, now)
		}
	}
	maps.DeleteFunc(r.lines, func(_ types.UID, l *line) bool {
		if !l.present {
			l.order = order{}
		}
		return !l.present && !l.flying
	})
	return newerPods, newerAPI
}

// take takes in what is known of one pod.
func (r *Reporter) take(p Pod, seen *v1.Pod, now time.Time) {
	l := r.lines[p.UID]
	if l == nil {
		l = &line{last: done}
		r.lines[p.UID] = l
	}
	l.present = true
	changed := l.see(seen)
	if changed || p != l.pod {
		l.pod = p
		l.judge(now)
	}
}

// targetOf is the API server's object for a pod: of a static pod the mirror with its hash, and none with another.
func (r *Reporter) targetOf(p *Pod, api map[types.UID]*v1.Pod) *v1.Pod {
	if p.Static {
		return r.mirrors[target{p.Namespace, p.Name, p.UID}]
	}
	if found := api[p.UID]; found != nil && !isMirror(found) {
		return found
	}
	return nil
}

func mirrorsOf(api map[types.UID]*v1.Pod) map[target]*v1.Pod {
	out := map[target]*v1.Pod{}
	for _, p := range api {
		if isMirror(p) {
			out[target{p.Namespace, p.Name, types.UID(p.Annotations[names.ConfigMirror])}] = p
		}
	}
	return out
}

// send begins calls as far as there is room, and returns when it has to be asked again, zero if not by the clock.
func (r *Reporter) send(ctx context.Context, now time.Time) (wake time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.pace.out()
	sooner := func(t time.Time) {
		if wake.IsZero() || t.Before(wake) {
			wake = t
		}
	}
	moving := 0
	for _, l := range r.lines {
		if l.moves(now) {
			moving++
		}
	}
	var due []*line
	for _, l := range r.lines {
		if l.told != nil && !l.flying {
			if at := l.toldAt.Add(lag); now.Before(at) {
				sooner(at)
			} else { // the list will not catch up: it tells of another past
				l.told = nil
				l.judge(now)
			}
		}
		switch at := l.opens(moving); {
		case l.waits() && now.Before(at):
			sooner(at)
		case l.due(out, now):
			due = append(due, l)
		case l.waits():
			sooner(l.again)
		}
	}
	if len(due) == 0 {
		return wake
	}
	if now.Before(r.pace.next) {
		sooner(r.pace.next)
	}
	slices.SortFunc(due, func(a, b *line) int { return a.before(b, out) })
	for _, l := range due[:min(len(due), max(0, r.pace.room(r.flying, now)))] {
		r.begin(ctx, l, now)
	}
	return wake
}

// begin begins the call that a line wants.
func (r *Reporter) begin(ctx context.Context, l *line, now time.Time) {
	l.flying = true
	r.flying++
	api, o := l.api(), l.order
	a := answer{key: l.pod.UID, uid: api.UID, base: api, verb: o.verb, began: now, since: l.since}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
		defer cancel()
		a.pod, a.err = r.call(ctx, api, o)
		a.result = resultOf(a.err)
		r.answers <- a
	}()
}

func (r *Reporter) call(ctx context.Context, api *v1.Pod, o order) (*v1.Pod, error) {
	if o.verb == remove {
		return nil, r.cfg.Cluster.DeletePod(ctx, api.Namespace, api.Name, api.UID, 0)
	}
	body, err := patch(api, o.want)
	if err != nil {
		return nil, err
	}
	return r.cfg.Cluster.PatchPodStatus(ctx, api.Namespace, api.Name, api.UID, body)
}

// release lets all go that waited for the end of an outage. What fails again for reasons of its own waits longer still.
func (r *Reporter) release() {
	for _, l := range r.lines {
		if l.last == unheard {
			l.again = time.Time{}
		}
	}
}

// learn takes in what became of a call.
func (r *Reporter) learn(ctx context.Context, a answer, now time.Time) {
	r.mu.Lock()
	r.flying--
	if ctx.Err() != nil { // the agent leaves: the call was cut short, which says nothing
		r.mu.Unlock()
		return
	}
	l := r.lines[a.key]
	before := r.pace
	if a.result == unheard {
		r.pace.unheard(a.began, now, a.err)
	} else {
		if r.pace.out() {
			r.release()
		}
		r.pace.heard()
	}
	r.say(l, a, before, now)
	if l != nil {
		l.learn(a, now)
		l.judge(now)
		if !l.present {
			delete(r.lines, a.key)
		}
	}
	r.mu.Unlock()
	if r.cfg.Told != nil && a.result == done {
		r.cfg.Told(Told{UID: a.key, Pod: a.pod, Waited: now.Sub(a.since), Took: now.Sub(a.began)})
	}
}
