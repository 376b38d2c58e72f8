package shutdown

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/reason"
)

// Config is what a Loop is built from.
type Config struct {
	// Groups are those of the pods; there must be some.
	Groups []Group
	// Dir is the state directory.
	Dir string
	// Connect connects to logind.
	Connect func(context.Context) (Session, error)
	// Pods are all pods of the node that were let in, and a channel that is closed when there is news.
	Pods func() ([]Pod, <-chan struct{})
	// Untold is of how many of these pods, and of the node itself, the API server has not heard yet how they have ended, and two
	// channels one of which is closed when there is news. It also tells whether the API server answers at all. Nil when there is
	// none.
	Untold func([]types.UID) (n int, answers bool, newer [2]<-chan struct{})
	Notes  note.Sink
	Log    *slog.Logger
}

// Stage is how far a shutdown has got.
type Stage uint8

// The stages; doc.go has the picture.
const (
	Unsure Stage = iota
	Staying
	Ending
	Telling
	Gone
)

var stageNames = [...]string{"unsure", "staying", "ending pods", "telling the API server", "gone"}

// String returns the stage as people read it.
func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return "?"
}

// State is what there is of a shutdown. It is never changed.
type State struct {
	Stage Stage
	// Orders are the pods that have to end, and how.
	Orders map[types.UID]*plan.Order
	// Last is the last shutdown, or the one under way.
	Last Record
	// Turn is, while pods are being ended, from which priority on; until when that group has time; and how many are left.
	Turn  int32
	Until time.Time
	Left  int
	// Problem is what keeps shutdowns from being heard of or delayed, and Since since when; empty for nothing.
	Problem string
	Since   time.Time
}

// Down tells that the machine is going down.
func (s State) Down() bool { return s.Stage >= Ending }

// Loop follows what logind says.
type Loop struct {
	cfg    Config
	record record
	lock   lock
	heard  latest.Cell[heard]
	state  latest.Cell[State]
}

// New builds a Loop, and reads what is remembered of the last shutdown.
func New(cfg Config) *Loop {
	l := &Loop{cfg: cfg, record: record(filepath.Join(cfg.Dir, recordName))}
	last, err := l.record.load()
	if err != nil {
		cfg.Log.Warn("the times of the last shutdown are not known", "err", err)
	}
	l.state.Set(State{Last: last})
	return l
}

// State is what there is of a shutdown now.
func (l *Loop) State() *latest.Cell[State] { return &l.state }

// Run follows logind until the context ends.
func (l *Loop) Run(ctx context.Context) error {
	l.cfg.Log.Info("when the machine goes down, pods are ended in groups", "groups", describe(l.cfg.Groups))
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer l.lock.swap(nil)
	defer group.Wait()
	defer cancel()
	group.Go(func() { l.watch(ctx) })
	for ctx.Err() == nil {
		h, newer := l.heard.Get()
		if h.known && h.down {
			l.goDown(ctx)
			continue
		}
		l.change(func(s *State) {
			s.Problem, s.Since, s.Orders = h.problem, h.since, nil
			if h.known {
				s.Stage = Staying
			}
		})
		select {
		case <-ctx.Done():
		case <-newer:
		}
	}
	return nil
}

// change publishes another State.
func (l *Loop) change(edit func(*State)) {
	s := l.state.Value()
	edit(&s)
	l.state.Set(s)
}

func (l *Loop) note(message string) {
	l.cfg.Notes(note.Note{At: time.Now(), About: note.About{Kind: "Node"}, Reason: reason.Shutdown, Message: message})
}

// goDown does all that a shutdown asks for. It returns when the shutdown is called off, or ctx ends.
func (l *Loop) goDown(ctx context.Context) {
	h := l.heard.Value()
	began := l.begin(h)
	s := schedule{groups: fit(l.cfg.Groups, h.most), began: began, since: time.Now()}
	s, ended := l.endPods(ctx, s)
	if ended {
		ended = l.tell(ctx, s)
	}
	if ended {
		now := time.Now()
		l.change(func(st *State) { st.Stage, st.Last.End, st.Left = Gone, now, 0 })
		l.remember()
		l.cfg.Log.Info("pods were ended, and the machine may go down", "pods", len(s.orders), "after", now.Sub(began).Round(time.Millisecond))
		l.lock.swap(nil)
		l.linger(ctx, s)
	}
	if ctx.Err() != nil {
		return
	}
	l.change(func(st *State) {
		if st.Last.End.IsZero() {
			st.Last.End = time.Now()
		}
		st.Stage, st.Orders = Staying, nil
	})
	l.cfg.Log.Info("the shutdown was called off")
	l.note("Shutdown manager detected shutdown cancellation")
	l.remember()
}

