package worker_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/simworld"
	"github.com/bosun-project/bosun/internal/worker"
)

// cutWays are the ways in which the agent crashes at an effect.
var cutWays = []string{"before", "after", "landing late"}

// sweeps are the scenarios of the crash sweep. What comes before cut is not cut.
var sweeps = []struct {
	name string
	play func(s *sweep)
}{
	{"start", func(s *sweep) {
		s.cut()
		s.want(s.full("web"))
		time.Sleep(time.Minute)
	}},
	{"remove", func(s *sweep) {
		p := s.full("web")
		s.want(p)
		time.Sleep(time.Minute)
		s.cut()
		s.want()
		s.awaitGone(p, 21*time.Second) // its grace is 20 s, and one container ignores TERM
	}},
	{"remove while it starts", func(s *sweep) {
		p := s.full("web")
		s.cut()
		s.want(p)
		time.Sleep(700 * time.Millisecond)
		s.want()
		s.awaitGone(p, 23*time.Second)
	}},
	{"edit", func(s *sweep) {
		old := s.full("web")
		s.want(old)
		time.Sleep(time.Minute)
		s.cut()
		s.want(s.full("web"))
		s.awaitGone(old, 21*time.Second)
		time.Sleep(time.Minute)
	}},
	{"removed and wanted again", func(s *sweep) {
		p := s.full("web")
		s.want(p)
		time.Sleep(time.Minute)
		s.cut()
		s.want()
		time.Sleep(time.Second)
		s.want(p)
		time.Sleep(2 * time.Minute)
	}},
	{"another image", func(s *sweep) {
		p := s.full("web")
		s.want(p)
		time.Sleep(time.Minute)
		s.cut()
		edited := *p
		edited.Pod = p.Pod.DeepCopy()
		edited.Pod.Spec.Containers[0].Image = "quiet"
		s.want(&edited)
		time.Sleep(time.Minute)
	}},
	{"other resources", func(s *sweep) {
		p := s.full("web")
		s.size(p, "100m", "32Mi")
		s.want(p)
		time.Sleep(time.Minute)
		s.cut()
		edited := *p
		edited.Pod = p.Pod.DeepCopy()
		s.size(&edited, "200m", "64Mi")
		edited.Pod.Spec.Containers[0].Resources.Limits[v1.ResourceMemory] = resource.MustParse("8Mi")
		s.want(&edited)
		time.Sleep(time.Minute)
	}},
	{"other resources, for new instances", func(s *sweep) {
		p := s.full("web")
		s.size(p, "100m", "32Mi")
		for i := range p.Pod.Spec.Containers {
			p.Pod.Spec.Containers[i].ResizePolicy = []v1.ContainerResizePolicy{{ResourceName: v1.ResourceMemory, RestartPolicy: v1.RestartContainer}}
		}
		s.want(p)
		time.Sleep(time.Minute)
		s.cut()
		edited := *p
		edited.Pod = p.Pod.DeepCopy()
		s.size(&edited, "200m", "16Mi")
		s.want(&edited)
		time.Sleep(time.Minute)
	}},
	{"crash looping", func(s *sweep) {
		s.slack = 1
		s.cut()
		s.want(s.pod("web", v1.RestartPolicyAlways, "crash", "run"))
		time.Sleep(4 * time.Minute)
	}},
	{"a job", func(s *sweep) {
		s.cut()
		s.want(s.pod("job", v1.RestartPolicyOnFailure, "done", "done"))
		time.Sleep(time.Minute)
	}},
	{"a job that fails", func(s *sweep) {
		p := s.pod("job", v1.RestartPolicyNever, "crash", "run")
		p.Pod.Spec.InitContainers = []v1.Container{{Name: "side", Image: "run", RestartPolicy: new(v1.ContainerRestartPolicyAlways)}}
		s.cut()
		s.want(p)
		time.Sleep(20 * time.Second)
		s.end(p, 1)
		time.Sleep(time.Minute)
		s.want()
		s.awaitGone(p, 3*time.Second)
	}},
	{"the sandbox is lost", func(s *sweep) {
		p := s.full("web")
		s.want(p)
		time.Sleep(time.Minute)
		s.cut()
		s.world.KillSandbox(p.UID())
		time.Sleep(time.Minute)
	}},
	{"all containers are restarted", func(s *sweep) {
		p := s.full("web")
		p.Pod.Spec.Containers[2].RestartPolicyRules = []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestartAllContainers,
			ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{88}}}}
		s.want(p)
		time.Sleep(time.Minute)
		s.cut()
		s.world.End(s.world.Live(p.UID())["app2"], 88, "")
		time.Sleep(time.Minute)
	}},
	{"two pods, one goes while the other comes", func(s *sweep) {
		one, two := s.full("one"), s.full("two")
		s.want(one)
		time.Sleep(time.Minute)
		s.cut()
		s.want(two)
		s.awaitGone(one, 21*time.Second)
		time.Sleep(time.Minute)
	}},
	{"claims, of which one is shared", func(s *sweep) {
		one, two := s.full("one"), s.full("two")
		s.claim(one, "shared", "own")
		s.claim(two, "shared")
		s.cut()
		s.want(one, two)
		time.Sleep(time.Minute)
		s.want(two)
		s.awaitGone(one, 21*time.Second)
		s.runs(two, true)
		s.want()
		s.awaitGone(two, 21*time.Second)
		if left := s.world.Claims(); len(left) > 0 {
			s.late = append(s.late, fmt.Sprintf("claims %q were never given back", left))
		}
	}},
	{"claims of a pod that nobody knows any more", func(s *sweep) {
		p := s.full("web")
		s.claim(p, "own")
		s.want(p)
		time.Sleep(time.Minute)
		s.agent().Crash()
		s.wanted.Set(worker.Wanted{Ready: true})
		s.cut()
		s.awaitGone(p, 40*time.Second)
	}},
	{"ended for a shutdown that is called off", func(s *sweep) {
		p := s.full("web")
		s.want(p)
		time.Sleep(time.Minute)
		s.cut()
		s.world.Order(&plan.Order{Reason: reason.Terminated, Grace: 10 * time.Second}, p.UID())
		time.Sleep(30 * time.Second)
		s.runs(p, false)
		s.world.Stay()
		time.Sleep(2 * time.Minute)
		s.runs(p, true)
	}},
	{"called off while the pod ends", func(s *sweep) {
		p := s.full("web")
		s.want(p)
		time.Sleep(time.Minute)
		s.cut()
		s.world.Order(&plan.Order{Reason: reason.Terminated, Grace: 10 * time.Second}, p.UID())
		time.Sleep(5 * time.Second)
		s.world.Stay()
		time.Sleep(2 * time.Minute)
		s.runs(p, true)
	}},
	{"dropped as it is to begin anew", func(s *sweep) {
		p := s.full("web")
		s.want(p)
		time.Sleep(time.Minute)
		s.cut()
		s.world.Order(&plan.Order{Reason: reason.Terminated, Grace: 10 * time.Second}, p.UID())
		time.Sleep(30 * time.Second)
		s.world.Stay()
		s.want()
		s.awaitGone(p, 21*time.Second)
	}},
	{"a pod that nobody knows any more", func(s *sweep) {
		p := s.full("web")
		s.want(p)
		time.Sleep(time.Minute)
		s.agent().Crash()
		s.wanted.Set(worker.Wanted{Ready: true})
		s.cut()
		s.awaitGone(p, 40*time.Second)
	}},
}

