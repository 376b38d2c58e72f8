package report

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/simworld/podapi"
)

// TestTellsWhatChanges follows one pod: each change is told at once and once (behaviour 266), but for what is said of a pod
// that starts: that waits a moment for the pod to be Ready.
func TestTellsWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		s.Latency = constant(5 * time.Millisecond)
		p := bound("web", "u1")
		s.Put(p)
		var heard []Told
		r, stop := start(t, s, node, func(c *Config) { c.Told = func(x Told) { heard = append(heard, x) } })
		defer stop()
		for i, status := range []*v1.PodStatus{says(v1.PodPending, false, ""), says(v1.PodRunning, false, ""), says(v1.PodRunning, true, "")} {
			node.put(of(p, status))
			synctest.Wait()
			if w := r.State().Waiting; w != 1 {
				t.Errorf("%d pods wait, want 1", w)
			}
			if i == 0 {
				time.Sleep(starting)
			}
			time.Sleep(5 * time.Millisecond)
			synctest.Wait()
			told(t, s, node)
			if n := s.Count("", 0); n != i+1 {
				t.Fatalf("%d calls after %d changes", n, i+1)
			}
			node.put(of(p, status.DeepCopy())) // the worker says the same again
			s.Put(bound("other", "u2"))        // somebody else's pod
		}
		time.Sleep(time.Hour)
		if n := s.Count("", 0); n != 3 {
			t.Errorf("%d calls in the end, want 3", n)
		}
		if len(heard) != 3 || heard[2].Took != 5*time.Millisecond || heard[2].Pod == nil || heard[2].UID != "u1" {
			t.Errorf("heard %+v", heard)
		}
		if st := r.State(); st != (State{}) {
			t.Errorf("state %+v, want nothing waiting", st)
		}
	})
}

// TestWatchLag holds that a late watch makes nothing be told twice, and that what is told next is told on top of the answer.
func TestWatchLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		p := bound("web", "u1")
		s.Put(p)
		s.Lag = constant(10 * time.Second)
		_, stop := start(t, s, node)
		defer stop()
		node.put(of(p, says(v1.PodPending, false, "a")))
		time.Sleep(starting)
		synctest.Wait()
		node.put(of(p, says(v1.PodRunning, true, "")))
		synctest.Wait()
		node.put(of(p, says(v1.PodRunning, true, "")))
		s.Edit("u1", func(p *v1.Pod) { p.Status.NominatedNodeName = "x" })
		synctest.Wait()
		if n := s.Count("", 0); n != 2 {
			t.Errorf("%d calls, want 2", n)
		}
		told(t, s, node)
		time.Sleep(time.Minute)
		if n := s.Count("", 0); n != 2 || s.Pod("u1").Status.NominatedNodeName != "x" {
			t.Errorf("%d calls after the watch came, want 2", n)
		}
	})
}

// TestEndedBySomebodyElse: a phase that others made terminal is not left, even if the watch has yet to tell (behaviour 269).
func TestEndedBySomebodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		p := bound("web", "u1")
		s.Put(p)
		s.Lag = constant(2 * time.Second)
		_, stop := start(t, s, node)
		defer stop()
		s.Edit("u1", func(p *v1.Pod) { p.Status.Phase, p.Status.Reason = v1.PodFailed, "NodeLost" })
		node.put(of(p, says(v1.PodRunning, true, "")))
		time.Sleep(time.Minute)
		if got := s.Pod("u1").Status; got.Phase != v1.PodFailed || got.Reason != "NodeLost" || len(got.ContainerStatuses) != 1 {
			t.Errorf("status %+v", got)
		}
		if n := s.Count("", 0); n > 4 {
			t.Errorf("%d calls", n)
		}
	})
}

// TestWatchOfAnotherPast: the server was restored from a backup, so its versions never reach what was answered.
func TestWatchOfAnotherPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		s.Version = 5000
		p := bound("web", "u1")
		s.Put(p)
		_, stop := start(t, s, node)
		defer stop()
		s.Locked(func() { s.Lag = constant(time.Hour) }) // what follows is never seen
		node.put(of(p, says(v1.PodRunning, true, "")))
		synctest.Wait()
		s.Locked(func() {
			s.Lag, s.Version = nil, 100
			s.View.Set(podapi.List{Synced: true, Pods: s.View.Value().Pods})
			s.Change("u1", bound("web", "u1"))
		})
		time.Sleep(lag + time.Second)
		synctest.Wait()
		told(t, s, node)
	})
}

