package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/bosun-project/bosun/internal/events"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// api keeps events as the API server does.
type api struct {
	t *testing.T

	mu     sync.Mutex
	events map[string]*corev1.Event
	order  []string
	calls  int
	fail   func(ctx context.Context) error
	back   chan struct{}
}

var errAway = errors.New("away")

func (a *api) call(ctx context.Context) error {
	a.mu.Lock()
	a.calls++
	fail := a.fail
	a.mu.Unlock()
	if fail != nil {
		return fail(ctx)
	}
	return ctx.Err()
}

func (a *api) attempts() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

func (a *api) setFail(fail func(ctx context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = fail
	if fail == nil {
		close(a.back)
		a.back = make(chan struct{})
	}
}

func (a *api) CreateEvent(ctx context.Context, e *corev1.Event) (*corev1.Event, error) {
	if err := a.call(ctx); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := e.Namespace + "/" + e.Name
	if a.events[key] != nil {
		a.t.Errorf("two events are named %s", key)
		return nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "events"}, e.Name)
	}
	e = e.DeepCopy()
	e.ResourceVersion = "1"
	a.events[key], a.order = e, append(a.order, key)
	return e.DeepCopy(), nil
}

func (a *api) PatchEvent(ctx context.Context, namespace, name string, patch []byte) (*corev1.Event, error) {
	if err := a.call(ctx); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := namespace + "/" + name
	if a.events[key] == nil {
		return nil, fmt.Errorf("patch event: %w", apierrors.NewNotFound(schema.GroupResource{Resource: "events"}, name))
	}
	old, err := json.Marshal(a.events[key])
	if err != nil {
		return nil, err
	}
	merged, err := strategicpatch.StrategicMergePatch(old, patch, &corev1.Event{})
	if err != nil {
		return nil, err
	}
	e := &corev1.Event{}
	if err := json.Unmarshal(merged, e); err != nil {
		return nil, err
	}
	a.events[key] = e
	return e.DeepCopy(), nil
}

func (a *api) Unreachable(err error) bool { return errors.Is(err, errAway) }

func (a *api) Back() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.back
}

// all returns the events as they are now, in the order of their creation.
func (a *api) all() (out []*corev1.Event) {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range a.order {
		if e := a.events[key]; e != nil {
			out = append(out, e)
		}
	}
	return out
}

// told returns "reason×count" of all events.
func (a *api) told() (out []string) {
	for _, e := range a.all() {
		out = append(out, fmt.Sprintf("%s×%d", e.Message, e.Count))
	}
	return out
}

// running starts a loop in a bubble. stop ends it and returns how long that took.
func running(t *testing.T, edit func(*events.Config)) (l *events.Loop, a *api, stop func() time.Duration) {
	a = &api{t: t, events: map[string]*corev1.Event{}, back: make(chan struct{})}
	config := events.Config{Node: "n1", Sender: a}
	if edit != nil {
		edit(&config)
	}
	l = events.New(config)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceValue(func() time.Duration {
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return time.Since(began)
	})
	t.Cleanup(func() { stop() })
	return l, a, stop
}

