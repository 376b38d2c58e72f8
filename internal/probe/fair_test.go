package probe

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/pod"
)

// TestLateAgent makes the agent late in every way while a question is open that then fails.
func TestLateAgent(t *testing.T) {
	for _, k := range []struct {
		name       string
		happens    func(c *clinic)
		forgiven   bool
		beforehand bool
	}{
		{name: "on time", happens: func(*clinic) {}},
		{name: "not scheduled", happens: func(c *clinic) { c.late += 5 * time.Second }, forgiven: true},
		{name: "not scheduled for a moment", happens: func(c *clinic) { c.late += 120 * time.Millisecond }},
		{name: "clock set back", happens: func(c *clinic) { c.set -= time.Hour }, forgiven: true},
		{name: "clock set forth, or the machine slept", happens: func(c *clinic) { c.set += time.Hour }, forgiven: true},
		{name: "clock slewed", happens: func(c *clinic) { c.set += 50 * time.Millisecond }},
		{name: "late before the question, not while it was open", happens: func(c *clinic) { c.late += 5 * time.Second; c.set -= time.Hour }, beforehand: true},
	} {
		t.Run(k.name, func(t *testing.T) {
			bubble(t, func(c *clinic) {
				c.says(func(ctx context.Context, q health.Question) (health.Answer, error) {
					if !k.beforehand {
						time.AfterFunc(q.Timeout/2, func() { c.locked(func() { k.happens(c) }) })
					}
					return slowly(ctx, q)
				})
				c.open(nil, target("web", "c1", func(a *v1.Container) { a.LivenessProbe = tcp(10, 1) }))
				c.after(5 * time.Second)
				if k.beforehand {
					c.locked(func() { k.happens(c) })
				}
				c.after(10 * time.Second)
				h, _ := c.health("web", "c1")
				r := c.read()
				if (h.Failed == "") != k.forgiven || (r.forgiven == 1) != k.forgiven || (len(r.notes) == 0) != k.forgiven {
					t.Errorf("%+v, %d forgiven, notes %v", h, r.forgiven, r.notes)
				}
				if k.forgiven && len(r.asked) > 0 {
					t.Errorf("meter %v: counted nevertheless", r.asked)
				}
			})
		})
	}
}

// TestManyMomentsOfLag holds that moments of lag add up.
func TestManyMomentsOfLag(t *testing.T) {
	bubble(t, func(c *clinic) {
		c.says(func(ctx context.Context, q health.Question) (health.Answer, error) {
			for i := range 4 {
				time.AfterFunc(time.Duration(i)*q.Timeout/5, func() { c.locked(func() { c.late += 150 * time.Millisecond }) })
			}
			return slowly(ctx, q)
		})
		c.open(nil, target("web", "c1", func(a *v1.Container) { a.LivenessProbe = tcp(10, 1) }))
		c.after(15 * time.Second)
		if h, _ := c.health("web", "c1"); h.Failed != "" || c.read().forgiven != 1 {
			t.Errorf("%+v, %d forgiven", h, c.read().forgiven)
		}
	})
}

// TestSickAllTheSame holds that a sick container is found out once the agent is on time again.
func TestSickAllTheSame(t *testing.T) {
	bubble(t, func(c *clinic) {
		c.says(func(ctx context.Context, q health.Question) (health.Answer, error) {
			if time.Since(c.began) < 25*time.Second {
				time.AfterFunc(q.Timeout/2, func() { c.locked(func() { c.late += time.Second }) })
			}
			return slowly(ctx, q)
		})
		c.open(nil, target("web", "c1", func(a *v1.Container) { a.LivenessProbe = tcp(10, 1) }))
		c.after(50 * time.Second)
		if h, _ := c.health("web", "c1"); h.Failed == "" || c.read().forgiven < 1 {
			t.Errorf("%+v, %d forgiven", h, c.read().forgiven)
		}
	})
}

// TestClockSetBack holds that probes go on however the clock on the wall is set.
func TestClockSetBack(t *testing.T) {
	bubble(t, func(c *clinic) {
		web := target("web", "c1", func(a *v1.Container) { a.ReadinessProbe = tcp(10, 1) })
		web.Containers[0].StartedAt = time.Now().Add(3 * time.Hour)
		c.open(nil, web)
		c.after(15 * time.Second)
		c.locked(func() { c.set -= 24 * time.Hour })
		c.after(30 * time.Second)
		c.expectSeen("0s c1 Readiness", "10s c1 Readiness", "20s c1 Readiness", "30s c1 Readiness", "40s c1 Readiness")
	})
}

// TestLongSleep holds that after a sleep of hours each probe is asked once, not once for every period that was missed.
func TestLongSleep(t *testing.T) {
	bubble(t, func(c *clinic) {
		c.open(nil, target("web", "c1", func(a *v1.Container) { a.LivenessProbe = tcp(10, 1) }))
		c.after(15 * time.Second)
		c.seen()
		c.locked(func() { c.late += 3*time.Hour + 7*time.Second })
		c.after(40 * time.Second)
		if n := len(c.seen()); n < 4 || n > 5 {
			t.Errorf("asked %d times in 40 s", n)
		}
	})
}