// TestLastStatusThenGone: the end is told, then the pod deleted, without waiting for the watch (behaviours 146, 280).
func TestLastStatusThenGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		p := bound("web", "u1")
		deleted(p)
		s.Put(p)
		s.Lag, s.Latency = constant(5*time.Second), constant(10*time.Millisecond)
		_, stop := start(t, s, node)
		defer stop()
		node.put(of(p, says(v1.PodRunning, false, "")))
		time.Sleep(time.Second)
		ended := of(p, says(v1.PodFailed, false, ""))
		node.put(ended) // ended, but not all of it is gone
		time.Sleep(time.Second)
		if s.Pod("u1") == nil {
			t.Fatal("deleted while something of it was left")
		}
		ended.Rested = true
		ended.Status = says(v1.PodFailed, false, "more") // so there is one more thing to tell first
		node.put(ended)
		time.Sleep(25 * time.Millisecond)
		synctest.Wait()
		if s.Pod("u1") != nil {
			t.Fatal("not gone after the time of two calls")
		}
		time.Sleep(time.Minute)
		node.drop("u1")
		if n, d := s.Count("patch", 0), s.Count("delete", 0); n != 3 || d != 1 {
			t.Errorf("%d patches and %d deletes, want 3 and 1", n, d)
		}
	})
}

// TestQuickStartIsOneCall: what is said of a pod on its way to Ready is not told if it is Ready soon.
func TestQuickStartIsOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		_, stop := start(t, s, node)
		defer stop()
		p := bound("web", "u1")
		s.Put(p)
		for _, detail := range []string{"", "volumes", "sandbox"} {
			node.put(of(p, says(v1.PodPending, false, detail)))
			time.Sleep(50 * time.Millisecond)
		}
		if n := s.Count("", 0); n != 0 {
			t.Errorf("%d calls of a pod that is about to be Ready", n)
		}
		node.put(of(p, says(v1.PodRunning, true, "")))
		synctest.Wait()
		told(t, s, node)
		time.Sleep(time.Minute)
		if n := s.Count("", 0); n != 1 {
			t.Errorf("%d calls, want 1", n)
		}
	})
}

// TestDetailsMakeWay: what only people read is told soon of one pod, and a little later of many; what is told next takes it along.
func TestDetailsMakeWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		s.Latency = constant(5 * time.Millisecond)
		_, stop := start(t, s, node)
		defer stop()
		p := bound("web", "u1")
		s.Put(p)
		node.put(of(p, says(v1.PodPending, false, "")))
		time.Sleep(starting + 6*time.Millisecond)
		told(t, s, node)
		node.put(of(p, says(v1.PodPending, false, "a detail")))
		time.Sleep(breath / 2)
		if n := s.Count("", 0); n != 1 {
			t.Errorf("%d calls, want 1: another detail follows too soon", n)
		}
		node.put(of(p, says(v1.PodRunning, true, "")))
		time.Sleep(6 * time.Millisecond)
		told(t, s, node)
		node.put(of(p, says(v1.PodRunning, true, "a detail")))
		time.Sleep(breath + 6*time.Millisecond)
		told(t, s, node)
		if n := s.Count("", 0); n != 3 {
			t.Errorf("%d calls, want 3", n)
		}

		begin := s.Since()
		var many []*v1.Pod
		for i := range 50 {
			many = append(many, bound(fmt.Sprint("m", i), types.UID(fmt.Sprint("m", i))))
			s.Put(many[i])
			node.put(of(many[i], says(v1.PodPending, false, "")))
		}
		time.Sleep(longest / 2)
		for _, p := range many[:40] {
			node.put(of(p, says(v1.PodRunning, true, "")))
		}
		time.Sleep(longest/2 + 50*time.Millisecond)
		told(t, s, node)
		if n := s.Count("", begin); n > 60 {
			t.Errorf("%d calls for 50 pods of which 40 run soon, want hardly more than 50", n)
		}
	})
}

