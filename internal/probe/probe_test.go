package probe

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// clinic is a loop whose world is all made up. It lives in a synctest bubble.
type clinic struct {
	*testing.T

	targets latest.Cell[[]Target]
	loop    *Loop
	stop    func()

	mu    sync.Mutex
	began time.Time
	// answer is what containers say; nil means success at once.
	answer func(ctx context.Context, q health.Question) (health.Answer, error)
	asked  []string // "+2s app readiness"
	ended  map[string]bool
	notes  []note.Note
	meter  meter
	// late is by how much the agent's time runs ahead of the bubble's: a jump of it is an agent that was not scheduled.
	late time.Duration
	// set is by how much the clock on the wall was set.
	set time.Duration
}

type meter struct {
	mu        sync.Mutex
	asked     map[string]int
	forgiven  int
	forgotten map[string]int
}

func (m *meter) Asked(w Which, r health.Result, _ time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked[fmt.Sprintf("%s/%s %v %v", w.Pod.Name, w.Container, w.Kind, r)]++
}

func (m *meter) Forgiven(Which, time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgiven++
}

func (m *meter) Forget(w Which) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgotten[fmt.Sprintf("%s/%s %v", w.Pod.Name, w.Container, w.Kind)]++
}

// reading is what the meter shows, and the notes, at one moment.
type reading struct {
	asked     map[string]int
	forgiven  int
	forgotten map[string]int
	notes     []note.Note
}

func (c *clinic) read() reading {
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	r := reading{maps.Clone(c.meter.asked), c.meter.forgiven, maps.Clone(c.meter.forgotten), nil}
	c.locked(func() { r.notes = slices.Clone(c.notes) })
	return r
}

// bubble runs a test in a bubble with a clinic whose agent began an hour ago; open starts its loop.
func bubble(t *testing.T, test func(c *clinic)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &clinic{T: t, began: time.Now(), meter: meter{asked: map[string]int{}, forgotten: map[string]int{}}}
		test(c)
		if c.stop != nil {
			c.stop()
		}
	})
}

func (c *clinic) open(change func(*Config), targets ...Target) {
	cfg := Config{
		Targets: c.targets.Get, Asker: c, Meter: &c.meter, Began: c.began.Add(-time.Hour),
		Notes: func(n note.Note) { c.locked(func() { c.notes = append(c.notes, n) }) },
		Now:   func() (now time.Time) { c.locked(func() { now = time.Now().Add(c.late) }); return now },
		Wall:  func() (now time.Time) { c.locked(func() { now = time.Now().Round(0).Add(c.late + c.set) }); return now },
	}
	if change != nil {
		change(&cfg)
	}
	c.loop = New(cfg)
	c.targets.Set(targets)
	ctx, cancel := context.WithCancel(c.Context())
	done := make(chan error)
	go func() { done <- c.loop.Run(ctx) }()
	c.stop = func() {
		cancel()
		if err := <-done; err != nil {
			c.Errorf("Run: %v", err)
		}
	}
	synctest.Wait()
}

func (c *clinic) locked(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

func (c *clinic) Ask(ctx context.Context, q health.Question) (health.Answer, error) {
	kind := health.Readiness
	for k := range health.Kind(health.Kinds) {
		if h := health.SpecOf(q.Pod, q.Container).Handler(k); h == q.Handler {
			kind = k
		}
	}
	var answer func(context.Context, health.Question) (health.Answer, error)
	c.locked(func() {
		c.asked = append(c.asked, fmt.Sprintf("%v %s %v", time.Since(c.began), q.ContainerID, kind))
		answer = c.answer
	})
	if answer == nil {
		return health.Answer{Result: health.Success}, nil
	}
	return answer(ctx, q)
}

func (c *clinic) Ended(_ context.Context, id string) (ended bool) {
	c.locked(func() { ended = c.ended[id] })
	return ended
}

func (c *clinic) says(answer func(ctx context.Context, q health.Question) (health.Answer, error)) {
	c.locked(func() { c.answer = answer })
}

// after lets time pass.
func (c *clinic) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (c *clinic) tell(targets ...Target) {
	c.targets.Set(targets)
	synctest.Wait()
}

func (c *clinic) health(uid types.UID, id string) (plan.Health, bool) {
	h, _ := c.loop.Health()
	one, ok := h[uid][id]
	return one, ok
}

// seen returns the questions since it was called last; those of one moment in the order of the alphabet.
func (c *clinic) seen() []string {
	var asked []string
	c.locked(func() { asked, c.asked = c.asked, nil })
	moment := func(s string) string { return s[:strings.Index(s, " ")] }
	for i := 0; i < len(asked); {
		j := i + 1
		for j < len(asked) && moment(asked[j]) == moment(asked[i]) {
			j++
		}
		slices.Sort(asked[i:j])
		i = j
	}
	return asked
}

func (c *clinic) expectSeen(want ...string) {
	c.Helper()
	if got := c.seen(); fmt.Sprint(got) != fmt.Sprint(want) {
		c.Errorf("asked %q\n want %q", got, want)
	}
}

// target is a pod with one container "app" that has just started as instance id.
func target(name, id string, change func(*v1.Container)) Target {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(name)},
		Spec:       v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways, Containers: []v1.Container{{Name: "app"}}},
	}
	change(&p.Spec.Containers[0])
	return Target{
		Desired: &pod.Desired{Pod: p, Source: pod.FromAPI, Wanted: true}, IP: "10.0.0.1",
		Containers: []pod.Container{{ID: id, Name: "app", State: pod.Running, StartedAt: time.Now()}},
	}
}

// again is the target with another state of its container.
func again(t Target, id string, state pod.ContainerState) Target {
	t.Containers = []pod.Container{{ID: id, Name: "app", State: state, StartedAt: time.Now()}}
	return t
}

func tcp(period, failures int32) *v1.Probe {
	return &v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{}}, PeriodSeconds: period, FailureThreshold: failures}
}

func exec(period, failures int32) *v1.Probe {
	return &v1.Probe{ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"true"}}}, PeriodSeconds: period, FailureThreshold: failures}
}

func fails(context.Context, health.Question) (health.Answer, error) {
	return health.Answer{Result: health.Failure, Output: "connection refused"}, nil
}

// slowly fails when the question's time is up.
func slowly(ctx context.Context, q health.Question) (health.Answer, error) {
	timer := time.NewTimer(q.Timeout)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return health.Answer{}, ctx.Err()
	case <-timer.C:
		return health.Answer{Result: health.Failure, Output: "timeout"}, nil
	}
}
