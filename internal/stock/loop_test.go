package stock_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/stock"
)

const gpu = "vendor.test/gpu"

// plugin is one in memory.
type plugin struct {
	preStart, prefers bool
	optionsErr        error
	wish              []string
	wishErr           error
	taken             allocate.Artifacts
	takeErr           error
	prepared          []string
	hangs             bool // it never tells of its devices

	mu     sync.Mutex
	tell   func(map[string]allocate.Device, string)
	ready  chan struct{}
	gone   chan struct{}
	closed int
}

func newPlugin() *plugin { return &plugin{ready: make(chan struct{}), gone: make(chan struct{})} }

func (p *plugin) Options(context.Context) (bool, bool, error) {
	return p.preStart, p.prefers, p.optionsErr
}

func (p *plugin) Follow(ctx context.Context, tell func(map[string]allocate.Device, string)) error {
	if !p.hangs {
		p.mu.Lock()
		p.tell = tell
		p.mu.Unlock()
		close(p.ready)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.gone:
		return errors.New("end of stream")
	}
}

// says makes the plugin tell of healthy devices; one with a ! is not.
func (p *plugin) says(ids string) {
	<-p.ready
	all := map[string]allocate.Device{}
	for _, id := range strings.Fields(ids) {
		name, ill := strings.CutSuffix(id, "!")
		all[name] = allocate.Device{Healthy: !ill}
	}
	p.tell(all, "")
	synctest.Wait()
}

func (p *plugin) end() {
	close(p.gone)
	synctest.Wait()
}

func (p *plugin) Prefer(context.Context, allocate.Question) ([]string, error) {
	return p.wish, p.wishErr
}

func (p *plugin) Allocate(context.Context, []string) (allocate.Artifacts, error) {
	return p.taken, p.takeErr
}

func (p *plugin) PreStart(_ context.Context, ids []string) error {
	p.prepared = append(p.prepared, strings.Join(ids, ","))
	return nil
}

func (p *plugin) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed++
	return nil
}

// rig is a Loop over plugins by socket.
type rig struct {
	*stock.Loop
	plugins    map[string]*plugin
	remembered []string
	registered map[string]int
}

