package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/backoff"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Cluster is what the loop does in the API. Errors are those of apimachinery's package errors.
type Cluster interface {
	// CreatePod creates a pod and returns it as it then is.
	CreatePod(ctx context.Context, p *v1.Pod) (*v1.Pod, error)
	// DeletePod deletes a pod if it has that UID.
	DeletePod(ctx context.Context, namespace, name string, uid types.UID, grace time.Duration) error
}

// Config is what a Loop is built from.
type Config struct {
	// Static are the static pods, Node is the Node object, nil while there is none; each with a channel that is closed when
	// there is news.
	Static func() (Static, <-chan struct{})
	Node   func() (*v1.Node, <-chan struct{})
	// API are all pods bound to this node as the API server has them, mirror pods too, whether that is known at all, and a
	// channel that is closed when there is news.
	API     func() (pods map[types.UID]*v1.Pod, synced bool, newer <-chan struct{})
	Cluster Cluster
	// Notes hears of static pods that cannot be seen in the API, once for each reason.
	Notes note.Sink
	// Timeout bounds each call, 20 s if 0.
	Timeout time.Duration
}

const (
	// parallel is how many calls may be under way: there are few static pods.
	parallel = 4
	// madeLag and goneLag are how long the list of pods may stay behind what the API server has answered, before the list is
	// believed. The first is short, since a mirror pod may be deleted before the list shows it; to create it in vain does no
	// harm. A pod that was deleted does not come back.
	madeLag = 3 * time.Second
	goneLag = 30 * time.Second
	// soonest is the least time between two attempts where nobody answered, whatever else is heard.
	soonest = 500 * time.Millisecond
	// patience is after how many attempts it is spoken of a server that has trouble, takenPatience of a name that is taken by a
	// pod that is not in the list: some two minutes, for most likely the list is late. refusedPatience is for what the server does
	// not want: a new cluster has no priority classes and no namespaces for its first second or two.
	patience        = 5
	takenPatience   = 8
	refusedPatience = 3
)

// Pauses between attempts for one name: nobody answered; another pod has the name; the server does not want it.
var (
	unheardPauses = backoff.Series{Initial: 100 * time.Millisecond, Max: 10 * time.Second}
	takenPauses   = backoff.Series{Initial: time.Second, Max: time.Minute}
	refusedPauses = backoff.Series{Initial: time.Second, Max: time.Minute}
	// absentPauses are how long a pod counts as gone of which the server says that it has none: an API server that has just
	// started says so of pods that it has, since its admission asks a cache that is still empty.
	absentPauses = backoff.Series{Initial: time.Second, Max: goneLag}
)

// Loop keeps the mirror pods.
type Loop struct {
	cfg     Config
	answers chan answer
	flying  int
	turns   map[pod.FullName]*turn
	// api are the pods of the list that news belongs to, as far as they matter; synced as it says.
	api    []*v1.Pod
	synced bool
	news   <-chan struct{}
}

// facts are what an attempt depends on: when they change, earlier failures count no longer.
type facts struct {
	static, node, object types.UID
	deleted              bool
}

// turn is what is known of the calls about one full name.
type turn struct {
	facts  facts
	flying bool
	again  time.Time
	pause  time.Duration
	tries  int
	// failed is when the last attempt failed; lost tells that nobody answered: then news of the API end the wait.
	failed time.Time
	lost   bool
	// made is the mirror pod as the server answered, until the list shows it; gone is the one that was deleted, until the
	// list shows it no longer. Until is when the list is believed all the same.
	made      *v1.Pod
	madeUntil time.Time
	gone      types.UID
	goneUntil time.Time
	// absent is the last of absentPauses; 0 when the server did not say so last.
	absent time.Duration
	// said is what kind of thing was noted last.
	said string
}

// answer is what became of a call.
type answer struct {
	action Action
	pod    *v1.Pod
	err    error
}

// New builds a Loop. Nothing is done before Run.
func New(cfg Config) *Loop {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 20 * time.Second
	}
	return &Loop{cfg: cfg, answers: make(chan answer, parallel), turns: map[pod.FullName]*turn{}}
}

