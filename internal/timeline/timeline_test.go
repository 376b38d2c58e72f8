package timeline

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// told are the spans that ended, as text: in seconds since the beginning.
type told struct {
	mu    sync.Mutex
	zero  time.Time
	lines []string
}

type fake struct {
	told   *told
	path   string
	began  time.Time
	attrs  []slog.Attr
	failed string
}

type pathKey struct{}

func (f *fake) Under(ctx context.Context) context.Context {
	return context.WithValue(ctx, pathKey{}, f.path)
}
func (f *fake) Add(attrs ...slog.Attr) { f.attrs = append(f.attrs, attrs...) }
func (f *fake) Fail(fault string)      { f.failed = " failed: " + fault }
func (f *fake) End(at time.Time) {
	f.told.mu.Lock()
	defer f.told.mu.Unlock()
	f.told.lines = append(f.told.lines, fmt.Sprintf("%s %v-%v %v%s", f.path, f.began.Sub(f.told.zero), at.Sub(f.told.zero), f.attrs, f.failed))
}

func (t *told) begin(ctx context.Context, name string, at time.Time, attrs ...slog.Attr) Span {
	above, _ := ctx.Value(pathKey{}).(string)
	return &fake{told: t, path: above + "/" + name, began: at, attrs: attrs}
}

// slow does every effect in a second.
type slow struct{ fail string }

func (s *slow) Do(ctx context.Context, _ *pod.Desired, e plan.Effect, _ plan.Seen) plan.Outcome {
	if !strings.Contains(ctx.Value(pathKey{}).(string), stepName(e.Kind)) {
		panic("the effect is not below its span")
	}
	time.Sleep(time.Second)
	o := plan.Outcome{Effect: e}
	if s.fail != "" {
		o.Failed = &plan.Fault{Message: s.fail}
	}
	if e.Kind == plan.EnsureImage {
		o.Pulled = &plan.Pulled{Bytes: 9}
	}
	return o
}

// world is a pod's life as the worker would play it.
type world struct {
	t     *testing.T
	told  *told
	table latest.Cell[[]View]
	pods  *Pods
	slow  slow
	stop  func()
	d     *pod.Desired
	view  View
}

