package plan

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

func podOf(sizes ...string) *pod.Desired {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "u1"}}
	for i, s := range sizes {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: string(rune('a' + i)), Resources: sized(s)})
	}
	return &pod.Desired{Pod: p, Source: pod.FromAPI, Wanted: true}
}

func whole(d *pod.Desired, sizes string) *pod.Desired {
	r := sized(sizes)
	d.Pod.Spec.Resources = &r
	return d
}

// TestAllocated holds that a pod can be shown with what it was given, and that nothing else of it changes, nor the pod itself.
func TestAllocated(t *testing.T) {
	gpu := v1.ResourceName("example.com/gpu")
	given := podOf("100m/200m:64Mi/64Mi", "1/:/", "/:/")
	wanted := podOf("200m/:128Mi/64Mi", "/:1Gi/", "500m/:/")
	wanted.Pod.Spec.Containers[0].Resources.Requests[gpu] = resource.MustParse("1")
	asked := wanted.Pod.DeepCopy()
	got := Allocated(wanted, AllocationOf(given.Pod))
	for i, want := range []string{"100m/200m:64Mi/64Mi", "1/:/", "/:/"} {
		if has := sizesText(SizesOf(&got.Pod.Spec.Containers[i].Resources)); has != want {
			t.Errorf("container %d has %s, want %s", i, has, want)
		}
	}
	if _, there := got.Pod.Spec.Containers[0].Resources.Requests[gpu]; !there {
		t.Error("what cannot be resized is lost")
	}
	for i := range asked.Spec.Containers {
		if a, b := SizesOf(&asked.Spec.Containers[i].Resources), SizesOf(&wanted.Pod.Spec.Containers[i].Resources); a != b {
			t.Errorf("the pod itself changed from %v to %v", a, b)
		}
	}
	if same := podOf("1000m/:1024Mi/"); Allocated(same, AllocationOf(podOf("1/:1Gi/").Pod)) != same || Allocated(same, nil) != same {
		t.Error("what is the same is another pod")
	}
	if got := Allocated(whole(podOf("1/:/"), "4/:/"), AllocationOf(whole(podOf("1/:/"), "2/3:/").Pod)); sizesText(SizesOf(got.Pod.Spec.Resources)) != "2/3:/" {
		t.Errorf("the pod as a whole has %v", got.Pod.Spec.Resources)
	}
	if got := Allocated(podOf("1/:/"), AllocationOf(whole(podOf("1/:/"), "2/3:/").Pod)); got.Pod.Spec.Resources == nil {
		t.Error("what the pod as a whole has is lost")
	}
}

func TestSameAllocation(t *testing.T) {
	one := AllocationOf(podOf("1/1:/").Pod)
	other := *one
	other.Generation, other.Resized = 7, true
	var none *Allocation
	for name, c := range map[string]struct {
		a, b *Allocation
		same bool
	}{
		"who asked does not matter":   {one, &other, true},
		"another size":                {one, AllocationOf(podOf("1/2:/").Pod), false},
		"another container":           {one, AllocationOf(podOf("/:/", "1/1:/").Pod), false},
		"one more that asks for none": {one, AllocationOf(podOf("1/1:/", "/:/").Pod), true},
		"of the pod as a whole":       {one, AllocationOf(whole(podOf("1/1:/"), "1/:/").Pod), false},
		"nothing":                     {none, nil, true},
		"nothing and something":       {none, one, false},
	} {
		if c.a.Same(c.b) != c.same || c.b.Same(c.a) != c.same {
			t.Errorf("%s: want %v", name, c.same)
		}
		if c.a != nil && c.b != nil && (c.a.mark() == c.b.mark()) != c.same {
			t.Errorf("%s: marks", name)
		}
	}
}

// TestMore holds what counts as asking for more, and what is held for a pod that has one thing and may take another.
func TestMore(t *testing.T) {
	for name, c := range map[string]struct {
		given, wanted string
		more          bool
		larger        string
	}{
		"more CPU":            {"1/:1Gi/", "2/:1Gi/", true, "2/:1Gi/"},
		"less CPU":            {"2/:1Gi/", "1/:1Gi/", false, "2/:1Gi/"},
		"more of one":         {"2/:1Gi/", "1/:2Gi/", true, "2/:2Gi/"},
		"a higher limit only": {"1/1:1Gi/1Gi", "1/2:1Gi/2Gi", false, "1/1:1Gi/1Gi"},
		"for the first time":  {"/:1Gi/", "1/:1Gi/", true, "1/:1Gi/"},
		"no more":             {"1/:1Gi/", "/:1Gi/", false, "1/:1Gi/"},
	} {
		given, wanted := podOf(c.given), podOf(c.wanted)
		if AsksForMore(wanted, given) != c.more {
			t.Errorf("%s: want %v", name, c.more)
		}
		if got := sizesText(SizesOf(&Larger(given, wanted).Pod.Spec.Containers[0].Resources)); got != c.larger {
			t.Errorf("%s: %s is held, want %s", name, got, c.larger)
		}
		if got := AsksForMore(whole(podOf(), c.wanted), whole(podOf(), c.given)); got != c.more {
			t.Errorf("%s of a pod as a whole: want %v", name, c.more)
		}
	}
}