// Run keeps the mirror pods until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	calls, cancel := context.WithCancel(ctx)
	defer l.drain()
	defer cancel()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		began := time.Now()
		static, newerStatic := l.cfg.Static()
		node, newerNode := l.cfg.Node()
		newerAPI := l.look()
		wake := l.act(calls, Input{Static: static, Node: node}, began)
		// Every status of every pod is news of the API. Looking takes a tenth of the time at most.
		if rest := began.Add(10 * time.Since(began)); rest.After(began) {
			timer.Reset(time.Until(rest))
			select {
			case <-ctx.Done():
				return nil
			case <-timer.C:
			}
		}
		var alarm <-chan time.Time
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newerStatic:
		case <-newerNode:
		case <-newerAPI:
		case <-alarm:
		case a := <-l.answers:
			l.learn(ctx, a, time.Now())
		}
	}
}

// drain waits for the calls under way, which have been cancelled, and forgets everything.
func (l *Loop) drain() {
	for range l.flying {
		<-l.answers
	}
	l.flying, l.turns, l.news, l.api = 0, map[pod.FullName]*turn{}, nil, nil
}

// look reads what the API has.
func (l *Loop) look() (newer <-chan struct{}) {
	api, synced, newer := l.cfg.API()
	if newer == l.news {
		return newer
	}
	l.news, l.synced, l.api = newer, synced, l.api[:0:0]
	for _, p := range api {
		l.api = append(l.api, p)
	}
	for _, t := range l.turns {
		if soon := t.failed.Add(soonest); t.lost && t.again.After(soon) {
			t.again = soon // the server is back
		}
		if t.made != nil && api[t.made.UID] != nil {
			t.made = nil
		}
		if t.gone != "" && api[t.gone] == nil {
			t.gone, t.absent = "", 0
		}
	}
	return newer
}

// act begins the calls that are wanted and may be made now, and returns when it has to be asked again, zero if not by the
// clock.
func (l *Loop) act(ctx context.Context, in Input, now time.Time) (wake time.Time) {
	if !l.synced {
		return wake
	}
	sooner := func(at time.Time) {
		if wake.IsZero() || at.Before(wake) {
			wake = at
		}
	}
	in.API = l.believed(now, sooner)
	idle := map[pod.FullName]bool{}
	for name := range l.turns {
		idle[name] = true
	}
	for _, a := range Decide(in) {
		t := l.turn(a, in.Node)
		delete(idle, a.FullName())
		switch {
		case a.Kind == Clash:
			l.say(t, a, "clash", fmt.Sprintf("the API server has a pod of that name already (UID %s), which is no mirror pod", a.Object.UID))
		case t.flying:
		case now.Before(t.again):
			sooner(t.again)
		case l.flying < parallel: // otherwise an answer is due, and this is asked again
			l.begin(ctx, t, a, in.Node)
		}
	}
	for name := range idle {
		if t := l.turns[name]; !t.flying && t.made == nil && t.gone == "" {
			delete(l.turns, name)
		}
	}
	return wake
}

// believed are the pods of the API: the list, and what the list does not show yet of our own calls.
func (l *Loop) believed(now time.Time, sooner func(time.Time)) []*v1.Pod {
	gone := map[types.UID]bool{}
	var made []*v1.Pod
	for _, t := range l.turns {
		if t.made != nil && now.Before(t.madeUntil) {
			sooner(t.madeUntil)
			made = append(made, t.made)
		} else {
			t.made = nil
		}
		if t.gone != "" && now.Before(t.goneUntil) {
			sooner(t.goneUntil)
			gone[t.gone] = true
		} else {
			t.gone = ""
		}
	}
	if len(gone)+len(made) == 0 {
		return l.api
	}
	out := made
	for _, p := range l.api {
		if !gone[p.UID] {
			out = append(out, p)
		}
	}
	return out
}

