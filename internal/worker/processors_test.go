package worker_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/admission"
	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/simworld"
	"github.com/bosun-project/bosun/internal/worker"
)

// shop is a simulated node with eight processors, of which 0 is the system's, and pods that want some for themselves.
type shop struct {
	t      *testing.T
	world  *simworld.World
	agent  *simworld.Agent
	wanted latest.Cell[worker.Wanted]
	pods   map[types.UID]*pod.Desired
	rules  *allocate.Rules
	// adopted is what the agent finds that another one gave to pods.
	adopted allocate.Owners
	// owners is what the file told when time last passed.
	owners allocate.Owners
	// lost tells that the ledger was lost once.
	lost bool
	// had is what each pod had for itself when it ran first.
	had map[types.UID]*allocate.Assigned
}

func newShop(t *testing.T, seed uint64) *shop {
	s := &shop{t: t, world: simworld.New(seed), pods: map[types.UID]*pod.Desired{}, had: map[types.UID]*allocate.Assigned{}}
	s.rules = &allocate.Rules{CPU: allocate.CPURules{Static: true, Reserved: allocate.CPUsOf(0)}}
	for id := range 8 {
		s.rules.Machine.CPUs = append(s.rules.Machine.CPUs, allocate.CPU{ID: id, Core: id / 2 * 2, Node: id / 4, Socket: id / 4})
	}
	s.rules.Topology.Nodes = s.rules.Machine.Nodes()
	s.start()
	return s
}

func (s *shop) start() {
	s.agent = s.world.Start(&s.wanted, simworld.Options{
		Check: debug, Adopted: s.adopted,
		Judge: func(candidate *pod.Desired, running []*pod.Desired, held []*allocate.Assigned) plan.Verdict {
			return admission.Judge(candidate, running, admission.Node{Name: "n1", Held: held, Rules: s.rules})
		},
	})
}

// want makes a pod wanted that asks for so many processors.
func (s *shop) want(name, image string, init, regular int64) {
	limits := func(n int64) v1.ResourceRequirements {
		return v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": *resource.NewQuantity(n, resource.DecimalSI), "memory": resource.MustParse("1Mi")}}
	}
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name)}}
	p.Spec.RestartPolicy, p.Spec.TerminationGracePeriodSeconds = v1.RestartPolicyAlways, new(int64(2))
	if init > 0 {
		p.Spec.InitContainers = []v1.Container{{Name: "init", Image: "ends", Resources: limits(init)}}
	}
	p.Spec.Containers = []v1.Container{{Name: "main", Image: image, Resources: limits(regular)}}
	s.pods[p.UID] = &pod.Desired{Pod: p, Source: pod.FromAPI, Wanted: true, Seen: time.Now()}
}

func (s *shop) publish(ready bool) {
	s.wanted.Set(worker.Wanted{Pods: maps.Clone(s.pods), Ready: ready})
}

// pass lets time pass, and looks at who has what.
func (s *shop) pass(d time.Duration) {
	s.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	var taken allocate.CPUs
	for i := range 100 {
		uid := types.UID(fmt.Sprint("p", i))
		p := s.world.Pod(uid)
		if len(p.Running) == 0 || p.Remembered == nil {
			continue
		}
		now := p.Remembered.Assigned
		if now == nil {
			now = s.adopted[uid] // the new agent has not taken it in yet
		}
		if had, ran := s.had[uid]; ran && !reflect.DeepEqual(had, now) {
			s.t.Errorf("pod %s runs, had %+v and has %+v now", uid, had, now)
		}
		s.had[uid] = now
		own := now.CPUs()
		if !own.And(taken).Empty() || own.Has(0) {
			s.t.Errorf("pod %s has processors %s, of which others have %s", uid, own, own.And(taken))
		}
		taken = taken.With(own)
	}
	s.owners = s.agent.Owners()
	for uid, a := range s.remembered() {
		s.owners[uid] = a
	}
	if pool := s.rules.CPU.Pool(&s.rules.Machine, s.agent.Owners().All()); pool.Empty() || !pool.And(taken).Empty() {
		s.t.Errorf("%s are shared, and %s are somebody's", pool, taken)
	}
}

