package worker_test

import (
	"flag"
	"fmt"
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

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/simworld"
	"github.com/bosun-project/bosun/internal/worker"
)

var (
	histories = flag.Int("histories", 300, "how many random histories to run")
	seed      = flag.Uint64("seed", 0, "run the one history of this seed; 0 runs -histories of them")
)

// TestHistories runs random histories of sources, faults and crashes, and holds the invariants of design.md section 5.
func TestHistories(t *testing.T) {
	if *seed != 0 {
		history(t, *seed)
		return
	}
	most := *histories
	if testing.Short() { // with the race detector each takes ten times as long
		most = min(most, 40)
	}
	for i := range most {
		s := uint64(i + 1)
		if !t.Run(fmt.Sprint(s), func(t *testing.T) { t.Parallel(); history(t, s) }) {
			return
		}
	}
}

func history(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		h := &run{t: t, rand: rand.New(rand.NewPCG(seed, 1)), world: simworld.New(seed), pods: map[types.UID]*pod.Desired{}}
		h.scripts()
		h.wanted.Set(worker.Wanted{Pods: map[types.UID]*pod.Desired{}})
		h.agent = h.world.Start(&h.wanted, h.options())
		h.publish(h.rand.IntN(2) == 0)
		for range 5 + h.rand.IntN(25) {
			h.step()
			h.pause()
		}
		h.settle()
		h.verify()
		h.agent.Crash()
		time.Sleep(time.Hour) // let scripts and late events end
		if bad := h.world.Violations(); len(bad) > 0 {
			h.fail("violations:\n  %s", strings.Join(bad, "\n  "))
		}
	})
}

// run is one history under way.
type run struct {
	t      *testing.T
	rand   *rand.Rand
	world  *simworld.World
	agent  *simworld.Agent
	wanted latest.Cell[worker.Wanted]
	ready  bool
	pods   map[types.UID]*pod.Desired
	made   []types.UID
	names  int
}

func (h *run) options() simworld.Options {
	return simworld.Options{Check: func(in plan.Input, p plan.Plan) {
		debug(in, p)
		if again := plan.Next(in); !reflect.DeepEqual(again, p) {
			h.t.Errorf("the same input gave two plans:\n%+v\n%+v", p, again)
		}
		if p.Memory.Stage < in.Memory.Stage && in.Memory.Stage >= plan.Stopping && p.Memory.Stage < plan.Stopping {
			h.t.Errorf("stage went back from %s to %s", in.Memory.Stage, p.Memory.Stage)
		}
		if !p.WakeAt.IsZero() && !p.WakeAt.After(in.Now) {
			h.t.Errorf("woken at %s, which is not after %s", p.WakeAt, in.Now)
		}
		running := p.Memory.Stage == plan.Running
		if p.Memory.Stage != plan.Done && !running && len(p.Effects) == 0 && len(p.Waits) == 0 && p.WakeAt.IsZero() {
			h.t.Errorf("%s: stuck in %s: no effect, no wake-up, no named wait", in.Desired.UID(), p.Memory.Stage)
		}
	}}
}

func (h *run) fail(format string, args ...any) {
	h.t.Helper()
	h.agent.Crash()
	time.Sleep(time.Hour)
	h.t.Fatalf(format+"\njournal:\n%s", append(args, strings.Join(h.world.Journal(), "\n"))...)
}

func (h *run) scripts() {
	h.world.Script("done", simworld.Script{ExitAfter: 2 * time.Second})
	h.world.Script("quick", simworld.Script{ExitAfter: 10 * time.Millisecond})
	h.world.Script("crash", simworld.Script{ExitAfter: 5 * time.Second, Code: 1})
	h.world.Script("stubborn", simworld.Script{OnTerm: -1})
	h.world.Script("slow", simworld.Script{OnTerm: 3 * time.Second})
	h.world.Script("missing", simworld.Script{NoImage: true})
}

func (h *run) pick(options ...string) string { return options[h.rand.IntN(len(options))] }

