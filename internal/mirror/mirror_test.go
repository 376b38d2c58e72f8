package mirror

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/simworld/podapi"
)

func wants(of ...*pod.Desired) Static { return Static{Wanted: of, Ready: true} }

// TestFollowsStaticPods makes, edits and removes a static pod: one call for each step, and at once (behaviours 13-16).
func TestFollowsStaticPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Lag, w.Latency = constant(time.Second), constant(10*time.Millisecond)
		defer w.start()()
		steps := []struct {
			name            string
			static          Static
			creates, delets int
		}{
			{"added", wants(static("a", "a1")), 1, 0},
			{"edited, the old one is ending", Static{Wanted: []*pod.Desired{static("a", "a2")}, Ending: []*pod.Desired{static("a", "a1")}, Ready: true}, 0, 0},
			{"the old one is gone", wants(static("a", "a2")), 1, 1},
			{"removed, ending", Static{Ending: []*pod.Desired{static("a", "a2")}, Ready: true}, 0, 0},
			{"a source has yet to speak", Static{}, 0, 0},
			{"removed", Static{Ready: true}, 0, 1},
		}
		for _, step := range steps {
			from := w.Since()
			w.static.Set(step.static)
			time.Sleep(25 * time.Millisecond)
			if c, d := w.Count("create", from), w.Count("delete", from); c != step.creates || d != step.delets {
				t.Errorf("%s: %d creates and %d deletes at once, want %d and %d", step.name, c, d, step.creates, step.delets)
			}
			time.Sleep(time.Minute)
			if c, d := w.Count("create", from), w.Count("delete", from); c != step.creates || d != step.delets {
				t.Errorf("%s: %d creates and %d deletes in a minute, want %d and %d", step.name, c, d, step.creates, step.delets)
			}
		}
		w.check()
	})
}

// TestComesBack deletes mirrors with kubectl: gracefully, by force, and before the watch has shown them (behaviour 14).
func TestComesBack(t *testing.T) {
	remove := func(*v1.Pod) *v1.Pod { return nil }
	tests := map[string]struct {
		lag, after, within time.Duration
		how                func(*v1.Pod) *v1.Pod
		creates, deletes   int
	}{
		"gracefully":       {0, time.Minute, 20 * time.Millisecond, deleting, 2, 1},
		"by force":         {0, time.Minute, 10 * time.Millisecond, remove, 2, 0},
		"gracefully, lag":  {2 * time.Second, time.Minute, 2*time.Second + 20*time.Millisecond, deleting, 2, 1},
		"by force, unseen": {2500 * time.Millisecond, 20 * time.Millisecond, madeLag + 2*time.Second, func(*v1.Pod) *v1.Pod { return nil }, 2, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Latency = constant(10 * time.Millisecond)
				if test.lag > 0 {
					w.Lag = constant(test.lag)
				}
				w.static.Set(wants(static("a", "a1"), static("b", "b1")))
				defer w.start()()
				time.Sleep(test.after)
				w.edit("a", test.how)
				time.Sleep(test.within)
				synctest.Wait()
				w.check()
				time.Sleep(time.Hour)
				w.check()
				if c, d := w.Count("create", 0)-1, w.Count("delete", 0); c != test.creates || d != test.deletes {
					t.Errorf("%d creates and %d deletes of a, want %d and %d", c, d, test.creates, test.deletes)
				}
			})
		})
	}
}

// TestRestartOfTheAgent: mirrors stay, and nothing is called, whatever order things become known in.
func TestRestartOfTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.static.Set(wants(static("a", "a1")))
		stop := w.start()
		time.Sleep(time.Second)
		stop()
		list, wanted := w.View.Value(), w.static.Value()
		w.static.Set(Static{})
		w.nodes.Set(nil)
		w.View.Set(podapi.List{})
		from := w.Since()
		defer w.start()()
		time.Sleep(time.Second)
		w.View.Set(list)
		time.Sleep(time.Second)
		w.static.Set(wanted)
		time.Sleep(time.Second)
		w.nodes.Set(node("n1"))
		time.Sleep(time.Hour)
		w.check()
		if n := w.Count("", from); n != 0 {
			t.Errorf("%d calls after the restart", n)
		}
	})
}

// TestNodeMadeAgain: mirrors belong to a Node object; when it is made again they are too.
func TestNodeMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.static.Set(wants(static("a", "a1")))
		defer w.start()()
		time.Sleep(time.Second)
		w.nodes.Set(node("n2"))
		synctest.Wait()
		w.check()
		if c, d := w.Count("create", 0), w.Count("delete", 0); c != 2 || d != 1 {
			t.Errorf("%d creates and %d deletes", c, d)
		}
	})
}

// TestOutage: many static pods, no API server, then it is back.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail = func(string, string) error { return podapi.ErrDown }
		var all []*pod.Desired
		for i := range 20 {
			all = append(all, static(fmt.Sprint("p", i), types.UID(fmt.Sprint("u", i))))
		}
		w.static.Set(wants(all...))
		defer w.start()()
		time.Sleep(10 * time.Minute)
		if n := w.Count("", 0); n > 20*(7+60) {
			t.Errorf("%d calls in ten minutes of outage", n)
		}
		w.Locked(func() { w.Fail = nil })
		back := w.Since()
		w.Put(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: "x", UID: "other"}}) // the watch is back too
		time.Sleep(time.Second)
		w.check()
		if n := w.Count("", back); n != 20 {
			t.Errorf("%d calls when it was back, want 20", n)
		}
		if len(w.notes) != 0 {
			t.Errorf("notes: %+v", w.notes)
		}
	})
}