// TestCommandsAreFewAtATime holds the cap on commands that are starting, and that slow ones do not use it up.
func TestCommandsAreFewAtATime(t *testing.T) {
	bubble(t, func(c *clinic) {
		inside, peak, slow := 0, 0, 0
		c.says(func(ctx context.Context, q health.Question) (health.Answer, error) {
			if q.Pod.Name < "web-10" { // five pods never answer in time
				c.locked(func() { slow++ })
				return slowly(ctx, q)
			}
			c.locked(func() { inside++; peak = max(peak, inside) })
			time.Sleep(100 * time.Millisecond)
			c.locked(func() { inside-- })
			return health.Answer{Result: health.Success}, nil
		})
		var targets []Target
		for i := range 100 {
			probe := exec(10, 3)
			probe.TimeoutSeconds = 300
			targets = append(targets, target(fmt.Sprintf("web-%02d", i+5), fmt.Sprintf("c%d", i), func(a *v1.Container) { a.ReadinessProbe = probe }))
		}
		c.open(func(cfg *Config) { cfg.Execs = 4 }, targets...)
		c.after(8 * time.Second)
		ready := 0
		for i := range 100 {
			if h, _ := c.health(targets[i].Desired.UID(), fmt.Sprintf("c%d", i)); h.Ready {
				ready++
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if peak != 4 || ready != 95 || slow != 5 {
			t.Errorf("at most %d at a time, %d ready, %d slow", peak, ready, slow)
		}
	})
}

// TestCommandsAreSpread holds that pods that started together do not have their commands run together for ever.
func TestCommandsAreSpread(t *testing.T) {
	bubble(t, func(c *clinic) {
		var targets []Target
		for i := range 100 {
			targets = append(targets, target(fmt.Sprintf("web-%d", i), fmt.Sprintf("c%d", i), func(a *v1.Container) { a.LivenessProbe = exec(10, 3) }))
		}
		c.open(nil, targets...)
		c.after(25 * time.Second)
		c.seen()
		for range 10 {
			c.after(time.Second)
			if n := len(c.seen()); n > 30 {
				t.Errorf("%d commands in one second of a period of ten", n)
			}
		}
	})
}

// TestCommandsOfOneContainer holds that two never overlap in one container, other questions do not wait for them, and
// none is lost.
func TestCommandsOfOneContainer(t *testing.T) {
	bubble(t, func(c *clinic) {
		inside := 0
		c.says(func(_ context.Context, q health.Question) (health.Answer, error) {
			if q.Handler.Exec == nil {
				return health.Answer{Result: health.Success}, nil
			}
			c.locked(func() {
				if inside++; inside != 1 {
					t.Errorf("%d at a time", inside)
				}
			})
			time.Sleep(3 * time.Second)
			c.locked(func() { inside-- })
			return health.Answer{Result: health.Success}, nil
		})
		web := target("web", "c1", func(a *v1.Container) {
			a.StartupProbe, a.LivenessProbe, a.ReadinessProbe = tcp(1, 1), exec(10, 3), exec(10, 3)
		})
		web.Desired.Pod.Spec.Containers = append(web.Desired.Pod.Spec.Containers, v1.Container{Name: "other", ReadinessProbe: tcp(1, 1)})
		web.Containers = append(web.Containers, pod.Container{ID: "o1", Name: "other", State: pod.Running})
		c.open(nil, web)
		c.after(40*time.Second + time.Millisecond)
		kinds := map[string]int{}
		for _, s := range c.seen() {
			kinds[s[len(s)-len("c1 Readiness"):]]++
		}
		if kinds["o1 Readiness"] != 41 || kinds["c1 Readiness"] < 4 || kinds[" c1 Liveness"] < 4 {
			t.Errorf("%v", kinds)
		}
	})
}

// TestQueuedForAnOldInstance holds that a probe that waited for its turn when its container was restarted waits for the
// new instance's time.
func TestQueuedForAnOldInstance(t *testing.T) {
	bubble(t, func(c *clinic) {
		c.says(slowly)
		busy := target("busy", "b1", func(a *v1.Container) { a.ReadinessProbe = exec(10, 3) })
		web := target("web", "c1", func(a *v1.Container) { a.ReadinessProbe = exec(10, 3) })
		web.Desired.Pod.Spec.Containers[0].ReadinessProbe.InitialDelaySeconds = 5
		web.Containers[0].StartedAt = time.Now().Add(-time.Minute)
		c.open(func(cfg *Config) { cfg.Execs = 1 }, busy)
		c.tell(busy, web)
		web = again(web, "c2", pod.Running)
		c.tell(busy, web)
		c.after(8 * time.Second)
		c.expectSeen("0s b1 Readiness", "5s c2 Readiness")
	})
}