// TestCrashSweep cuts every scenario at each single effect, starts the agent again, and holds that in the end all is as
// if nothing had happened: the same runs, nothing is left over, no preStop hook has run twice, no restart is forgotten,
// no grace period began anew (design, section 5).
func TestCrashSweep(t *testing.T) {
	for _, sc := range sweeps {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			uncut := runSweep(t, sc.play, 0, "")
			if uncut.effects == 0 {
				t.Fatal("nothing happens in it")
			}
			for k := 1; k <= uncut.effects && !t.Failed(); k++ {
				for _, way := range cutWays {
					got := runSweep(t, sc.play, k, way)
					if got.end != uncut.end {
						t.Errorf("cut %s effect %d of %d:\n got %s\nwant %s\njournal:\n%s", way, k, uncut.effects, got.end, uncut.end, got.journal)
					}
					if diff := got.attempts - uncut.attempts; diff > uncut.slack || -diff > uncut.slack {
						t.Errorf("cut %s effect %d of %d: %d attempts, want %d\njournal:\n%s", way, k, uncut.effects, got.attempts, uncut.attempts, got.journal)
					}
				}
			}
		})
	}
}

// swept is how a scenario ended.
type swept struct {
	effects  int
	end      string
	attempts int
	// slack is how far attempts may be off because the agent was away for a while.
	slack   int
	journal string
}

