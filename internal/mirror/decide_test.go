package mirror

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
)

func node(uid types.UID) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1", UID: uid}}
}

// static is a static pod as package manifest leaves it.
func static(name string, uid types.UID) *pod.Desired {
	return &pod.Desired{Source: pod.FromFile, Wanted: true, Pod: &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "kube-system", UID: uid, Labels: map[string]string{"tier": "control-plane"},
			Annotations: map[string]string{names.ConfigHash: string(uid), names.ConfigSource: "file", names.ConfigSeen: "2026-01-02T03:04:05Z"}},
		Spec: v1.PodSpec{NodeName: "node1", Containers: []v1.Container{{Name: "app", Image: "app"}}, PriorityClassName: "system-node-critical"},
	}}
}

// mirrorOf is a mirror pod as the API has it.
func mirrorOf(d *pod.Desired, uid types.UID) *v1.Pod {
	p := Object(d, node("n1"))
	p.UID = uid
	return p
}

func deleting(p *v1.Pod) *v1.Pod {
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = new(metav1.NewTime(time.Unix(1, 0))), new(int64(30))
	return p
}

// TestDecide holds behaviours 13, 14 and 16.
func TestDecide(t *testing.T) {
	a1, a2, b := static("a", "a1"), static("a", "a2"), static("b", "b1")
	foreign := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "kube-system", UID: "f"}}
	unowned := mirrorOf(a1, "m1")
	unowned.OwnerReferences = nil
	held := deleting(mirrorOf(a1, "m1"))
	held.Finalizers, held.DeletionGracePeriodSeconds = []string{"x"}, new(int64(0))
	failed := mirrorOf(a1, "m1")
	failed.Status.Phase = v1.PodFailed
	type in = Input
	tests := map[string]struct {
		in   Input
		want string
	}{
		"none yet":                              {in{Static: Static{Wanted: []*pod.Desired{b, a1}}, Node: node("n1")}, "create a/a1, create b/b1"},
		"the node is not known yet":             {in{Static: Static{Wanted: []*pod.Desired{a1}}}, ""},
		"there already":                         {in{Static: Static{Wanted: []*pod.Desired{a1}}, API: []*v1.Pod{mirrorOf(a1, "m1")}, Node: node("n1")}, ""},
		"there, node not known":                 {in{Static: Static{Wanted: []*pod.Desired{a1}}, API: []*v1.Pod{mirrorOf(a1, "m1")}}, ""},
		"edited":                                {in{Static: Static{Wanted: []*pod.Desired{a2}}, API: []*v1.Pod{mirrorOf(a1, "m1")}, Node: node("n1")}, "delete a m1"},
		"edited, the old one is ending":         {in{Static: Static{Wanted: []*pod.Desired{a2}, Ending: []*pod.Desired{a1}}, API: []*v1.Pod{mirrorOf(a1, "m1")}, Node: node("n1")}, ""},
		"edited, old one ending, mirror gone":   {in{Static: Static{Wanted: []*pod.Desired{a2}, Ending: []*pod.Desired{a1}}, Node: node("n1")}, ""},
		"added again while it ends":             {in{Static: Static{Wanted: []*pod.Desired{a1}, Ending: []*pod.Desired{a1}}, Node: node("n1")}, "create a/a1"},
		"deleted with kubectl":                  {in{Static: Static{Wanted: []*pod.Desired{a1}}, API: []*v1.Pod{deleting(mirrorOf(a1, "m1"))}, Node: node("n1")}, "delete a m1"},
		"deleted while the pod is ending":       {in{Static: Static{Ending: []*pod.Desired{a1}, Ready: true}, API: []*v1.Pod{deleting(mirrorOf(a1, "m1"))}, Node: node("n1")}, "delete a m1"},
		"waits for finalizers":                  {in{Static: Static{Wanted: []*pod.Desired{a1}}, API: []*v1.Pod{held}, Node: node("n1")}, ""},
		"orphan":                                {in{Static: Static{Ready: true}, API: []*v1.Pod{mirrorOf(a1, "m1")}, Node: node("n1")}, "delete a m1"},
		"orphan, node not known":                {in{Static: Static{Ready: true}, API: []*v1.Pod{mirrorOf(a1, "m1")}}, "delete a m1"},
		"perhaps an orphan":                     {in{API: []*v1.Pod{mirrorOf(a1, "m1")}, Node: node("n1")}, ""},
		"its static pod is ending":              {in{Static: Static{Ending: []*pod.Desired{a1}, Ready: true}, API: []*v1.Pod{mirrorOf(a1, "m1")}, Node: node("n1")}, ""},
		"the Node object is another":            {in{Static: Static{Wanted: []*pod.Desired{a1}}, API: []*v1.Pod{mirrorOf(a1, "m1")}, Node: node("n2")}, "delete a m1"},
		"it only says that it is a mirror":      {in{Static: Static{Wanted: []*pod.Desired{a1}}, API: []*v1.Pod{unowned}, Node: node("n1")}, "delete a m1"},
		"a pod of the API has the name":         {in{Static: Static{Wanted: []*pod.Desired{a1}}, API: []*v1.Pod{foreign}, Node: node("n1")}, "clash a f"},
		"pods of the API are none of its cares": {in{Static: Static{Ready: true}, API: []*v1.Pod{foreign}, Node: node("n1")}, ""},
		"it tells of an earlier life":           {in{Static: Static{Wanted: []*pod.Desired{a1}, Alive: map[types.UID]bool{"a1": true}}, API: []*v1.Pod{failed}, Node: node("n1")}, "delete a m1"},
		"it tells of this life's end":           {in{Static: Static{Wanted: []*pod.Desired{a1}}, API: []*v1.Pod{failed}, Node: node("n1")}, ""},
		"there already, alive":                  {in{Static: Static{Wanted: []*pod.Desired{a1}, Alive: map[types.UID]bool{"a1": true}}, API: []*v1.Pod{mirrorOf(a1, "m1")}, Node: node("n1")}, ""},
		"two of a name":                         {in{Static: Static{Wanted: []*pod.Desired{a2, a1}}, Node: node("n1")}, "create a/a2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, a := range Decide(test.in) {
				if got != "" {
					got += ", "
				}
				if a.Kind == Create {
					got += fmt.Sprintf("%s %s/%s", a.Kind, a.Static.Pod.Name, a.Static.UID())
				} else {
					got += fmt.Sprintf("%s %s %s", a.Kind, a.Object.Name, a.Object.UID)
				}
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestObject holds what a mirror pod looks like, and that it is one that NodeRestriction and the priority plugin let a node
// create (behaviour 13).
func TestObject(t *testing.T) {
	d := static("etcd-node1", "abc")
	d.Pod.ResourceVersion, d.Pod.Finalizers, d.Pod.GenerateName = "5", []string{"x"}, "g"
	d.Pod.Spec.Priority, d.Pod.Spec.PreemptionPolicy = new(int32(2000001000)), new(v1.PreemptLowerPriority)
	before := d.Pod.DeepCopy()
	got := Object(d, node("n1"))
	want := &v1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "etcd-node1", Namespace: "kube-system", Labels: map[string]string{"tier": "control-plane"},
			Annotations: map[string]string{
				"kubernetes.io/config.hash": "abc", "kubernetes.io/config.mirror": "abc",
				"kubernetes.io/config.source": "file", "kubernetes.io/config.seen": "2026-01-02T03:04:05Z",
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "node1", UID: "n1", Controller: new(true)}},
		},
		Spec: v1.PodSpec{NodeName: "node1", Containers: []v1.Container{{Name: "app", Image: "app"}}, PriorityClassName: "system-node-critical"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	got.Spec.Containers[0].Image, got.Labels["x"] = "changed", "y"
	if diff := cmp.Diff(before, d.Pod); diff != "" {
		t.Errorf("the static pod was changed: -before +after\n%s", diff)
	}
}
