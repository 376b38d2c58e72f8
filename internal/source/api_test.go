package source

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
)

func apiPod(name, version string, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("uid-" + name), ResourceVersion: version},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "app", Image: "app:1"}}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func bound(synced bool, pods ...*v1.Pod) Bound { return Bound{Pods: pods, Synced: synced} }

// What the agent itself reports comes back with the next version of the object, and is no news; what others write is.
func TestAPINews(t *testing.T) {
	grace := int64(7)
	at := metav1.NewTime(time.Unix(1_000_000_000, 0))
	for name, c := range map[string]struct {
		change func(*v1.Pod)
		news   bool
	}{
		"own status": {func(p *v1.Pod) { p.Status.Phase, p.Status.PodIP = v1.PodRunning, "10.0.0.1" }, false},
		"own condition": {func(p *v1.Pod) {
			p.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
		}, false},
		"a gate":             {func(p *v1.Pod) { p.Status.Conditions = []v1.PodCondition{{Type: "x/y", Status: v1.ConditionTrue}} }, true},
		"image":              {func(p *v1.Pod) { p.Spec.Containers[0].Image = "app:2" }, true},
		"label":              {func(p *v1.Pod) { p.Labels = map[string]string{"a": "b"} }, true},
		"annotation":         {func(p *v1.Pod) { p.Annotations = map[string]string{"a": "b"} }, true},
		"deleted":            {func(p *v1.Pod) { p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &at, &grace }, true},
		"said to have ended": {func(p *v1.Pod) { p.Status.Phase = v1.PodFailed }, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := NewAPI(APIConfig{})
			a.last = a.take(bound(true, apiPod("web", "1")), time.Unix(5, 0))
			before := a.last.Pods["uid-web"]
			after := a.take(bound(true, apiPod("web", "2", c.change)), time.Unix(9, 0)).Pods["uid-web"]
			if (before != after) != c.news {
				t.Errorf("the pod is another one: %v, want %v", before != after, c.news)
			}
			if !after.Seen.Equal(time.Unix(5, 0)) {
				t.Errorf("seen at %v", after.Seen)
			}
			if name == "deleted" && (after.Deletion == nil || after.Deletion.Grace != 7*time.Second) {
				t.Errorf("deletion is %+v", after.Deletion)
			}
			if after.Over != (name == "said to have ended") {
				t.Errorf("over is %v", after.Over)
			}
		})
	}
}

// Mirror pods are not pods to run; until the API server has spoken, pods of an earlier life go on and nothing is ready.
func TestAPIRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var server latest.Cell[Bound]
		var away latest.Cell[bool]
		a := NewAPI(APIConfig{Bound: server.Get, Away: away.Get, Kept: []*v1.Pod{apiPod("kept", "1"), apiPod("gone", "1")}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = a.Run(ctx); close(ended) }()
		synctest.Wait()
		if s := a.Cell().Value(); s.Ready || len(s.Pods) != 0 {
			t.Fatalf("while the server may answer: %+v", s)
		}
		away.Set(true)
		synctest.Wait()
		if s := a.Cell().Value(); s.Ready || len(s.Pods) != 2 {
			t.Fatalf("before the server answered: %+v", s)
		}
		kept := a.Cell().Value().Pods["uid-kept"]
		mirror := apiPod("static", "3", func(p *v1.Pod) { p.Annotations = map[string]string{names.ConfigMirror: "abc"} })
		server.Set(bound(true, apiPod("kept", "1"), apiPod("fresh", "4"), mirror))
		synctest.Wait()
		s := a.Cell().Value()
		if !s.Ready || len(s.Pods) != 2 || s.Pods["uid-kept"] != kept || s.Pods["uid-fresh"].Source != pod.FromAPI || !s.Pods["uid-fresh"].Wanted {
			t.Fatalf("after the server answered: %+v", s)
		}
		_, newer := a.Cell().Get()
		server.Set(bound(true, apiPod("kept", "9", func(p *v1.Pod) { p.Status.Phase = v1.PodRunning }), apiPod("fresh", "4")))
		synctest.Wait()
		select {
		case <-newer:
			t.Error("our own status woke everybody")
		default:
		}
		cancel()
		<-ended
	})
}
