package agent

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/collect"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/worker"
)

func podUsing(uid types.UID, images ...string) *pod.Desired {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid, Namespace: "ns", Name: "pod-" + string(uid)}}
	for _, i := range images {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "c", Image: i})
	}
	return &pod.Desired{Pod: p, Wanted: true}
}

// TestImagesOf holds what counts as in use beside what containers are made from (behaviour 167).
func TestImagesOf(t *testing.T) {
	full := podUsing("full", "app:1")
	full.Pod.Spec.InitContainers = []v1.Container{{Name: "i", Image: "init:1"}}
	full.Pod.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "d", Image: "debug:1"}}}
	full.Pod.Spec.Volumes = []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{Image: &v1.ImageVolumeSource{Reference: "data:1"}}}}
	over := podUsing("over", "over:1")
	over.Over = true
	entries := []*worker.Entry{
		{Desired: full, Memory: plan.Memory{Stage: plan.Running, Session: plan.Session{Images: map[string]plan.ResolvedImage{"i": {ID: "sha256:resolved"}}, VolumeImages: map[string]plan.ResolvedImage{"v": {ID: "sha256:volume"}}}}},
		{Desired: podUsing("ended", "ended:1"), Memory: plan.Memory{Stage: plan.Cleaning}, Observed: pod.Observed{Containers: []pod.Container{
			{Name: "c", ID: "1", State: pod.Exited, Mounted: []string{"sha256:mounted"}}, {Name: "c", ID: "0", State: pod.Gone, Mounted: []string{"sha256:gone"}},
		}}},
	}
	wanted := map[types.UID]*pod.Desired{"full": full, "ended": podUsing("ended", "ended:1"), "coming": podUsing("coming", "coming:1"), "over": over}
	got := imagesOf(wanted, entries)
	for _, name := range []string{"app:1", "init:1", "debug:1", "data:1", "coming:1"} {
		if !got["docker.io/library/"+name] {
			t.Errorf("%s does not count as in use", name)
		}
	}
	for _, name := range []string{"sha256:resolved", "sha256:volume", "sha256:mounted"} {
		if !got[name] {
			t.Errorf("%s does not count as in use", name)
		}
	}
	for _, name := range []string{"ended:1", "over:1", "sha256:gone"} {
		if got[name] {
			t.Errorf("%s counts as in use: %v", name, slices.Sorted(maps.Keys(got)))
		}
	}
}

func TestDeadOf(t *testing.T) {
	ended := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	observed := pod.Observed{Containers: []pod.Container{
		{Name: "a", ID: "a2", Attempt: 2, State: pod.Running}, {Name: "a", ID: "a1", Attempt: 1, State: pod.Exited, FinishedAt: ended}, {Name: "a", ID: "a0", State: pod.Gone},
		{Name: "b", ID: "b1", Attempt: 1, State: pod.Exited, FinishedAt: ended}, {Name: "b", ID: "b0", State: pod.Exited, FinishedAt: ended},
	}}
	dead := func(m plan.Memory) []collect.Dead {
		return deadOf([]*worker.Entry{{Desired: podUsing("p"), Memory: m, Observed: observed}})
	}
	want := func(a1, b1, b0 bool) []collect.Dead {
		return []collect.Dead{
			{Pod: "p", Name: "a", ID: "a1", Ended: ended, Needed: a1}, {Pod: "p", Name: "b", ID: "b1", Ended: ended, Needed: b1},
			{Pod: "p", Name: "b", ID: "b0", Ended: ended, Needed: b0},
		}
	}
	for name, c := range map[string]struct {
		memory plan.Memory
		want   []collect.Dead
	}{
		"a pod that goes on":    {plan.Memory{Stage: plan.Running}, want(false, true, false)},
		"a pod that is ending":  {plan.Memory{Stage: plan.Cleaning}, want(true, true, true)},
		"a pod that is at rest": {plan.Memory{Stage: plan.Cleaning, Session: plan.Session{Rested: true}}, want(false, false, false)},
	} {
		if diff := cmp.Diff(c.want, dead(c.memory)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestNotRemoved(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	failures := map[string]plan.Failure{
		plan.Effect{Kind: plan.RemoveContainer, Container: "app"}.Subject(): {Message: "busy", At: now},
		plan.Effect{Kind: plan.RemoveContainer, Container: "old"}.Subject(): {Message: "busy", At: now.Add(-time.Hour)},
		plan.Effect{Kind: plan.RemoveSandbox}.Subject():                     {Message: "away", At: now, Class: plan.Soon},
		plan.Effect{Kind: plan.StopContainer, Container: "app"}.Subject():   {Message: "stuck", At: now},
	}
	entries := []*worker.Entry{{Desired: podUsing("p"), Memory: plan.Memory{Kept: plan.Kept{Failures: failures}}}, {Desired: podUsing("q")}}
	err := notRemoved(entries, now.Add(-time.Minute))
	if err == nil || err.Error() != "remove container app of pod ns/pod-p: busy" {
		t.Errorf("said: %v", err)
	}
	if err := notRemoved(entries[1:], now.Add(-time.Minute)); err != nil {
		t.Error(err)
	}
}

// TestImagePolicy holds what the settings of behaviour 167 mean, and that bosun up leaves the images of others alone.
func TestImagePolicy(t *testing.T) {
	began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	whole := "imageMinimumGCAge: 3m\nimageMaximumGCAge: 48h\nimageGCHighThresholdPercent: 70\nimageGCLowThresholdPercent: 60\n"
	for name, c := range map[string]struct {
		lines  string
		strays bool
		want   collect.Policy
	}{
		"as it is by itself":           {"", false, collect.Policy{MinAge: 2 * time.Minute, High: 85, Low: 80, Began: began}},
		"as configured":                {whole, false, collect.Policy{MinAge: 3 * time.Minute, MaxAge: 48 * time.Hour, High: 70, Low: 60, Began: began}},
		"beside others":                {"", true, collect.Policy{High: 100, Began: began}},
		"beside others, as configured": {whole, true, collect.Policy{MinAge: 3 * time.Minute, MaxAge: 48 * time.Hour, High: 70, Low: 60, Began: began}},
	} {
		cfg := configured(t, c.lines)
		if got := imagePolicy(cfg, leavesImages(cfg, c.strays), began); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	k := keepDead(configured(t, "", "--maximum-dead-containers-per-container=4", "--minimum-container-ttl-duration=1m"))
	if *k != (plan.Keep{Dead: 4, MinAge: time.Minute}) {
		t.Errorf("ended containers: %+v", *k)
	}
}