// begin takes in that a shutdown has begun, and returns when it did. One that an earlier life of the agent has heard of, goes on.
func (l *Loop) begin(h heard) (began time.Time) {
	began = time.Now()
	l.change(func(st *State) {
		last := st.Last
		if age := began.Sub(last.Start); st.Stage == Unsure && last.End.IsZero() && age >= 0 && age < Total(l.cfg.Groups) {
			began = last.Start
		}
		*st = State{Stage: Ending, Last: Record{Start: began}, Problem: h.problem, Since: h.since}
	})
	l.cfg.Log.Info("the machine is going down: pods are ended", "most", h.most)
	l.note("Shutdown manager detected shutdown event")
	l.remember()
	return began
}

func (l *Loop) remember() {
	if err := l.record.save(l.state.Value().Last); err != nil {
		l.cfg.Log.Warn("the times of this shutdown will not be known after it", "err", err)
	}
}

// endPods ends the pods, group by group. It returns false when the shutdown is called off, or ctx ends.
func (l *Loop) endPods(ctx context.Context, s schedule) (schedule, bool) {
	for {
		pods, newerPods := l.cfg.Pods()
		h, newerHeard := l.heard.Get()
		if !h.down {
			return s, false
		}
		var wake time.Time
		s, wake = s.next(pods, time.Now())
		l.publish(s, pods, wake)
		if s.over() {
			return s, true
		}
		if !sleep(ctx, wake, newerPods, newerHeard) {
			return s, false
		}
	}
}

// publish shows how far the pods have got.
func (l *Loop) publish(s schedule, pods []Pod, until time.Time) {
	l.change(func(st *State) {
		st.Until, st.Left = until, unrested(pods, s.orders)
		if !s.over() {
			st.Turn = s.groups[s.at].Priority
		}
		if len(st.Orders) != len(s.orders) { // they are only ever added
			st.Orders = s.orders
		}
	})
}

func unrested(pods []Pod, orders map[types.UID]*plan.Order) (n int) {
	for _, p := range pods {
		if !p.Rested && orders[p.UID] != nil {
			n++
		}
	}
	return n
}

// How long the API server is waited for when the time of the pods is over, and when it does not answer.
const grace = 2 * time.Second

// tell waits until the pods of the last group have been taken down and the API server knows how all have ended: as long as the
// pods would have had, or a moment if that is over or if nobody answers. It returns false when the shutdown is called off, or
// ctx ends.
func (l *Loop) tell(ctx context.Context, s schedule) bool {
	l.change(func(st *State) { st.Stage = Telling })
	soon := time.Now().Add(grace)
	last := s.began.Add(Total(s.groups))
	if last.Before(soon) {
		last = soon
	}
	for {
		pods, newerPods := l.cfg.Pods()
		h, newerHeard := l.heard.Get()
		if !h.down {
			return false
		}
		untold, answers, newer := l.untold(s)
		if unrested(pods, s.orders)+untold == 0 {
			return true
		}
		now, until := time.Now(), soon
		if answers && untold > 0 {
			until = last
		}
		if !now.Before(until) {
			if untold > 0 {
				l.cfg.Log.Warn("the API server does not know yet how all pods have ended; it is told when the machine is up again", "untold", untold)
			}
			return true
		}
		if again := now.Add(grace); again.Before(until) { // it may have ceased to answer
			until = again
		}
		if !sleep(ctx, until, newerPods, newerHeard, newer[0], newer[1]) {
			return false
		}
	}
}

func (l *Loop) untold(s schedule) (n int, answers bool, newer [2]<-chan struct{}) {
	if l.cfg.Untold == nil {
		return 0, false, newer
	}
	return l.cfg.Untold(slices.Collect(maps.Keys(s.orders)))
}

// linger waits for the end. Pods that come to light now are ended, too. It returns when the shutdown is called off, or ctx ends.
func (l *Loop) linger(ctx context.Context, s schedule) {
	for {
		pods, newerPods := l.cfg.Pods()
		h, newerHeard := l.heard.Get()
		if !h.down {
			return
		}
		s, _ = s.next(pods, time.Now())
		l.publish(s, pods, time.Time{})
		if !sleep(ctx, time.Time{}, newerPods, newerHeard) {
			return
		}
	}
}

// sleep waits until a time, if it is not zero, or until one of the channels is closed; false when ctx ends.
func sleep(ctx context.Context, until time.Time, channels ...<-chan struct{}) bool {
	var all [4]<-chan struct{}
	copy(all[:], channels)
	var alarm <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-alarm:
	case <-all[0]:
	case <-all[1]:
	case <-all[2]:
	case <-all[3]:
	}
	return true
}
