package report

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/reason"
)

// at is a moment some seconds into the test's day.
func at(seconds int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 1, 2, 3, 0, seconds, 0, time.UTC))
}

func cond(t v1.PodConditionType, status v1.ConditionStatus, since metav1.Time) v1.PodCondition {
	return v1.PodCondition{Type: t, Status: status, LastTransitionTime: since}
}

func mirrorOf(p *v1.Pod, hash types.UID) *v1.Pod {
	p.Annotations = map[string]string{names.ConfigMirror: string(hash)}
	return p
}

// TestMerge holds what a status in the API becomes of (behaviours 267, 269, 270, 274, 282).
func TestMerge(t *testing.T) {
	nano := metav1.NewTime(at(3).Add(999 * time.Millisecond))
	start, other := at(1), at(5)
	tests := map[string]struct {
		api  v1.Pod
		ours v1.PodStatus
		want v1.PodStatus
	}{
		"first status": {
			api:  v1.Pod{Status: v1.PodStatus{Phase: v1.PodPending, QOSClass: v1.PodQOSBurstable, Conditions: []v1.PodCondition{cond(v1.PodScheduled, v1.ConditionTrue, at(1))}}},
			ours: v1.PodStatus{Phase: v1.PodPending, QOSClass: v1.PodQOSBestEffort, StartTime: &nano, Conditions: []v1.PodCondition{cond(v1.PodReady, v1.ConditionFalse, nano), cond(v1.PodScheduled, v1.ConditionTrue, nano)}},
			want: v1.PodStatus{Phase: v1.PodPending, QOSClass: v1.PodQOSBurstable, StartTime: new(at(3)), Conditions: []v1.PodCondition{cond(v1.PodReady, v1.ConditionFalse, at(3)), cond(v1.PodScheduled, v1.ConditionTrue, at(1))}},
		},
		"start time never changes": {
			api:  v1.Pod{Status: v1.PodStatus{StartTime: &start}},
			ours: v1.PodStatus{StartTime: &other},
			want: v1.PodStatus{StartTime: &start},
		},
		"a terminal phase stays, with reason and message, and is not ready": {
			api: v1.Pod{Status: v1.PodStatus{Phase: v1.PodFailed, Reason: "Evicted", Message: "The node was low on x"}},
			ours: v1.PodStatus{Phase: v1.PodRunning, Reason: "Other", HostIP: "10.0.0.1",
				Conditions: []v1.PodCondition{cond(v1.PodReady, v1.ConditionTrue, at(2))}},
			want: v1.PodStatus{Phase: v1.PodFailed, Reason: "Evicted", Message: "The node was low on x", HostIP: "10.0.0.1",
				Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionFalse, Reason: reason.PodFailed, LastTransitionTime: at(2)}}},
		},
		"a terminal phase does not become the other one": {
			api:  v1.Pod{Status: v1.PodStatus{Phase: v1.PodSucceeded}},
			ours: v1.PodStatus{Phase: v1.PodFailed, Reason: "DeadlineExceeded"},
			want: v1.PodStatus{Phase: v1.PodSucceeded},
		},
		"a terminal phase that nobody explained is explained": {
			api:  v1.Pod{Status: v1.PodStatus{Phase: v1.PodFailed}},
			ours: v1.PodStatus{Phase: v1.PodFailed, Reason: "DeadlineExceeded", Message: "too long"},
			want: v1.PodStatus{Phase: v1.PodFailed, Reason: "DeadlineExceeded", Message: "too long"},
		},
		"somebody else's reason stays while the phase does": {
			api:  v1.Pod{Status: v1.PodStatus{Phase: v1.PodRunning, Reason: "NodeLost"}},
			ours: v1.PodStatus{Phase: v1.PodRunning},
			want: v1.PodStatus{Phase: v1.PodRunning, Reason: "NodeLost"},
		},
		"and goes with it": {
			api:  v1.Pod{Status: v1.PodStatus{Phase: v1.PodPending, Reason: "NodeLost", Message: "x"}},
			ours: v1.PodStatus{Phase: v1.PodRunning},
			want: v1.PodStatus{Phase: v1.PodRunning},
		},
		"what others write is theirs": {
			api: v1.Pod{Status: v1.PodStatus{NominatedNodeName: "n", Resize: v1.PodResizeStatusDeferred,
				ResourceClaimStatuses: []v1.PodResourceClaimStatus{{Name: "c"}},
				Conditions:            []v1.PodCondition{cond("gate", v1.ConditionFalse, at(1)), {Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: "EvictionByEvictionAPI"}}}},
			ours: v1.PodStatus{NominatedNodeName: "old", Conditions: []v1.PodCondition{
				cond(v1.PodReady, v1.ConditionFalse, at(2)), cond("gate", v1.ConditionTrue, at(9)), {Type: v1.DisruptionTarget, Status: v1.ConditionFalse, Reason: "Stale"}}},
			want: v1.PodStatus{NominatedNodeName: "n", Resize: v1.PodResizeStatusDeferred,
				ResourceClaimStatuses: []v1.PodResourceClaimStatus{{Name: "c"}},
				Conditions: []v1.PodCondition{cond(v1.PodReady, v1.ConditionFalse, at(2)), cond("gate", v1.ConditionFalse, at(1)),
					{Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: "EvictionByEvictionAPI"}}},
		},
		"a disruption by the node is ours to report": {
			ours: v1.PodStatus{Conditions: []v1.PodCondition{{Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: reason.TerminationByKubelet}}},
			want: v1.PodStatus{Conditions: []v1.PodCondition{{Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: reason.TerminationByKubelet}}},
		},
		"a resize that is over is taken back, Ready is not": {
			api:  v1.Pod{Status: v1.PodStatus{Conditions: []v1.PodCondition{cond(v1.PodResizePending, v1.ConditionTrue, at(1)), cond(v1.PodReady, v1.ConditionTrue, at(1))}}},
			want: v1.PodStatus{Conditions: []v1.PodCondition{cond(v1.PodReady, v1.ConditionTrue, at(1))}},
		},
		"a condition keeps its time while its status stays, not when it turns": {
			api:  v1.Pod{Status: v1.PodStatus{Conditions: []v1.PodCondition{cond(v1.PodReady, v1.ConditionTrue, at(1)), cond(v1.ContainersReady, v1.ConditionTrue, at(1))}}},
			ours: v1.PodStatus{Conditions: []v1.PodCondition{cond(v1.PodReady, v1.ConditionTrue, at(7)), cond(v1.ContainersReady, v1.ConditionFalse, at(7))}},
			want: v1.PodStatus{Conditions: []v1.PodCondition{cond(v1.PodReady, v1.ConditionTrue, at(1)), cond(v1.ContainersReady, v1.ConditionFalse, at(7))}},
		},
		"generations only grow": {
			api:  v1.Pod{Status: v1.PodStatus{ObservedGeneration: 3, Conditions: []v1.PodCondition{{Type: v1.PodReady, ObservedGeneration: 3}}}},
			ours: v1.PodStatus{ObservedGeneration: 2, Conditions: []v1.PodCondition{{Type: v1.PodReady, ObservedGeneration: 2}}},
			want: v1.PodStatus{ObservedGeneration: 3, Conditions: []v1.PodCondition{{Type: v1.PodReady, ObservedGeneration: 3}}},
		},
		"a mirror's generation is its own": {
			api:  *mirrorOf(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Generation: 1}}, "h"),
			ours: v1.PodStatus{Conditions: []v1.PodCondition{{Type: v1.PodReady}}},
			want: v1.PodStatus{ObservedGeneration: 1, Conditions: []v1.PodCondition{{Type: v1.PodReady, ObservedGeneration: 1}}},
		},
		"restarts are not forgotten; names are sorted, init containers as specified": {
			api: v1.Pod{Spec: v1.PodSpec{InitContainers: []v1.Container{{Name: "z"}, {Name: "y"}}},
				Status: v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{{Name: "b", RestartCount: 5}, {Name: "a", RestartCount: 1}}}},
			ours: v1.PodStatus{InitContainerStatuses: []v1.ContainerStatus{{Name: "y"}, {Name: "z"}},
				ContainerStatuses: []v1.ContainerStatus{{Name: "b"}, {Name: "a", RestartCount: 2, State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: nano}}}}},
			want: v1.PodStatus{InitContainerStatuses: []v1.ContainerStatus{{Name: "z"}, {Name: "y"}},
				ContainerStatuses: []v1.ContainerStatus{{Name: "a", RestartCount: 2, State: v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: at(3)}}}, {Name: "b", RestartCount: 5}}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := test.ours.DeepCopy()
			if diff := cmp.Diff(test.want, merge(&test.api, &test.ours)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(*before, test.ours); diff != "" {
				t.Errorf("the input was changed: -before +after\n%s", diff)
			}
		})
	}
}