func bubble(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func about(name string) note.About {
	return note.About{Kind: "Pod", Namespace: "default", Name: name, UID: types.UID("uid-" + name)}
}

func of(name, why, message string) note.Note {
	return note.Note{At: time.Now(), About: about(name), Reason: why, Message: message}
}

func TestEventsSayWhatAndAboutWhom(t *testing.T) {
	bubble(t, "311, 315: a container", func(t *testing.T) {
		l, a, _ := running(t, func(c *events.Config) {
			c.Version = func(uid types.UID) string { return map[types.UID]string{"uid-web": "42"}[uid] }
		})
		n := of("web", reason.BackOff, "Back-off restarting failed container app in pod web_default(uid-web)")
		n.Level, n.Minor, n.About.Container, n.About.FieldPath = note.Warning, true, "app", "spec.containers{app}"
		l.Sink(n)
		when := metav1.NewTime(n.At)
		want := corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("web.%x", n.At.UnixNano()), ResourceVersion: "1"},
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: "default", Name: "web", UID: "uid-web", ResourceVersion: "42",
				FieldPath: "spec.containers{app}"},
			Source: corev1.EventSource{Component: "kubelet", Host: "n1"}, ReportingController: "kubelet", ReportingInstance: "n1",
			Type: "Warning", Reason: "BackOff", Message: n.Message, FirstTimestamp: when, LastTimestamp: when, Count: 1,
		}
		if got := a.all(); len(got) != 1 || got[0].String() != want.String() {
			t.Errorf("got  %v\nwant %v", got, want.String())
		}
	})
	bubble(t, "253: with annotations", func(t *testing.T) {
		l, a, _ := running(t, nil)
		n := of("web", reason.Evicted, "The node was low on resource: memory. ")
		n.Annotations = map[string]string{"starved_resource": "memory"}
		l.Sink(n)
		if got := a.all(); len(got) != 1 || got[0].Annotations["starved_resource"] != "memory" {
			t.Errorf("got %v", got)
		}
	})
	bubble(t, "294: the node", func(t *testing.T) {
		l, a, _ := running(t, nil)
		l.Sink(note.Note{At: time.Now(), About: note.About{Kind: "Node"}, Reason: "Starting", Message: "Starting kubelet."})
		got := a.all()
		want := corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: "n1", UID: "n1"}
		if len(got) != 1 || got[0].InvolvedObject != want || got[0].Namespace != "default" || got[0].Type != "Normal" {
			t.Errorf("got %v", got)
		}
	})
	bubble(t, "294: the node by the UID of its object", func(t *testing.T) {
		l, a, _ := running(t, func(c *events.Config) { c.NodeUID = func() types.UID { return "0b0a" } })
		l.Sink(note.Note{At: time.Now(), About: note.About{Kind: "Node"}, Reason: "NodeReady"})
		if got := a.all(); len(got) != 1 || got[0].InvolvedObject.UID != "0b0a" {
			t.Errorf("got %v", got)
		}
	})
	bubble(t, "315: a static pod, by the UID of its manifest", func(t *testing.T) {
		l, a, _ := running(t, nil)
		n := of("web-n1", "Started", "Container started")
		n.About.UID = "f3b1c0de"
		l.Sink(n)
		if got := a.all(); len(got) != 1 || got[0].InvolvedObject.UID != "f3b1c0de" || got[0].InvolvedObject.ResourceVersion != "" {
			t.Errorf("got %v", got)
		}
	})
	bubble(t, "what the API server does not know stays here", func(t *testing.T) {
		l, a, _ := running(t, nil)
		l.Sink(note.Note{At: time.Now(), About: note.About{Kind: "Manifest", Name: "/etc/x.yaml"}, Reason: "FailedValidation", Message: "no"})
		l.Sink(note.Note{At: time.Now(), About: note.About{Kind: "Pod", Name: "nameless"}, Reason: "FailedValidation", Message: "no"})
		if got := a.all(); len(got) != 0 {
			t.Errorf("got %v", got)
		}
	})
	bubble(t, "no output of hooks, nothing that cannot be encoded, nothing without end", func(t *testing.T) {
		l, a, _ := running(t, nil)
		l.Sink(of("a", reason.FailedPostStartHook, "Exec lifecycle hook ([...]) failed: the password is 1234"))
		l.Sink(of("b", reason.FailedPreStopHook, "Exec lifecycle hook ([...]) failed: the password is 1234"))
		l.Sink(of("c", "Failed", "Error: \xff"))
		l.Sink(of("d", "Failed", strings.Repeat("ä", 10000)))
		got := a.all()
		if len(got) != 4 || got[0].Message != "PostStartHook failed" || got[1].Message != "PreStopHook failed" || got[2].Message != "Error: \uFFFD" {
			t.Fatalf("got %v", got)
		}
		if m := got[3].Message; len(m) > 8200 || !utf8.ValidString(m) || !strings.HasSuffix(m, "ä…") {
			t.Errorf("the long one has %d bytes and ends with %q", len(m), m[len(m)-10:])
		}
	})
}