// sweep is one scenario under way.
type sweep struct {
	t      *testing.T
	world  *simworld.World
	wanted latest.Cell[worker.Wanted]
	lives  latest.Cell[*simworld.Agent]
	pods   []*pod.Desired
	at     int
	way    string
	marked int
	slack  int
	late   []string
}

// runSweep plays a scenario, cut at its at-th effect; zero cuts nothing.
func runSweep(t *testing.T, play func(*sweep), at int, way string) (out swept) {
	synctest.Test(t, func(t *testing.T) {
		s := &sweep{t: t, world: simworld.New(7), at: at, way: way}
		s.world.Script("done", simworld.Script{ExitAfter: 2 * time.Second})
		s.world.Script("crash", simworld.Script{ExitAfter: 5 * time.Second, Code: 1})
		s.world.Script("stubborn", simworld.Script{OnTerm: -1})
		s.world.Script("slow", simworld.Script{OnTerm: 3 * time.Second})
		s.wanted.Set(worker.Wanted{Ready: true})
		stop, stopped := make(chan struct{}), make(chan struct{})
		s.lives.Set(s.world.Start(&s.wanted, simworld.Options{}))
		go func() {
			defer close(stopped)
			s.keepAlive(stop)
		}()
		play(s)
		synctest.Wait()
		out = s.result()
		close(stop)
		<-stopped
		s.agent().Crash()
		time.Sleep(time.Hour)
		for _, bad := range append(s.world.Violations(), s.late...) {
			t.Errorf("cut %s effect %d: %s\njournal:\n%s", way, at, bad, strings.Join(s.world.Journal(), "\n"))
		}
	})
	return out
}

// keepAlive starts the agent again a second after it crashed; sources speak a second later.
func (s *sweep) keepAlive(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-s.agent().Died():
			s.agent().Crash()
			time.Sleep(time.Second)
			s.world.Change(func(f *simworld.Faults) { f.LandLate = false })
			s.lives.Set(s.world.Start(&s.wanted, simworld.Options{Check: debug}))
		}
	}
}

func (s *sweep) agent() *simworld.Agent { return s.lives.Value() }

// cut begins the part of the scenario that is cut.
func (s *sweep) cut() {
	s.marked = s.world.Effects()
	if s.at == 0 {
		return
	}
	switch s.way {
	case "before":
		s.world.CrashBefore(s.at)
	case "after":
		s.world.CrashAfter(s.at)
	case "landing late":
		s.world.Change(func(f *simworld.Faults) { f.LandLate = true })
		s.world.CrashBefore(s.at)
	}
}

func (s *sweep) want(pods ...*pod.Desired) {
	w := worker.Wanted{Pods: map[types.UID]*pod.Desired{}, Ready: true}
	for _, p := range pods {
		w.Pods[p.UID()] = p
	}
	s.wanted.Set(w)
}

// pod makes a pod with a container for each image.
func (s *sweep) pod(name string, policy v1.RestartPolicy, images ...string) *pod.Desired {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(fmt.Sprint(name, "-", len(s.pods)))}}
	p.Spec.RestartPolicy, p.Spec.TerminationGracePeriodSeconds = policy, new(int64(20))
	p.Spec.Volumes = []v1.Volume{{Name: "data"}}
	for i, image := range images {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: fmt.Sprint("app", i), Image: image})
	}
	d := &pod.Desired{Pod: p, Source: pod.FromFile, Wanted: true, Seen: time.Now()}
	s.pods = append(s.pods, d)
	return d
}

// claim has a pod use ResourceClaims.
func (s *sweep) claim(d *pod.Desired, names ...string) {
	for _, name := range names {
		d.Pod.Spec.ResourceClaims = append(d.Pod.Spec.ResourceClaims, v1.PodResourceClaim{Name: name, ResourceClaimName: &name})
	}
}

