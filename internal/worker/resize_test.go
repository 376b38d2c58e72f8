package worker_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
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

// node is a simulated node with four processors whose pods are wanted with this and that.
type node struct {
	t      *testing.T
	world  *simworld.World
	agent  *simworld.Agent
	wanted latest.Cell[worker.Wanted]
	pods   map[types.UID]*pod.Desired
}

const processors = 4000

func newNode(t *testing.T, seed uint64) *node {
	n := &node{t: t, world: simworld.New(seed), pods: map[types.UID]*pod.Desired{}}
	n.world.SetCapacity(processors)
	n.wanted.Set(worker.Wanted{Ready: true})
	n.start()
	return n
}

func (n *node) start() {
	has := admission.Node{Name: "n1", Allocatable: v1.ResourceList{
		v1.ResourceCPU: *resource.NewMilliQuantity(processors, resource.DecimalSI), v1.ResourceMemory: resource.MustParse("1Gi"),
	}}
	n.agent = n.world.Start(&n.wanted, simworld.Options{
		Check: debug,
		Judge: func(candidate *pod.Desired, running []*pod.Desired, _ []*allocate.Assigned) plan.Verdict {
			v := admission.Judge(candidate, running, has)
			if !v.Admit { // here a pod waits for room: so the history goes on
				return plan.Verdict{Message: v.Message}
			}
			return v
		},
		Room: func(wanted, given *pod.Desired, running []*pod.Desired) plan.Resize {
			return admission.Resize(wanted, given, running, has)
		},
	})
}

// want makes a pod with one container wanted, or with another amount of CPU.
func (n *node) want(name string, milli int64, change func(*v1.Pod)) {
	uid := types.UID(name)
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: uid}}
	d := &pod.Desired{Source: pod.FromAPI, Wanted: true, Seen: time.Now()}
	if old := n.pods[uid]; old != nil {
		p, d.Seen = old.Pod.DeepCopy(), old.Seen
	} else {
		p.Spec.RestartPolicy, p.Spec.TerminationGracePeriodSeconds = v1.RestartPolicyAlways, new(int64(2))
		p.Spec.Containers = []v1.Container{{Name: "app", Image: "run"}}
	}
	p.Generation++
	p.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI)}
	if change != nil {
		change(p)
	}
	d.Pod = p
	n.pods[uid] = d
}

func (n *node) publish() {
	n.wanted.Set(worker.Wanted{Pods: maps.Clone(n.pods), Ready: true})
}

// has is how many thousandths of a CPU a pod's container was told it has.
func (n *node) has(name string) int64 {
	q, err := resource.ParseQuantity(n.world.Pod(types.UID(name)).Given["app"].CPU.Request)
	if err != nil {
		return 0
	}
	return q.MilliValue()
}

func (n *node) check(when, want string) {
	n.t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	var got []string
	for _, uid := range slices.Sorted(maps.Keys(n.pods)) {
		text := fmt.Sprintf("%s %d", uid, n.has(string(uid)))
		if k := n.world.Pod(uid).Remembered; k != nil && k.Pending != nil {
			text += " " + k.Pending.Reason
		}
		got = append(got, text)
	}
	if text := strings.Join(got, ", "); text != want {
		n.t.Errorf("%s: %s, want %s", when, text, want)
	}
}

func (n *node) end() {
	n.agent.Crash()
	time.Sleep(time.Hour)
	if bad := n.world.Violations(); len(bad) > 0 {
		n.t.Errorf("violations:\n  %s\njournal:\n%s", strings.Join(bad, "\n  "), strings.Join(n.world.Journal(), "\n"))
	}
}

// TestRoomOfPodsThatNobodyNames holds that a pod which was deleted while the agent was away keeps its room until it has ended.
func TestRoomOfPodsThatNobodyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		n.world.Script("slow", simworld.Script{OnTerm: time.Second})
		n.want("old", 3000, func(p *v1.Pod) { p.Spec.Containers[0].Image = "slow" })
		n.publish()
		n.check("alone", "old 3000")
		n.agent.Crash()
		delete(n.pods, "old")
		n.want("new", 2000, nil)
		n.publish()
		n.start()
		time.Sleep(time.Minute)
		n.check("after it", "new 2000")
		n.end()
	})
}