// newPod makes a random pod; its containers are named for their image.
func (h *run) newPod(name string) *pod.Desired {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(fmt.Sprintf("%s-%d", name, len(h.made)))}}
	p.Spec.RestartPolicy = v1.RestartPolicy(h.pick("Always", "Always", "OnFailure", "Never"))
	grace := int64(1 + h.rand.IntN(40))
	p.Spec.TerminationGracePeriodSeconds = &grace
	p.Spec.HostNetwork = h.rand.IntN(4) == 0
	for i := range h.rand.IntN(3) {
		v := v1.Volume{Name: fmt.Sprint("v", i)}
		if h.rand.IntN(3) == 0 {
			v.ConfigMap = &v1.ConfigMapVolumeSource{}
		}
		p.Spec.Volumes = append(p.Spec.Volumes, v)
	}
	if h.rand.IntN(3) == 0 { // some claims are shared
		for _, name := range []string{"gpu", "nic", string(p.UID)} {
			if h.rand.IntN(2) == 0 {
				p.Spec.ResourceClaims = append(p.Spec.ResourceClaims, v1.PodResourceClaim{Name: name, ResourceClaimName: &name})
			}
		}
	}
	always := v1.ContainerRestartPolicyAlways
	for i := range h.rand.IntN(4) {
		c := v1.Container{Name: fmt.Sprint("init", i), Image: h.pick("done", "quick", "quick", "crash")}
		if h.rand.IntN(2) == 0 {
			c.Image, c.RestartPolicy = h.pick("run", "slow", "crash"), &always
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
	for i := range 1 + h.rand.IntN(3) {
		c := v1.Container{Name: fmt.Sprint("app", i), Image: h.pick("run", "run", "slow", "stubborn", "crash", "done", "quick", "missing")}
		if h.rand.IntN(3) == 0 {
			c.Lifecycle = &v1.Lifecycle{PreStop: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 1}}}
		}
		if h.rand.IntN(4) == 0 {
			c.Lifecycle = &v1.Lifecycle{PostStart: &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: 1}}}
		}
		if h.rand.IntN(8) == 0 { // its end, or only its being killed, restarts all of them
			c.RestartPolicyRules = []v1.ContainerRestartRule{{Action: v1.ContainerRestartRuleActionRestartAllContainers,
				ExitCodes: &v1.ContainerRestartRuleOnExitCodes{Operator: v1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{1, int32(h.rand.IntN(2))}}}}
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	if h.rand.IntN(2) == 0 {
		h.size(p, true)
	}
	h.made = append(h.made, p.UID)
	return &pod.Desired{Pod: p, Source: pod.FromFile, Seen: time.Now(), Wanted: true}
}

// size gives one of the containers of a pod other resources, or all of them.
func (h *run) size(p *v1.Pod, all bool) {
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			if all || h.rand.IntN(3) == 0 {
				list[i].Resources = h.resources()
			}
			if len(list[i].ResizePolicy) == 0 && h.rand.IntN(4) == 0 {
				list[i].ResizePolicy = []v1.ContainerResizePolicy{{ResourceName: v1.ResourceMemory, RestartPolicy: v1.RestartContainer}}
			}
		}
	}
}

func (h *run) resources() v1.ResourceRequirements {
	amount := func() v1.ResourceList {
		return v1.ResourceList{
			v1.ResourceCPU: *resource.NewMilliQuantity(int64(1+h.rand.IntN(4))*100, resource.DecimalSI), v1.ResourceMemory: *resource.NewQuantity(int64(1+h.rand.IntN(4))<<20, resource.BinarySI),
		}
	}
	r := v1.ResourceRequirements{Requests: amount()}
	if h.rand.IntN(4) != 0 {
		r.Limits = amount()
	}
	return r
}

// verifySizes holds that every container has what its pod is wanted to give it, and the pod what they have together.
func (h *run) verifySizes(d *pod.Desired, p simworld.Pod) {
	if d.Deletion != nil || d.Over || p.Remembered == nil || p.Remembered.Stop != nil {
		return
	}
	for name, given := range p.Given {
		if c, _ := pod.FindContainer(d.Pod, name); given != plan.GivenOf(d.Pod, c) {
			h.fail("%s: %s was given %s, want %s\nentry %+v", d.UID(), name, given, plan.GivenOf(d.Pod, c), h.agent.Table().Pod(d.UID()))
		}
	}
	want := int64(0)
	if limits := qos.Limits(d.Pod); qos.Limited(d.Pod, v1.ResourceMemory) {
		want = limits.Memory().Value()
	}
	if p.Cgroup && p.Memory != want {
		h.fail("%s: its cgroup may use %d bytes of memory, want %d\nentry %+v", d.UID(), p.Memory, want, h.agent.Table().Pod(d.UID()))
	}
}

