package pin

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/fault"
)

const (
	// gap is the least time between two looks at the pods: a burst of changes costs one.
	gap = 100 * time.Millisecond
	// again is the first pause before what has failed is tried again; it doubles up to the time between two checks.
	again = time.Second
	// atOnce is how many containers are told at the same time.
	atOnce = 4
)

// Pod is a pod that runs, or has not ended wholly.
type Pod struct {
	UID types.UID
	// Assigned is what it has for itself; nil if that is nothing.
	Assigned *allocate.Assigned
	// Containers are those that the runtime has and that have not ended, by ID, with their names.
	Containers map[string]string
}

// Config is what a Loop is built from.
type Config struct {
	Rules *allocate.Rules
	// Pods are the pods as they are now, and Up tells whether the runtime answers; each with a channel that is closed when that may have
	// changed.
	Pods func() ([]Pod, <-chan struct{})
	Up   func() (bool, <-chan struct{})
	// Update tells the runtime on which processors a container runs.
	Update func(ctx context.Context, id, cpus string) error
	// Read asks the kernel on which processors a container of a pod runs; empty if it is bound to none.
	Read func(uid types.UID, id string) (string, error)
	// Write writes one of the two files.
	Write func(name string, content []byte) error
	// Every is the time between two checks.
	Every time.Duration
	Log   *slog.Logger
}

// Loop keeps containers on their processors.
type Loop struct {
	cfg Config

	mu sync.Mutex
	// placed is what the runtime was told last, by container ID.
	placed map[string]placement
	// written is what the files hold.
	written map[string]string
	// failed is what was told of failures, by what failed.
	failed map[string]string
}

// placement is where a container was put, and when.
type placement struct {
	cpus string
	at   time.Time
}

// unseen is how long a container may have been made before it is seen among those of its pod.
const unseen = time.Minute

// New builds a Loop. Nothing happens before Run.
func New(cfg Config) *Loop {
	return &Loop{cfg: cfg, placed: map[string]placement{}, written: map[string]string{}, failed: map[string]string{}}
}

// State is who has what now.
type State struct {
	// Pool are the processors that containers share.
	Pool   allocate.CPUs
	Owners allocate.Owners
}

// State tells who has what now.
func (l *Loop) State() State {
	pods, _ := l.cfg.Pods()
	return l.stateOf(pods)
}

func (l *Loop) stateOf(pods []Pod) State {
	s := State{Owners: allocate.Owners{}}
	for _, p := range pods {
		if p.Assigned != nil {
			s.Owners[p.UID] = p.Assigned
		}
	}
	s.Pool = l.cfg.Rules.CPU.Pool(&l.cfg.Rules.Machine, s.Owners.All())
	return s
}

// Shared are the processors for a container that has none of its own, as the runtime has to be told; empty if these are all.
func (l *Loop) Shared() string {
	if pool := l.State().Pool; !pool.Equal(l.cfg.Rules.Machine.All()) {
		return pool.String()
	}
	return ""
}

// Placed notes on which processors a container was made; empty stands for all.
func (l *Loop) Placed(id, cpus string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.placed[id] = placement{l.normal(cpus), time.Now()}
}

// normal writes a set in the one way that can be compared; an empty one stands for all processors.
func (l *Loop) normal(cpus string) string {
	set, err := allocate.ParseCPUs(cpus)
	if err != nil || set.Empty() {
		set = l.cfg.Rules.Machine.All()
	}
	return set.String()
}

// Run keeps containers on their processors until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	timer := time.NewTimer(l.cfg.Every)
	defer timer.Stop()
	pause, check := again, time.Now().Add(l.cfg.Every)
	for {
		up, newerUp := l.cfg.Up()
		pods, newerPods := l.cfg.Pods()
		state := l.stateOf(pods)
		ok := l.write(state)
		if up {
			if now := time.Now(); !now.Before(check) {
				check = now.Add(l.cfg.Every)
				l.doubt()
			}
			ok = l.settle(ctx, pods, state.Pool) && ok
		}
		wake := time.Until(check)
		if ok {
			pause = again
			l.calm()
		} else {
			wake, pause = min(wake, pause), min(2*pause, l.cfg.Every)
		}
		timer.Reset(gap)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		timer.Reset(wake)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-newerUp:
		case <-newerPods:
		}
	}
}

