package observe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
	"k8s.io/apimachinery/pkg/types"
)

var (
	errAway  = fault.As(fault.ErrUnavailable, errors.New("dial unix /run/fake.sock: connect: no such file or directory"))
	errEnded = fault.As(fault.ErrUnavailable, errors.New("the runtime ended the stream"))
)

// fakeRuntime is a container runtime in memory. It is used inside synctest bubbles only.
type fakeRuntime struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced by every change of the fields up to streams
	away    bool          // no call is answered
	frozen  bool          // no call comes back
	stuck   map[types.UID]bool
	failing map[types.UID]bool
	version string
	network bool
	noEvent bool // events are not supported
	streams map[chan engine.Event]bool
	replay  []engine.Event
	mute    bool // changes make no events

	pods map[types.UID]*pod.Report
	made map[types.UID]int // how often a pod was made: the runtime never uses an ID twice

	slow      time.Duration // an inspection takes so long
	listSlow  time.Duration // a listing takes so long
	inFlight  map[types.UID]int
	inspected map[types.UID]int
	listed    int
	asked     int
	overlaps  int
}

func newFakeRuntime() *fakeRuntime {
	return &fakeRuntime{
		changed: make(chan struct{}), stuck: map[types.UID]bool{}, failing: map[types.UID]bool{}, version: "1.0", network: true,
		streams: map[chan engine.Event]bool{}, pods: map[types.UID]*pod.Report{}, made: map[types.UID]int{}, slow: 5 * time.Millisecond,
		inFlight: map[types.UID]int{}, inspected: map[types.UID]int{},
	}
}

// set changes how the runtime behaves.
func (f *fakeRuntime) set(edit func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	edit()
	close(f.changed)
	f.changed = make(chan struct{})
}

// endStreams ends every event stream.
func (f *fakeRuntime) endStreams() {
	for s := range f.streams {
		close(s)
		delete(f.streams, s)
	}
}

// die ends every stream and answers no call.
func (f *fakeRuntime) die() { f.set(func() { f.away = true; f.endStreams() }) }

