package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

func TestReadinessIsAskedAndShownAtOnce(t *testing.T) { // behaviours 116, 117, 123
	bubble(t, func(c *clinic) {
		c.open(nil)
		c.tell(target("web", "c1", func(a *v1.Container) { a.ReadinessProbe, a.LivenessProbe = tcp(10, 1), tcp(10, 1) }))
		if h, ok := c.health("web", "c1"); !ok || !h.Ready || !h.Started {
			t.Errorf("%+v", h)
		}
		c.expectSeen("0s c1 Readiness")
		c.after(20 * time.Second)
		c.says(fails)
		c.expectSeen("10s c1 Liveness", "10s c1 Readiness", "20s c1 Liveness", "20s c1 Readiness")
		c.after(10 * time.Second)
		if h, _ := c.health("web", "c1"); h.Ready || h.Failed != "Container app failed liveness probe, will be restarted" {
			t.Errorf("%+v", h)
		}
	})
}

func TestWakesReaders(t *testing.T) {
	bubble(t, func(c *clinic) {
		c.open(nil)
		_, newer := c.loop.Health()
		c.tell(target("web", "c1", func(a *v1.Container) { a.ReadinessProbe = tcp(10, 1) }))
		<-newer
		before, newer := c.loop.Health()
		c.after(time.Minute)
		select {
		case <-newer:
			t.Error("readers were woken though nothing has changed")
		default:
		}
		c.says(fails)
		<-newer
		if !before["web"]["c1"].Ready {
			t.Error("what was published has changed")
		}
	})
}

// TestThousandProbes holds that probes that wait cost no goroutine, and that all are asked on time.
func TestThousandProbes(t *testing.T) {
	bubble(t, func(c *clinic) {
		var targets []Target
		for i := range 1000 {
			targets = append(targets, target(fmt.Sprintf("web-%d", i), fmt.Sprintf("c%d", i), func(a *v1.Container) { a.LivenessProbe = tcp(10, 1) }))
		}
		before := runtime.NumGoroutine()
		c.open(nil, targets...)
		if more := runtime.NumGoroutine() - before; more > 1 {
			t.Errorf("%d goroutines for 1000 probes that wait", more)
		}
		c.after(time.Minute + time.Second)
		if n := len(c.seen()); n != 6000 {
			t.Errorf("asked %d times, want 6000", n)
		}
		if more := runtime.NumGoroutine() - before; more > 1 {
			t.Errorf("%d goroutines for 1000 probes that wait", more)
		}
	})
}

func TestAnotherInstance(t *testing.T) { // behaviours 121, 129
	bubble(t, func(c *clinic) {
		web := target("web", "c1", func(a *v1.Container) { a.LivenessProbe = tcp(10, 2) })
		c.says(fails)
		c.open(nil, web)
		c.after(time.Minute)
		c.expectSeen("10s c1 Liveness", "20s c1 Liveness")
		c.tell(again(web, "c1", pod.Exited))
		if _, ok := c.health("web", "c1"); ok {
			t.Error("health of a container that does not run")
		}
		c.after(time.Minute)
		c.tell(again(web, "c2", pod.Running))
		if h, ok := c.health("web", "c2"); !ok || h.Failed != "" || !h.Ready {
			t.Errorf("%+v", h)
		}
		c.after(15 * time.Second)
		c.expectSeen("2m10s c2 Liveness")
		if h, _ := c.health("web", "c2"); h.Failed != "" {
			t.Error("failures of the old instance count for the new one")
		}
	})
}