// doubt forgets what was told, so that the kernel is asked.
func (l *Loop) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.placed)
}

// calm forgets what has failed.
func (l *Loop) calm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.failed)
}

// move is a container that has to run elsewhere.
type move struct{ id, cpus string }

// settle tells the runtime of each container that is not where it belongs; false if that failed for any. Whoever gives processors up goes
// before who gets them.
func (l *Loop) settle(ctx context.Context, pods []Pod, pool allocate.CPUs) bool {
	sharing, owning := l.moves(pods, pool)
	ok := l.tellAll(ctx, sharing)
	return l.tellAll(ctx, owning) && ok
}

func (l *Loop) tellAll(ctx context.Context, moves []move) bool {
	queue := make(chan move)
	var group sync.WaitGroup
	var mu sync.Mutex
	ok := true
	for range min(atOnce, len(moves)) {
		group.Go(func() {
			for m := range queue {
				if !l.tell(ctx, m) {
					mu.Lock()
					ok = false
					mu.Unlock()
				}
			}
		})
	}
	for _, m := range moves {
		queue <- m
	}
	close(queue)
	group.Wait()
	return ok
}

// moves are the containers that are not where they belong: those that share processors, and those that have their own. Of those that nothing
// is known of, the kernel tells where they are.
func (l *Loop) moves(pods []Pod, pool allocate.CPUs) (sharing, owning []move) {
	known := map[string]bool{}
	for _, p := range pods {
		for id, name := range p.Containers {
			known[id] = true
			own := p.Assigned.Part(name).CPUs
			switch at := l.where(p.UID, id); {
			case !own.Empty() && at != own.String():
				owning = append(owning, move{id, own.String()})
			case own.Empty() && at != pool.String():
				sharing = append(sharing, move{id, pool.String()})
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, p := range l.placed {
		if !known[id] && time.Since(p.at) > unseen {
			delete(l.placed, id)
		}
	}
	return sharing, owning
}

// where is where a container runs, as far as is known; empty if it is not.
func (l *Loop) where(uid types.UID, id string) string {
	l.mu.Lock()
	p, ok := l.placed[id]
	l.mu.Unlock()
	if ok {
		return p.cpus
	}
	cpus, err := l.cfg.Read(uid, id)
	if err != nil { // it is told, whatever it has
		return ""
	}
	l.Placed(id, cpus)
	return l.normal(cpus)
}

// tell tells the runtime of one container. One that has ended meanwhile is no failure.
func (l *Loop) tell(ctx context.Context, m move) bool {
	err := l.cfg.Update(ctx, m.id, m.cpus)
	if ctx.Err() != nil || errors.Is(err, fault.ErrNotFound) {
		return true
	}
	if !l.report("processors of container "+m.id, err) {
		return false
	}
	l.Placed(m.id, m.cpus)
	return true
}

// write writes the files where they are to say something else; false if that failed.
func (l *Loop) write(s State) bool {
	ok := true
	for name, content := range map[string][]byte{
		allocate.CPUFile: allocate.CPUStateFile(l.cfg.Rules, s.Owners), allocate.MemoryFile: allocate.MemoryStateFile(l.cfg.Rules, s.Owners),
	} {
		if l.written[name] == string(content) {
			continue
		}
		if !l.report("file "+name, l.cfg.Write(name, content)) {
			ok = false
			continue
		}
		l.written[name] = string(content)
	}
	return ok
}

// report says what has failed, once while it fails in the same way, and tells whether nothing has.
func (l *Loop) report(what string, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		delete(l.failed, what)
		return true
	}
	if l.failed[what] != err.Error() {
		l.failed[what] = err.Error()
		l.cfg.Log.Error("what pods have for themselves cannot be settled; it is tried again", "what", what, "err", err)
	}
	return false
}
