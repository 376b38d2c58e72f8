package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
)

var podsResource = schema.GroupResource{Resource: "pods"}

// errDown is what a call meets when nobody listens.
var errDown = errors.New("dial tcp 10.0.0.1:6443: connect: connection refused")

// call is one request that the API server received, or that nobody did.
type call struct {
	at   time.Duration
	verb string
	name string
	err  error
}

// list is what a watch has brought so far.
type list struct {
	pods   map[types.UID]*v1.Pod
	synced bool
	rv     int
}

// server is an API server with pods, and the watch of one client. It complains itself of what no client may do.
type server struct {
	t *testing.T

	mu    sync.Mutex
	began time.Time
	pods  map[types.UID]*v1.Pod
	rv    int
	calls []call
	open  map[types.UID]int
	// now is how many calls are under way, most how many there were at most.
	now, most int

	// latency, lag and fail tell how long a call and the watch take, and what becomes of a call. Each may be nil.
	latency, lag func() time.Duration
	fail         func(verb, name string) error

	view latest.Cell[list]
}

func newServer(t *testing.T) *server {
	return &server{t: t, began: time.Now(), pods: map[types.UID]*v1.Pod{}, open: map[types.UID]int{}}
}

func (s *server) API() (map[types.UID]*v1.Pod, bool, <-chan struct{}) {
	v, newer := s.view.Get()
	return v.pods, v.synced, newer
}

// relist shows the watch what there is now, as a new list does.
func (s *server) relist() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.Set(list{pods: maps.Clone(s.pods), synced: true, rv: s.rv})
}

// change changes the pods and lets the watch know. Call it with mu held.
func (s *server) change(uid types.UID, p *v1.Pod) {
	s.rv++
	if p == nil {
		delete(s.pods, uid)
	} else {
		p.ResourceVersion = strconv.Itoa(s.rv)
		s.pods[uid] = p
	}
	snapshot := list{pods: maps.Clone(s.pods), synced: true, rv: s.rv}
	show := func() {
		if s.view.Value().rv < snapshot.rv {
			s.view.Set(snapshot)
		}
	}
	if s.lag == nil {
		show()
	} else {
		time.AfterFunc(s.lag(), show)
	}
}

// put makes or changes a pod as somebody else would.
func (s *server) put(p *v1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change(p.UID, p.DeepCopy())
}

// edit changes a pod that may be there.
func (s *server) edit(uid types.UID, edit func(*v1.Pod)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pods[uid]; p != nil {
		p = p.DeepCopy()
		edit(p)
		s.change(uid, p)
	}
}

// drop removes a pod by force.
func (s *server) drop(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pods[uid] != nil {
		s.change(uid, nil)
	}
}

func (s *server) pod(uid types.UID) *v1.Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pods[uid]
}

func (s *server) set(change func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// count counts calls of a verb from some moment on; "" is any verb.
func (s *server) count(verb string, from time.Duration) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if (verb == "" || c.verb == verb) && c.at >= from {
			n++
		}
	}
	return n
}

func (s *server) since() time.Duration { return time.Since(s.began) }

// serve waits as long as a call takes, then runs it.
func (s *server) serve(ctx context.Context, verb, name string, uid types.UID, do func() (*v1.Pod, error)) (*v1.Pod, error) {
	s.mu.Lock()
	s.open[uid]++
	if s.open[uid] > 1 {
		s.t.Errorf("%d calls at once for pod %s", s.open[uid], uid)
	}
	s.now++
	s.most = max(s.most, s.now)
	var wait time.Duration
	if s.latency != nil {
		wait = s.latency()
	}
	s.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[uid]--
	s.now--
	err := ctx.Err()
	if err == nil && s.fail != nil {
		err = s.fail(verb, name)
	}
	var p *v1.Pod
	if err == nil {
		p, err = do()
	}
	s.calls = append(s.calls, call{s.since(), verb, name, err})
	return p, err
}

// find finds a pod as a request names it. The API server answers a wrong UID with a conflict.
func (s *server) find(namespace, name string, uid types.UID) (*v1.Pod, error) {
	for _, p := range s.pods {
		if p.Namespace == namespace && p.Name == name {
			if p.UID != uid {
				return nil, apierrors.NewConflict(podsResource, name, fmt.Errorf("Precondition failed: UID in precondition: %s, UID in object meta: %s", uid, p.UID))
			}
			return p, nil
		}
	}
	return nil, apierrors.NewNotFound(podsResource, name)
}

func (s *server) PatchPodStatus(ctx context.Context, namespace, name string, uid types.UID, body []byte) (*v1.Pod, error) {
	return s.serve(ctx, "patch", name, uid, func() (*v1.Pod, error) {
		p, err := s.find(namespace, name, uid)
		if err != nil {
			return nil, err
		}
		var asked struct {
			Metadata metav1.ObjectMeta
		}
		if err := json.Unmarshal(body, &asked); err != nil || asked.Metadata.UID != uid {
			s.t.Errorf("patch without the pod's UID: %s", body)
		}
		if rv := asked.Metadata.ResourceVersion; rv != "" && rv != p.ResourceVersion {
			return nil, apierrors.NewConflict(podsResource, name, errors.New("the object has been modified"))
		}
		next, err := apply(p, body)
		if err != nil {
			s.t.Error(err)
			return nil, apierrors.NewBadRequest(err.Error())
		}
		never(s.t, p, next)
		before := p.Status.DeepCopy()
		normalise(p, before)
		if left := changes(before, &next.Status); len(left) == 0 {
			s.t.Errorf("a patch that changes nothing of %s: %s", name, body)
		}
		s.change(uid, next)
		return next, nil
	})
}