// TestAnswerOfAnOldInstance holds that a question to an instance that is no more is given up, and its answer not heard.
func TestAnswerOfAnOldInstance(t *testing.T) {
	bubble(t, func(c *clinic) {
		p := tcp(10, 1)
		p.TimeoutSeconds = 300
		web := target("web", "c1", func(a *v1.Container) { a.LivenessProbe = p })
		gaveUp := 0
		c.says(func(ctx context.Context, q health.Question) (health.Answer, error) {
			<-ctx.Done()
			c.locked(func() { gaveUp++ })
			return health.Answer{Result: health.Failure}, nil // late, and rude: not even an error
		})
		c.open(nil, web)
		c.after(11 * time.Second)
		c.tell(again(web, "c2", pod.Running))
		c.mu.Lock()
		defer c.mu.Unlock()
		if h, ok := c.health("web", "c2"); gaveUp != 1 || !ok || h.Failed != "" || len(c.notes) > 0 {
			t.Errorf("gave up %d, %+v, notes %v", gaveUp, h, c.notes)
		}
	})
}

func TestAgentRestart(t *testing.T) { // behaviours 24, 116, 354
	bubble(t, func(c *clinic) {
		var targets []Target
		for i := range 100 {
			web := target(fmt.Sprintf("web-%d", i), fmt.Sprintf("c%d", i), func(a *v1.Container) { a.ReadinessProbe = tcp(60, 1) })
			web.Containers[0].StartedAt = time.Now().Add(-time.Hour)
			web.Before = map[string]health.Before{fmt.Sprintf("c%d", i): {Started: true, Ready: i%2 == 0}}
			targets = append(targets, web)
		}
		c.says(fails)
		c.open(func(cfg *Config) { cfg.Began = time.Now() }, targets...)
		for i := range 100 {
			if h, _ := c.health(targets[i].Desired.UID(), fmt.Sprintf("c%d", i)); h.Ready != (i%2 == 0) {
				t.Errorf("pod %d: ready %v", i, h.Ready)
			}
		}
		for range 6 {
			c.after(10 * time.Second)
			if n := len(c.seen()); n < 5 || n > 35 {
				t.Errorf("%d of 100 asked in ten seconds of a period of sixty", n)
			}
		}
		if h, _ := c.health("web-0", "c0"); h.Ready {
			t.Error("the first new result does not count")
		}
		// A new pod is asked at once all the same.
		c.says(nil)
		c.tell(append(targets, target("new", "n1", func(a *v1.Container) { a.ReadinessProbe = tcp(3600, 1) }))...)
		if h, _ := c.health("new", "n1"); !h.Ready {
			t.Error("a new pod waits")
		}
	})
}

func TestStopping(t *testing.T) { // behaviours 128, 130
	bubble(t, func(c *clinic) {
		live, ready := tcp(10, 1), tcp(10, 1)
		live.TimeoutSeconds = 5
		web := target("web", "c1", func(a *v1.Container) { a.LivenessProbe, a.ReadinessProbe = live, ready })
		c.says(func(ctx context.Context, q health.Question) (health.Answer, error) {
			if q.Handler == &live.ProbeHandler {
				return slowly(ctx, q)
			}
			return health.Answer{Result: health.Success}, nil
		})
		c.open(nil, web)
		c.after(11 * time.Second) // the liveness question is open
		web.Stopping = true
		c.tell(web)
		if c.read().forgotten["web/app Liveness"] != 1 || c.read().forgotten["web/app Readiness"] != 0 {
			t.Errorf("forgotten %v", c.read().forgotten)
		}
		c.seen()
		c.says(fails)
		c.after(20 * time.Second)
		c.expectSeen("20s c1 Readiness", "30s c1 Readiness")
		if h, _ := c.health("web", "c1"); h.Failed != "" || h.Ready {
			t.Errorf("%+v", h)
		}
		c.tell(again(web, "c1", pod.Exited))
		c.after(time.Minute)
		c.expectSeen()
		c.tell()
		if h, _ := c.loop.Health(); len(h) != 0 || c.read().forgotten["web/app Readiness"] != 1 || c.read().forgotten["web/app Liveness"] != 1 {
			t.Errorf("%v, forgotten %v", h, c.read().forgotten)
		}
	})
}

func TestFinished(t *testing.T) { // behaviour 130
	bubble(t, func(c *clinic) {
		web := target("web", "c1", func(a *v1.Container) { a.LivenessProbe = tcp(10, 1) })
		web.Desired.Pod.Spec.RestartPolicy = v1.RestartPolicyNever
		c.open(nil, web)
		c.tell(again(web, "c1", pod.Exited))
		if c.read().forgotten["web/app Liveness"] != 1 {
			t.Errorf("forgotten %v", c.read().forgotten)
		}
	})
}

