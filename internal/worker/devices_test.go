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

const gpu = "vendor.test/gpu"

// rig is a simulated node whose device plugin comes and goes.
type rig struct {
	t      *testing.T
	world  *simworld.World
	agent  *simworld.Agent
	wanted latest.Cell[worker.Wanted]
	pods   map[types.UID]*pod.Desired
	supply allocate.Supply
	// rejected counts the pods that were refused.
	rejected int
}

func newRig(t *testing.T, seed uint64, devices int) *rig {
	r := &rig{t: t, world: simworld.New(seed), pods: map[types.UID]*pod.Desired{}}
	r.supply = allocate.Supply{Serving: true, Ever: true, Serial: 1, Devices: map[string]allocate.Device{}}
	for i := range devices {
		r.supply.Devices[fmt.Sprint("d", i)] = allocate.Device{Healthy: true}
	}
	r.tell()
	r.wanted.Set(worker.Wanted{Ready: true})
	r.start()
	return r
}

func (r *rig) tell() {
	r.world.Devices().Set(allocate.Supplies{Known: map[string]allocate.Supply{gpu: r.supply}})
}

// away takes the plugin away, for so long that pods wait for it, or brings it back.
func (r *rig) away(gone bool) {
	r.supply.Serving, r.supply.Why, r.supply.Until = !gone, "it has gone", time.Now().Add(5*time.Minute)
	if !gone {
		r.supply.Serial++
	}
	r.tell()
}

func (r *rig) start() {
	r.agent = r.world.Start(&r.wanted, simworld.Options{
		Check:    debug,
		Rejected: func(string) { r.rejected++ },
		Judge: func(candidate *pod.Desired, running []*pod.Desired, held []*allocate.Assigned) plan.Verdict {
			return admission.Judge(candidate, running, admission.Node{Name: "n1", Held: held, Devices: allocate.ChooseDevices(allocate.DeviceNode{
				Supplies: r.world.Devices().Value(), Held: held, Patient: candidate.Static(), Now: time.Now(),
			})})
		},
	})
}

// want makes a pod wanted whose init container and containers want so many devices each.
func (r *rig) want(name, image string, init int64, regular ...int64) {
	limits := func(n int64) v1.ResourceRequirements {
		return v1.ResourceRequirements{Limits: v1.ResourceList{gpu: *resource.NewQuantity(n, resource.DecimalSI)}}
	}
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name)}}
	p.Spec.RestartPolicy, p.Spec.TerminationGracePeriodSeconds = v1.RestartPolicyAlways, new(int64(2))
	if init > 0 {
		p.Spec.InitContainers = []v1.Container{{Name: "init", Image: "ends", Resources: limits(init)}}
	}
	for i, n := range regular {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: fmt.Sprint("c", i), Image: image, Resources: limits(n)})
	}
	r.pods[p.UID] = &pod.Desired{Pod: p, Source: pod.FromAPI, Wanted: true, Seen: time.Now()}
}

func (r *rig) publish(ready bool) {
	r.wanted.Set(worker.Wanted{Pods: maps.Clone(r.pods), Ready: ready})
}

// pass lets time pass.
func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// has is what a container has, "-" if its pod has nothing for itself.
func (r *rig) has(name, container string) string {
	k := r.world.Pod(types.UID(name)).Remembered
	if k == nil || k.Assigned == nil {
		return "-"
	}
	return strings.Join(k.Assigned.Part(container).Devices[gpu], ",")
}

// waits is what a pod waits for.
func (r *rig) waits(name string) string {
	e := r.agent.Table().Pod(types.UID(name))
	if e == nil || len(e.Waits) == 0 {
		return ""
	}
	return e.Waits[0].For
}

func (r *rig) runs(name string) bool {
	e := r.agent.Table().Pod(types.UID(name))
	return e != nil && e.Status.Phase == v1.PodRunning
}

func (r *rig) end() {
	r.agent.Crash()
	time.Sleep(time.Hour)
	if bad := r.world.Violations(); len(bad) > 0 {
		r.t.Errorf("violations:\n  %s\njournal:\n%s", strings.Join(bad, "\n  "), strings.Join(r.world.Journal(), "\n"))
	}
}