// remembered are the pods that have something, as the ledger tells.
func (s *shop) remembered() allocate.Owners {
	owners := allocate.Owners{}
	for i := range 100 {
		uid := types.UID(fmt.Sprint("p", i))
		if k := s.world.Pod(uid).Remembered; k != nil && k.Assigned != nil {
			owners[uid] = k.Assigned
		}
	}
	return owners
}

// TestHistoriesOfProcessors plays random histories: whatever comes and goes, crashes, is reconfigured or taken over from another agent, no two pods
// that run have a processor, none loses or changes what it has while it runs, and those who share have some (behaviours 232, 234; pains, rows 1
// and 19).
func TestHistoriesOfProcessors(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { historyOfProcessors(t, seed) })
		})
	}
}

func historyOfProcessors(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 42))
	s := newShop(t, seed)
	s.world.Script("ends", simworld.Script{ExitAfter: 300 * time.Millisecond})
	s.world.Script("crashes", simworld.Script{ExitAfter: 5 * time.Second, Code: 1})
	s.world.Change(func(f *simworld.Faults) {
		*f = simworld.Faults{FailBefore: 0.1, FailAfter: 0.1, LoseEvents: 0.1, SlowMost: 500 * time.Millisecond}
	})
	for step := range 60 {
		switch random.IntN(8) {
		case 0, 1, 2:
			s.want(fmt.Sprint("p", step), []string{"run", "crashes"}[random.IntN(2)], random.Int64N(4), 1+random.Int64N(3))
			s.publish(true)
		case 3, 4:
			if all := slices.Sorted(maps.Keys(s.pods)); len(all) > 0 {
				delete(s.pods, all[random.IntN(len(all))])
				s.publish(true)
			}
		case 5:
			if random.IntN(2) == 0 { // in the middle of something
				s.world.CrashBefore(1 + random.IntN(5))
				s.pass(time.Second)
			}
			s.agent.Crash()
			s.world.CrashBefore(1 << 40)
			s.reconfigure(random)
			if all := maps.Clone(s.pods); random.IntN(2) == 0 { // a source is late
				maps.DeleteFunc(all, func(types.UID, *pod.Desired) bool { return random.IntN(2) == 0 })
				s.want(fmt.Sprint("p", step), "run", 0, 1+random.Int64N(3))
				all[types.UID(fmt.Sprint("p", step))] = s.pods[types.UID(fmt.Sprint("p", step))]
				s.wanted.Set(worker.Wanted{Pods: all})
			}
			s.start()
		case 6, 7:
			s.publish(true)
		}
		s.pass(time.Duration(random.IntN(4000)) * time.Millisecond)
	}
	s.world.Change(func(f *simworld.Faults) { *f = simworld.Faults{SlowMost: 20 * time.Millisecond} })
	s.publish(true)
	s.pass(20 * time.Minute)
	for uid := range s.pods {
		e := s.agent.Table().Pod(uid)
		if e == nil || e.Memory.Stage != plan.Running && e.Memory.Stage != plan.Done && e.Status.Phase != v1.PodFailed {
			t.Errorf("pod %s is neither running nor refused: %+v", uid, e)
		}
	}
	s.agent.Crash()
	time.Sleep(time.Hour)
	bad := slices.DeleteFunc(s.world.Violations(), func(text string) bool { return s.lost && strings.Contains(text, "gets more time than before") }) // the ledger knew
	if len(bad) > 0 {
		t.Errorf("violations:\n  %s\njournal:\n%s", strings.Join(bad, "\n  "), strings.Join(s.world.Journal(), "\n"))
	}
}

// reconfigure sets another policy for the next life of the agent, or loses the ledger: then only the file tells what pods have.
func (s *shop) reconfigure(random *rand.Rand) {
	s.rules.CPU.Static = random.IntN(4) > 0
	s.adopted, _ = allocate.Adopt(allocate.CPUStateFile(s.rules, s.owners), nil)
	if random.IntN(4) == 0 {
		s.lost = true
		s.world.LoseLedger()
	}
}