// TestDeletedPodIsQuiet: of a pod that is deleted, its end is told at once, with what came before, and nothing between that
// and the delete.
func TestDeletedPodIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		s.Latency = constant(5 * time.Millisecond)
		p := bound("web", "u1")
		s.Put(p)
		_, stop := start(t, s, node)
		defer stop()
		node.put(of(p, says(v1.PodRunning, true, "")))
		time.Sleep(time.Minute)
		s.Edit("u1", func(p *v1.Pod) { deleted(p) })
		began := s.Since()
		node.put(of(p, says(v1.PodRunning, true, "stopping")))
		time.Sleep(30 * time.Millisecond)
		node.put(of(p, says(v1.PodRunning, false, "")))
		time.Sleep(10 * time.Millisecond)
		node.put(of(p, says(v1.PodSucceeded, false, "")))
		time.Sleep(6 * time.Millisecond)
		told(t, s, node)
		time.Sleep(200 * time.Millisecond)
		over := of(p, says(v1.PodSucceeded, false, "no sandbox"))
		node.put(over)
		time.Sleep(500 * time.Millisecond)
		if n := s.Count("patch", began); n != 2 {
			t.Errorf("%d patches, want that it stops, and its end", n)
		}
		over.Rested = true
		node.put(over)
		time.Sleep(11 * time.Millisecond)
		if n := s.Count("delete", began); n != 1 || s.Pod("u1") != nil {
			t.Errorf("%d deletes", n)
		}
	})
}

// TestSandboxIsNoReasonToStay: that the sandbox has ended is not told of a pod that ended and goes with the next call, unless
// somebody keeps its object.
func TestSandboxIsNoReasonToStay(t *testing.T) {
	with := func(ready v1.ConditionStatus) *v1.PodStatus {
		s := says(v1.PodSucceeded, false, "")
		s.Conditions = append(s.Conditions, v1.PodCondition{Type: v1.PodReadyToStartContainers, Status: ready})
		return s
	}
	gone := bound("web", "u1")
	gone.Status = merge(bound("web", "u1"), with(v1.ConditionTrue))
	deleted(gone)
	kept := gone.DeepCopy()
	kept.Finalizers, kept.DeletionGracePeriodSeconds = []string{"batch.kubernetes.io/job-tracking"}, new(int64)
	other := with(v1.ConditionFalse)
	other.Message = "and this"
	for name, c := range map[string]struct {
		pod    *v1.Pod
		says   *v1.PodStatus
		rested bool
		want   verb
	}{
		"goes":                  {gone, with(v1.ConditionFalse), true, remove},
		"stays a while":         {gone, with(v1.ConditionFalse), false, tell},
		"is kept by others":     {kept, with(v1.ConditionFalse), true, tell},
		"has more to be told":   {gone, other, true, tell},
		"nothing to tell of it": {gone, with(v1.ConditionTrue), true, remove},
	} {
		if got := decide(c.pod, c.says, c.rested, time.Now()); got.verb != c.want {
			t.Errorf("%s: %v, want %v", name, got.verb, c.want)
		}
	}
}

// TestRestedPodAlwaysEnds: whatever the node says of a pod that is gone from it, the object goes with a terminal phase.
func TestRestedPodAlwaysEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		p := bound("web", "u1")
		deleted(p)
		s.Put(p)
		_, stop := start(t, s, node)
		defer stop()
		node.put(Pod{UID: "u1", Namespace: "default", Name: "web", Status: says(v1.PodRunning, true, ""), Rested: true})
		synctest.Wait()
		if s.Pod("u1") != nil {
			t.Error("the pod is still there")
		}
	})
}

// TestAbsent: a pod with a deletion timestamp of which the node has nothing goes, and no other (behaviours 280, 362).
func TestAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		gone, unsure, alive, mirror := bound("gone", "u1"), bound("unsure", "u2"), bound("alive", "u3"), mirrorOf(bound("m", "u4"), "h")
		ran := bound("ran", "u5")
		ran.Status = *says(v1.PodRunning, true, "")
		for _, p := range []*v1.Pod{gone, unsure, mirror, ran} {
			deleted(p)
		}
		for _, p := range []*v1.Pod{gone, unsure, alive, mirror, ran} {
			s.Put(p)
		}
		var phases []v1.PodPhase
		_, stop := start(t, s, node, func(c *Config) {
			c.Absent = func(uid types.UID) bool { return uid != "u2" }
			c.Told = func(x Told) {
				if x.Pod != nil {
					phases = append(phases, x.Pod.Status.Phase)
					if cs := x.Pod.Status.ContainerStatuses; len(cs) > 0 && cs[0].State.Terminated.ExitCode != killedExitCode {
						t.Errorf("container ended as %+v", cs[0].State)
					}
				}
			}
		})
		defer stop()
		time.Sleep(time.Minute)
		for uid, want := range map[types.UID]bool{"u1": false, "u2": true, "u3": true, "u4": true, "u5": false} {
			if got := s.Pod(uid) != nil; got != want {
				t.Errorf("pod %s is there: %v, want %v", uid, got, want)
			}
		}
		if !slices.Equal(phases, []v1.PodPhase{v1.PodFailed, v1.PodFailed}) {
			t.Errorf("phases told: %v", phases)
		}
	})
}