// TestGiven holds what the runtime is told of a container: a container without a limit has that of its pod.
func TestGiven(t *testing.T) {
	d := whole(podOf("1/:1Gi/2Gi"), "4/4:8Gi/8Gi")
	g := GivenOf(d.Pod, &d.Pod.Spec.Containers[0])
	const want = `{"cpu":{"request":"1"},"memory":{"request":"1Gi","limit":"2Gi"},"pod":{"cpu":{"limit":"4"}}}`
	if g.String() != want || g.memoryLimit() != "2Gi" {
		t.Errorf("%s, memory %s", g, g.memoryLimit())
	}
	if back, ok := ParseGiven(want); !ok || back != g {
		t.Errorf("read back: %+v %v", back, ok)
	}
	none, unlimited := Given{Pod: Sizes{Memory: Size{Limit: "1Gi"}}}, Given{}
	for name, c := range map[string]struct {
		now, to Given
		lowers  bool
	}{
		"less than the pod's": {none, Given{Sizes: Sizes{Memory: Size{Limit: "1Mi"}}}, true},
		"a first limit":       {unlimited, none, true},
		"no limit any more":   {none, unlimited, false},
		"never any":           {unlimited, unlimited, false},
		"more":                {none, Given{Sizes: Sizes{Memory: Size{Limit: "2Gi"}}}, false},
		"the same, otherwise": {none, Given{Sizes: Sizes{Memory: Size{Limit: "1024Mi"}}}, false},
	} {
		if c.to.LowersMemory(c.now) != c.lowers {
			t.Errorf("%s: want %v", name, c.lowers)
		}
	}
}

// FuzzParseGiven holds that whatever an annotation says does no harm: others can write it into the runtime.
func FuzzParseGiven(f *testing.F) {
	f.Add(`{"cpu":{"request":"1"},"pod":{"cpu":{"limit":"4"}}}`)
	f.Add(`{"memory":{"limit":"-1e400"}}`)
	f.Add(``)
	f.Fuzz(func(t *testing.T, text string) {
		g, ok := ParseGiven(text)
		if !ok && g != (Given{}) {
			t.Errorf("it is no annotation, and says %+v", g)
		}
		g.LowersMemory(Given{Sizes: Sizes{Memory: Size{Limit: "1Gi"}}})
		r := g.In(&v1.ResourceRequirements{})
		if again, ok := ParseGiven(Given{Sizes: SizesOf(&r)}.String()); !ok || again.Sizes != SizesOf(&r) {
			t.Errorf("%q does not survive being written: %+v", text, again)
		}
	})
}

// TestTakenOver holds that a pod of which nothing is remembered has what an earlier agent said that its containers have.
func TestTakenOver(t *testing.T) {
	d := podOf("2/:/", "2/:/", "2/:/")
	had := sized("1/:/")
	running := v1.ContainerState{Running: &v1.ContainerStateRunning{}}
	d.Pod.Status.ContainerStatuses = []v1.ContainerStatus{
		{Name: "a", State: running, Resources: &had}, {Name: "b", Resources: &had}, {Name: "c", State: running},
	}
	in := Input{
		Desired: d, Now: noon(0), Observed: pod.Observed{Inspected: noon(0)},
		Facts: Facts{RuntimeUp: true, Verdict: Verdict{Judged: true, Admit: true}},
	}
	got := Next(in).Memory.Kept.Allocated
	for name, want := range map[string]string{"a": "1", "b": "2", "c": "2"} {
		if cpu := got.Containers[name].CPU.Request; cpu != want {
			t.Errorf("%s has %s, want %s", name, cpu, want)
		}
	}
	in.Facts.Verdict.Of = AllocationOf(podOf("3/:/").Pod)
	if got := Next(in).Memory.Kept.Allocated; got.Containers["a"].CPU.Request != "3" {
		t.Errorf("what was judged is not what it was given: %+v", got)
	}
}