// turn is the turn that an action is about. What has changed since the last attempt makes it a first one.
func (l *Loop) turn(a Action, node *v1.Node) *turn {
	var f facts
	if a.Static != nil {
		f.static = a.Static.UID()
	}
	if a.Object != nil {
		f.object, f.deleted = a.Object.UID, a.Object.DeletionTimestamp != nil
	}
	if node != nil {
		f.node = node.UID
	}
	t := l.turns[a.FullName()]
	if t == nil {
		t = &turn{}
		l.turns[a.FullName()] = t
	}
	if t.facts != f {
		t.facts, t.again = f, time.Time{}
		t.forget()
	}
	return t
}

// begin begins a call.
func (l *Loop) begin(ctx context.Context, t *turn, a Action, node *v1.Node) {
	t.flying = true
	l.flying++
	var object *v1.Pod
	if a.Kind == Create {
		object = Object(a.Static, node)
	}
	go func() {
		ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
		defer cancel()
		out := answer{action: a}
		if a.Kind == Create {
			out.pod, out.err = l.cfg.Cluster.CreatePod(ctx, object)
		} else {
			out.err = l.cfg.Cluster.DeletePod(ctx, a.Object.Namespace, a.Object.Name, a.Object.UID, 0)
		}
		l.answers <- out
	}()
}

// learn takes in what became of a call.
func (l *Loop) learn(ctx context.Context, a answer, now time.Time) {
	l.flying--
	t := l.turns[a.action.FullName()]
	t.flying = false
	switch {
	case ctx.Err() != nil: // the agent leaves: the call was cut short, which says nothing
	case a.action.Kind == Create && a.err == nil:
		t.made, t.madeUntil = a.pod, now.Add(madeLag)
		t.forget()
	case a.action.Kind == Delete && (a.err == nil || apierrors.IsNotFound(a.err)):
		lag := goneLag
		if a.err == nil {
			t.absent = 0
		} else {
			t.absent = absentPauses.Next(t.absent)
			lag = t.absent
		}
		t.gone, t.goneUntil = a.action.Object.UID, now.Add(lag)
		if t.made != nil && t.made.UID == t.gone {
			t.made = nil
		}
		t.forget()
	default:
		l.fail(t, a, now)
	}
}

// forget leaves earlier failures behind.
func (t *turn) forget() {
	t.again, t.pause, t.tries, t.lost, t.said = time.Time{}, 0, 0, false, ""
}

// fail takes in a call that failed: when it is tried again, and whether somebody should know.
func (l *Loop) fail(t *turn, a answer, now time.Time) {
	var status apierrors.APIStatus
	answered := errors.As(a.err, &status)
	refused := apierrors.IsForbidden(a.err) || apierrors.IsInvalid(a.err) || apierrors.IsBadRequest(a.err) || apierrors.IsNotFound(a.err)
	pauses, tries := unheardPauses, patience
	switch {
	case refused:
		pauses, tries = refusedPauses, refusedPatience
	case apierrors.IsAlreadyExists(a.err) || apierrors.IsConflict(a.err):
		pauses, tries = takenPauses, takenPatience
	}
	t.tries++
	t.failed, t.lost = now, !answered
	t.pause = pauses.Next(t.pause)
	t.again = now.Add(backoff.Jitter(t.pause, 0.2, string(a.action.FullName())))
	if refused && t.tries >= tries || answered && t.tries == tries {
		l.say(t, a.action, string(apierrors.ReasonForError(a.err)), a.err.Error())
	}
}

// say notes, once, that a static pod has no mirror pod, or not the right one.
func (l *Loop) say(t *turn, a Action, what, why string) {
	if t.said == what {
		return
	}
	t.said = what
	n := note.Note{At: time.Now(), Level: note.Warning, Reason: reason.FailedMirrorPod}
	if d := a.Static; d != nil {
		n.About = note.About{Kind: "Pod", Namespace: d.Pod.Namespace, Name: d.Pod.Name, UID: d.UID()}
		n.Message = "This static pod has no mirror pod, so it cannot be seen in the API; it runs all the same: " + why
	} else {
		n.About = note.About{Kind: "Pod", Namespace: a.Object.Namespace, Name: a.Object.Name, UID: a.Object.UID}
		n.Message = "A mirror pod without static pod cannot be deleted: " + why
	}
	l.cfg.Notes(n)
}