func (h *run) publish(ready bool) {
	h.ready = h.ready || ready
	pods := map[types.UID]*pod.Desired{}
	for uid, d := range h.pods {
		pods[uid] = d
	}
	h.wanted.Set(worker.Wanted{Pods: pods, Ready: h.ready})
}

func (h *run) anyPod() *pod.Desired {
	for _, uid := range h.made {
		if d, ok := h.pods[uid]; ok && h.rand.IntN(3) == 0 {
			return d
		}
	}
	return nil
}

// step does one random thing to the node.
func (h *run) step() {
	switch h.rand.IntN(20) {
	case 0, 1, 2:
		h.names++
		d := h.newPod(fmt.Sprint("pod", h.names))
		h.pods[d.UID()] = d
		h.publish(true)
	case 3:
		if d := h.anyPod(); d != nil {
			delete(h.pods, d.UID())
			h.publish(true)
		}
	case 4, 5:
		if d := h.anyPod(); d != nil { // an edit is another UID of the same name
			delete(h.pods, d.UID())
			n := h.newPod(d.Pod.Name)
			h.pods[n.UID()] = n
			h.publish(true)
		}
	case 6:
		if d := h.anyPod(); d != nil { // removed and added again unchanged
			delete(h.pods, d.UID())
			h.publish(true)
			time.Sleep(time.Duration(h.rand.IntN(2000)) * time.Millisecond)
			h.pods[d.UID()] = d
			h.publish(true)
		}
	case 7, 8:
		h.restart()
	case 9:
		if d := h.anyPod(); d != nil {
			h.world.KillSandbox(d.UID())
		}
	case 10:
		if d := h.anyPod(); d != nil {
			for _, id := range h.world.Live(d.UID()) {
				h.world.End(id, 1, "")
				break
			}
		}
	case 11:
		h.world.Change(func(f *simworld.Faults) {
			f.FailBefore, f.FailAfter = h.rand.Float64()*0.2, h.rand.Float64()*0.2
			f.LoseEvents, f.Replay = h.rand.Float64()*0.3, h.rand.Float64()*0.3
			f.InUse = h.rand.Float64() * 0.5
			f.SlowMost = time.Duration(1+h.rand.IntN(300)) * time.Millisecond
		})
	case 13, 14:
		if d := h.anyPod(); d != nil { // another image of one of its containers, under the same UID
			n := *d
			n.Pod = d.Pod.DeepCopy()
			if inits := n.Pod.Spec.InitContainers; len(inits) > 0 && h.rand.IntN(2) == 0 {
				c := &inits[h.rand.IntN(len(inits))]
				if c.Image = h.pick("quick", "done"); pod.IsSidecar(c) {
					c.Image = h.pick("run", "slow")
				}
			} else {
				n.Pod.Spec.Containers[h.rand.IntN(len(n.Pod.Spec.Containers))].Image = h.pick("run", "slow", "stubborn", "quick", "done")
			}
			h.pods[n.UID()] = &n
			h.publish(true)
		}
	case 15:
		if d := h.anyPod(); d != nil { // ordered to end, and later to end sooner
			n := *d
			n.Deletion = &pod.Deletion{At: time.Now(), Grace: time.Duration(h.rand.IntN(60)) * time.Second}
			if d.Deletion != nil {
				n.Deletion.At = d.Deletion.At
			}
			h.pods[n.UID()] = &n
			h.publish(true)
		}
	case 16:
		if d := h.anyPod(); d != nil { // a ConfigMap changes, goes or comes
			h.world.SetObjects(d.UID(), h.rand.IntN(2) == 0)
		}
	case 17:
		if d := h.anyPod(); d != nil && h.rand.IntN(2) == 0 { // somebody declares it ended
			n := *d
			n.Over = true
			h.pods[n.UID()] = &n
			h.publish(true)
		}
	case 18, 19:
		if d := h.anyPod(); d != nil && qos.ClassOf(d.Pod) != v1.PodQOSBestEffort { // other resources of its containers; its class stays
			n := *d
			n.Pod = d.Pod.DeepCopy()
			n.Pod.Generation++
			h.size(n.Pod, h.rand.IntN(2) == 0)
			h.pods[n.UID()] = &n
			h.publish(true)
		}
	case 12:
		h.world.Change(func(f *simworld.Faults) {
			f.RuntimeDown, f.LedgerFull = h.rand.IntN(2) == 0, h.rand.IntN(4) == 0
		})
	}
}

