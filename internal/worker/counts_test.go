package worker_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/simworld"
)

// TestCounts holds what metrics are told: a refusal and a second life once each, and nothing of ordinary lives.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var mu sync.Mutex
		tell := func(text string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, text)
		}
		heard := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(told)
		}
		s := &sweep{world: simworld.New(1)}
		s.world.Script("run", simworld.Script{})
		agent := s.world.Start(&s.wanted, simworld.Options{
			Judge: func(d *pod.Desired, _ []*pod.Desired, _ []*allocate.Assigned) plan.Verdict {
				return plan.Verdict{Judged: true, Admit: d.Pod.Name != "big", Reason: "OutOfcpu"}
			},
			Rejected: tell, Restarted: func(d *pod.Desired) { tell(d.Pod.Name) },
		})
		defer agent.Crash()
		web, big := s.pod("web", v1.RestartPolicyAlways, "run"), s.pod("big", v1.RestartPolicyAlways, "run")
		for _, wanted := range [][]*pod.Desired{
			{web, big}, {web}, // refused, and gone
			{}, {web}, // gone, and wanted again when it was
			{}, // gone for good
		} {
			s.want(wanted...)
			time.Sleep(time.Minute)
		}
		if want := []string{"OutOfcpu"}; !slices.Equal(heard(), want) {
			t.Fatalf("told of %q, want %q", heard(), want)
		}
		s.want(web)
		time.Sleep(time.Minute)
		s.want()
		time.Sleep(10 * time.Millisecond)
		s.want(web) // while it ends
		time.Sleep(time.Minute)
		if want := []string{"OutOfcpu", "web"}; !slices.Equal(heard(), want) {
			t.Errorf("told of %q, want %q", heard(), want)
		}
		s.want()
		time.Sleep(time.Minute)
	})
}