// wait blocks while blocked says so.
func (f *fakeRuntime) wait(ctx context.Context, blocked func() bool) error {
	for {
		f.mu.Lock()
		b, away, changed := blocked(), f.away, f.changed
		f.mu.Unlock()
		if away {
			return errAway
		}
		if !b {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (f *fakeRuntime) Version(ctx context.Context) (engine.Version, error) {
	err := f.wait(ctx, func() bool { return f.frozen })
	f.mu.Lock()
	defer f.mu.Unlock()
	return engine.Version{Name: "fake", Version: f.version, API: "v1"}, err
}

func (f *fakeRuntime) Status(ctx context.Context) (engine.Status, error) {
	f.mu.Lock()
	f.asked++
	f.mu.Unlock()
	if err := f.wait(ctx, func() bool { return f.frozen }); err != nil {
		return engine.Status{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := engine.Status{Runtime: engine.Condition{OK: true}, Network: engine.Condition{OK: f.network}}
	if !f.network {
		s.Network.Reason, s.Network.Message = "NetworkPluginNotReady", "no CNI configuration"
	}
	return s, nil
}

func (f *fakeRuntime) List(ctx context.Context) (map[types.UID]engine.Brief, error) {
	if err := f.wait(ctx, func() bool { return f.frozen }); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.listed++
	briefs := map[types.UID]engine.Brief{}
	for uid, r := range f.pods {
		h := fnv.New64a()
		for _, s := range r.Sandboxes {
			fmt.Fprint(h, s.ID, s.Ready)
		}
		for _, c := range r.Containers {
			fmt.Fprint(h, c.ID, c.State)
		}
		briefs[uid] = engine.Brief{Namespace: r.Namespace, Name: r.Name, Fingerprint: h.Sum64()}
	}
	slow := f.listSlow
	f.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(slow):
		return briefs, nil
	}
}

func (f *fakeRuntime) Inspect(ctx context.Context, uid types.UID) (pod.Report, error) {
	f.mu.Lock()
	f.inspected[uid]++
	if f.inFlight[uid]++; f.inFlight[uid] > 1 {
		f.overlaps++
	}
	r := f.look(uid)
	r.Complete = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inFlight[uid]--
		f.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return pod.Report{}, ctx.Err()
	case <-time.After(f.slow):
	}
	if err := f.wait(ctx, func() bool { return f.frozen || f.stuck[uid] }); err != nil {
		return pod.Report{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failing[uid] {
		return pod.Report{}, errors.New("failed to get sandbox ip: no such device")
	}
	return r, nil
}

// look copies what there is of a pod, as seen now. f.mu is held.
func (f *fakeRuntime) look(uid types.UID) pod.Report {
	now := time.Now()
	r := pod.Report{Began: now}
	if p := f.pods[uid]; p != nil {
		r.Namespace, r.Name = p.Namespace, p.Name
		r.Sandboxes, r.Containers = slices.Clone(p.Sandboxes), slices.Clone(p.Containers)
	}
	for i := range r.Sandboxes {
		r.Sandboxes[i].Seen = now
	}
	for i := range r.Containers {
		r.Containers[i].Seen = now
	}
	return r
}

func (f *fakeRuntime) Events(ctx context.Context, tell func(engine.Event)) error {
	if err := f.wait(ctx, func() bool { return false }); err != nil {
		return err
	}
	events := make(chan engine.Event, 10000)
	f.mu.Lock()
	if f.noEvent {
		f.mu.Unlock()
		return fault.As(fault.ErrUnsupported, errors.New("unknown method GetContainerEvents"))
	}
	f.streams[events] = true
	for _, e := range f.replay {
		events <- e
	}
	f.mu.Unlock()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-events:
			if !ok {
				return errEnded
			}
			tell(e)
		}
	}
}

// emit sends an event about an object of a pod as it is now. f.mu is held.
func (f *fakeRuntime) emit(uid types.UID, kind engine.EventKind, id string) {
	e := engine.Event{UID: uid, Kind: kind, ObjectID: id, At: time.Now(), Report: f.look(uid)}
	e.Whole = kind != engine.Deleted
	if len(e.Report.Sandboxes) == 0 {
		e.UID, e.Whole = "", false // as containerd does it once a sandbox is gone
	}
	f.send(e)
}

func (f *fakeRuntime) send(e engine.Event) {
	if f.mute {
		return
	}
	for s := range f.streams {
		s <- e
	}
}

// add makes a pod with a ready sandbox and one running container "app".
func (f *fakeRuntime) add(uid types.UID) {
	f.set(func() {
		base := string(uid)
		if f.made[uid]++; f.made[uid] > 1 {
			base = fmt.Sprint(uid, "-", f.made[uid])
		}
		f.pods[uid] = &pod.Report{
			Namespace: "default", Name: "pod-" + string(uid),
			Sandboxes:  []pod.Sandbox{{ID: "s-" + base, Ready: true, CreatedAt: time.Now()}},
			Containers: []pod.Container{{ID: "c-" + base + "-0", SandboxID: "s-" + base, Name: "app", State: pod.Running}},
		}
		f.emit(uid, engine.Started, f.pods[uid].Containers[0].ID)
	})
}

// exit ends every running container of a pod.
func (f *fakeRuntime) exit(uid types.UID) {
	f.set(func() {
		for i := range f.pods[uid].Containers {
			if c := &f.pods[uid].Containers[i]; c.State == pod.Running {
				c.State, c.FinishedAt, c.ExitCode = pod.Exited, time.Now(), 1
				f.emit(uid, engine.Stopped, c.ID)
			}
		}
	})
}

// restart starts another instance of the container of a pod.
func (f *fakeRuntime) restart(uid types.UID) {
	f.exit(uid)
	f.set(func() {
		p := f.pods[uid]
		n := uint32(len(p.Containers))
		id := fmt.Sprintf("c-%s-%d-%d", uid, n, time.Now().UnixNano())
		p.Containers = append(p.Containers, pod.Container{
			ID: id, SandboxID: p.Sandboxes[0].ID, Name: "app", Attempt: n, State: pod.Running, CreatedAt: time.Now(),
		})
		f.emit(uid, engine.Started, id)
	})
}

// dropOldest removes the oldest container of a pod.
func (f *fakeRuntime) dropOldest(uid types.UID) {
	f.set(func() {
		p := f.pods[uid]
		if len(p.Containers) == 0 {
			return
		}
		id := p.Containers[0].ID
		p.Containers = slices.Clone(p.Containers[1:])
		f.emit(uid, engine.Deleted, id)
	})
}

// remove removes everything of a pod.
func (f *fakeRuntime) remove(uid types.UID) {
	f.set(func() {
		id := f.pods[uid].Sandboxes[0].ID
		delete(f.pods, uid)
		f.emit(uid, engine.Deleted, id)
	})
}

// inbound collects what was delivered, merged as a worker would merge it.
type inbound struct {
	mu       sync.Mutex
	observed map[types.UID]pod.Observed
	reports  map[types.UID]int
}

func (in *inbound) Deliver(uid types.UID, r pod.Report) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.observed[uid] = in.observed[uid].Merge(r)
	in.reports[uid]++
}

func (in *inbound) of(uid types.UID) pod.Observed {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.observed[uid]
}

// complete counts the pods of which a complete report was delivered.
func (in *inbound) complete() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := 0
	for _, o := range in.observed {
		if !o.Inspected.IsZero() {
			n++
		}
	}
	return n
}

// bench is an observer at work in a bubble.
type bench struct {
	*testing.T
	rt    *fakeRuntime
	in    *inbound
	obs   *Observer
	mu    sync.Mutex
	notes []note.Note
}

// observing runs a test in a bubble, with an observer that is started by start and has ended when the test returns.
func observing(t *testing.T, test func(b *bench, start func())) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{T: t, rt: newFakeRuntime(), in: &inbound{observed: map[types.UID]pod.Observed{}, reports: map[types.UID]int{}}}
		b.obs = New(Config{Runtime: b.rt, Receiver: b.in, Notes: func(n note.Note) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.notes = append(b.notes, n)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		started := false
		test(b, func() {
			started = true
			go func() { ended <- b.obs.Run(ctx) }()
		})
		cancel()
		if !started {
			return
		}
		began := time.Now()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want context.Canceled", err)
		}
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("Run returned only %v after its context had ended", took)
		}
		if b.rt.overlaps > 0 {
			t.Errorf("%d inspections began while another one of the same pod was running", b.rt.overlaps)
		}
	})
}

// pass lets time go by and everything settle.
func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) health() Health { return b.obs.Health().Value() }

func (b *bench) noted(reason string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, each := range b.notes {
		if each.Reason == reason {
			n++
		}
	}
	return n
}

// states shows what a worker would know of a pod: "s-a ready, c-a-0 running".
func states(o pod.Observed) string {
	var words []string
	for _, s := range o.Sandboxes {
		word := s.ID + " not ready"
		if s.Ready {
			word = s.ID + " ready"
		}
		words = append(words, word)
	}
	containers := slices.Clone(o.Containers)
	slices.SortFunc(containers, func(a, b pod.Container) int { return cmp.Compare(a.ID, b.ID) })
	for _, c := range containers {
		words = append(words, c.ID+" "+c.State.String())
	}
	if len(words) == 0 {
		return "nothing"
	}
	return fmt.Sprint(words)
}

func (b *bench) wantState(uid types.UID, want string) {
	b.Helper()
	if got := states(b.in.of(uid)); got != want {
		b.Errorf("the worker of %s knows %s, want %s", uid, got, want)
	}
}

func (f *fakeRuntime) counts(uid types.UID) (listed, inspected, asked int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listed, f.inspected[uid], f.asked
}