// apply does to a pod what the API server does with a patch of its status, and fails on one that it would not take.
func apply(api *v1.Pod, body []byte) (*v1.Pod, error) {
	whole, err := json.Marshal(api)
	if err != nil {
		return nil, err
	}
	out, err := strategicpatch.StrategicMergePatch(whole, body, v1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, body)
	}
	p := &v1.Pod{}
	return p, json.Unmarshal(out, p)
}

// chance makes random statuses.
type chance struct{ *rand.Rand }

func pick[T any](c chance, of ...T) T { return of[c.IntN(len(of))] }

func (c chance) time() metav1.Time {
	if c.IntN(4) == 0 {
		return metav1.Time{}
	}
	return metav1.NewTime(at(c.IntN(5)).Add(time.Duration(c.IntN(2)) * 300 * time.Millisecond))
}

func (c chance) containers(of ...string) []v1.ContainerStatus {
	var out []v1.ContainerStatus
	for _, i := range c.Perm(len(of))[:c.IntN(len(of)+1)] {
		s := v1.ContainerStatus{Name: of[i], RestartCount: int32(c.IntN(3)), Ready: c.IntN(2) == 0, Image: "image"}
		switch c.IntN(4) {
		case 0:
			s.State.Running = &v1.ContainerStateRunning{StartedAt: c.time()}
		case 1:
			s.State.Terminated = &v1.ContainerStateTerminated{ExitCode: int32(c.IntN(2)), FinishedAt: c.time()}
		case 2:
			s.State.Waiting = &v1.ContainerStateWaiting{Reason: pick(c, "ContainerCreating", "CrashLoopBackOff")}
			s.LastTerminationState.Terminated = &v1.ContainerStateTerminated{ExitCode: 1}
		}
		if c.IntN(3) == 0 {
			s.AllocatedResources = v1.ResourceList{v1.ResourceCPU: resource.MustParse(pick(c, "1", "1000m", "2"))}
		}
		out = append(out, s)
	}
	return out
}