func begin(t *testing.T) *world {
	w := &world{t: t, told: &told{zero: time.Now()}}
	w.d = &pod.Desired{Seen: time.Now(), Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u"}}}
	w.view = View{UID: "u"}
	w.pods = New(Config{Doer: &w.slow, Begin: w.told.begin, Table: w.table.Get})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.pods.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	w.stop = func() { cancel(); <-done }
	return w
}

// do does an effect and shows the pod before and after.
func (w *world) do(e plan.Effect) {
	w.view.Idle = false
	w.show()
	w.pods.Do(w.t.Context(), w.d, e, plan.Seen{Memory: plan.Memory{Stage: w.view.Stage}})
}

func (w *world) show() {
	time.Sleep(time.Millisecond)
	w.view.At = time.Now()
	w.table.Set([]View{w.view})
	synctest.Wait()
}

func (w *world) idle() {
	w.view.Idle = true
	w.show()
}

// lines are the spans told since it was asked last.
func (w *world) lines() string {
	synctest.Wait()
	w.told.mu.Lock()
	defer w.told.mu.Unlock()
	text := strings.Join(w.told.lines, "\n")
	w.told.lines = nil
	return text
}

func (w *world) want(lines ...string) {
	w.t.Helper()
	if got, want := w.lines(), strings.Join(lines, "\n"); got != want {
		w.t.Errorf("told:\n%s\nwant:\n%s", got, want)
	}
}

const who = "k8s.pod.uid=u k8s.pod=shop/web k8s.pod.name=web k8s.namespace.name=shop k8s.pod.update_type="

// TestLife: the start of a pod is one act until it is first ready, and its end two.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t)
		w.do(plan.Effect{Kind: plan.Look})
		w.view.Stage, w.view.Judged = plan.Preparing, time.Now()
		w.do(plan.Effect{Kind: plan.SetupVolume, Volume: "data"})
		w.slow.fail = "no route"
		w.do(plan.Effect{Kind: plan.EnsureImage, Container: "app", Image: "nginx"})
		w.slow.fail = ""
		w.idle() // it waits to pull again
		w.view.Stage = plan.Running
		w.do(plan.Effect{Kind: plan.StartContainer, Container: "app", Attempt: 2})
		w.idle()
		time.Sleep(time.Second)
		w.view.Ready = true
		w.idle()
		w.want(
			"/syncPod/look 1ms-1.001s []",
			"/syncPod/admit 0s-1.001s []",
			"/syncPod/volume 1.002s-2.002s [k8s.volume.name=data]",
			"/syncPod/pull 2.003s-3.003s [k8s.container.name=app container.image.name=nginx bosun.attempt=0 bosun.image.present=false bosun.image.bytes=9 bosun.image.waited_seconds=0] failed: no route",
			"/syncPod/start 3.005s-4.005s [k8s.container.name=app bosun.attempt=2]",
			"/syncPod/first ready 4.005s-5.007s []",
			"/syncPod 0s-5.007s ["+who+"create]",
		)
		w.do(plan.Effect{Kind: plan.CreateContainer, Container: "app", Attempt: 3}) // it crashed
		w.do(plan.Effect{Kind: plan.StartContainer, Container: "app", Attempt: 3})
		w.idle()
		w.want(
			"/syncPod/create 5.008s-6.008s [k8s.container.name=app bosun.attempt=3]",
			"/syncPod/start 6.009s-7.009s [k8s.container.name=app bosun.attempt=3]",
			"/syncPod 5.008s-7.01s ["+who+"sync]",
		)
		w.view.Stage = plan.Stopping
		w.do(plan.Effect{Kind: plan.StopContainer, Container: "app", Attempt: 3})
		w.idle()
		w.do(plan.Effect{Kind: plan.StopSandbox})
		w.view.Stage = plan.Cleaning
		w.do(plan.Effect{Kind: plan.TearVolumes})
		w.view.Stage = plan.Done
		w.table.Set(nil)
		w.want(
			"/syncTerminatingPod/stop 7.011s-8.011s [k8s.container.name=app bosun.attempt=3]",
			"/syncTerminatingPod/stop sandbox 8.013s-9.013s [bosun.attempt=0]",
			"/syncTerminatingPod 7.011s-9.014s ["+who+"kill]",
			"/syncTerminatedPod/tear down volumes 9.014s-10.014s []",
			"/syncTerminatedPod 9.014s-10.014s ["+who+"kill]",
		)
		w.stop()
		w.want()
		if len(w.pods.lives) != 0 {
			t.Errorf("a pod that is gone is remembered: %v", w.pods.lives)
		}
	})
}

// TestRefused: a pod that is stopped before it was ready has no first being ready, and its act ends.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t)
		w.do(plan.Effect{Kind: plan.Look})
		w.view.Stage, w.view.Judged = plan.Stopping, time.Now()
		w.idle()
		w.want("/syncPod/look 1ms-1.001s []", "/syncPod/admit 0s-1.001s []", "/syncPod 0s-1.002s ["+who+"create]")
		w.stop()
	})
}

// TestLeaving: acts under way end with the agent, and a pod that ran before it did is not said to start.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t)
		w.view.Stage = plan.Running
		w.do(plan.Effect{Kind: plan.Look})
		w.show() // something else is in flight
		w.want("/syncPod/look 1ms-1.001s []")
		w.stop()
		w.want("/syncPod 1ms-1.002s [" + who + "sync]")
	})
}

// TestOldNews: a view from before an effect ended says nothing of what came after it.
func TestOldNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := begin(t)
		w.view.Stage = plan.Running
		w.do(plan.Effect{Kind: plan.Look})
		old := w.view
		old.Idle, old.At = true, w.told.zero
		w.table.Set([]View{old})
		w.want("/syncPod/look 1ms-1.001s []")
		w.idle()
		w.want("/syncPod 1ms-1.002s [" + who + "sync]")
		w.stop()
	})
}

// TestEveryKindHasAName: a kind of effect that this package has no shorter word for is called by its own.
func TestEveryKindHasAName(t *testing.T) {
	for k := plan.Look; k <= plan.ForgetPod; k++ {
		if name := stepName(k); name == "" || strings.Contains(name, "?") {
			t.Errorf("effect %d is called %q", k, name)
		}
	}
	if got := stepName(plan.TakeDevices); got != "take devices" {
		t.Errorf("taking devices is called %q", got)
	}
}
