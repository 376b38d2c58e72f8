package source

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/pod"
)

// says makes a snapshot of pods "uid name image".
func says(source pod.Source, ready bool, pods ...[3]string) Snapshot {
	s := Snapshot{Ready: ready, Pods: map[types.UID]*pod.Desired{}}
	for _, p := range pods {
		object := &v1.Pod{}
		object.UID, object.Name, object.Namespace = types.UID(p[0]), p[1], "default"
		object.Spec.Containers = []v1.Container{{Image: p[2]}}
		s.Pods[object.UID] = &pod.Desired{Pod: object, Source: source, Origin: "origin of " + string(source), Wanted: true}
	}
	return s
}

func TestMergeIsReadyWhenAllAre(t *testing.T) {
	file, web := &latest.Cell[Snapshot]{}, &latest.Cell[Snapshot]{}
	book := &notebook{}
	m := NewMerge(book.log(), book.sink, file, web)
	running(t, m.Run)
	file.Set(says(pod.FromFile, true, [3]string{"1", "a", "i:1"}))
	s := until(t, m.Cell(), "a pod", func(s Snapshot) bool { return images(s) == "a=i:1" })
	if s.Ready {
		t.Error("ready before the second source")
	}
	web.Set(says(pod.FromURL, true, [3]string{"2", "b", "i:2"}))
	until(t, m.Cell(), "both", func(s Snapshot) bool { return images(s) == "a=i:1 b=i:2" && s.Ready })
	file.Set(Snapshot{Ready: true, Problems: []Problem{{Origin: "x", Messages: []string{"bad"}}}})
	until(t, m.Cell(), "a problem", func(s Snapshot) bool { return images(s) == "b=i:2" && len(s.Problems) == 1 })
}

func TestMergeOfNothingIsReady(t *testing.T) {
	book := &notebook{}
	m := NewMerge(book.log(), book.sink)
	running(t, m.Run)
	until(t, m.Cell(), "ready", func(s Snapshot) bool { return s.Ready && len(s.Pods) == 0 })
}

func TestMergeOfOneName(t *testing.T) {
	file, web := &latest.Cell[Snapshot]{}, &latest.Cell[Snapshot]{}
	book := &notebook{}
	m := NewMerge(book.log(), book.sink, file, web)
	running(t, m.Run)
	web.Set(says(pod.FromURL, true, [3]string{"2", "a", "web:1"}))
	until(t, m.Cell(), "the pod of the URL", func(s Snapshot) bool { return images(s) == "a=web:1" })
	file.Set(says(pod.FromFile, true, [3]string{"1", "a", "file:1"}))
	s := until(t, m.Cell(), "a problem", func(s Snapshot) bool { return len(s.Problems) == 1 })
	want(t, s, "a=web:1")
	wantProblem(t, s, "origin of file", "pod default/a", "origin of http", "rename or remove")
	web.Set(says(pod.FromURL, true, [3]string{"3", "a", "web:2"}, [3]string{"1", "b", "web:3"}))
	s = until(t, m.Cell(), "the edited pod", func(s Snapshot) bool { return images(s) == "a=web:2 b=web:3" })
	wantProblem(t, s, "pod default/a")
	web.Set(says(pod.FromURL, true, [3]string{"1", "b", "web:3"}))
	s = until(t, m.Cell(), "a clash of UIDs", func(s Snapshot) bool { return len(s.Pods) == 1 && len(s.Problems) == 1 })
	wantProblem(t, s, "pod default/a", "of that UID")
	web.Set(Snapshot{Ready: true})
	s = until(t, m.Cell(), "the pod of the file", func(s Snapshot) bool { return images(s) == "a=file:1" })
	noProblem(t, s)
	if n := len(book.all()); n != 2 {
		t.Errorf("%d notes: want one for the name, one for the UID", n)
	}
}

// A pod that moves from one source to the other is wanted all the time.
func TestMergeMoveBetweenSources(t *testing.T) {
	a := [3]string{"1", "a", "i:1"}
	before, _ := join([]Snapshot{says(pod.FromFile, true, a), says(pod.FromURL, true)}, Snapshot{})
	both, clashes := join([]Snapshot{says(pod.FromFile, true, a), says(pod.FromURL, true, [3]string{"2", "a", "i:2"})}, before)
	if images(both) != "a=i:1" || len(clashes) != 1 {
		t.Errorf("both: %q, %d clashes; want the old one, and one", images(both), len(clashes))
	}
	after, clashes := join([]Snapshot{says(pod.FromFile, true), says(pod.FromURL, true, [3]string{"2", "a", "i:2"})}, both)
	if images(after) != "a=i:2" || len(clashes) != 0 {
		t.Errorf("after: %q, %d clashes; want the new one, and none", images(after), len(clashes))
	}
}

// What kinds of source have spoken is known kind by kind: the manifests count while the API server is silent.
func TestMergeKnowsWhoHasSpoken(t *testing.T) {
	file, second, api := says(pod.FromFile, true), says(pod.FromFile, false), says(pod.FromAPI, false)
	file.Source, second.Source, api.Source = pod.FromFile, pod.FromFile, pod.FromAPI
	if s, _ := join([]Snapshot{file, api}, Snapshot{}); s.Ready || !s.Spoken[pod.FromFile] || s.Spoken[pod.FromAPI] || s.Spoken[pod.FromURL] {
		t.Errorf("the API server is silent: %+v", s.Spoken)
	}
	if s, _ := join([]Snapshot{file, second, api}, Snapshot{}); s.Spoken[pod.FromFile] {
		t.Errorf("one directory is silent: %+v", s.Spoken)
	}
	api.Ready = true
	if s, _ := join([]Snapshot{file, api}, Snapshot{}); !s.Ready || !s.Spoken[pod.FromAPI] {
		t.Errorf("all have spoken: %+v", s)
	}
}