// TestResizesTakeTurns holds who gets what becomes free: pods that ask for no more at once, then the most important, then the
// better class, then who has waited longest; and it becomes free when a pod leaves or shrinks, at once (behaviour 223).
func TestResizesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, 1)
		priority := func(value int32) func(*v1.Pod) { return func(p *v1.Pod) { p.Spec.Priority = &value } }
		guaranteed := func(p *v1.Pod) {
			r := &p.Spec.Containers[0].Resources
			r.Requests[v1.ResourceMemory] = resource.MustParse("1Mi")
			r.Limits = r.Requests.DeepCopy()
		}
		n.want("hog", 1600, nil)
		n.want("late", 500, nil)
		n.want("long", 500, nil)
		n.want("good", 500, guaranteed)
		n.want("vip", 500, priority(10))
		n.publish()
		n.check("at first", "good 500, hog 1600, late 500, long 500, vip 500")

		n.want("long", 1000, nil)
		n.publish()
		n.check("no room", "good 500, hog 1600, late 500, long 500 Deferred, vip 500")
		n.want("late", 1000, nil)
		n.publish()
		time.Sleep(time.Second)
		n.want("good", 1000, guaranteed)
		n.want("vip", 1000, nil)
		n.publish()
		n.check("no room for anybody", "good 500 Deferred, hog 1600, late 500 Deferred, long 500 Deferred, vip 500 Deferred")

		n.want("hog", 1400, nil)
		n.publish()
		n.check("the hog shrinks, for one", "good 500 Deferred, hog 1400, late 500 Deferred, long 500 Deferred, vip 1000")
		n.agent.Crash()
		n.start()
		n.check("the agent starts anew", "good 500 Deferred, hog 1400, late 500 Deferred, long 500 Deferred, vip 1000")
		n.want("hog", 900, nil)
		n.publish()
		n.check("and for another one", "good 1000, hog 900, late 500 Deferred, long 500 Deferred, vip 1000")
		n.want("vip", 5000, nil)
		n.publish()
		n.check("that can never be", "good 1000, hog 900, late 500 Deferred, long 500 Deferred, vip 1000 Infeasible")
		n.want("vip", 500, nil)
		n.want("hog", 800, nil)
		n.publish()
		n.check("two shrink", "good 1000, hog 800, late 500 Deferred, long 1000, vip 500")
		delete(n.pods, "good")
		n.publish()
		time.Sleep(3 * time.Second)
		n.check("one leaves", "hog 800, late 1000, long 1000, vip 500")
		n.end()
	})
}

// TestRoomIsGivenOnce holds that pods together are never given more than the node has, whatever they ask for, whoever comes and
// goes, and whenever the agent dies; and that in the end everybody has what there is room for.
func TestRoomIsGivenOnce(t *testing.T) {
	most := *histories / 10
	if testing.Short() {
		most = min(most, 10)
	}
	for seed := range uint64(most) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { roomHistory(t, seed) })
		})
	}
}

func roomHistory(t *testing.T, seed uint64) {
	n := newNode(t, seed)
	random := rand.New(rand.NewPCG(seed, 3))
	made := 0
	for range 60 {
		names := slices.Sorted(maps.Keys(n.pods))
		switch random.IntN(10) {
		case 0, 1:
			made++
			n.want(fmt.Sprint("pod", made), int64(1+random.IntN(15))*100, nil)
		case 2:
			if len(names) > 0 {
				delete(n.pods, names[random.IntN(len(names))])
			}
		case 3:
			n.agent.Crash()
			n.start()
		case 4:
			n.world.Change(func(f *simworld.Faults) {
				f.FailBefore, f.FailAfter, f.LedgerFull = random.Float64()*0.3, random.Float64()*0.3, random.IntN(5) == 0
			})
		default:
			for range 1 + random.IntN(3) {
				if len(names) > 0 {
					n.want(string(names[random.IntN(len(names))]), int64(1+random.IntN(15))*100, nil)
				}
			}
		}
		n.publish()
		time.Sleep(time.Duration(random.Int64N(int64([]time.Duration{time.Microsecond, 5 * time.Millisecond, time.Second, 30 * time.Second}[random.IntN(4)]))))
	}
	n.world.Change(func(f *simworld.Faults) { *f = simworld.Faults{SlowMost: time.Millisecond} })
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	left := processors - n.agent.Given()
	for uid, d := range n.pods {
		has, wants := n.has(string(uid)), d.Pod.Spec.Containers[0].Resources.Requests.Cpu().MilliValue()
		if has != 0 && has != wants && wants-has <= left {
			t.Errorf("%s has %d and wants %d, and there is room for %d more", uid, has, wants, left)
		}
	}
	n.end()
}