// TestServerThatHasJustStarted: an API server whose caches are still empty says of a pod that is there that it is not. The pod goes
// a moment after the caches are full.
func TestServerThatHasJustStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		p := bound("web", "u1")
		deleted(p)
		s.Put(p)
		s.Fail = func(verb, name string) error {
			if verb == "delete" {
				return apierrors.NewNotFound(schema.GroupResource{Resource: "pod"}, name)
			}
			return nil
		}
		_, stop := start(t, s, node)
		defer stop()
		end := of(p, says(v1.PodSucceeded, false, ""))
		end.Rested = true
		node.put(end)
		time.Sleep(2500 * time.Millisecond)
		s.Locked(func() { s.Fail = nil })
		time.Sleep(2 * time.Second)
		if s.Pod("u1") != nil {
			t.Errorf("the pod is still there after %d deletes", s.Count("delete", 0))
		}
	})
}

// TestFinalizers: the last delete is sent once; the rest is up to whoever set the finalizer.
func TestFinalizers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		p := bound("web", "u1")
		deleted(p)
		p.Finalizers = []string{"example.com/x"}
		s.Put(p)
		_, stop := start(t, s, node)
		defer stop()
		end := of(p, says(v1.PodSucceeded, false, ""))
		end.Rested = true
		node.put(end)
		time.Sleep(time.Hour)
		s.Edit("u1", func(p *v1.Pod) { p.Labels = map[string]string{"a": "b"} })
		time.Sleep(time.Hour)
		if n := s.Count("delete", 0); n != 1 {
			t.Errorf("%d deletes, want 1", n)
		}
	})
}

// TestStaticPods: the status goes to the mirror with the right hash, to no other, and nothing deletes it (behaviour 281).
func TestStaticPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		s.Put(mirrorOf(bound("web-node1", "m1"), "old"))
		_, stop := start(t, s, node)
		defer stop()
		node.put(Pod{UID: "new", Namespace: "default", Name: "web-node1", Static: true, Status: says(v1.PodRunning, true, ""), Rested: true})
		node.put(Pod{UID: "m1", Namespace: "default", Name: "web-node1", Status: says(v1.PodRunning, true, "")}) // not a pod of ours
		time.Sleep(time.Minute)
		if n := s.Count("", 0); n != 0 {
			t.Fatalf("%d calls for a mirror with another hash", n)
		}
		s.Drop("m1")
		m2 := mirrorOf(bound("web-node1", "m2"), "new")
		s.Put(m2)
		synctest.Wait()
		if got := s.Pod("m2").Status; got.Phase != v1.PodRunning || got.ObservedGeneration != 1 {
			t.Errorf("mirror's status: %+v", got)
		}
		s.Edit("m2", deleted)
		s.Drop("m2")
		s.Put(mirrorOf(bound("web-node1", "m3"), "new"))
		synctest.Wait()
		told(t, s, node)
		if n := s.Count("patch", 0); n != 2 {
			t.Errorf("%d patches, want one for each mirror", n)
		}
	})
}

// TestOutage: with 300 pods changing while the API server is away, there is one attempt now and then; when it is back all is
// told at once, in order of importance, and no more than was meant to be under way.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		s.Latency = constant(10 * time.Millisecond)
		var pods []*v1.Pod
		for i := range 300 {
			pods = append(pods, bound(fmt.Sprint("p", i), types.UID(fmt.Sprint("u", i))))
			s.Put(pods[i])
			node.put(of(pods[i], says(v1.PodPending, false, "")))
		}
		var log bytes.Buffer
		r, stop := start(t, s, node, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		defer stop()
		time.Sleep(longest + time.Second) // these are details
		told(t, s, node)
		s.Locked(func() { s.Fail = func(string, string) error { return podapi.ErrDown } })
		away := s.Since()
		for i, p := range pods {
			node.put(of(p, says(v1.PodRunning, i%2 == 0, "")))
		}
		time.Sleep(10 * time.Minute)
		if n := s.Count("", away); n > 8+10*60/4 {
			t.Errorf("%d calls in ten minutes of outage", n)
		}
		if st := r.State(); st.Waiting != 300 || st.Down.IsZero() || !strings.Contains(st.Error, "refused") || time.Since(st.Since) < 9*time.Minute {
			t.Errorf("state %+v", st)
		}
		if d, ok := r.Pod("u7"); !ok || d.What != "status" || d.Since.IsZero() {
			t.Errorf("debt of a pod: %+v, %v", d, ok)
		}
		s.Locked(func() { s.Fail, s.Most = nil, 0 })
		back := s.Since()
		s.Put(bound("other", "other")) // the watch is back too
		for r.State().Waiting > 0 && s.Since()-back < time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		if took := s.Since() - back; took > 1500*time.Millisecond { // half a second for the first, 300 / 8 times 10 ms
			t.Errorf("took %v", took)
		}
		told(t, s, node)
		if n := s.Count("", back); n != 300 || s.Most > 8 {
			t.Errorf("%d calls, %d at once; want 300, 8", n, s.Most)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines of log, want one for the outage and one for its end:\n%s", n, log.String())
		}
	})
}

