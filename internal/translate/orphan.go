package translate

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/pod"
)

// Orphan makes a pod of what the runtime has when no source names it (behaviour 25): not wanted, and with what its
// annotations tell of hooks, ports and grace, so that it can be stopped as it asked to be. seen is when it was found.
// Annotations that cannot be read are passed over: the pod is stopped anyway.
func Orphan(uid types.UID, report pod.Report, seen time.Time) *pod.Desired {
	p := &v1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: report.Name, Namespace: report.Namespace, UID: uid},
		Spec:       v1.PodSpec{RestartPolicy: v1.RestartPolicyNever},
		Status:     v1.PodStatus{Phase: v1.PodUnknown},
	}
	for _, s := range report.Sandboxes {
		p.Spec.HostNetwork = p.Spec.HostNetwork || s.HostNetwork
	}
	for _, c := range newest(report.Containers) {
		noted, _ := ParseContainerAnnotations(c.Annotations)
		p.Spec.Containers = append(p.Spec.Containers, orphanContainer(c, noted))
		if noted.TerminationGrace != nil {
			p.Spec.TerminationGracePeriodSeconds = noted.TerminationGrace
		}
		if noted.DeletionGrace != nil {
			p.DeletionGracePeriodSeconds = noted.DeletionGrace
		}
	}
	return &pod.Desired{Pod: p, Source: pod.FromRuntime, Seen: seen}
}

func orphanContainer(c pod.Container, noted Noted) v1.Container {
	out := v1.Container{
		Name:                     c.Name,
		Image:                    c.Image,
		Ports:                    noted.Ports,
		TerminationMessagePath:   noted.TerminationMessagePath,
		TerminationMessagePolicy: noted.TerminationMessagePolicy,
	}
	if noted.PreStop != nil {
		out.Lifecycle = &v1.Lifecycle{PreStop: noted.PreStop}
	}
	return out
}

// newest are the latest instances, one for each name, in order of their creation.
func newest(all []pod.Container) []pod.Container {
	var out []pod.Container
	for _, c := range all {
		i := slices.IndexFunc(out, func(o pod.Container) bool { return o.Name == c.Name })
		switch {
		case i < 0:
			out = append(out, c)
		case c.Attempt > out[i].Attempt || c.Attempt == out[i].Attempt && c.CreatedAt.After(out[i].CreatedAt):
			out[i] = c
		}
	}
	slices.SortStableFunc(out, func(a, b pod.Container) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return out
}