// TestNotes: what keeps a static pod from being seen in the API is said once, and tried again.
func TestNotes(t *testing.T) {
	foreign := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "kube-system", UID: "f"}}
	tests := map[string]struct {
		fail  error
		clash bool
		most  int // calls in an hour
		says  string
	}{
		"refused":      {fail: apierrors.NewForbidden(podapi.Resource, "a", errors.New("violates PodSecurity")), most: 70, says: "violates PodSecurity"},
		"no namespace": {fail: apierrors.NewNotFound(schemaNamespaces, "kube-system"), most: 70, says: `namespaces "kube-system" not found`},
		"trouble":      {fail: apierrors.NewInternalError(errors.New("webhook")), most: 400, says: "webhook"},
		"clash":        {clash: true, says: "UID f"},
		"unseen clash": {fail: apierrors.NewAlreadyExists(podapi.Resource, "a"), most: 70, says: "already exists"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				if test.clash {
					w.Put(foreign)
				}
				w.Fail = func(_, name string) error {
					if name == "a" {
						return test.fail
					}
					return nil
				}
				w.static.Set(wants(static("a", "a1"), static("b", "b1")))
				defer w.start()()
				for range 60 {
					time.Sleep(time.Minute)
					w.edit("b", func(p *v1.Pod) *v1.Pod { p.Labels = map[string]string{"x": fmt.Sprint(w.Version)}; return p })
				}
				if n := w.Count("", 0) - 1; n > test.most {
					t.Errorf("%d calls in an hour, want at most %d", n, test.most)
				}
				want := note.About{Kind: "Pod", Namespace: "kube-system", Name: "a", UID: "a1"}
				if len(w.notes) != 1 || w.notes[0].Reason != reason.FailedMirrorPod || w.notes[0].About != want || !strings.Contains(w.notes[0].Message, test.says) {
					t.Errorf("notes: %+v", w.notes)
				}
				w.Locked(func() { w.Fail = nil })
				w.edit("a", func(p *v1.Pod) *v1.Pod { return nil })
				time.Sleep(2 * time.Minute)
				w.check()
			})
		})
	}
}

// TestNewCluster: in its first moments an API server lacks what static pods need; that it has no mirrors for so long is nothing to tell.
func TestNewCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Fail = func(_, name string) error {
			return apierrors.NewForbidden(podapi.Resource, name, errors.New("no PriorityClass with name system-node-critical was found"))
		}
		w.static.Set(wants(static("a", "a1"), static("b", "b1")))
		defer w.start()()
		time.Sleep(1500 * time.Millisecond)
		w.Locked(func() { w.Fail = nil })
		time.Sleep(3 * time.Second)
		w.check()
		if len(w.notes) != 0 {
			t.Errorf("notes: %+v", w.notes)
		}
	})
}

// TestLateWatch: a watch that is a minute late makes deletes no more than one, and nothing wrong.
func TestLateWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.static.Set(wants(static("a", "a1")))
		defer w.start()()
		time.Sleep(time.Second)
		w.Locked(func() { w.Lag = constant(25 * time.Second) })
		w.static.Set(wants(static("a", "a2")))
		synctest.Wait()
		w.check()
		time.Sleep(time.Hour)
		w.check()
		if n := w.Count("delete", 0); n != 1 {
			t.Errorf("%d deletes", n)
		}
		if len(w.notes) != 0 {
			t.Errorf("notes: %+v", w.notes)
		}
	})
}

// TestServerThatHasJustStarted: an API server whose caches are still empty says of a mirror that is there that it is not. What is in
// the list is soon believed again, and the new mirror is there a moment after the caches are full (kubeadm waits for it).
func TestServerThatHasJustStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Latency = constant(10 * time.Millisecond)
		w.static.Set(wants(static("a", "a1")))
		defer w.start()()
		time.Sleep(time.Minute)
		empty := func(verb, name string) error {
			if verb == "delete" {
				return apierrors.NewNotFound(schema.GroupResource{Resource: "pod"}, name)
			}
			return nil
		}
		w.Locked(func() { w.Fail = empty })
		w.static.Set(wants(static("a", "a2")))
		time.Sleep(2500 * time.Millisecond)
		w.Locked(func() { w.Fail = nil })
		time.Sleep(1500 * time.Millisecond)
		w.check()
		// If it goes on, it is asked less and less often.
		w.Locked(func() { w.Fail = empty })
		from := w.Since()
		w.static.Set(wants(static("a", "a3")))
		time.Sleep(time.Hour)
		if d := w.Count("delete", from); d < 60 || d > 250 {
			t.Errorf("%d deletes in an hour", d)
		}
		w.Locked(func() { w.Fail = nil })
		time.Sleep(goneLag + time.Second)
		w.check()
	})
}

// TestFinalizers: a mirror that somebody holds is deleted once, and made anew when it is let go.
func TestFinalizers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.static.Set(wants(static("a", "a1")))
		defer w.start()()
		time.Sleep(time.Second)
		w.edit("a", func(p *v1.Pod) *v1.Pod { p.Finalizers = []string{"x"}; return deleting(p) })
		time.Sleep(10 * time.Minute)
		if n := w.Count("delete", 0); n != 1 {
			t.Errorf("%d deletes", n)
		}
		w.edit("a", func(*v1.Pod) *v1.Pod { return nil })
		time.Sleep(takenPauses.Max + takenPauses.Max/5)
		w.check()
	})
}