// running plays in a bubble with a Loop that runs.
func running(t *testing.T, change func(*stock.Config), play func(*testing.T, *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{plugins: map[string]*plugin{}, registered: map[string]int{}}
		cfg := stock.Config{
			Connect: func(socket string) (stock.Plugin, error) {
				if p := r.plugins[socket]; p != nil {
					return p, nil
				}
				return nil, fmt.Errorf("no socket %s", socket)
			},
			Valid: func(string, ...string) error { return nil },
			Remember: func(_ context.Context, resource string) error {
				r.remembered = append(r.remembered, resource)
				return nil
			},
			Registered: func(resource string) { r.registered[resource]++ },
			Boot:       "boot", Log: slog.New(slog.DiscardHandler),
		}
		if change != nil {
			change(&cfg)
		}
		r.Loop = stock.New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		play(t, r)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// enter makes a plugin register by itself.
func (r *rig) enter(socket string, p *plugin) *plugin {
	r.plugins[socket] = p
	r.Enter(gpu, socket)
	synctest.Wait()
	return p
}

// now is the supply in words: "serving 2/3", "away 3", "gone".
func (r *rig) now() string {
	s, known := r.Supplies().Value().Known[gpu]
	all, healthy := s.Counts()
	switch {
	case !known:
		return "unknown"
	case s.Gone:
		return "gone"
	case s.Serving:
		return fmt.Sprintf("serving %d/%d", healthy, all)
	}
	return fmt.Sprintf("away %d", all)
}

func (r *rig) is(t *testing.T, when, want string) {
	t.Helper()
	if got := r.now(); got != want {
		t.Errorf("%s: %s, want %s", when, got, want)
	}
}

func TestAPluginComesAndGoes(t *testing.T) {
	running(t, nil, func(t *testing.T, r *rig) {
		r.is(t, "at first", "unknown")
		p := r.enter("/a", newPlugin())
		r.is(t, "registered", "away 0")
		p.says("a b c!")
		r.is(t, "237: it serves", "serving 2/3")
		p.says("a b! c!")
		r.is(t, "237: another is ill", "serving 1/3")
		p.end()
		r.is(t, "237: it has gone", "away 3")
		if s := r.Supplies().Value().Known[gpu]; !strings.Contains(s.Why, "end of stream") || !s.Until.Equal(time.Now().Add(5*time.Minute)) {
			t.Errorf("why %q, until %v", s.Why, s.Until)
		}
		time.Sleep(5*time.Minute - time.Second)
		synctest.Wait()
		r.is(t, "237: for nearly five minutes", "away 3")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		r.is(t, "237: for five minutes", "gone")
		q := r.enter("/a", newPlugin())
		q.says("a")
		r.is(t, "it is back", "serving 1/1")
		if s := r.Supplies().Value().Known[gpu]; s.Serial != 2 {
			t.Errorf("serial %d after two plugins", s.Serial)
		}
		if !slices.Equal(r.remembered, []string{gpu, gpu}) || r.registered[gpu] != 2 || p.closed != 1 {
			t.Errorf("remembered %v, counted %d, closed %d", r.remembered, r.registered[gpu], p.closed)
		}
	})
}

func TestANewPluginTakesOverWhenItTellsOfDevices(t *testing.T) {
	running(t, nil, func(t *testing.T, r *rig) {
		old := r.enter("/old", newPlugin())
		old.says("a b")
		silent := newPlugin()
		silent.hangs = true
		r.enter("/silent", silent)
		r.is(t, "beside one that hangs", "serving 2/2")
		fresh := r.enter("/new", newPlugin())
		fresh.says("c")
		r.is(t, "another one", "serving 1/1")
		if old.closed != 1 || silent.closed != 1 || fresh.closed != 0 {
			t.Errorf("closed: old %d, silent %d, new %d", old.closed, silent.closed, fresh.closed)
		}
		if err := r.Deregister(gpu, "/old"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		r.is(t, "the old one is let go late", "serving 1/1")
		if err := r.Deregister(gpu, "/new"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		r.is(t, "the new one is let go", "away 1")
	})
}

func TestKnownResourcesAreWaitedFor(t *testing.T) {
	running(t, func(c *stock.Config) { c.Known = []string{gpu}; c.Alone = true }, func(t *testing.T, r *rig) {
		r.is(t, "after the start", "away 0")
		s := r.Supplies().Value()
		if k := s.Known[gpu]; k.Ever || !k.Until.Equal(time.Now().Add(5*time.Minute)) || !strings.Contains(k.Why, "has not registered since the agent started") {
			t.Errorf("known: %+v", k)
		}
		if s.Unknown == nil || !s.Unknown.Until.Equal(time.Now().Add(5*time.Minute)) {
			t.Errorf("unknown: %+v", s.Unknown)
		}
		broken := newPlugin()
		broken.optionsErr = errors.New("hm")
		r.enter("/broken", broken)
		time.Sleep(time.Minute)
		r.is(t, "one that does not answer", "away 0")
		if k := r.Supplies().Value().Known[gpu]; !k.Ever || !strings.Contains(k.Why, "has registered") {
			t.Errorf("known: %+v", k)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		r.is(t, "and never does", "gone")
	})
}

func TestRegisterOfAFoundPlugin(t *testing.T) {
	running(t, nil, func(t *testing.T, r *rig) {
		p := newPlugin()
		p.optionsErr = errors.New("hm")
		r.plugins["/found"] = p
		if err := r.Register(t.Context(), gpu, "/found", nil); err == nil || !strings.Contains(err.Error(), gpu) || p.closed != 1 {
			t.Errorf("one that fails: %v, closed %d", err, p.closed)
		}
		p.optionsErr = nil
		if err := r.Register(t.Context(), gpu, "/found", nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.says("a")
		r.is(t, "found", "serving 1/1")
		if err := r.Register(t.Context(), gpu, "/none", nil); err == nil {
			t.Error("a plugin without a socket was registered")
		}
	})
}

func TestQuestions(t *testing.T) {
	running(t, nil, func(t *testing.T, r *rig) {
		p := newPlugin()
		p.prefers, p.wish = true, []string{"b"}
		r.enter("/a", p)
		p.says("a b")
		q := allocate.Question{Resource: gpu, Available: []string{"a", "b"}, Size: 1}
		_, newer := r.Supplies().Get()
		if _, answered := r.Prefer(q); answered {
			t.Error("there is an answer before the question")
		}
		synctest.Wait()
		select {
		case <-newer:
		default:
			t.Error("239: nobody is told of the answer")
		}
		if ids, answered := r.Prefer(q); !answered || !slices.Equal(ids, []string{"b"}) {
			t.Errorf("239: answered %v %v", ids, answered)
		}
		p.wishErr = errors.New("hm")
		q.Size = 2
		r.Prefer(q)
		synctest.Wait()
		if _, answered := r.Prefer(q); !answered {
			t.Error("a plugin that fails holds pods up")
		}
		for i := range 200 { // what nobody asks for any more is forgotten
			r.Prefer(allocate.Question{Resource: gpu, Size: i})
			synctest.Wait()
		}
		if _, answered := r.Prefer(q); answered {
			t.Error("answers are kept for ever")
		}
	})
}

func TestTake(t *testing.T) {
	running(t, nil, func(t *testing.T, r *rig) {
		p := &v1.Pod{Spec: v1.PodSpec{InitContainers: []v1.Container{{Name: "i"}}, Containers: []v1.Container{{Name: "c"}, {Name: "plain"}}}}
		a := &allocate.Assigned{Containers: map[string]allocate.Part{"i": {Devices: map[string][]string{gpu: {"a"}}}, "c": {Devices: map[string][]string{gpu: {"a", "b"}}}}}
		if _, err := r.Take(t.Context(), p, a); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("nobody serves: %v", err)
		}
		if err := r.Prepare(t.Context(), p, "c", gpu, nil); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("nobody prepares: %v", err)
		}
		d := newPlugin()
		d.preStart, d.taken = true, allocate.Artifacts{Env: map[string]string{"A": "1"}}
		r.enter("/a", d)
		d.says("a b!")
		if _, err := r.Take(t.Context(), p, a); !errors.Is(err, fault.ErrUnavailable) || !strings.Contains(err.Error(), "no longer healthy") {
			t.Errorf("a device is ill: %v", err)
		}
		d.says("a")
		if _, err := r.Take(t.Context(), p, a); !errors.Is(err, fault.ErrNotFound) {
			t.Errorf("a device is not there: %v", err)
		}
		d.says("a b")
		got, err := r.Take(t.Context(), p, a)
		one := allocate.Artifacts{Env: map[string]string{"A": "1"}, PreStart: []string{gpu}}
		if want := (&allocate.Handed{Boot: "boot", Containers: map[string]allocate.Artifacts{"i": one, "c": one}}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("handed out %+v, %v; want %+v", got, err, want)
		}
		if err := r.Prepare(t.Context(), p, "c", gpu, []string{"a", "b"}); err != nil || !slices.Equal(d.prepared, []string{"a,b"}) {
			t.Errorf("239: prepared %v, %v", d.prepared, err)
		}
		d.takeErr = errors.New("no way")
		if _, err := r.Take(t.Context(), p, a); err == nil || err.Error() != "no way" {
			t.Errorf("the plugin refuses: %v", err)
		}
	})
}