func TestNoFlood(t *testing.T) {
	bubble(t, "311: the same is counted", func(t *testing.T) {
		l, a, _ := running(t, nil)
		for range 3 {
			l.Sink(of("web", "Pulled", "again"))
			time.Sleep(time.Second)
		}
		got := a.all()
		if !slices.Equal(a.told(), []string{"again×3"}) || got[0].LastTimestamp.Sub(got[0].FirstTimestamp.Time) != 2*time.Second {
			t.Errorf("got %v", got)
		}
	})
	bubble(t, "an event that the API server has forgotten is made again", func(t *testing.T) {
		l, a, _ := running(t, nil)
		l.Sink(of("web", "Pulled", "again"))
		a.all()
		a.mu.Lock()
		clear(a.events)
		a.mu.Unlock()
		time.Sleep(time.Second)
		l.Sink(of("web", "Pulled", "again"))
		if got := a.told(); !slices.Contains(got, "again×2") {
			t.Errorf("got %v", got)
		}
	})
	bubble(t, "311: the alike are combined", func(t *testing.T) {
		l, a, _ := running(t, nil)
		for i := range 15 {
			l.Sink(of("web", "Unhealthy", fmt.Sprint("probe ", i)))
			time.Sleep(time.Second)
		}
		got := a.told()
		if len(got) != 10 || got[9] != "(combined from similar events): probe 14×6" {
			t.Errorf("got %q", got)
		}
	})
	bubble(t, "311: 25 at once and one more every 5 minutes, for each object", func(t *testing.T) {
		l, a, _ := running(t, nil)
		for i := range 40 {
			l.Sink(of("noisy", fmt.Sprint("Reason", i), "x"))
			l.Sink(of("quiet", "Started", "x"))
		}
		time.Sleep(11 * time.Second)
		got, c := a.told(), l.Counts()
		if len(got) != 26 || c.Silenced != 30 || c.Sent != 50 {
			t.Errorf("%d events, counts %+v", len(got), c)
		}
		time.Sleep(5*time.Minute + time.Second)
		l.Sink(of("noisy", "Later", "x"))
		l.Sink(of("noisy", "Later2", "x"))
		if got := len(a.told()); got != 27 {
			t.Errorf("%d events, want 27", got)
		}
	})
	bubble(t, "few are told at once, and many one after the other", func(t *testing.T) {
		l, a, _ := running(t, nil)
		for i := range 50 {
			l.Sink(of(fmt.Sprint("p", i), "Started", "x"))
		}
		if got := len(a.told()); got != 10 {
			t.Errorf("%d events at once, want 10", got)
		}
		time.Sleep(2 * time.Second)
		if got := len(a.told()); got != 30 {
			t.Errorf("%d events after 2 s, want 30", got)
		}
		time.Sleep(2 * time.Second)
		if got := len(a.told()); got != 50 {
			t.Errorf("%d events after 4 s, want all", got)
		}
	})
	bubble(t, "events of one moment have names of their own", func(t *testing.T) {
		l, a, _ := running(t, nil)
		for i := range 5 {
			l.Sink(of("web", fmt.Sprint("Reason", i), "x"))
		}
		if got := len(a.all()); got != 5 {
			t.Errorf("%d events, want 5", got)
		}
	})
}

func away(context.Context) error { return errAway }