// TestDevicesOfPodsNobodyNamesYet: after a crash the source that names a pod may be late. Its devices are its own all the same
// (behaviour 238).
func TestDevicesOfPodsNobodyNamesYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 2)
		r.want("first", "run", 0, 1)
		r.publish(true)
		r.pass(time.Minute)
		r.agent.Crash()
		first := r.pods["first"]
		delete(r.pods, "first")
		r.want("second", "run", 0, 1)
		r.want("third", "run", 0, 1)
		r.publish(false)
		r.start()
		r.pass(time.Minute)
		if a, b, c := r.has("first", "c0"), r.has("second", "c0"), r.has("third", "c0"); a != "d0" || b != "d1" || c != "-" {
			t.Errorf("the first has %s, the second %s, the third %s", a, b, c)
		}
		r.pods["first"] = first
		r.publish(true)
		r.pass(time.Minute)
		if !r.runs("first") || !r.runs("second") {
			t.Error("not all run that have a device")
		}
		r.end()
	})
}

// TestPodsWaitForTheirPlugin: a pod whose plugin is away waits for it, is refused when that takes too long, and one that was admitted before
// the machine was started anew waits for it, too (pains, row 21).
func TestPodsWaitForTheirPlugin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, 3)
		r.want("old", "run", 0, 1)
		r.publish(true)
		r.pass(time.Minute)
		r.agent.Crash()
		r.world.Reboot("second")
		r.away(true)
		r.start()
		r.want("new", "run", 0, 1)
		r.publish(true)
		r.pass(time.Minute)
		for _, name := range []string{"old", "new"} {
			if got := r.waits(name); got != "device plugin of "+gpu {
				t.Errorf("pod %s waits for %q", name, got)
			}
		}
		r.away(false)
		r.pass(time.Minute)
		if !r.runs("old") || !r.runs("new") || r.has("old", "c0") != "d0" || r.rejected != 0 {
			t.Errorf("the old one has %s, the new one %s; %d were refused", r.has("old", "c0"), r.has("new", "c0"), r.rejected)
		}
		r.away(true)
		r.want("late", "run", 0, 1)
		r.publish(true)
		r.pass(5*time.Minute + time.Second)
		if r.rejected != 1 || !r.runs("old") || !r.runs("new") {
			t.Errorf("%d were refused; those that run must go on", r.rejected)
		}
		r.end()
	})
}

// TestHistoriesOfDevices plays random histories: no device is in two containers that run, none is lost or changed by a crash, nothing starts
// without what it asks for; and in the end, with the plugin there, who has a device runs.
func TestHistoriesOfDevices(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { historyOfDevices(t, seed) })
		})
	}
}

func historyOfDevices(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 41))
	r := newRig(t, seed, 4)
	r.world.Script("ends", simworld.Script{ExitAfter: 300 * time.Millisecond})
	r.world.Script("crashes", simworld.Script{ExitAfter: 5 * time.Second, Code: 1})
	r.world.Change(func(f *simworld.Faults) {
		*f = simworld.Faults{FailBefore: 0.1, FailAfter: 0.1, LoseEvents: 0.1, SlowMost: 500 * time.Millisecond}
	})
	boots := 0
	for step := range 60 {
		switch random.IntN(9) {
		case 0, 1, 2:
			r.want(fmt.Sprint("p", step), []string{"run", "crashes"}[random.IntN(2)], random.Int64N(3), random.Int64N(2), random.Int64N(3))
			r.publish(true)
		case 3, 4:
			if all := slices.Sorted(maps.Keys(r.pods)); len(all) > 0 {
				delete(r.pods, all[random.IntN(len(all))])
				r.publish(true)
			}
		case 5:
			r.away(random.IntN(2) == 0)
		case 6:
			id := fmt.Sprint("d", random.IntN(4))
			r.supply.Devices = maps.Clone(r.supply.Devices)
			r.supply.Devices[id] = allocate.Device{Healthy: random.IntN(2) == 0}
			r.tell()
		case 7:
			if random.IntN(2) == 0 { // in the middle of something
				r.world.CrashBefore(1 + random.IntN(5))
				r.pass(time.Second)
			}
			r.agent.Crash()
			r.world.CrashBefore(1 << 40)
			if random.IntN(3) == 0 {
				boots++
				r.world.Reboot(fmt.Sprint("boot ", boots))
			}
			r.publish(random.IntN(2) == 0)
			r.start()
		case 8:
			r.publish(true)
		}
		r.pass(time.Duration(random.IntN(4000)) * time.Millisecond)
	}
	r.world.Change(func(f *simworld.Faults) { *f = simworld.Faults{SlowMost: 20 * time.Millisecond} })
	r.away(false)
	r.publish(true)
	r.pass(20 * time.Minute)
	for uid := range r.pods {
		e := r.agent.Table().Pod(uid)
		if e == nil || e.Memory.Stage != plan.Running && e.Memory.Stage != plan.Done && e.Status.Phase != v1.PodFailed {
			t.Errorf("pod %s is neither running nor refused: %+v", uid, e)
		}
	}
	r.end()
}
