package worker_test

import (
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/simworld"
	"github.com/bosun-project/bosun/internal/worker"
)

// While the API server is silent, static pods are edited and removed all the same, across restarts of the agent too; pods
// that may be the API server's are left alone (behaviours 6, 8, 16).
func TestStaticPodsWhileTheAPIServerIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := simworld.New(1)
		var wanted latest.Cell[worker.Wanted]
		make := func(name, uid string, source pod.Source) *pod.Desired {
			return &pod.Desired{Source: source, Wanted: true, Seen: time.Now(), Pod: &v1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(uid)},
				Spec:       v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways, Containers: []v1.Container{{Name: "app", Image: "run"}}},
			}}
		}
		say := func(ready bool, pods ...*pod.Desired) {
			w := worker.Wanted{Pods: map[types.UID]*pod.Desired{}, Ready: ready, Spoken: map[pod.Source]bool{pod.FromFile: true}}
			for _, d := range pods {
				w.Pods[d.UID()] = d
			}
			wanted.Set(w)
		}
		running := func(when string, want map[types.UID]int) {
			t.Helper()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			for uid, n := range want {
				if got := len(world.Live(uid)); got != n {
					t.Errorf("%s: %d containers of %s run, want %d", when, got, uid, n)
				}
			}
		}
		api := make("shop", "api-1", pod.FromAPI)
		say(true, api, make("etcd", "s1", pod.FromFile), make("gone", "g1", pod.FromFile))
		agent := world.Start(&wanted, simworld.Options{})
		running("all have spoken", map[types.UID]int{"api-1": 1, "s1": 1, "g1": 1})

		agent.Crash() // from here on the API server is silent
		say(false, make("etcd", "s2", pod.FromFile))
		agent = world.Start(&wanted, simworld.Options{})
		running("edited while the agent was down", map[types.UID]int{"s1": 0, "s2": 1, "api-1": 1, "g1": 1})

		say(false, make("etcd", "s3", pod.FromFile))
		running("edited", map[types.UID]int{"s2": 0, "s3": 1, "api-1": 1})
		say(false)
		running("removed", map[types.UID]int{"s3": 0, "api-1": 1, "g1": 1})

		say(true, api)
		running("the API server has spoken", map[types.UID]int{"api-1": 1, "g1": 0})
		agent.Crash()
		if bad := world.Violations(); len(bad) > 0 {
			t.Errorf("violations: %v", bad)
		}
	})
}