func (c chance) status() v1.PodStatus {
	s := v1.PodStatus{
		Phase:             pick(c, "", v1.PodPending, v1.PodRunning, v1.PodRunning, v1.PodSucceeded, v1.PodFailed),
		Reason:            pick(c, "", "", "Evicted", "Other"),
		Message:           pick(c, "", "some text"),
		HostIP:            pick(c, "", "10.0.0.1"),
		PodIP:             pick(c, "", "10.1.0.1", "10.1.0.2"),
		NominatedNodeName: pick(c, "", "n1", "n2"),
		QOSClass:          pick(c, "", v1.PodQOSBestEffort),

		ObservedGeneration:         int64(c.IntN(3)),
		InitContainerStatuses:      c.containers("i1", "i2"),
		ContainerStatuses:          c.containers("a", "b", "c"),
		EphemeralContainerStatuses: c.containers("e"),
	}
	if t := c.time(); c.IntN(2) == 0 && !t.IsZero() {
		s.StartTime = &t
	}
	for _, i := range c.Perm(3)[:c.IntN(3)] {
		s.PodIPs = append(s.PodIPs, v1.PodIP{IP: []string{"10.1.0.1", "10.1.0.2", "fd00::1"}[i]})
		s.HostIPs = append(s.HostIPs, v1.HostIP{IP: []string{"10.0.0.1", "10.0.0.2", "fd01::1"}[i]})
	}
	kinds := []v1.PodConditionType{v1.PodReady, v1.ContainersReady, v1.PodScheduled, v1.PodInitialized, v1.DisruptionTarget, v1.PodResizePending, "gate"}
	for _, i := range c.Perm(len(kinds))[:c.IntN(len(kinds)+1)] {
		s.Conditions = append(s.Conditions, v1.PodCondition{
			Type: kinds[i], Status: pick(c, v1.ConditionTrue, v1.ConditionFalse), ObservedGeneration: int64(c.IntN(3)),
			Reason: pick(c, "", "Why", reason.TerminationByKubelet), Message: pick(c, "", "text"), LastTransitionTime: c.time(),
		})
	}
	if c.IntN(3) == 0 {
		s.AllocatedResources = v1.ResourceList{pick(c, v1.ResourceCPU, v1.ResourceMemory): resource.MustParse(pick(c, "1", "1000m", "2"))}
		s.Resources = &v1.ResourceRequirements{Requests: s.AllocatedResources, Limits: pick(c, nil, s.AllocatedResources)}
	}
	if c.IntN(4) == 0 {
		s.ResourceClaimStatuses = []v1.PodResourceClaimStatus{{Name: pick(c, "x", "y")}}
	}
	return s
}