// TestOutageOfTheWatchToo: nobody says that the server is back; the next attempt finds out.
func TestOutageOfTheWatchToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		p := bound("web", "u1")
		s.Put(p)
		s.Fail = func(string, string) error { return apierrors.NewServiceUnavailable("starting") }
		_, stop := start(t, s, node)
		defer stop()
		node.put(of(p, says(v1.PodRunning, true, "")))
		time.Sleep(time.Hour)
		s.Locked(func() { s.Fail = nil })
		time.Sleep(downPauses.Max + downPauses.Max/5)
		synctest.Wait()
		told(t, s, node)
	})
}

// TestBusy: 300 pods at once on a slow server. Ready goes first, what changes while it waits is told once.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		s.Latency = constant(2 * time.Second)
		var pods []*v1.Pod
		for i := range 300 {
			p := bound(fmt.Sprint("p", i), types.UID(fmt.Sprint("u", i)))
			p.Status = *says(v1.PodRunning, false, "")
			pods = append(pods, p)
			s.Put(p)
		}
		r, stop := start(t, s, node)
		defer stop()
		for i, p := range pods {
			node.put(of(p, says(v1.PodRunning, false, fmt.Sprint("detail ", i))))
		}
		time.Sleep(time.Second)
		for _, p := range pods {
			node.put(of(p, says(v1.PodRunning, false, "newer")))
		}
		for _, p := range pods[250:] {
			node.put(of(p, says(v1.PodRunning, true, "newer")))
		}
		time.Sleep(16 * time.Second) // 8 that were on their way, then 50 of 8 at a time
		ready := 0
		for _, p := range pods {
			if api := s.Pod(p.UID); find(api.Status.Conditions, v1.PodReady).Status == v1.ConditionTrue {
				ready++
			}
		}
		if ready != 50 {
			t.Errorf("%d of 50 are ready after 17 s", ready)
		}
		for r.State().Waiting > 0 && s.Since() < time.Hour {
			time.Sleep(time.Second)
		}
		told(t, s, node)
		if n := s.Count("", 0); n > 310 || s.Since() > 80*time.Second {
			t.Errorf("%d calls in %v", n, s.Since())
		}
	})
}

// TestRestart: an agent that is killed with calls under way loses nothing; the next one tells what is missing.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		s.Latency = constant(100 * time.Millisecond)
		for i := range 50 {
			p := bound(fmt.Sprint("p", i), types.UID(fmt.Sprint("u", i)))
			s.Put(p)
			node.put(of(p, says(v1.PodRunning, true, "")))
		}
		_, stop := start(t, s, node)
		time.Sleep(250 * time.Millisecond)
		stop()
		before := s.Since()
		_, stop = start(t, s, node)
		defer stop()
		time.Sleep(10 * time.Second)
		told(t, s, node)
		if n := s.Count("", before); n > 50-16+8 {
			t.Errorf("%d calls after the restart, though 16 pods had been told", n)
		}
	})
}

// TestSecondRun: the same reporter may run again after it ended.
func TestSecondRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		p := bound("web", "u1")
		s.Put(p)
		s.Latency = constant(time.Second)
		node.put(of(p, says(v1.PodRunning, true, "")))
		r, stop := start(t, s, node)
		time.Sleep(time.Millisecond)
		stop()
		ended := make(chan error, 1)
		ctx := t.Context()
		go func() { ended <- r.Run(ctx) }()
		time.Sleep(2 * time.Second)
		told(t, s, node)
	})
}