func TestWhileTheServerIsAway(t *testing.T) {
	bubble(t, "the newest thousand wait, in order, and go soon when it is back", func(t *testing.T) {
		l, a, _ := running(t, nil)
		a.setFail(away)
		for i := range 1500 {
			l.Sink(of(fmt.Sprintf("p%04d", i), "Started", fmt.Sprint(i)))
		}
		time.Sleep(10 * time.Minute)
		if n := a.attempts(); n > 100 || n < 30 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		a.setFail(nil)
		began := time.Now()
		if got := len(a.told()); got < 900 {
			t.Errorf("%d events at once", got)
		}
		time.Sleep(11 * time.Second)
		got := a.told()
		if len(got) < 1000 || got[len(got)-1] != "1499×1" || !slices.IsSortedFunc(a.all(), func(x, y *corev1.Event) int { return strings.Compare(x.InvolvedObject.Name, y.InvolvedObject.Name) }) {
			t.Errorf("%d events after %v, the last is %s", len(got), time.Since(began), got[len(got)-1])
		}
		if c := l.Counts(); c.Dropped+c.Sent != 1500 {
			t.Errorf("counts %+v", c)
		}
	})
	bubble(t, "what is older than an hour is not sent", func(t *testing.T) {
		l, a, _ := running(t, nil)
		a.setFail(away)
		l.Sink(of("a", "Started", "old"))
		l.Sink(of("b", "Started", "old"))
		time.Sleep(61 * time.Minute)
		l.Sink(of("c", "Started", "new"))
		a.setFail(nil)
		if got := a.told(); !slices.Equal(got, []string{"new×1"}) || l.Counts().Dropped != 2 {
			t.Errorf("got %v, %+v", got, l.Counts())
		}
	})
	bubble(t, "an expired certificate is waited for", func(t *testing.T) {
		l, a, _ := running(t, nil)
		a.setFail(func(context.Context) error {
			return fmt.Errorf("create event: %w", apierrors.NewUnauthorized("expired"))
		})
		l.Sink(of("a", "Started", "x"))
		time.Sleep(time.Minute)
		a.setFail(nil)
		if got := a.told(); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
	bubble(t, "an API server that has just started may refuse for a moment", func(t *testing.T) {
		l, a, _ := running(t, nil)
		a.setFail(refuse(apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "x", errors.New("no"))))
		l.Sink(of("a", "Started", "x"))
		time.Sleep(2 * time.Second)
		a.setFail(nil)
		if got := a.told(); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
	terminating := apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "x", errors.New("namespace is being deleted"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, c := range map[string]struct {
		err   error
		calls int
	}{
		"forbidden":                  {apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "x", errors.New("no")), 6},
		"namespace is being deleted": {terminating, 1},
		"no such namespace":          {apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "x"), 1},
		"invalid":                    {apierrors.NewInvalid(schema.GroupKind{Kind: "Event"}, "x", nil), 1},
	} {
		bubble(t, "what is rejected is given up: "+name, func(t *testing.T) {
			l, a, _ := running(t, nil)
			a.setFail(refuse(c.err))
			l.Sink(of("a", "Started", "x"))
			time.Sleep(time.Minute)
			if a.attempts() != c.calls || l.Counts().Rejected != 1 {
				t.Errorf("%d attempts, %+v", a.attempts(), l.Counts())
			}
			a.setFail(nil)
			l.Sink(of("a", "Started", "y"))
			if got := a.told(); len(got) != 1 {
				t.Errorf("afterwards: %v", got)
			}
		})
	}
}

func refuse(err error) func(context.Context) error {
	return func(context.Context) error { return fmt.Errorf("create event: %w", err) }
}

func TestParting(t *testing.T) {
	bubble(t, "what is queued is sent", func(t *testing.T) {
		l, a, stop := running(t, nil)
		a.setFail(func(context.Context) error { time.Sleep(10 * time.Millisecond); return nil })
		for i := range 10 {
			l.Sink(of(fmt.Sprint(i), "Killing", "x"))
		}
		if took := stop(); took != 100*time.Millisecond || len(a.told()) != 10 {
			t.Errorf("%d events after %v", len(a.told()), took)
		}
	})
	bubble(t, "for a second", func(t *testing.T) {
		l, a, stop := running(t, nil)
		a.setFail(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		l.Sink(of("a", "Killing", "x"))
		l.Sink(of("b", "Killing", "x"))
		synctest.Wait()
		if took := stop(); took != time.Second {
			t.Errorf("it ended after %v", took)
		}
		l.Sink(of("c", "Killing", "x")) // nobody listens any more, and nobody is held up
	})
	bubble(t, "not at all for a server that is away", func(t *testing.T) {
		l, a, stop := running(t, nil)
		a.setFail(away)
		l.Sink(of("a", "Killing", "x"))
		synctest.Wait()
		if took := stop(); took != 0 {
			t.Errorf("it ended after %v", took)
		}
	})
}