func TestHookGoesFirst(t *testing.T) { // behaviour 118
	bubble(t, func(c *clinic) {
		ready := tcp(10, 1)
		ready.InitialDelaySeconds = 7
		web := target("web", "c1", func(a *v1.Container) { a.ReadinessProbe = ready })
		web.Hooked = map[string]bool{"c1": true}
		c.open(nil, web)
		c.after(5 * time.Second)
		if _, ok := c.health("web", "c1"); ok {
			t.Error("started while its postStart hook runs")
		}
		web.Hooked = nil
		c.tell(web)
		c.after(10 * time.Second)
		c.expectSeen("7s c1 Readiness")
	})
}

// What a container says, or does not say, when it has ended meanwhile is neither told nor counted.
func TestEndedWhileAsked(t *testing.T) {
	bubble(t, func(c *clinic) {
		c.ended = map[string]bool{"c1": true, "c2": true}
		c.says(func(_ context.Context, q health.Question) (health.Answer, error) {
			if q.ContainerID == "c1" {
				return health.Answer{}, errors.New("no running task found")
			}
			return health.Answer{Result: health.Failure, Output: "connection refused"}, nil
		})
		probed := func(a *v1.Container) { a.LivenessProbe = tcp(10, 1) }
		c.open(nil, target("web", "c1", probed), target("db", "c2", probed), target("log", "c3", probed))
		c.after(11 * time.Second)
		c.expectSeen("10s c1 Liveness", "10s c2 Liveness", "10s c3 Liveness")
		if h, _ := c.health("db", "c2"); h.Failed != "" {
			t.Errorf("a container that has ended is to be killed: %+v", h)
		}
		seen := c.read()
		if len(seen.asked) != 1 || seen.asked["log/app Liveness failed"] != 1 || len(seen.notes) != 1 {
			t.Errorf("meter %v, notes %v; want those of the container that runs", seen.asked, seen.notes)
		}
	})
}

func TestQuestionThatCannotBePut(t *testing.T) { // behaviour 119
	bubble(t, func(c *clinic) {
		c.says(func(context.Context, health.Question) (health.Answer, error) {
			return health.Answer{}, errors.New("runtime is away")
		})
		c.open(nil, target("web", "c1", func(a *v1.Container) { a.LivenessProbe = tcp(10, 1) }))
		c.after(11 * time.Second)
		c.expectSeen("10s c1 Liveness", "10s c1 Liveness", "10s c1 Liveness")
		if h, _ := c.health("web", "c1"); h.Failed != "" || c.read().asked["web/app Liveness unknown"] != 1 {
			t.Errorf("%+v, meter %v", h, c.read().asked)
		}
		if notes := c.read().notes; len(notes) != 1 || notes[0].Message != "Liveness probe errored and resulted in unknown state: runtime is away" {
			t.Errorf("%+v", notes)
		}
		c.says(nil)
		c.after(10 * time.Second)
		if c.read().asked["web/app Liveness successful"] != 1 {
			t.Errorf("meter %v", c.read().asked)
		}
	})
}