// size gives all containers of a pod CPU and memory.
func (s *sweep) size(d *pod.Desired, cpu, memory string) {
	for _, list := range [][]v1.Container{d.Pod.Spec.InitContainers, d.Pod.Spec.Containers} {
		for i := range list {
			all := v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(memory)}
			list[i].Resources = v1.ResourceRequirements{Requests: all, Limits: all.DeepCopy()}
		}
	}
}

// full makes a pod with an init container, a sidecar, hooks and volumes, one of whose containers ignores TERM.
func (s *sweep) full(name string) *pod.Desired {
	d := s.pod(name, v1.RestartPolicyAlways, "slow", "stubborn", "run")
	hook := &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 1}}
	d.Pod.Spec.InitContainers = []v1.Container{
		{Name: "init", Image: "done"},
		{Name: "side", Image: "run", RestartPolicy: new(v1.ContainerRestartPolicyAlways), Lifecycle: &v1.Lifecycle{PreStop: hook}},
	}
	d.Pod.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PostStart: hook, PreStop: hook}
	d.Pod.Spec.Volumes = append(d.Pod.Spec.Volumes, v1.Volume{Name: "more"})
	return d
}

// end ends all processes of a pod's regular containers.
func (s *sweep) end(d *pod.Desired, code int32) {
	for name, id := range s.world.Live(d.UID()) {
		if strings.HasPrefix(name, "app") {
			s.world.End(id, code, "")
		}
	}
}

// awaitGone waits until nothing of a pod is left, and notes when that takes longer than it may; a crash costs three
// seconds: one for the agent to be away, two for the end of a container whose deadline passes meanwhile.
func (s *sweep) awaitGone(d *pod.Desired, most time.Duration) {
	began := time.Now()
	for !empty(s.world.Pod(d.UID())) && time.Since(began) < 10*time.Minute {
		time.Sleep(100 * time.Millisecond)
	}
	if took := time.Since(began); took > most+3*time.Second {
		s.late = append(s.late, fmt.Sprintf("%s took %s to go, want at most %s", d.UID(), took, most))
	}
}

// runs notes when a pod does not run though it should, or does though it should not.
func (s *sweep) runs(d *pod.Desired, should bool) {
	if live := s.world.Live(d.UID()); (len(live) > 0) != should {
		s.late = append(s.late, fmt.Sprintf("%s: it is %v that it should run, and what runs is %v", d.UID(), should, live))
	}
}

func empty(p simworld.Pod) bool {
	return p.Sandboxes+len(p.Running)+len(p.Exited)+p.Volumes+p.Claims == 0 && !p.Cgroup && !p.Dir && p.Remembered == nil
}

// result is what there is of all pods in the end, in words that can be compared.
func (s *sweep) result() swept {
	out := swept{effects: s.world.Effects() - s.marked, slack: s.slack, journal: strings.Join(s.world.Journal(), "\n")}
	var end []string
	for _, d := range s.pods {
		p := s.world.Pod(d.UID())
		stop := "none"
		if p.Remembered != nil && p.Remembered.Stop != nil {
			stop = string(p.Remembered.Stop.Cause)
		}
		end = append(end, fmt.Sprintf("%s: %d ready, running %v, ended %v, %d volumes, %d claims, cgroup %v, dir %v, remembered %v, stop %s, owed %v, given %v of %d", d.UID(),
			p.ReadySandboxes, p.Running, slices.Sorted(maps.Keys(p.Exited)), p.Volumes, p.Claims, p.Cgroup, p.Dir, p.Remembered != nil, stop, s.owed(d), p.Given, p.Memory))
		for _, n := range p.Attempts {
			out.attempts += int(n)
		}
	}
	out.end = strings.Join(end, "\n     ")
	return out
}

// owed names the running containers whose postStart hook never came to its end.
func (s *sweep) owed(d *pod.Desired) []string {
	var out []string
	for name, id := range s.world.Live(d.UID()) {
		c, _ := pod.FindContainer(d.Pod, name)
		if c != nil && c.Lifecycle != nil && c.Lifecycle.PostStart != nil && s.world.PostStarts(id) == 0 {
			out = append(out, name)
		}
	}
	return out
}