// FuzzMerge tries random pairs: what is patched makes exactly what was wanted, what is told once is not told again, and
// what must never happen does not.
func FuzzMerge(f *testing.F) {
	for seed := range uint64(300) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		c := chance{rand.New(rand.NewPCG(seed, 1))}
		api := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "u", Generation: int64(c.IntN(3))}, Status: c.status()}
		api.Spec.InitContainers = []v1.Container{{Name: "i2"}, {Name: "i1"}}
		if c.IntN(4) == 0 {
			mirrorOf(api, "hash")
		}
		ours := c.status()
		want := merge(api, &ours)
		body, err := patch(api, &want)
		if err != nil {
			t.Fatal(err)
		}
		after := api
		if body != nil {
			if after, err = apply(api, body); err != nil {
				t.Fatal(err)
			}
		}
		got := after.Status.DeepCopy()
		normalise(after, got)
		if left := changes(got, &want); len(left) > 0 {
			t.Errorf("after the patch %s there is still %v to change", body, left)
		}
		again := merge(after, &ours)
		if rest, _ := patch(after, &again); rest != nil {
			t.Errorf("told again: %s", rest)
		}
		never(t, api, after)
	})
}

// never holds what no patch may do.
func never(t *testing.T, before, after *v1.Pod) {
	t.Helper()
	b, a := &before.Status, &after.Status
	if terminal(b.Phase) && a.Phase != b.Phase {
		t.Errorf("phase %s became %s", b.Phase, a.Phase)
	}
	if b.StartTime != nil && (a.StartTime == nil || !a.StartTime.Truncate(time.Second).Equal(b.StartTime.Truncate(time.Second))) {
		t.Errorf("start time %v became %v", b.StartTime, a.StartTime)
	}
	if a.ObservedGeneration < b.ObservedGeneration {
		t.Errorf("observed generation %d became %d", b.ObservedGeneration, a.ObservedGeneration)
	}
	for _, lists := range [][2][]v1.ContainerStatus{{b.ContainerStatuses, a.ContainerStatuses}, {b.InitContainerStatuses, a.InitContainerStatuses}} {
		for _, was := range lists[0] {
			for _, is := range lists[1] {
				if was.Name == is.Name && is.RestartCount < was.RestartCount {
					t.Errorf("restarts of %s went from %d to %d", was.Name, was.RestartCount, is.RestartCount)
				}
			}
		}
	}
	gate, now := find(b.Conditions, "gate"), find(a.Conditions, "gate")
	if (gate == nil) != (now == nil) || gate != nil && gate.Status != now.Status {
		t.Errorf("somebody else's condition %v became %v", gate, now)
	}
	if a.NominatedNodeName != b.NominatedNodeName || !same(a.ResourceClaimStatuses, b.ResourceClaimStatuses) {
		t.Error("somebody else's field was changed")
	}
}