func TestNotes(t *testing.T) { // behaviours 66, 121, 124
	bubble(t, func(c *clinic) {
		c.says(fails)
		c.open(nil, target("web", "c1", func(a *v1.Container) { a.ReadinessProbe = tcp(10, 3) }))
		c.says(func(context.Context, health.Question) (health.Answer, error) {
			return health.Answer{Result: health.Success, Warning: true, Output: "Probe terminated redirects, Response body: "}, nil
		})
		c.after(15 * time.Second)
		want := []note.Note{
			{At: c.began, Reason: reason.Unhealthy, Message: "Readiness probe failed: connection refused"},
			{At: c.began.Add(10 * time.Second), Reason: reason.ProbeWarning, Message: "Readiness probe warning: Probe terminated redirects, Response body: "},
		}
		for i := range want {
			want[i].Level = note.Warning
			want[i].About = note.About{Kind: "Pod", Namespace: "shop", Name: "web", UID: "web", Container: "app", FieldPath: "spec.containers{app}"}
		}
		notes := c.read().notes
		if !slices.EqualFunc(notes, want, func(a, b note.Note) bool {
			return a.At.Equal(b.At) && a.About == b.About && a.Message == b.Message && a.Reason == b.Reason && a.Level == b.Level
		}) {
			t.Errorf("got  %+v\nwant %+v", notes, want)
		}
		if c.read().asked["web/app Readiness failed"] != 1 || c.read().asked["web/app Readiness successful"] != 1 {
			t.Errorf("meter %v", c.read().asked)
		}
	})
}

func TestGraceOfTheProbe(t *testing.T) { // behaviour 122
	bubble(t, func(c *clinic) {
		live := tcp(1, 1)
		live.TerminationGracePeriodSeconds = new(int64(90))
		c.says(fails)
		c.open(nil, target("web", "c1", func(a *v1.Container) { a.LivenessProbe = live }))
		c.after(2 * time.Second)
		if h, _ := c.health("web", "c1"); h.Grace == nil || *h.Grace != 90*time.Second {
			t.Errorf("%+v", h)
		}
	})
}

// TestVersions holds that a target that has not changed is not looked at again.
func TestVersions(t *testing.T) {
	bubble(t, func(c *clinic) {
		web := target("web", "c1", func(a *v1.Container) { a.LivenessProbe = tcp(10, 1) })
		web.Version = 1
		c.open(nil, web)
		gone := again(web, "c1", pod.Exited)
		c.tell(gone) // says that it has not changed
		if _, ok := c.health("web", "c1"); !ok {
			t.Error("looked at")
		}
		gone.Version = 2
		c.tell(gone)
		if _, ok := c.health("web", "c1"); ok {
			t.Error("not looked at")
		}
	})
}

func TestSidecars(t *testing.T) { // behaviour 109
	bubble(t, func(c *clinic) {
		web := target("web", "c1", func(*v1.Container) {})
		web.Desired.Pod.Spec.InitContainers = []v1.Container{
			{Name: "side", RestartPolicy: new(v1.ContainerRestartPolicyAlways), ReadinessProbe: tcp(10, 1)}, {Name: "init", ReadinessProbe: tcp(10, 1)},
		}
		web.Containers = append(web.Containers, pod.Container{ID: "s1", Name: "side", State: pod.Running}, pod.Container{ID: "i1", Name: "init", State: pod.Running})
		c.open(nil, web)
		c.expectSeen("0s s1 Readiness")
	})
}

func TestRunEndsWhatItStarted(t *testing.T) {
	bubble(t, func(c *clinic) { // the bubble fails on a goroutine that is left
		c.says(func(ctx context.Context, _ health.Question) (health.Answer, error) {
			<-ctx.Done()
			return health.Answer{}, ctx.Err()
		})
		var targets []Target
		for i := range 600 {
			targets = append(targets, target(fmt.Sprintf("web-%d", i), fmt.Sprintf("c%d", i), func(a *v1.Container) { a.ReadinessProbe = tcp(10, 1) }))
		}
		c.open(nil, targets...)
		c.after(time.Minute)
		if n := len(c.seen()); n != most {
			t.Errorf("%d questions open, want the limit %d", n, most)
		}
	})
}

