package serve

import (
	"net/http"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
	"github.com/bosun-project/bosun/internal/worker"
)

func podList() v1.PodList {
	return v1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []v1.Pod{}}
}

// pods lists the pods that a source named, with where they come from and their statuses. Mirror pods are only shadows of
// others and are left out.
func (f *Faces) pods(w http.ResponseWriter, r *http.Request) {
	list := podList()
	entries, _ := f.cfg.Pods.Pods()
	for _, e := range entries {
		if e.Desired.Source == pod.FromRuntime || e.Desired.Pod.Annotations[names.ConfigMirror] != "" {
			continue
		}
		p := *e.Desired.Pod
		p.TypeMeta = metav1.TypeMeta{}
		p.Annotations = translate.SandboxAnnotations(e.Desired)
		p.Status = f.cfg.Status(e)
		list.Items = append(list.Items, p)
	}
	f.answer(w, r, list)
}

// allocatedPods lists the same pods, or one of them, with the resources they were given and without statuses. It is alpha, and may go.
func (f *Faces) allocatedPods(w http.ResponseWriter, r *http.Request) {
	list := podList()
	entries, _ := f.cfg.Pods.Pods()
	namespace, name, uid := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid")
	for _, e := range entries {
		if e.Desired.Source == pod.FromRuntime || e.Desired.Pod.Annotations[names.ConfigMirror] != "" {
			continue
		}
		p := *plan.Allocated(e.Desired, e.Memory.Kept.Allocated).Pod
		p.TypeMeta, p.Status = metav1.TypeMeta{}, v1.PodStatus{}
		p.Annotations = translate.SandboxAnnotations(e.Desired)
		if name == "" {
			list.Items = append(list.Items, p)
		} else if p.Namespace == namespace && p.Name == name && (uid == "" || string(p.UID) == uid) {
			p.TypeMeta = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}
			f.answer(w, r, p)
			return
		}
	}
	if name != "" {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return
	}
	f.answer(w, r, list)
}

// runningPods lists what the runtime has running, whoever wants it.
func (f *Faces) runningPods(w http.ResponseWriter, r *http.Request) {
	list := podList()
	entries, _ := f.cfg.Pods.Pods()
	for _, e := range entries {
		if p, ok := running(e); ok {
			list.Items = append(list.Items, p)
		}
	}
	f.answer(w, r, list)
}

// running is a pod as the runtime knows it: names, and the containers that run.
func running(e *worker.Entry) (v1.Pod, bool) {
	meta := e.Desired.Pod
	p := v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: meta.Name, Namespace: meta.Namespace, UID: meta.UID}}
	for i := range e.Observed.Containers {
		if c := &e.Observed.Containers[i]; c.State == pod.Running {
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: c.Name, Image: c.Image})
		}
	}
	return p, len(p.Spec.Containers) > 0
}

// named finds the pod that a request names, and tells whether there is one of that name at all. A UID in the path must
// be its own, or that of its mirror pod, by which the API server knows a static pod (behaviour 367).
func (f *Faces) named(r *http.Request) (e *worker.Entry, known bool) {
	namespace, name, uid := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid")
	if e := f.find(namespace, name, uid); e != nil || uid == "" {
		return e, e != nil
	}
	return nil, f.find(namespace, name, "") != nil
}

// find returns the pod of that name: the wanted one if an older one of the name is still ending.
func (f *Faces) find(namespace, name, uid string) *worker.Entry {
	entries, _ := f.cfg.Pods.Pods()
	var found *worker.Entry
	for _, e := range entries {
		p := e.Desired.Pod
		if p.Namespace != namespace || p.Name != name || p.Annotations[names.ConfigMirror] != "" || !f.goesBy(e, uid) {
			continue
		}
		if found == nil || !found.Desired.Wanted && e.Desired.Wanted {
			found = e
		}
	}
	return found
}

// goesBy tells whether a UID means a pod; none at all does.
func (f *Faces) goesBy(e *worker.Entry, uid string) bool {
	own := e.Desired.Pod.UID
	return uid == "" || uid == string(own) || uid == string(f.cfg.MirrorUID(own))
}
