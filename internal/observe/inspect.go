package observe

import (
	"context"
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// slotCount bounds how many inspections run at once, not counting those that are late.
	slotCount = 16
	// slotTime is how long an inspection may keep others waiting. After that it goes on without a slot.
	slotTime = 500 * time.Millisecond
	// hungAfter is how long an inspection may take before people hear of it.
	hungAfter = 5 * time.Second
	// inspectGap is the least time between inspections of one pod that nobody is in a hurry for.
	inspectGap = 100 * time.Millisecond
	// The pauses after an inspection that failed.
	firstInspectPause = 200 * time.Millisecond
	lastInspectPause  = 10 * time.Second
)

// inbox takes the wishes for inspections until the dispatcher reads them.
type inbox struct {
	mu     sync.Mutex
	wanted map[types.UID]bool // true: in a hurry
	signal chan struct{}
}

func newInbox() inbox {
	return inbox{wanted: map[types.UID]bool{}, signal: make(chan struct{}, 1)}
}

func (b *inbox) want(uid types.UID, hurry bool) {
	b.mu.Lock()
	b.wanted[uid] = b.wanted[uid] || hurry
	b.mu.Unlock()
	nudge(b.signal)
}

func (b *inbox) take() map[types.UID]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.wanted
	b.wanted = map[types.UID]bool{}
	return taken
}

// phase is where the inspecting of one pod stands.
//
//	queued ──► running ──► late ──► hung
//	  ▲          └──────┬────┴───────┘
//	  └── resting ◄─────┘
type phase uint8

const (
	queued  phase = iota
	running       // has a slot
	late          // has lost its slot
	hung          // people have heard of it
	resting       // until job.at
)

// job is the inspecting of one pod. There is none for a pod that was not asked for lately.
type job struct {
	phase phase
	// began is when the running inspection began, at when a resting job ends or begins again.
	began, at time.Time
	// again means that an inspection was asked for after the last one began; hurry that it must not wait.
	again, hurry bool
	// wasLate makes the next inspection do without a slot.
	wasLate  bool
	failures int
	answers  mark
}

// outcome is how an inspection ended.
type outcome struct {
	uid    types.UID
	report pod.Report
	err    error
}

// dispatcher starts inspections: at most one for a pod, at most slotCount that are not late.
type dispatcher struct {
	o     *Observer
	jobs  map[types.UID]*job
	queue []types.UID
	slots int
	count int // inspections in flight
	done  chan outcome
}

// inspect hands out the inspections that were asked for.
func (o *Observer) inspect(ctx context.Context) {
	d := dispatcher{o: o, jobs: map[types.UID]*job{}, slots: slotCount, done: make(chan outcome)}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d.start(ctx)
		timer.Stop()
		if next, ok := d.next(); ok {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			for ; d.count > 0; d.count-- {
				<-d.done
			}
			return
		case <-o.inbox.signal:
			for uid, hurry := range o.inbox.take() {
				d.want(uid, hurry)
			}
		case out := <-d.done:
			d.finish(ctx, out, time.Now())
		case <-timer.C:
			d.tick(time.Now())
		}
	}
}

func (d *dispatcher) want(uid types.UID, hurry bool) {
	j := d.jobs[uid]
	if j == nil {
		j = &job{}
		d.jobs[uid] = j
		d.enqueue(uid, j)
		return
	}
	switch j.phase {
	case queued:
	case running, late, hung:
		j.again, j.hurry = true, j.hurry || hurry
	case resting:
		j.again = true
		if hurry {
			d.enqueue(uid, j)
		}
	}
}

func (d *dispatcher) enqueue(uid types.UID, j *job) {
	j.phase, j.again, j.hurry = queued, false, false
	d.queue = append(d.queue, uid)
}

// start begins what is queued as far as there are slots. What was late last time needs none.
func (d *dispatcher) start(ctx context.Context) {
	waiting := d.queue[:0]
	for _, uid := range d.queue {
		j := d.jobs[uid]
		switch {
		case j.wasLate:
			j.phase = late
		case d.slots > 0:
			j.phase = running
			d.slots--
		default:
			waiting = append(waiting, uid)
			continue
		}
		j.began, j.answers = time.Now(), d.o.roster.asked(uid)
		d.count++
		go func() {
			r, err := d.o.cfg.Runtime.Inspect(ctx, uid)
			d.done <- outcome{uid, r, err}
		}()
	}
	d.queue = waiting
}

// next is when the first job rests no longer or gets late.
func (d *dispatcher) next() (time.Time, bool) {
	var first time.Time
	for _, j := range d.jobs {
		var at time.Time
		switch j.phase {
		case queued, hung:
			continue
		case running:
			at = j.began.Add(slotTime)
		case late:
			at = j.began.Add(hungAfter)
		case resting:
			at = j.at
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first, !first.IsZero()
}

// tick moves on what has waited long enough.
func (d *dispatcher) tick(now time.Time) {
	for uid, j := range d.jobs {
		switch j.phase {
		case queued, hung:
		case running:
			if now.Sub(j.began) >= slotTime {
				j.phase, j.wasLate = late, true
				d.slots++
			}
		case late:
			if now.Sub(j.began) >= hungAfter {
				j.phase = hung
				d.o.change(func(h *Health) { h.addHung(uid, j.began) })
				d.o.complain(uid, now, "The container runtime does not answer when asked about the pod")
			}
		case resting:
			if now.Before(j.at) {
				continue
			}
			if j.again {
				d.enqueue(uid, j)
			} else {
				delete(d.jobs, uid)
			}
		}
	}
}

func (d *dispatcher) finish(ctx context.Context, out outcome, now time.Time) {
	j := d.jobs[out.uid]
	d.count--
	switch j.phase {
	case running:
		d.slots++
		j.wasLate = false
	case hung:
		d.o.change(func(h *Health) { h.dropHung(out.uid) })
	case late, queued, resting:
	}
	if m := d.o.cfg.Metrics.Inspected; m != nil {
		m(now.Sub(j.began))
	}
	pause := inspectGap
	if out.err != nil {
		pause = min(firstInspectPause<<min(j.failures, 10), lastInspectPause)
		if j.failures++; j.failures == 1 && ctx.Err() == nil && d.o.health.Value().answers {
			d.o.complain(out.uid, now, "Unable to inspect the pod in the container runtime: "+out.err.Error())
		}
		j.again = true
	} else {
		j.failures = 0
		d.o.cfg.Receiver.Deliver(out.uid, out.report)
		if d.o.roster.delivered(out.uid, &out.report, j.answers) {
			d.o.relisted()
		}
	}
	if j.hurry {
		d.enqueue(out.uid, j)
		return
	}
	j.phase, j.at = resting, now.Add(pause)
}

// complain notes that a pod cannot be observed.
func (o *Observer) complain(uid types.UID, now time.Time, message string) {
	namespace, name := o.roster.nameOf(uid)
	o.cfg.Notes(note.Note{
		At: now, About: note.About{Kind: "Pod", Namespace: namespace, Name: name, UID: uid},
		Level: note.Warning, Reason: reason.FailedPodSandboxStatus, Message: message,
	})
}
