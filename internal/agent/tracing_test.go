package agent

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/worker"
)

// TestViewOf: when a pod was let in is when it left the first stage; one that had left it before the agent came has no such time.
func TestViewOf(t *testing.T) {
	at := time.Now()
	stages := func(names ...string) (all []worker.StageAt) {
		for i, name := range names {
			all = append(all, worker.StageAt{Stage: name, At: at.Add(time.Duration(i) * time.Second)})
		}
		return all
	}
	for _, c := range []struct {
		stages []worker.StageAt
		want   time.Time
	}{
		{nil, time.Time{}}, {stages("Waiting"), time.Time{}}, {stages("Waiting", "Preparing", "Running"), at.Add(time.Second)},
		{stages("Waiting", "Stopping"), at.Add(time.Second)}, {stages("Preparing"), at}, {stages("Running"), time.Time{}},
	} {
		e := &worker.Entry{Desired: &pod.Desired{Pod: &v1.Pod{}}, Memory: plan.Memory{Stage: plan.Running}, Stages: c.stages}
		e.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}
		if v := viewOf(e); !v.Judged.Equal(c.want) || !v.Ready || !v.Idle || v.Stage != plan.Running {
			t.Errorf("%v: %+v, want it judged at %v", c.stages, v, c.want)
		}
	}
}
