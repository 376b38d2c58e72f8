package plan

import (
	"strings"
	"testing"
	"time"
)

func TestKeysAndSubjects(t *testing.T) {
	want := map[Kind][2]string{
		Look: {"look", "look"}, MakePod: {"make pod", "make pod"}, SetupVolume: {"set up volume data", "set up volume data"},
		EnsureImage: {"ensure image app#3", "ensure image app"}, RunSandbox: {"run sandbox #3", "run sandbox"},
		CreateContainer: {"create container app#3", "create container app"}, StartContainer: {"start container app#3", "start container app"},
		PostStart: {"run postStart of app#3", "run postStart of app"}, PreStop: {"run preStop of app#3", "run preStop of app"},
		StopContainer: {"stop container app#3", "stop container app"}, ReadEnd: {"read the end of app#3", "read the end of app"},
		RemoveContainer: {"remove container app#3", "remove container app"}, StopSandbox: {"stop sandbox #3", "stop sandbox"},
		RemoveSandbox: {"remove sandbox #3", "remove sandbox"}, PrepareClaims: {"prepare resource claims", "prepare resource claims"},
		UnprepareClaims: {"unprepare resource claims", "unprepare resource claims"}, TearVolumes: {"tear down volumes", "tear down volumes"},
		UnmakePod: {"remove cgroup", "remove cgroup"}, ForgetPod: {"remove directories", "remove directories"},
		UpdateContainer: {"resize container app#3", "resize container app"},
		GrowPod:         {"resize cgroup", "resize cgroup"}, SettlePod: {"resize cgroup", "resize cgroup"}, // never both at once
		TakeDevices: {"take devices", "take devices"},
	}
	if len(want) != len(kindNames)-1 {
		t.Errorf("%d kinds are held here, there are %d", len(want), len(kindNames)-1)
	}
	for k, w := range want {
		e := Effect{Kind: k, Container: "app", Volume: "data", Attempt: 3, ID: "c1"}
		if e.Key() != w[0] || e.Subject() != w[1] || !strings.HasPrefix(w[0], k.String()) {
			t.Errorf("%d: key %q and subject %q, want %q", k, e.Key(), e.Subject(), w)
		}
	}
	if e := (Effect{Kind: EnsureImage, Volume: "data"}); e.Key() != "ensure image of volume data" || e.Subject() != e.Key() {
		t.Errorf("the image of a volume: key %q and subject %q", e.Key(), e.Subject())
	}
	if Kind(0).String() != "effect?" || Kind(200).String() != "effect?" || Stage(200).String() != "Stage?" {
		t.Error("what does not exist has a name")
	}
}

func TestSame(t *testing.T) {
	e := Effect{Kind: StopContainer, Container: "app", ID: "c1", Attempt: 1, Deadline: noon(10), Why: "a"}
	change := func(change func(*Effect)) Effect { o := e; change(&o); return o }
	for name, c := range map[string]struct {
		other Effect
		same  bool
	}{
		"itself":          {e, true},
		"other words":     {change(func(e *Effect) { e.Why = "b" }), true},
		"another zone":    {change(func(e *Effect) { e.Deadline = e.Deadline.In(time.FixedZone("x", 3600)) }), true},
		"a nearer end":    {change(func(e *Effect) { e.Deadline = noon(5) }), false},
		"another one":     {change(func(e *Effect) { e.ID = "c2" }), false},
		"another kind":    {change(func(e *Effect) { e.Kind = RemoveContainer }), false},
		"another sandbox": {change(func(e *Effect) { e.SandboxID = "s2" }), false},
		"another image":   {change(func(e *Effect) { e.Image = "i" }), false},
	} {
		if c.other.Same(e) != c.same || e.Same(c.other) != c.same {
			t.Errorf("%s: want %v", name, c.same)
		}
	}
	hook := change(func(e *Effect) { e.Kind = PreStop })
	nearer := hook
	nearer.Deadline = noon(5)
	if !hook.Same(nearer) {
		t.Error("a preStop hook with a nearer deadline is another one: it would run twice")
	}
}

// TestWhatMayGoOn holds which effects may begin although nothing can be remembered: those that make nothing.
func TestWhatMayGoOn(t *testing.T) {
	makes := map[Kind]bool{MakePod: true, SetupVolume: true, PrepareClaims: true, EnsureImage: true, RunSandbox: true, CreateContainer: true, StartContainer: true, PostStart: true,
		UpdateContainer: true, GrowPod: true, SettlePod: true, TakeDevices: true}
	for k := Look; k <= ForgetPod; k++ {
		if (Effect{Kind: k}).Frees() == makes[k] {
			t.Errorf("%s: frees %v", k, !makes[k])
		}
	}
	for k := Look; k <= ForgetPod; k++ {
		inRuntime := strings.Contains(k.String(), "container") || strings.Contains(k.String(), "sandbox")
		inRuntime = inRuntime && k != UpdateContainer // nothing comes or goes, so nobody has to look
		if (Effect{Kind: k}).InRuntime() != inRuntime {
			t.Errorf("%s: in runtime %v", k, !inRuntime)
		}
	}
}