// TestRefusals: what becomes of a pod that the server does not want to hear about, while others go on.
func TestRefusals(t *testing.T) {
	conflict := apierrors.NewConflict(podapi.Resource, "bad", errors.New("Precondition failed"))
	tests := map[string]struct {
		err  error
		most int // calls in ten minutes
		logs int
	}{
		"not found":      {apierrors.NewNotFound(podapi.Resource, "bad"), 6, 0},
		"conflict":       {conflict, 25, 0},
		"forbidden":      {apierrors.NewForbidden(podapi.Resource, "bad", errors.New("not your pod")), 15, 1},
		"internal error": {apierrors.NewInternalError(errors.New("webhook")), 80, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, node := newServer(t), newTable()
				s.Latency = constant(time.Millisecond)
				bad, good := bound("bad", "u1"), bound("good", "u2")
				s.Put(bad)
				s.Put(good)
				s.Fail = func(_, name string) error {
					if name == "bad" {
						return test.err
					}
					return nil
				}
				var log bytes.Buffer
				r, stop := start(t, s, node, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
				defer stop()
				node.put(of(bad, says(v1.PodRunning, true, "")))
				for i := range 600 {
					node.put(of(good, says(v1.PodRunning, i%2 == 0, "")))
					time.Sleep(900 * time.Millisecond)
					if got := find(s.Pod("u2").Status.Conditions, v1.PodReady); got == nil || (got.Status == v1.ConditionTrue) != (i%2 == 0) {
						t.Fatalf("round %d: the other pod was not told: %v", i, got)
					}
					time.Sleep(100 * time.Millisecond)
				}
				if n := s.Count("", 0) - 600; n > test.most || n < 2 {
					t.Errorf("%d calls for the bad pod, want at most %d", n, test.most)
				}
				if d, ok := r.Pod("u1"); name != "not found" && (!ok || d.Error == "" || d.Tries < 2) {
					t.Errorf("debt %+v, %v", d, ok)
				}
				if n := strings.Count(log.String(), "does not take"); n != test.logs {
					t.Errorf("%d refusals logged, want %d:\n%s", n, test.logs, log.String())
				}
				s.Locked(func() { s.Fail = nil })
				s.Edit("u1", func(p *v1.Pod) { p.Labels = map[string]string{"a": "b"} })
				time.Sleep(refusedPauses.Max + refusedPauses.Max/5)
				told(t, s, node)
			})
		})
	}
}

// TestSameNameAgain: a pod that was deleted by force and made again with the same name is another pod.
func TestSameNameAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		old := bound("web", "u1")
		s.Put(old)
		s.Lag = constant(3 * time.Second)
		_, stop := start(t, s, node)
		defer stop()
		s.Drop("u1")
		fresh := bound("web", "u2")
		s.Put(fresh)
		node.put(of(old, says(v1.PodFailed, false, "old"))) // the watch does not know yet
		node.put(of(fresh, says(v1.PodRunning, true, "")))
		time.Sleep(10 * time.Second)
		told(t, s, node)
		if got := s.Pod("u2").Status.Phase; got != v1.PodRunning {
			t.Errorf("the new pod is %s", got)
		}
	})
}

// TestUnsynced: nothing is told before the server's pods are known.
func TestUnsynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, node := newServer(t), newTable()
		p := bound("web", "u1")
		node.put(of(p, says(v1.PodRunning, true, "")))
		_, stop := start(t, s, node, func(c *Config) { c.Absent = func(types.UID) bool { return true } })
		defer stop()
		time.Sleep(time.Hour)
		if n := s.Count("", 0); n != 0 {
			t.Errorf("%d calls", n)
		}
		s.Put(p)
		synctest.Wait()
		told(t, s, node)
	})
}

// BenchmarkLook is what one change costs among 300 pods that just run.
func BenchmarkLook(b *testing.B) {
	s, node := newServer(nil), newTable()
	var pods []*v1.Pod
	for i := range 300 {
		p := bound(fmt.Sprint("p", i), types.UID(fmt.Sprint("u", i)))
		p.Status = *says(v1.PodRunning, true, "")
		pods = append(pods, p)
		s.Put(p)
		node.put(of(p, says(v1.PodRunning, true, "")))
	}
	r := New(Config{Pods: node.Pods, API: s.API, Cluster: s})
	statuses := []*v1.PodStatus{says(v1.PodRunning, true, ""), says(v1.PodRunning, true, "")}
	now := time.Now()
	r.look(now)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		node.put(of(pods[7], statuses[i%2]))
		b.StartTimer()
		r.look(now)
	}
}