// TestPatchSaysOnlyWhatChanged holds the texts that go over the wire (behaviour 266).
func TestPatchSaysOnlyWhatChanged(t *testing.T) {
	api := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u", ResourceVersion: "7"}, Status: v1.PodStatus{
		Phase: v1.PodRunning, PodIP: "10.1.0.1", PodIPs: []v1.PodIP{{IP: "10.1.0.1"}},
		Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionFalse, Reason: "ContainersNotReady", Message: "m", LastTransitionTime: at(1)}, cond("gate", v1.ConditionTrue, at(1))},
	}}
	tests := map[string]struct {
		change func(*v1.PodStatus)
		want   string
	}{
		"a phase, of this version only": {func(s *v1.PodStatus) { s.Phase = v1.PodSucceeded },
			`{"metadata":{"resourceVersion":"7","uid":"u"},"status":{"phase":"Succeeded"}}`},
		"nothing": {func(*v1.PodStatus) {}, ""},
		"ready": {func(s *v1.PodStatus) {
			s.Conditions[0] = v1.PodCondition{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: at(2)}
		}, `{"metadata":{"uid":"u"},"status":{"conditions":[{"lastTransitionTime":"2026-01-02T03:00:02Z","message":null,"reason":null,"status":"True","type":"Ready"}]}}`},
		"a new condition says where it stands": {func(s *v1.PodStatus) {
			s.Conditions = append([]v1.PodCondition{cond(v1.PodInitialized, v1.ConditionTrue, at(1))}, s.Conditions...)
		}, `{"metadata":{"uid":"u"},"status":{"$setElementOrder/conditions":[{"type":"Initialized"},{"type":"Ready"},{"type":"gate"}],"conditions":[{"lastTransitionTime":"2026-01-02T03:00:01Z","status":"True","type":"Initialized"}]}}`},
		"addresses are replaced": {func(s *v1.PodStatus) { s.PodIP, s.PodIPs = "10.1.0.2", []v1.PodIP{{IP: "10.1.0.2"}} },
			`{"metadata":{"uid":"u"},"status":{"podIP":"10.1.0.2","podIPs":[{"$patch":"replace"},{"ip":"10.1.0.2"}]}}`},
		"or taken away": {func(s *v1.PodStatus) { s.PodIP, s.PodIPs = "", nil }, `{"metadata":{"uid":"u"},"status":{"podIP":null,"podIPs":null}}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := *api.Status.DeepCopy()
			test.change(&want)
			body, err := patch(api, &want)
			if err != nil || string(body) != test.want {
				t.Errorf("patch = %s, %v; want %s", body, err, test.want)
			}
		})
	}
}

// typical is a pod as it is told when it has become ready.
func typical() (*v1.Pod, *v1.PodStatus) {
	api := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u", Generation: 1}}
	api.Status = v1.PodStatus{Phase: v1.PodPending, QOSClass: v1.PodQOSBurstable, HostIP: "10.0.0.1", HostIPs: []v1.HostIP{{IP: "10.0.0.1"}}, StartTime: new(at(1))}
	for _, t := range []v1.PodConditionType{v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled} {
		api.Status.Conditions = append(api.Status.Conditions, cond(t, v1.ConditionFalse, at(1)))
	}
	for i := range 2 {
		api.Status.ContainerStatuses = append(api.Status.ContainerStatuses, v1.ContainerStatus{
			Name: fmt.Sprint("c", i), Image: "registry.example/app:1", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}},
		})
	}
	ours := api.Status.DeepCopy()
	ours.Phase, ours.PodIP, ours.PodIPs = v1.PodRunning, "10.1.0.1", []v1.PodIP{{IP: "10.1.0.1"}}
	for i := range ours.Conditions {
		ours.Conditions[i].Status, ours.Conditions[i].LastTransitionTime = v1.ConditionTrue, at(3)
	}
	for i := range ours.ContainerStatuses {
		ours.ContainerStatuses[i].State = v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: at(2)}}
		ours.ContainerStatuses[i].Ready = true
	}
	return api, ours
}

func BenchmarkDecide(b *testing.B) {
	api, ours := typical()
	b.ReportAllocs()
	for b.Loop() {
		decide(api, ours, false, time.Time{})
	}
}

func BenchmarkPatch(b *testing.B) {
	api, ours := typical()
	want := merge(api, ours)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := patch(api, &want); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPatchByLibrary is what patch spares.
func BenchmarkPatchByLibrary(b *testing.B) {
	api, ours := typical()
	after := api.DeepCopy()
	after.Status = merge(api, ours)
	b.ReportAllocs()
	for b.Loop() {
		x, _ := json.Marshal(api)
		y, _ := json.Marshal(after)
		if _, err := strategicpatch.CreateTwoWayMergePatch(x, y, v1.Pod{}); err != nil {
			b.Fatal(err)
		}
	}
}