// TestRandomWorld lets pods come, restart and go at random while their containers answer as they like, and holds that
// only containers that run are asked, that commands never overlap in one container, and that the health shown is that
// of what runs.
func TestRandomWorld(t *testing.T) {
	for seed := range uint64(30) {
		bubble(t, func(c *clinic) {
			rnd, whim := rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 8))
			running := map[string]string{} // pod: container ID
			inside := map[string]int{}
			c.says(func(ctx context.Context, q health.Question) (health.Answer, error) {
				var wait time.Duration
				var result health.Result
				c.locked(func() {
					if running[q.Pod.Name] != q.ContainerID {
						t.Errorf("seed %d: asked %s of %s, which does not run", seed, q.ContainerID, q.Pod.Name)
					}
					if q.Handler.Exec != nil {
						if inside[q.ContainerID]++; inside[q.ContainerID] > 1 {
							t.Errorf("seed %d: two commands in %s", seed, q.ContainerID)
						}
					}
					wait, result = time.Duration(whim.Int64N(int64(3*time.Second))), health.Result(whim.IntN(3))
				})
				defer c.locked(func() {
					if q.Handler.Exec != nil {
						inside[q.ContainerID]--
					}
				})
				select {
				case <-ctx.Done():
					return health.Answer{}, ctx.Err()
				case <-time.After(wait):
					return health.Answer{Result: result}, nil
				}
			})
			c.open(func(cfg *Config) { cfg.Execs = 3 })
			targets := map[string]Target{}
			for step := range 200 {
				name := fmt.Sprintf("web-%d", rnd.IntN(12))
				id := fmt.Sprintf("%s#%d", name, step)
				web, there := targets[name]
				switch what := rnd.IntN(6); {
				case !there:
					web = target(name, id, func(a *v1.Container) {
						a.LivenessProbe, a.ReadinessProbe = exec(int32(1+rnd.IntN(5)), 2), exec(int32(1+rnd.IntN(5)), 2)
						if rnd.IntN(2) == 0 {
							a.StartupProbe = tcp(1, 5)
						}
					})
				case what == 0:
					delete(targets, name)
				case what == 1:
					web.Stopping = true
				case what == 2:
					web = again(web, web.Containers[0].ID, pod.Exited)
				case what == 3 && !web.Stopping:
					web = again(web, id, pod.Running)
				}
				c.locked(func() {
					delete(running, name)
					if web.Containers[0].State == pod.Running {
						running[name] = web.Containers[0].ID
					}
				})
				if _, still := targets[name]; still || !there {
					targets[name] = web
				}
				var all []Target
				for _, one := range targets {
					all = append(all, one)
				}
				c.tell(all...)
				c.after(time.Duration(rnd.Int64N(int64(2 * time.Second))))
				checkShown(t, c, seed, targets)
			}
		})
	}
}

func checkShown(t *testing.T, c *clinic, seed uint64, targets map[string]Target) {
	t.Helper()
	shown, _ := c.loop.Health()
	count := 0
	for _, one := range targets {
		if one.Containers[0].State != pod.Running {
			continue
		}
		count++
		h, ok := shown[one.Desired.UID()][one.Containers[0].ID]
		if !ok || one.Stopping && (h.Failed != "" || !h.Started) || h.Ready && !h.Started {
			t.Errorf("seed %d: %s: %+v, %v", seed, one.Containers[0].ID, h, ok)
		}
	}
	if len(shown) != count {
		t.Errorf("seed %d: health of %d pods shown, %d run", seed, len(shown), count)
	}
}

func TestSameHealth(t *testing.T) {
	a, b := time.Second, time.Second
	if !same(plan.Health{Grace: &a}, plan.Health{Grace: &b}) || same(plan.Health{Grace: &a}, plan.Health{}) || same(plan.Health{Ready: true}, plan.Health{}) {
		t.Error("health is compared wrongly")
	}
}

// TestManyTargets holds that the loop keeps up with targets that change all the time.
func TestManyTargets(t *testing.T) {
	bubble(t, func(c *clinic) {
		c.open(nil)
		for i := range 500 {
			c.targets.Set([]Target{target("web", fmt.Sprintf("c%d", i), func(a *v1.Container) { a.ReadinessProbe = tcp(10, 1) })})
		}
		synctest.Wait()
		if h, ok := c.health("web", "c499"); !ok || !h.Ready {
			t.Errorf("%+v", h)
		}
		if asked := c.seen(); !slices.Contains(asked, "0s c499 Readiness") {
			t.Errorf("asked %q", asked)
		}
	})
}