func (s *server) DeletePod(ctx context.Context, namespace, name string, uid types.UID, grace time.Duration) error {
	_, err := s.serve(ctx, "delete", name, uid, func() (*v1.Pod, error) {
		p, err := s.find(namespace, name, uid)
		if err != nil {
			return nil, err
		}
		if p.DeletionTimestamp == nil || !terminal(p.Status.Phase) || isMirror(p) || grace != 0 {
			s.t.Errorf("pod %s deleted with grace %v, deletion timestamp %v, phase %s, annotations %v", name, grace, p.DeletionTimestamp, p.Status.Phase, p.Annotations)
		}
		if len(p.Finalizers) > 0 {
			p = p.DeepCopy()
			p.DeletionGracePeriodSeconds = new(int64(0))
			s.change(uid, p)
			return p, nil
		}
		s.change(uid, nil)
		return nil, nil
	})
	return err
}

// bound is a pod as the scheduler leaves it.
func bound(name string, uid types.UID) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: uid, Generation: 1},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "app"}}},
		Status: v1.PodStatus{Phase: v1.PodPending, QOSClass: v1.PodQOSBestEffort,
			Conditions: []v1.PodCondition{cond(v1.PodScheduled, v1.ConditionTrue, at(0))}},
	}
}

// deleted is how kubectl delete marks a pod.
func deleted(p *v1.Pod) {
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = new(metav1.Now()), new(int64(30))
}

// says is a status of a pod with one container.
func says(phase v1.PodPhase, ready bool, message string) *v1.PodStatus {
	c := v1.PodCondition{Type: v1.PodReady, Status: v1.ConditionFalse, LastTransitionTime: metav1.Now()}
	s := v1.ContainerStatus{Name: "app", Ready: ready}
	switch phase {
	case v1.PodRunning:
		s.State.Running = &v1.ContainerStateRunning{StartedAt: at(0)}
	case v1.PodSucceeded, v1.PodFailed:
		s.State.Terminated = &v1.ContainerStateTerminated{FinishedAt: at(0)}
	default:
		s.State.Waiting = &v1.ContainerStateWaiting{Reason: "ContainerCreating", Message: message}
	}
	if ready {
		c.Status = v1.ConditionTrue
	}
	return &v1.PodStatus{
		ObservedGeneration: 1, Phase: phase, Message: message, StartTime: new(at(0)), Conditions: []v1.PodCondition{c},
		ContainerStatuses: []v1.ContainerStatus{s},
	}
}

// table is the table of pods.
type table struct {
	mu   sync.Mutex
	pods map[types.UID]Pod
	cell latest.Cell[[]Pod]
}

func newTable() *table { return &table{pods: map[types.UID]Pod{}} }

func (t *table) Pods() ([]Pod, <-chan struct{}) { return t.cell.Get() }

func (t *table) put(p Pod) {
	t.change(func() { t.pods[p.UID] = p })
}

func (t *table) drop(uid types.UID) {
	t.change(func() { delete(t.pods, uid) })
}

func (t *table) change(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	var out []Pod
	for _, p := range t.pods {
		out = append(out, p)
	}
	t.cell.Set(out)
}

// of is what the node says of a pod of the API.
func of(p *v1.Pod, s *v1.PodStatus) Pod {
	return Pod{UID: p.UID, Namespace: p.Namespace, Name: p.Name, Status: s}
}

// start runs a reporter until stop is called, which waits for its end.
func start(t *testing.T, s *server, table *table, more ...func(*Config)) (r *Reporter, stop func()) {
	t.Helper()
	cfg := Config{Pods: table.Pods, API: s.API, Cluster: s, Node: "node1"}
	for _, m := range more {
		m(&cfg)
	}
	r = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return r, sync.OnceFunc(func() { cancel(); <-ended })
}

// told checks that the API server has of every pod what the node says.
func told(t *testing.T, s *server, table *table) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range table.cell.Value() {
		api := s.pods[p.UID]
		if p.Static {
			for _, m := range s.pods {
				if isMirror(m) && m.Annotations["kubernetes.io/config.mirror"] == string(p.UID) && m.Name == p.Name {
					api = m
				}
			}
		}
		if api == nil || p.Status == nil {
			continue
		}
		want := merge(api, p.Status)
		if body, _ := patch(api, &want); body != nil {
			t.Errorf("pod %s was not told %s", p.Name, body)
		}
	}
}

func constant(d time.Duration) func() time.Duration { return func() time.Duration { return d } }