// restart crashes the agent and begins its next life; sources have to speak again.
func (h *run) restart() {
	h.agent.Crash()
	if h.rand.IntN(3) == 0 { // the manifests change while the agent is away
		if d := h.anyPod(); d != nil {
			delete(h.pods, d.UID())
		}
	}
	h.ready = false
	early := worker.Wanted{Pods: map[types.UID]*pod.Desired{}}
	h.wanted.Set(early)
	h.agent = h.world.Start(&h.wanted, h.options())
	time.Sleep(time.Duration(h.rand.IntN(3000)) * time.Millisecond)
	h.publish(true)
}

func (h *run) pause() {
	time.Sleep(time.Duration(h.rand.Int64N(int64([]time.Duration{time.Millisecond, 100 * time.Millisecond, 5 * time.Second, 3 * time.Minute}[h.rand.IntN(4)]))))
}

// settle ends all faults and gives the agent time to make everything right.
func (h *run) settle() {
	h.world.Change(func(f *simworld.Faults) { *f = simworld.Faults{SlowMost: 20 * time.Millisecond} })
	for uid := range h.pods {
		h.world.SetObjects(uid, false)
	}
	h.publish(true)
	time.Sleep(15 * time.Minute)
	synctest.Wait()
}

// verify holds that the node has become what is wanted.
func (h *run) verify() {
	for _, uid := range h.made {
		p := h.world.Pod(uid)
		d, wanted := h.pods[uid]
		if !wanted {
			if p.Sandboxes+len(p.Running)+len(p.Exited)+p.Volumes+p.Claims > 0 || p.Cgroup || p.Dir || p.Remembered != nil {
				h.fail("%s is not wanted and has left %+v; entry %+v", uid, p, h.agent.Table().Pod(uid))
			}
			continue
		}
		h.verifyWanted(d, p)
	}
}

func (h *run) verifyWanted(d *pod.Desired, p simworld.Pod) {
	spec := &d.Pod.Spec
	stuck := false                                                                                        // an init container that never succeeds keeps the rest from running
	renewed := slices.ContainsFunc(spec.Containers, func(c v1.Container) bool { return plan.Renews(&c) }) // perhaps again and again
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		stuck = stuck || !pod.IsSidecar(c) && c.Image == "crash"
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		if d.Deletion != nil || d.Over {
			if entry := h.agent.Table().Pod(d.UID()); entry == nil || !entry.Memory.Session.Rested || p.Volumes+p.Claims > 0 || p.Cgroup {
				h.fail("%s has ended and does not rest: %+v\nentry %+v", d.UID(), p, entry)
			}
			continue
		}
		forever := c.Image == "run" || c.Image == "slow" || c.Image == "stubborn"
		endless := spec.RestartPolicy == v1.RestartPolicyAlways
		if stuck && p.Running[c.Name] > 0 {
			h.fail("%s: %s runs although an init container never succeeds", d.UID(), c.Name)
		}
		if !stuck && !renewed && forever && endless && p.Running[c.Name] != 1 {
			h.fail("%s: %s should run: %+v\nentry %+v", d.UID(), c.Name, p, h.agent.Table().Pod(d.UID()))
		}
		if p.Exited[c.Name] > 1 {
			h.fail("%s: %d ended instances of %s are kept, want at most one", d.UID(), p.Exited[c.Name], c.Name)
		}
	}
	h.verifySizes(d, p)
	if p.Oldest < p.Newest && len(p.Running) > 0 {
		h.fail("%s: a volume shows state %d of its objects, want %d", d.UID(), p.Oldest, p.Newest)
	}
	if len(p.Running) > 0 && p.ReadySandboxes != 1 {
		h.fail("%s: containers run in %d ready sandboxes", d.UID(), p.ReadySandboxes)
	}
}
