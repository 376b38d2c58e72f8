package shutdown

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
)

var errNoBus = errors.New("connect to the system bus: no such file or directory")

// machine is a logind, and the bus on which it is.
type machine struct {
	mu       sync.Mutex
	absent   bool // there is no bus
	down     bool
	most     time.Duration
	reloads  func(want time.Duration) time.Duration // how AllowDelay ends; nil refuses
	sessions []*session
	held     int
	taken    int
	dials    int
	asked    []time.Duration
	hangs    chan struct{} // nobody is connected before it is closed; nil if at once
}

type session struct {
	machine *machine
	told    chan bool
	gone    chan struct{}
	closed  bool
}

// hang lets connections wait until release is called.
func (m *machine) hang() (release func()) {
	m.hangs = make(chan struct{})
	return func() { close(m.hangs) }
}

func (m *machine) connect(context.Context) (Session, error) {
	if m.hangs != nil {
		<-m.hangs
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dials++
	if m.absent {
		return nil, errNoBus
	}
	s := &session{machine: m, told: make(chan bool, 16), gone: make(chan struct{})}
	m.sessions = append(m.sessions, s)
	return s, nil
}

// announce says that the machine goes down, or does not after all.
func (m *machine) announce(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
	for _, s := range m.sessions {
		s.told <- down
	}
}

// leave ends all sessions; absent tells whether the bus stays away.
func (m *machine) leave(absent bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.absent = absent
	for _, s := range m.sessions {
		close(s.gone)
	}
	m.sessions = nil
}

func (m *machine) change(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *machine) locks() (held, taken int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held, m.taken
}

func (s *session) GoingDown(context.Context) (bool, error) {
	s.machine.mu.Lock()
	defer s.machine.mu.Unlock()
	return s.machine.down, nil
}

func (s *session) MostDelay(context.Context) (time.Duration, error) {
	s.machine.mu.Lock()
	defer s.machine.mu.Unlock()
	return s.machine.most, nil
}

func (s *session) AllowDelay(_ context.Context, want time.Duration) error {
	s.machine.mu.Lock()
	defer s.machine.mu.Unlock()
	s.machine.asked = append(s.machine.asked, want)
	if s.machine.reloads == nil {
		return errors.New("open /etc/systemd/logind.conf.d: read-only file system")
	}
	time.AfterFunc(300*time.Millisecond, func() { // in its own time
		s.machine.change(func() { s.machine.most = s.machine.reloads(want) })
	})
	return nil
}

func (s *session) Announcements() <-chan bool { return s.told }
func (s *session) Gone() <-chan struct{}      { return s.gone }

func (s *session) Close() error {
	s.machine.mu.Lock()
	defer s.machine.mu.Unlock()
	s.closed = true
	s.machine.sessions = slices.DeleteFunc(s.machine.sessions, func(o *session) bool { return o == s })
	return nil
}

func (s *session) Delay(context.Context, string, string) (io.Closer, error) {
	m := s.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return nil, errors.New("the operation inhibition has been requested for is already running")
	}
	m.held++
	m.taken++
	return &held{machine: m}, nil
}

type held struct {
	machine *machine
	once    sync.Once
}

func (h *held) Close() error {
	h.once.Do(func() { h.machine.change(func() { h.machine.held-- }) })
	return nil
}

// node is a node with pods, of which each takes some time to end once it has been ordered to.
type node struct {
	t       *testing.T
	machine *machine
	loop    *Loop
	dir     string

	mu    sync.Mutex
	pods  []Pod
	takes map[types.UID]time.Duration
	began map[types.UID]time.Duration // when it was ordered to end
	grace map[types.UID]time.Duration
	cell  latest.Cell[[]Pod]
	notes []string
	log   bytes.Buffer
	start time.Time

	// api makes the node a cluster's: how many ends are untold, and whether the server answers.
	api *latest.Cell[api]
}

type api struct {
	untold  int
	answers bool
}

func newNode(t *testing.T) *node {
	return &node{
		t: t, machine: &machine{most: time.Minute}, dir: t.TempDir(), start: time.Now(),
		takes: map[types.UID]time.Duration{}, began: map[types.UID]time.Duration{}, grace: map[types.UID]time.Duration{},
	}
}

// pod adds a pod that takes some time to end.
func (n *node) pod(uid types.UID, priority int32, grace, takes time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pods = append(n.pods, Pod{UID: uid, Priority: priority, Grace: grace})
	n.takes[uid] = takes
	n.cell.Set(slices.Clone(n.pods))
}

func (n *node) rest(uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.pods {
		n.pods[i].Rested = n.pods[i].Rested || n.pods[i].UID == uid
	}
	n.cell.Set(slices.Clone(n.pods))
}

// run runs a life of the agent until the function that it returns is called.
func (n *node) run(groups []Group) (stop func()) {
	config := Config{
		Groups: groups, Dir: n.dir, Connect: n.machine.connect, Pods: n.cell.Get, Log: slog.New(slog.NewTextHandler(n, nil)),
		Notes: func(x note.Note) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.notes = append(n.notes, x.About.Kind+" "+x.Reason+": "+x.Message)
		},
	}
	if n.api != nil {
		config.Untold = func([]types.UID) (int, bool, [2]<-chan struct{}) {
			a, newer := n.api.Get()
			return a.untold, a.answers, [2]<-chan struct{}{newer}
		}
	}
	n.loop = New(config)
	ctx, cancel := context.WithCancel(n.t.Context())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := n.loop.Run(ctx); err != nil {
			n.t.Error(err)
		}
	})
	ended.Go(func() { n.work(ctx) })
	return func() { cancel(); ended.Wait() }
}

// Write takes the log.
func (n *node) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(p)
}

func (n *node) said(text string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.log.String(), text)
}

// work carries out orders.
func (n *node) work(ctx context.Context) {
	for {
		s, newer := n.loop.State().Get()
		n.mu.Lock()
		for uid, o := range s.Orders {
			if _, done := n.began[uid]; !done {
				n.began[uid], n.grace[uid] = time.Since(n.start), o.Grace
				time.AfterFunc(min(n.takes[uid], o.Grace), func() { n.rest(uid) })
			}
		}
		n.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-newer:
		}
	}
}

// ordered checks when a pod was ordered to end, and with which grace.
func (n *node) ordered(uid types.UID, at, grace time.Duration) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	got, ok := n.began[uid]
	if !ok || got != at || n.grace[uid] != grace {
		n.t.Errorf("pod %s was ordered to end at %v with %v (%v), want %v with %v", uid, got, n.grace[uid], ok, at, grace)
	}
}

func (n *node) is(stage Stage) State {
	n.t.Helper()
	s := n.loop.State().Value()
	if s.Stage != stage {
		n.t.Errorf("at %v the stage is %v, want %v", time.Since(n.start), s.Stage, stage)
	}
	return s
}

func (n *node) holds(want bool) {
	n.t.Helper()
	if held, _ := n.machine.locks(); held > 1 || (held == 1) != want {
		n.t.Errorf("at %v it holds %d locks, want one is %v", time.Since(n.start), held, want)
	}
}

// pass lets time go by, and all that is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
