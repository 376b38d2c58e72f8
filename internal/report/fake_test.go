package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/simworld/podapi"
)

// server is an API server with pods, and the watch of one client. It complains itself of what no client may do.
type server struct{ *podapi.Server }

func newServer(t *testing.T) *server { return &server{podapi.New(t)} }

// find finds a pod as a request names it. The API server answers a wrong UID with a conflict.
func (s *server) find(namespace, name string, uid types.UID) (*v1.Pod, error) {
	for _, p := range s.Pods {
		if p.Namespace == namespace && p.Name == name {
			if p.UID != uid {
				return nil, apierrors.NewConflict(podapi.Resource, name, fmt.Errorf("Precondition failed: UID in precondition: %s, UID in object meta: %s", uid, p.UID))
			}
			return p, nil
		}
	}
	return nil, apierrors.NewNotFound(podapi.Resource, name)
}

func (s *server) PatchPodStatus(ctx context.Context, namespace, name string, uid types.UID, body []byte) (*v1.Pod, error) {
	return s.Serve(ctx, "patch", name, string(uid), func() (*v1.Pod, error) {
		p, err := s.find(namespace, name, uid)
		if err != nil {
			return nil, err
		}
		var asked struct {
			Metadata metav1.ObjectMeta
		}
		if err := json.Unmarshal(body, &asked); err != nil || asked.Metadata.UID != uid {
			s.T.Errorf("patch without the pod's UID: %s", body)
		}
		if rv := asked.Metadata.ResourceVersion; rv != "" && rv != p.ResourceVersion {
			return nil, apierrors.NewConflict(podapi.Resource, name, errors.New("the object has been modified"))
		}
		next, err := apply(p, body)
		if err != nil {
			s.T.Error(err)
			return nil, apierrors.NewBadRequest(err.Error())
		}
		never(s.T, p, next)
		before := p.Status.DeepCopy()
		normalise(p, before)
		if left := changes(before, &next.Status); len(left) == 0 && !s.uncertain(name) {
			s.T.Errorf("a patch that changes nothing of %s: %s", name, body)
		}
		s.Change(uid, next)
		return next, nil
	})
}

// uncertain tells that the client cannot know what became of its last patches of a pod. Call it with Mu held.
func (s *server) uncertain(name string) bool {
	for _, c := range slices.Backward(s.Calls) {
		switch {
		case c.Name != name || c.Verb != "patch":
		case c.Err == nil:
			return false
		case errors.Is(c.Err, podapi.ErrLost), errors.Is(c.Err, context.Canceled):
			return true
		}
	}
	return false
}

func (s *server) DeletePod(ctx context.Context, namespace, name string, uid types.UID, grace time.Duration) error {
	_, err := s.Serve(ctx, "delete", name, string(uid), func() (*v1.Pod, error) {
		p, err := s.find(namespace, name, uid)
		if err != nil {
			return nil, err
		}
		if p.DeletionTimestamp == nil || !terminal(p.Status.Phase) || isMirror(p) || grace != 0 {
			s.T.Errorf("pod %s deleted with grace %v, deletion timestamp %v, phase %s, annotations %v", name, grace, p.DeletionTimestamp, p.Status.Phase, p.Annotations)
		}
		if len(p.Finalizers) > 0 {
			p = p.DeepCopy()
			p.DeletionGracePeriodSeconds = new(int64(0))
			s.Change(uid, p)
			return p, nil
		}
		s.Change(uid, nil)
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
	s.Mu.Lock()
	defer s.Mu.Unlock()
	for _, p := range table.cell.Value() {
		api := s.Pods[p.UID]
		if p.Static {
			for _, m := range s.Pods {
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
