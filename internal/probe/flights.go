package probe

import (
	"context"
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
)

const (
	// most is how many questions may be open at a time.
	most = 512
	// calls is how many questions other than commands may be starting at a time.
	calls = 64
	// starting is how long a question counts as just starting. After that it waits and costs the node next to nothing,
	// so a container that never answers does not hold up the others.
	starting = time.Second
	// tries is how often a question is put that cannot be put (behaviour 119).
	tries = 3
)

// class is a kind of question with a limit of its own.
type class uint8

const (
	command class = iota
	call
	classes
)

// flights are the questions that are open or due.
type flights struct {
	limits [classes]int
	// queues hold what is due and waits for its turn, the longest first; an entry that is no longer queued is left out.
	queues [classes][]*check
	open   int
	flying map[*flight]bool
	landed chan landing
	group  sync.WaitGroup
}

// flight is an open question.
type flight struct {
	check *check
	// id is the instance that is asked.
	id     string
	began  time.Time
	cancel context.CancelFunc
	// lag is how late the agent had been, all in all, when the question was put.
	lag time.Duration
}

// landing is a question that is over.
type landing struct {
	*flight

	answer health.Answer
	took   time.Duration
}

func newFlights(execs int) *flights {
	// The channel holds all that can be open, so that no asker waits for a loop that has ended.
	return &flights{limits: [classes]int{command: execs, call: calls}, flying: map[*flight]bool{}, landed: make(chan landing, most)}
}

// end returns when all questions are over. Their context has ended before.
func (f *flights) end() { f.group.Wait() }

func (c *check) class() class {
	if c.rule.Exec {
		return command
	}
	return call
}

// room is how many questions of a class may begin now.
func (f *flights) room(of class, now time.Time) int {
	room := f.limits[of]
	for other := range f.flying {
		if other.check.class() == of && now.Sub(other.began) < starting {
			room--
		}
	}
	return min(room, most-f.open)
}

// launch puts the questions whose time has come, as far as the limits allow.
func (r *rounds) launch(ctx context.Context) {
	for c := r.waiting.take(r.now); c != nil; c = r.waiting.take(r.now) {
		c.queued = true
		r.queues[c.class()] = append(r.queues[c.class()], c)
	}
	for of, queue := range r.queues {
		if len(queue) == 0 {
			continue
		}
		room := r.room(class(of), r.now)
		kept := queue[:0]
		for _, c := range queue {
			switch {
			case !c.queued: // given up meanwhile, or begun as an earlier entry
			case room <= 0, c.rule.Exec && c.execing:
				kept = append(kept, c)
			default:
				r.put(ctx, c)
				room--
			}
		}
		clear(queue[len(kept):])
		r.queues[of] = kept
	}
}

// put begins a question.
func (r *rounds) put(ctx context.Context, c *check) {
	limited, cancel := context.WithCancel(ctx)
	f := &flight{check: c, id: c.life.ID, began: r.now, cancel: cancel, lag: r.lag.total}
	c.flight, c.queued = f, false
	c.execing = c.execing || c.rule.Exec
	r.flying[f] = true
	r.open++
	target := &c.pod.target
	q := health.Question{
		Handler: c.spec.Handler(c.kind), Pod: target.Desired.Pod, Container: c.container, ContainerID: f.id, IP: target.IP, Timeout: c.rule.Timeout,
	}
	asker, now := r.loop.cfg.Asker, r.loop.cfg.Now
	r.group.Go(func() {
		defer cancel()
		began := now()
		answer := ask(limited, asker, q)
		r.landed <- landing{flight: f, answer: answer, took: now().Sub(began)}
	})
}

// ask puts a question, again if it cannot be put. What is said of a container that has ended meanwhile says nothing: what
// ends is often asked in its last moment, and nobody wants to hear that it did not answer.
func ask(ctx context.Context, a Asker, q health.Question) health.Answer {
	for try := 1; ; try++ {
		answer, err := a.Ask(ctx, q)
		if err != nil {
			answer = health.Answer{Result: health.Unknown, Output: err.Error()}
		}
		switch {
		case answer.Result == health.Success:
			return answer
		case ctx.Err() == nil && a.Ended(ctx, q.ContainerID):
			return health.Answer{Result: health.Void}
		case err == nil, try == tries, ctx.Err() != nil:
			return answer
		}
	}
}

// landMore takes whatever else has landed meanwhile.
func (r *rounds) landMore() {
	for {
		select {
		case l := <-r.landed:
			r.land(l)
		default:
			return
		}
	}
}

// land learns from an answer, unless nobody waits for it any more.
func (r *rounds) land(l landing) {
	c := l.check
	r.open--
	delete(r.flying, l.flight)
	if c.rule.Exec {
		c.execing = false
	}
	if c.flight != l.flight {
		return
	}
	c.flight, c.forgotten = nil, false
	late := r.lag.total - l.lag
	forgiven := l.answer.Result == health.Failure && c.rule.Late(late)
	before := c.life.Health()
	c.life = c.life.Learn(c.kind, health.Asked{Result: l.answer.Result, Began: l.began, Late: forgiven}, r.now)
	if !same(before, c.life.Health()) {
		r.changed[c.pod.target.Desired.UID()] = true
	}
	r.schedule(c.ward)
	switch {
	case l.answer.Result == health.Void:
		return
	case forgiven:
		r.loop.cfg.Meter.Forgiven(c.which(), late)
		return
	}
	r.loop.cfg.Meter.Asked(c.which(), l.answer.Result, l.took)
	r.tell(c, l.answer)
}

// tell makes a note of an answer that a person may want to hear of.
func (r *rounds) tell(c *check, a health.Answer) {
	why, message := health.Tell(c.kind, a)
	if why == "" {
		return
	}
	p := c.pod.target.Desired.Pod
	_, path := pod.FindContainer(p, c.container.Name)
	r.loop.cfg.Notes(note.Note{
		At: r.now, Level: note.Warning, Reason: why, Message: message,
		About: note.About{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID, Container: c.container.Name, FieldPath: path},
	})
}
